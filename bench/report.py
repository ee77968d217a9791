"""docs/benchmarks.md: what was kept in docs/benchmarks/*.json, in words, charts and tables.

No number is typed by hand: a sentence whose figures are missing is left out, and so is a chart.

    python bench/report.py --results docs/benchmarks
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench import charts, searches_told, sentences  # noqa: E402
from bench.results import Result, read  # noqa: E402
from bench.sentences import Told  # noqa: E402
from core.terminal import say  # noqa: E402

Results = Mapping[str, Result]

MISSING = (LookupError, AttributeError, TypeError, ValueError, ZeroDivisionError)  # what a figure that isn't there leads to
_HEAD = """# Benchmarks

Made by `python bench/report.py` from the files in [{folder}/]({folder}/): every number below comes from one of them. `make bench` takes
them anew, with its sizes as variables (`make bench FACES=1000000 PHOTOS=FOLDER BENCH_OUT=FOLDER`); each program in `bench/` says what it
asks. Peers are measured in one run on one machine, or one part of it after the other; compare ratios, for another machine has other times.
"""


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    sentences: Sequence[Told] = ()
    charts: Sequence[str] = ()
    tables: Sequence[Told] = ()


SECTIONS = {
    "In short": Section(
        (
            searches_told.search_default,
            searches_told.search_beside,
            searches_told.search_quicker,
            searches_told.search_servers_right,
            searches_told.search_in_process,
            searches_told.search_right,
            searches_told.search_batch,
            sentences.growth_range,
            sentences.bulk_ratio,
            sentences.ingest_ratio,
            sentences.accuracy_both,
            sentences.cluster_kept,
            sentences.startup_help,
        )
    ),
    "Search": Section(
        (searches_told.search_left_out,),
        ("search-rates", "search-latency", "search-costs"),
        (searches_told.equal_table, searches_told.search_table, searches_told.cost_table),
    ),
    "Growth": Section((sentences.growth_right, sentences.growth_exponent), ("growth",), (sentences.growth_table,)),
    "Photos": Section((sentences.embedding_stages, sentences.throughput_ratio, sentences.skip_rate, sentences.batch_ratio), ("embedding",)),
    "Right or wrong": Section((sentences.identify_rank1, sentences.identify_deepface, sentences.open_set_kept)),
    "Cold starts": Section((sentences.startup_search,), ("startup",)),
    "Regressions": Section(tables=(sentences.guard_table,)),
}
CAPTIONS = {  # of each chart: what it is for somebody who can't see it, and a sentence below it
    "search-rates": (
        "Searches a second against recall@10, for 1 and for 16 clients, a line for each engine",
        "Up and to the right is better. Each line is one engine that looks further and further; the scale spreads what is near 100 %. "
        "Facedex stands in both rows, for comparison; mind the other scale of searches a second.",
    ),
    "search-latency": (
        "Rank-1 as a share of the exact search's against the median wait, a line for each engine",
        "Up and to the left is better: how long one client waits, for how often the right person is first. "
        "100 %: as often as where every face is compared.",
    ),
    "search-costs": (
        "Time to build, bytes a face on disk and in memory, a bar for each engine",
        "What it takes before the first search. Facedex stores whole documents (person, photo, box, landmarks, quality) beside the "
        "vectors; memory is only told where it was measured.",
    ),
    "growth": (
        "Median wait, rank-1, time to build, disk and memory against the number of faces",
        "All scales are logarithmic: a straight line is a power of the number of faces.",
    ),
    "embedding": (
        "CPU milliseconds of a photo by stage, a bar for each size of photo",
        "From the file to the vectors, models loaded.",
    ),
    "startup": (
        "Milliseconds from start to end of each command, a bar each",
        "Medians; files in the disk cache. What is asked of a node that runs stands above what only prints its help.",
    ),
}


def load(folder: Path) -> dict[str, Result]:
    """What was kept in a folder, by bench; of two files of one bench, the one that has its name."""
    found: dict[str, Result] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: path.name):
        document = read(path)
        if document is None:
            say(f"{path.name} is no result of a bench, and is left out.")
        elif document["bench"] not in found or path.stem == document["bench"]:
            found[document["bench"]] = document
    return found


def write(folder: Path) -> Path:
    """Draws the charts into the folder, and writes the page beside it. Returns the page."""
    results = load(folder)
    drawn = list(draw(results, folder))
    page = folder.with_suffix(".md")
    page.write_text(text(results, drawn, folder.name))
    return page


def draw(results: Results, folder: Path) -> Iterator[str]:
    """Writes the charts, and yields the name of each. Those for which there is nothing any more are deleted."""
    for name, (bench, chart) in charts.CHARTS.items():
        path = folder / f"{name}.svg"
        try:
            path.write_text(charts.drawn(chart(results[bench]["figures"])))
        except MISSING:
            path.unlink(missing_ok=True)
            continue
        yield name


def text(results: Results, drawn: Sequence[str], folder: str) -> str:
    """The page."""
    figures = {bench: document["figures"] for bench, document in results.items()}
    parts = [_HEAD.format(folder=folder)]
    for title, section in SECTIONS.items():
        said = [f"- {sentence}" for sentence in (_told(each, figures) for each in section.sentences) if sentence]
        shown = [block for name in section.charts if name in drawn for block in _chart(name, folder)]
        tables = [made for made in (_told(each, figures) for each in section.tables) if made]
        if said or shown or tables:
            parts += [f"## {title}\n", *(["\n".join(said) + "\n"] if said else []), *shown, *(made + "\n" for made in tables)]
    if not results:
        parts.append("No results are kept here yet.\n")
    else:
        parts += ["## How they were taken\n", _taken(results)]
    return "\n".join(parts)


def _told(sentence: Told, figures: Mapping[str, Any]) -> str | None:
    try:
        return sentence(figures)
    except MISSING:
        return None


def _chart(name: str, folder: str) -> Iterator[str]:
    alt, below = CAPTIONS[name]
    yield f"![{alt}]({folder}/{name}.svg)\n"
    yield f"{below}\n"


def _taken(results: Results) -> str:
    rows = [
        (
            bench,
            f"`{each.get('command', '')}`",
            each.get("taken", ""),
            ", ".join(f"`{commit}`" for commit in _commits(each)),
            _machine(each.get("machine")),
        )
        for bench, each in sorted(results.items())
    ]
    commands = sentences.table(("bench", "command", "taken", "commit", "machine"), rows)
    if len({row[3] for row in rows}) > 1:
        commands += "\nNot all at the same commit: what was changed in between shows in the later ones only.\n"
    said = "A `+` after a commit: with changes that were not committed yet.\n" if any("+`" in row[3] for row in rows) else ""
    return "\n".join(filter(None, (commands, said, _versions(results.values()))))


def _commits(result: Result) -> list[str]:
    """Of a comparison that was measured in parts, all; else the one."""
    parts: set[Any] = set()
    with suppress(*MISSING):
        parts = {engine.get("commit") for engine in result["figures"]["engines"].values()}
    return sorted(filter(None, parts)) or [result.get("commit") or "unknown"]


def _machine(machine: Mapping[str, Any] | None) -> str:
    if not machine:
        return ""
    memory = f"{machine['memory_bytes'] / 1e9:.0f} GB" if machine.get("memory_bytes") else ""
    cores = f"{machine['cores']} cores" if machine.get("cores") else ""
    return ", ".join(filter(None, (str(machine.get("cpu", "")), cores, memory, str(machine.get("system", "")))))


def _versions(results: Iterable[Result]) -> str:
    found: dict[str, set[str]] = {}
    for each in results:
        for name, version in each.get("versions", {}).items():
            found.setdefault(name, set()).add(str(version))
    if not found:
        return ""
    return "Versions: " + ", ".join(f"{name} {' and '.join(sorted(versions))}" for name, versions in found.items()) + ".\n"


def main(results: Annotated[Path, typer.Option(help="The folder with the JSON files.")] = ROOT / "docs" / "benchmarks") -> None:
    """Write the page of charts."""
    if not any(results.glob("*.json")):
        sys.exit(f"There are no results in {results}: `make bench` takes them.")
    say(f"Written: {write(results.resolve())}")


if __name__ == "__main__":
    typer.run(main)
