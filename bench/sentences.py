"""What docs/benchmarks.md can say: sentences and tables, each a function of the figures by bench. Of searches: bench/searches_told.py.

One that doesn't find a figure raises (LookupError, TypeError, ValueError), and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from bench.growth import usual
from query.knn import compared_again

Figures = Mapping[str, Any]  # of all benches, by name
Told = Callable[[Figures], str | None]


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


# Growth.


def growth_range(every: Figures) -> str:
    """From the smallest to the largest."""
    points = sorted((point for point in every["growth"]["points"] if point.get("curve")), key=lambda each: each["faces"])
    first, before, last = points[0], points[-2], points[-1]

    def wait(point: Figures) -> float:
        return float(usual(point)["ms"]["p50"])

    return (
        f"**Growth.** From {many(first['faces'])} to {many(last['faces'])} faces ({number(last['faces'] / first['faces'])} times as many) "
        f"one search as it comes goes from {number(wait(first))} to {number(wait(last))} ms "
        f"({number(wait(last) / wait(first))} times); from {many(before['faces'])} on, {number(wait(last) / wait(before))} times."
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
