"""What docs/benchmarks.md says of searches, as bench/sentences.py does of the rest."""

from __future__ import annotations

import math
from itertools import pairwise

from bench.charts import HERE, WIRE, memory, nines, place
from bench.sentences import Figures, many, number, percent, table, times
from query.knn import compared_again

_MARKS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # recalls at which engines are compared
_EQUAL = _MARKS[-1]
_RIGHT = 0.999  # of the rank-1 of an exact search: next to nobody is lost


def _default(figures: Figures) -> Figures:
    """Facedex's point that is nearest to a search as it comes."""
    point: Figures = min(figures["engines"]["facedex"]["points"], key=lambda each: abs(each["effort"] - compared_again(figures["faces"])))
    return point


def _rate(engine: Figures, clients: str, recall: float) -> float | None:
    """The most searches a second at a recall, on the lines that the chart draws from point to point; None: it finds less."""
    points = [(nines(point["recall"]), float(point["searches_per_second"][clients])) for point in engine["points"]]
    at = nines(recall)
    rates = [rate for found, rate in points if found >= at]
    for (found, rate), (further, further_rate) in pairwise(points):
        if found < at <= further:
            rates.append(rate * math.exp(math.log(further_rate / rate) * (at - found) / (further - found)))
    return max(rates, default=None)


def _others(figures: Figures, side: str) -> list[Figures]:
    ours = ("facedex", "numpy")
    return [each for key, each in figures["engines"].items() if place(key, each) == side and not key.startswith(ours)]


def _ours(figures: Figures, clients: str, recall: float) -> float | None:
    """The same of the best of Facedex's ways."""
    ways = [_rate(engine, clients, recall) for key, engine in figures["engines"].items() if key.startswith("facedex")]
    return max((rate for rate in ways if rate is not None), default=None)


def _pair(name: str, theirs: float, ours: float | None) -> str:
    return f"{name} {number(theirs)}, Facedex {'finds less' if ours is None else number(ours)}"


def search_default(every: Figures) -> str:
    """What a search finds as it comes."""
    figures = every["search"]
    point = _default(figures)
    return (
        f"**Search.** Among {many(figures['faces'])} made faces, a search as it comes ({point['effort']:,} compared again in full) finds "
        f"{percent(point['recall'])} of the ten nearest, and has the right person first in {percent(point['rank1'])} of searches "
        f"(comparing with every face: {percent(figures['exact_rank1'])}). One client waits {number(point['ms']['p50'])} ms "
        f"(median; 99th percentile: {number(point['ms']['p99'])} ms); "
        f"16 clients get {number(point['searches_per_second']['16'])} searches a second."
    )


def search_beside(every: Figures) -> str:
    """Each of the others over the wire, where it finds the most at which it can be compared."""
    figures, told = every["search"], []
    for engine in _others(figures, WIRE):
        reached = [(mark, rate) for mark in _MARKS if (rate := _rate(engine, "16", mark)) is not None]
        if reached:
            mark, theirs = reached[-1]
            told.append(f"{_pair(engine['name'], theirs, _ours(figures, '16', mark))} (at {percent(mark)})")
    if not told:
        raise LookupError("no other server")
    return (
        f"**Beside other servers**, searches a second that 16 clients get at the same recall@10, the largest of the table below that the "
        f"other one reaches, by the best of Facedex's ways: {'; '.join(told)}."
    )


def search_quicker(every: Figures) -> str:
    """Where another server answers more."""
    figures, told = every["search"], []
    for engine in _others(figures, WIRE):
        for mark in _MARKS:
            theirs, ours = _rate(engine, "16", mark), _ours(figures, "16", mark)
            if theirs is not None and (ours is None or theirs > ours):
                told.append((mark, -theirs, f"{_pair(engine['name'], theirs, ours)} (at {percent(mark)})"))
    if not told:
        raise LookupError("nowhere")
    return f"**Where another server is quicker**, in the same way: {'; '.join(words for *_, words in sorted(told))}."


def search_servers_right(every: Figures) -> str:
    """The servers, by who has the right person first as often as the exact search."""
    figures, told = every["search"], []
    for key, engine in figures["engines"].items():
        if place(key, engine) == WIRE and engine["points"]:
            right = [point for point in engine["points"] if point["rank1"] >= _RIGHT * figures["exact_rank1"]]
            chosen = right or [max(engine["points"], key=lambda point: float(point["rank1"]))]
            rate = max(float(point["searches_per_second"]["16"]) for point in chosen)
            most = "" if right else f" ({percent(chosen[0]['rank1'])} at most)"
            told.append((bool(right), rate, f"{engine['name']}: {number(rate)}{most}"))
    exact, listed = percent(figures["exact_rank1"]), "; ".join(words for *_, words in sorted(told, reverse=True))
    return (
        f"**By the right person first** as often as in the exact search ({exact} of {figures['probes']:,} probes), or as often as an "
        f"engine gets there, 16 clients get, searches a second: {listed}."
    )


def search_in_process(every: Figures) -> str:
    """The best library, at a recall at which it can be compared."""
    figures = every["search"]
    rates = [(rate, each["name"]) for each in _others(figures, HERE) if (rate := _rate(each, "1", _EQUAL)) is not None]
    (theirs, name), ours = max(rates), _ours(figures, "1", _EQUAL)
    if ours is None:
        raise LookupError("Facedex finds less")
    return (
        f"**Beside a library** in the caller's own process, which has no wire, no documents, no filters and no second machine: at a recall "
        f"of {percent(_EQUAL)} {name} answers one client {number(theirs)} times a second, Facedex {number(ours)} times "
        f"({times(ours, theirs)})."
    )


def search_right(every: Figures) -> str:
    """What losing nobody costs, here and in a library."""
    figures = every["search"]
    needed = _RIGHT * figures["exact_rank1"]
    right = [point for point in figures["engines"]["faiss-hnsw"]["points"] if point["rank1"] >= needed]
    theirs, ours = min(right, key=lambda point: float(point["ms"]["p50"])), _default(figures)
    if ours["rank1"] < needed:
        raise LookupError("a search as it comes loses somebody")
    waits = [number(point["ms"]["p50"]) for point in (theirs, ours)]
    batch = [number(point["batch_per_second"]) for point in (theirs, ours)]
    return (
        f"**As many right ones first** as where every face is compared ({percent(_RIGHT)} of them or more): faiss HNSW needs an efSearch "
        f"of {theirs['effort']:,}, waits {waits[0]} ms, and answers {number(theirs['searches_per_second']['1'])} a second with one thread, "
        f"{batch[0]} with all; a search of Facedex as it comes waits {waits[1]} ms, and many at once come to {batch[1]} a second."
    )


def search_batch(every: Figures) -> str:
    """Many in one request."""
    point = _default(every["search"])
    batch, alone = point["batch_per_second"], point["searches_per_second"]["1"]
    return f"**Many at once.** 50 searches in a request: {number(batch)} a second, {times(batch, alone)} as one after the other."


def search_left_out(every: Figures) -> str:
    """Who is not there, and why."""
    left = every["search"]["left_out"].items()
    return "Not measured: " + "; ".join(f"{name} ({why.splitlines()[0]})" for name, why in left if why) + "." if left else ""


def equal_table(every: Figures) -> str:
    """What 16 clients get at equal recall."""
    figures = every["search"]
    rows = [("Facedex, the best of its ways", [_ours(figures, "16", mark) for mark in _MARKS])]
    rows += [(each["name"], [_rate(each, "16", mark) for mark in _MARKS]) for side in (WIRE, HERE) for each in _others(figures, side)]
    told = [(name, *("" if rate is None else number(rate) for rate in rates)) for name, rates in rows]
    return (
        "Searches a second that 16 clients get at equal recall@10, on the lines of the first chart; empty where an engine finds less:\n\n"
        + table(("engine", *(percent(mark) for mark in _MARKS)), told)
    )


def search_table(every: Figures) -> str:
    """All points."""
    figures = every["search"]
    head = (
        "engine",
        "effort",
        "recall@10",
        "rank-1",
        "median ms",
        "p95",
        "p99",
        "1 client /s",
        "4 clients /s",
        "16 clients /s",
        "batch /s",
    )
    rows = []
    for engine in figures["engines"].values():
        for point in engine["points"]:
            rates = point["searches_per_second"]
            effort = f"{engine['effort']} {point['effort']}" if engine["effort"] else ""
            waits = (number(point["ms"][at]) for at in ("p50", "p95", "p99"))
            rate = (number(rates[clients]) if clients in rates else "" for clients in ("1", "4", "16"))
            shares = (percent(point["recall"]), percent(point["rank1"]))
            rows.append((engine["name"], effort, *shares, *waits, *rate, number(point["batch_per_second"])))
    return table(head, rows)


def cost_table(every: Figures) -> str:
    """What each engine costs."""
    figures, rows = every["search"], []
    for key, engine in figures["engines"].items():
        disk = number(engine["bytes"] / figures["faces"]) if engine.get("bytes") else ""
        taken = memory(key, engine, figures["faces"])
        side = "Facedex" if key.startswith("facedex") else place(key, engine)
        rows.append((engine["name"], side, number(engine["build_seconds"]), disk, number(taken) if taken else ""))
    return table(("engine", "asked", "seconds to build", "bytes a face on disk", "bytes a face in memory"), rows)
