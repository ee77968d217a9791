"""How fast photos that a collection holds already are skipped: a folder again and again, and a list of a million paths.

The list names hard links to the photos of the folder: as many paths of their own as asked for, whose contents the collection knows. It is
gone through twice, first by reading each file, then by what is remembered of it. A collection of its own is made, and deleted at the end.

    python bench/skip.py --photos ../shared/faces/lfw --paths 1000000
"""

from __future__ import annotations

import csv
import itertools
import json as jsons
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from core.settings import settings  # noqa: E402
from core.terminal import say, show, table  # noqa: E402
from photos.sources import PersonFrom, photos  # noqa: E402

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from ingest.report import Report

_A_FOLDER = 1_000  # hard links in each folder


def _links(originals: Sequence[Path], count: int, folder: Path) -> Path:
    """A list of so many hard links to photos. Returns the list."""
    made = folder / "list.csv"
    with made.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "person"])
        for number, original in enumerate(itertools.islice(itertools.cycle(originals), count)):
            link = folder / f"{number // _A_FOLDER:05}" / f"{number:08}.jpg"
            if number % _A_FOLDER == 0:
                link.parent.mkdir()
            os.link(original, link)
            rows.writerow([link, original.parent.name])
    time.sleep(3)  # a link changes its file, and what was changed a moment ago is not remembered
    return made


def _run(client: Elasticsearch, name: str, sources: list[Path], person: PersonFrom, scratch: Path) -> Report:
    from faces.recipe import DEFAULT
    from ingest.report import RejectsFile
    from ingest.run import Options, ingest

    with RejectsFile(scratch / "rejects.jsonl") as file:
        return ingest(client, name, DEFAULT, photos(sources, person), file, Options(remember=scratch / "seen"))


def measure(client: Elasticsearch, name: str, folder: Path, paths: int, scratch: Path) -> dict[str, Any]:
    """The rates, photos a second, of each run."""
    originals = [Path(source.path) for source in photos([folder], PersonFrom.folder)]
    rates: dict[str, Any] = {"photos": len(originals), "paths": paths}

    def note(what: str, report: Report) -> None:
        assert what == "first" or not report.embedded, "a photo was looked at again"  # noqa: S101
        rates[what] = round(report.photos / report.seconds)
        say(f"{what}: {report.photos:,} photos in {report.seconds:.1f} s")

    note("first", _run(client, name, [folder], PersonFrom.folder, scratch))
    note("read", _run(client, name, [folder], PersonFrom.folder, scratch))
    again = [_run(client, name, [folder], PersonFrom.folder, scratch) for _ in range(5)]
    note("again", sorted(again, key=lambda report: report.seconds)[2])
    if paths:
        with tempfile.TemporaryDirectory(dir=scratch) as links:
            made = _links(originals, paths, Path(links))
            note("list_read", _run(client, name, [made], PersonFrom.csv, scratch))
            note("list_again", _run(client, name, [made], PersonFrom.csv, scratch))
    rates["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return rates


def main(
    photos: Annotated[Path, typer.Option(help="A folder of photos, on the disk of --scratch.")],
    paths: Annotated[int, typer.Option(help="How many paths the list has.")] = 1_000_000,
    scratch: Annotated[Path | None, typer.Option(help="Where to make the links.")] = None,
    name: Annotated[str, typer.Option(help="The collection to make and delete.")] = "bench-skip",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prints how many known photos a second are skipped."""
    from es.client import connect
    from es.collections import create, delete, get
    from faces.recipe import DEFAULT

    with connect(settings(), say) as client, tempfile.TemporaryDirectory(dir=scratch) as made:
        create(client, name, DEFAULT.as_dict())
        try:
            rates = measure(client, name, photos.resolve(), paths, Path(made))
        finally:
            delete(client, get(client, name))
    if json:
        print(jsons.dumps(rates))
        return
    shown = table("run", "photos a second", right=("photos a second",))
    for key in ("first", "read", "again", "list_read", "list_again"):
        if key in rates:
            shown.add_row(key.replace("_", ", "), f"{rates[key]:,}")
    show(shown, f"{rates['photos']:,} photos, {rates['paths']:,} paths; this process took {rates['peak_mb']:,} MB at most.")


if __name__ == "__main__":
    typer.run(main)
