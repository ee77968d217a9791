"""What docs/benchmarks.md can say: sentences and tables, each a function of the figures by bench.

One that doesn't find a figure raises (LookupError, TypeError, ValueError), and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from bench.charts import HERE, WIRE, memory, place
from bench.growth import usual
from query.knn import compared_again

Figures = Mapping[str, Any]  # of all benches, by name
Told = Callable[[Figures], str | None]

_EQUAL = 0.99  # recall at which engines are compared
_RIGHT = 0.999  # of the rank-1 of an exact search: next to nobody is lost


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; columns of numbers to the right."""
    cells = [list(row) for row in rows]
    right = [all(_is_number(row[at]) for row in cells) for at in range(len(head))]
    lines = [head, ["--:" if each else "---" for each in right], *cells]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def _is_number(cell: str) -> bool:
    return not cell or cell.lstrip("-≤≥<>~ ")[:1].isdigit()


def number(value: float) -> str:
    """Three digits that count, no more: 1,234 or 12.3 or 0.012."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def many(count: float) -> str:
    """1 million, 100,000."""
    return f"{count / 1e6:.3g} million" if count >= 1e6 else f"{count:,.0f}"


def times(ours: float, theirs: float) -> str:
    """How many the first are, beside the second."""
    factor = ours / theirs
    if 1 / 1.05 < factor < 1.05:
        return "as many"
    told = f"{number(factor)} times" if factor > 1 else f"{factor:.0%}" if factor > 0.1 else f"1/{1 / factor:.0f}"
    return f"{told} as many"


def percent(share: float) -> str:
    """As many digits as there is something to tell."""
    return f"{100 * share:.4g} %"


# Searches.


def _default(figures: Figures) -> Figures:
    """Facedex's point that is nearest to a search as it comes."""
    point: Figures = min(figures["engines"]["facedex"]["points"], key=lambda each: abs(each["effort"] - compared_again(figures["faces"])))
    return point


def _rate(engine: Figures, clients: str, recall: float = _EQUAL) -> float:
    """The most searches a second at a recall at which engines can be compared."""
    return max(float(point["searches_per_second"][clients]) for point in engine["points"] if point["recall"] >= recall)


def _others(figures: Figures, side: str) -> list[Figures]:
    ours = ("facedex", "numpy")
    return [each for key, each in figures["engines"].items() if place(key, each) == side and not key.startswith(ours)]


def _reached(engine: Figures) -> float:
    """The recall at which an engine is compared: that of all, or the most that it found."""
    return min(_EQUAL, max((float(point["recall"]) for point in engine["points"]), default=0.0))


def _ours(figures: Figures, clients: str, recall: float) -> tuple[float, str]:
    """The most searches a second that a way of Facedex gives, and its name."""
    rates = [
        (_rate(engine, clients, recall), str(engine["name"]))
        for key, engine in figures["engines"].items()
        if key.startswith("facedex") and _reached(engine) >= recall
    ]
    return max(rates)


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
    """The others over the wire, each where it found as much as is compared, or as much as it found at all."""
    figures, told = every["search"], []
    for engine in _others(figures, WIRE):
        if recall := _reached(engine):
            (ours, name), theirs = _ours(figures, "16", recall), _rate(engine, "16", recall)
            told.append((theirs / ours, f"{engine['name']} {number(theirs)} (recall {percent(recall)}; {name} {number(ours)})"))
    if not told:
        raise LookupError("no other server")
    listed = "; ".join(words for _, words in sorted(told, reverse=True))
    return (
        f"**Beside other servers**, with 16 clients, at a recall@10 of {percent(_EQUAL)} or the most that the other one found, searches a "
        f"second: {listed}."
    )


def search_in_process(every: Figures) -> str:
    """The best library, at a recall at which it can be compared."""
    figures = every["search"]
    quickest = max((each for each in _others(figures, HERE) if _reached(each) == _EQUAL), key=lambda each: _rate(each, "1"))
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


# Growth.


def growth_range(every: Figures) -> str:
    """From the smallest to the largest."""
    points = [point for point in every["growth"]["points"] if point.get("curve")]
    first, last = min(points, key=lambda each: each["faces"]), max(points, key=lambda each: each["faces"])

    def wait(point: Figures) -> float:
        return float(usual(point)["ms"]["p50"])

    return (
        f"**Growth.** From {many(first['faces'])} to {many(last['faces'])} faces ({number(last['faces'] / first['faces'])} times as many) "
        f"one search as it comes goes from {number(wait(first))} to {number(wait(last))} ms "
        f"({number(wait(last) / wait(first))} times)."
    )


def growth_right(every: Figures) -> str:
    """What a search of the largest finds."""
    last = max((point for point in every["growth"]["points"] if point.get("curve")), key=lambda each: each["faces"])
    point = usual(last)
    return (
        f"Among {many(last['faces'])} faces it looks into {percent(point['share'])} of the cells, and has "
        f"{percent(point['rank1'] / point['exact_rank1'])} of the exact search's rank-1."
    )


def bulk_ratio(every: Figures) -> str:
    """How quick writing is."""
    figures = every["bulk"]
    ours, theirs = figures["facedex"], figures["helpers_bulk"]
    return (
        f"**Writing.** {many(figures['faces'])} faces are written and merged in {number(ours['seconds'])} s; `helpers.bulk` with vectors "
        f"as lists and default settings takes {number(theirs['seconds'])} s, {number(theirs['seconds'] / ours['seconds'])} times as long. "
        f"A face takes {number(ours['bytes'] / figures['faces'])} bytes of disk."
    )


def growth_exponent(every: Figures) -> str:
    """The fitted law."""
    fits = {name.split("_")[0]: fit["exponent"] for name, fit in every["growth"]["fit"].items() if isinstance(fit, Mapping)}
    said = ", ".join(f"{name} N^{exponent:.2f}" for name, exponent in fits.items())
    return f"Fitted to all sizes: {said}." if said else ""


def growth_table(every: Figures) -> str:
    """A row for each size."""
    rows = []
    for point in every["growth"]["points"]:
        gigabytes = [number(point[key] / 1e9) if point.get(key) else "" for key in ("disk_bytes", "ram_bytes")]
        seconds = number(point["build_seconds"]) if point.get("build_seconds") is not None else ""
        for each in point["curve"]:
            exact = each.get("exact_rank1")
            share = percent(each["rank1"] / exact) if exact else ""
            searched = (percent(each["share"]), percent(each["recall"]), share, number(each["ms"]["p50"]), number(each["ms"]["p99"]))
            rows.append((f"{point['faces']:,}", str(point.get("segments", "")), seconds, *gigabytes, *searched))
            gigabytes, seconds = ["", ""], ""  # once a size
    head = ("faces", "segments", "written and merged in s", "disk GB", "memory GB", "of the cells", "recall@10", "rank-1 of exact")
    return table((*head, "median ms", "p99 ms"), rows)


# Photos.


def embedding_stages(every: Figures) -> str:
    """Where the time goes."""
    photos = every["embedding"]["cpu_ms_a_photo"]
    said = []
    for photo in (next(iter(photos)), next(reversed(photos))):
        parts = {name: ms for name, ms in photos[photo].items() if name != "all"}
        largest, whole = max(parts, key=lambda name: parts[name]), sum(parts.values())
        said.append(f"{photo}: {number(whole)} ms of CPU a photo, {parts[largest] / whole:.0%} of it to {largest}")
    return "; ".join(dict.fromkeys(said)) + "."


def ingest_ratio(every: Figures) -> str:
    """Photos a CPU-second."""
    ingest = every["ingest"]
    here, pool = ingest["per_cpu_second"], ingest["pool"]
    return (
        f"**Ingest.** {number(here['facedex'])} photos a CPU-second, {number(here['ratio'])} times DeepFace's {number(here['deepface'])}; "
        f"two workers do {number(pool['two_workers'])} photos a second, {number(pool['ratio'])} times one."
    )


def throughput_ratio(every: Figures) -> str:
    """Whether the index keeps up."""
    figures = every["throughput"]
    return (
        f"Embedding and indexing together reach {percent(round(figures['ratio'], 3))} of the rate of embedding alone "
        f"({number(figures['embed_and_index'])} and {number(figures['embed'])} photos a second)."
    )


def skip_rate(every: Figures) -> str:
    """Known photos."""
    figures = every["skip"]
    again, first = number(figures["again"]), number(figures["first"])
    return f"Photos that are known already are skipped at {again} a second; new ones took {first} a second."


def batch_ratio(every: Figures) -> str:
    """Targets together and alone."""
    figures = every["batch"]
    return (
        f"{many(figures['targets'])} photos searched by one command: {number(figures['batch_per_second'])} a second, "
        f"{number(figures['ratio'])} times one after the other, with the same answer "
        f"for {figures['same']:,} of {figures['compared']:,} compared."
    )


# Right or wrong.


def accuracy_both(every: Figures) -> str:
    """Pairs, beside DeepFace."""
    both = {row["pipeline"]: row for row in every["accuracy"]["rows"]}
    ours, theirs = both["facedex"], both["deepface"]
    return (
        f"**Right or wrong.** Of {ours['pairs']:,} pairs of LFW, {percent(ours['accuracy'])} are judged right "
        f"(± {percent(ours['standard_error'])}, 10 folds); by DeepFace's own pipeline "
        f"{percent(theirs['accuracy'])} (± {percent(theirs['standard_error'])})."
    )


def identify_rank1(every: Figures) -> str:
    """Rank-1 of real photos."""
    figures = every["identify"]
    [level] = [each for each in figures["as_it_is"] if each["num_candidates"] == compared_again(figures["faces"])]
    return (
        f"Of {figures['probes']:,} real photos searched among {figures['faces']:,} faces, the first one is the right person for "
        f"{percent(figures['exact'])} by the exact search, for {percent(level['labelled_rank1'])} by the vector index."
    )


def identify_deepface(every: Figures) -> str:
    """Beside DeepFace.find."""
    beside = every["identify"]["deepface"]
    ours, theirs = percent(beside["approximate"]), percent(beside["deepface"])
    return f"In a gallery of {beside['photos']:,} photos, rank-1 is {ours}; of DeepFace.find {theirs}."


def open_set_kept(every: Figures) -> str:
    """What a calibration promised."""
    rows = every["open_set"]["rows"]
    promised, measured = (sum(row[key] for row in rows) / len(rows) for key in ("fpir_promised", "fpir"))
    return (
        f"A calibration that promises to take {percent(promised)} of strangers for somebody was held to it: {percent(measured)} were, "
        f"the mean of {len(rows)} splits."
    )


def cluster_kept(every: Figures) -> str:
    """What clients notice of nodes that go."""
    figures = every["cluster"]
    rows = figures["rows"]
    return (
        f"**Nodes that go.** While each of {figures['nodes']} nodes was stopped, killed and frozen, "
        f"{sum(row['failed'] for row in rows):,} of {sum(row['searches'] for row in rows):,} searches failed, {figures['lost']:,} of "
        f"{sum(row['written'] for row in rows):,} stored faces were lost, and the longest search "
        f"took {number(max(row['longest'] for row in rows))} s."
    )


def startup_help(every: Figures) -> str:
    """What a command costs."""
    figures = every["startup"]
    cpu = median(each["cpu"] for each in figures["help"].values())
    numpy = figures["peers"]["python -c 'import numpy'"]["cpu"]
    return (
        f"**Cold starts.** `--help` of a command takes {number(cpu)} ms of CPU (the median of {len(figures['help'])} commands), "
        f"{number(cpu / numpy)} times what Python takes to start and import numpy ({number(numpy)} ms)."
    )


def startup_search(every: Figures) -> str:
    """A whole search."""
    each = every["startup"]["at_work"]["search PHOTO"]
    return f"`facedex search PHOTO`, from a cold start to the answer: {number(each['wall'])} ms, of which {number(each['cpu'])} ms are CPU."


def guard_table(every: Figures) -> str:
    """The bounds that CI holds."""
    from bench.guard import RULES

    rows = [(RULES[name].what, RULES[name].beside, number(each["ratio"]), number(each["bound"])) for name, each in every["guard"].items()]
    return "What CI holds (`bench/guard.py`): Facedex's time divided by its peer's.\n\n" + table(("", "beside", "ratio", "at most"), rows)
