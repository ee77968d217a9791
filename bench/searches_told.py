"""What docs/benchmarks.md says of searches, as bench/sentences.py does of the rest."""

from __future__ import annotations

from contextlib import suppress

from bench.charts import HERE, WIRE, memory, place
from bench.sentences import Figures, Told, many, number, percent, table, times
from query.knn import compared_again

_EQUAL = 0.99  # recall at which engines are compared
_RIGHT = 0.999  # of the rank-1 of an exact search: next to nobody is lost


def _default(figures: Figures) -> Figures:
    """Facedex's point that is nearest to a search as it comes."""
    point: Figures = min(figures["engines"]["facedex"]["points"], key=lambda each: abs(each["effort"] - compared_again(figures["faces"])))
    return point


def _most(engine: Figures, of: str) -> float:
    return max((float(point[of]) for point in engine["points"]), default=0.0)


def _rate(engine: Figures, clients: str, least: float = _EQUAL, of: str = "recall") -> float:
    """The most searches a second of those that find as much."""
    return max(float(point["searches_per_second"][clients]) for point in engine["points"] if point[of] >= least)


def _others(figures: Figures, side: str) -> list[Figures]:
    ours = ("facedex", "numpy")
    return [each for key, each in figures["engines"].items() if place(key, each) == side and not key.startswith(ours)]


def _ours(figures: Figures, clients: str, least: float, of: str = "recall") -> tuple[float, str]:
    """The most searches a second that a way of Facedex gives, and its name."""
    ways = [engine for key, engine in figures["engines"].items() if key.startswith("facedex") and _most(engine, of) >= least]
    return max((_rate(engine, clients, least, of), str(engine["name"])) for engine in ways)


def _beside(figures: Figures, enough: float, of: str) -> str:
    """The others over the wire, each where it found enough, or as much as it found at all; who is best beside Facedex comes first."""
    told = []
    for engine in _others(figures, WIRE):
        if least := min(enough, _most(engine, of)):
            (ours, name), theirs = _ours(figures, "16", least, of), _rate(engine, "16", least, of)
            told.append((theirs / ours, f"{engine['name']} {number(theirs)} ({percent(least)}; {name} {number(ours)})"))
    if not told:
        raise LookupError("no other server")
    return "; ".join(words for _, words in sorted(told, reverse=True))


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
    """Beside the others over the wire, by what they find of the nearest."""
    return (
        f"**Beside other servers**, with 16 clients, at a recall@10 of {percent(_EQUAL)} or the most that the other one found, searches a "
        f"second: {_beside(every['search'], _EQUAL, 'recall')}."
    )


def search_beside_right(every: Figures) -> str:
    """The same, by who has the right person first."""
    figures = every["search"]
    enough = _RIGHT * figures["exact_rank1"]
    return (
        f"**By the right person first** instead, at a rank-1 of {percent(enough)} ({percent(_RIGHT)} of the exact search's) or the most "
        f"that the other one had: {_beside(figures, enough, 'rank1')}."
    )


def search_quicker(every: Figures) -> str:
    """Where another server answers more than every way of Facedex that finds as much: the largest recall at which that is so."""
    figures, told = every["search"], []
    for engine in _others(figures, WIRE):
        ahead = []
        for point in engine["points"]:
            theirs, recall = point["searches_per_second"]["16"], point["recall"]
            with suppress(ValueError):  # none of Facedex's ways finds as much
                ours, name = _ours(figures, "16", recall)
                ahead += [(recall, theirs, name, ours)] if theirs > ours else []
        if ahead:
            recall, theirs, name, ours = max(ahead)
            told.append(f"{engine['name']} up to {percent(recall)} ({number(theirs)}; {name} {number(ours)})")
    if not told:
        raise LookupError("nowhere")
    return f"**Where another server is quicker**, with 16 clients, by its recall@10, searches a second: {'; '.join(told)}."


def search_in_process(every: Figures) -> str:
    """The best library, at a recall at which it can be compared."""
    figures = every["search"]
    quickest = max((each for each in _others(figures, HERE) if _most(each, "recall") >= _EQUAL), key=lambda each: _rate(each, "1"))
    (ours, name), theirs = _ours(figures, "1", _EQUAL), _rate(quickest, "1")
    return (
        f"**Beside a library** in the caller's own process, which has no wire, no documents, no filters and no second machine: "
        f"{quickest['name']} answers one client {number(theirs)} times a second at a recall of {percent(_EQUAL)} or more, {name} "
        f"{number(ours)} times ({times(ours, theirs)})."
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


def before(told: Told) -> Told:
    """The same of search-before.json: what was measured earlier, with engines that the newer run had no time for."""
    return lambda every: told({"search": every["search-before"]})
