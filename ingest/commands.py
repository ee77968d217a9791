"""The commands that make collections and fill them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import App
from core.errors import EngineError, UsageError
from core.files import check_writable
from core.settings import settings
from core.terminal import (
    DEFAULT_COLLECTION,
    DONE,
    INCOMPLETE,
    CollectionName,
    Json,
    Yes,
    ask,
    check_asking,
    number_of,
    print_json,
    say,
    show,
    table,
)
from es.collections_commands import ExpectedFaces
from ingest.rejects_commands import rejects as rejects_app
from photos.sources import PersonFrom
from workers.options import MinFace, WorkerCount

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from core.web import Limits
    from es.collections import Collection
    from ingest.report import Report

app = App()
app.add_typer(rejects_app, name="rejects")

Model = Annotated[str | None, typer.Option(help="DeepFace's name of the recognition model (default: Dlib).", metavar="NAME")]
Detector = Annotated[str | None, typer.Option(help="DeepFace's name of the face detector (default: dlib).", metavar="NAME")]


@app.command()
def ingest(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Folders, photos, zip and tar archives, addresses (s3://, gs://, https:// ...), or with --person csv lists of photos.",
            metavar="SOURCE",
        ),
    ],
    collection: CollectionName = DEFAULT_COLLECTION,
    person: Annotated[
        PersonFrom | None,
        typer.Option(
            help="Who a photo shows: the folder it is in, the column `person` of a CSV list (with the column `path`), or nobody "
            "(default: csv for .csv files, else folder).",
            metavar="none|folder|csv",
            show_default=False,
        ),
    ] = None,
    min_face: MinFace = 80,
    model: Model = None,
    detector: Detector = None,
    anti_spoofing: Annotated[bool, typer.Option("--anti-spoofing", help="Leave out faces that look like a picture of a picture.")] = False,
    min_quality: Annotated[
        list[str] | None,
        typer.Option(help="Leave out faces with less: size (pixels), sharpness, brightness or frontal (0 to 1).", metavar="MEASURE=NUMBER"),
    ] = None,
    thumbnails: Annotated[bool, typer.Option("--thumbnails", help="Store a small picture of each face, for reports.")] = False,
    workers: WorkerCount = None,
    dask: Annotated[
        str | None,
        typer.Option(help="A Dask cluster to look at the photos, which its workers see at the same paths.", metavar="tcp://HOST:PORT"),
    ] = None,
    bulk_load: Annotated[
        bool | None,
        typer.Option(
            "--bulk-load/--no-bulk-load",
            help="While it runs, the index neither refreshes nor keeps copies (default: from 10,000 new photos on; copies of a "
            "collection that has faces already are kept).",
            show_default=False,
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge/--no-merge", help="Merge the index after a bulk load, so that searches are quick.")
    ] = True,
    allow_private_addresses: Annotated[
        bool, typer.Option("--allow-private-addresses", help="Let addresses lead into private networks, and be of any kind.")
    ] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where to note the photos left out, as JSON lines.", metavar="FILE")] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Afterwards, delete the faces of photos below SOURCE that are gone.")] = False,
    expected_faces: ExpectedFaces = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every photo, also where its size and times did not change.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Put the faces of photos into a collection, which is made if it isn't there.

    Photos that the collection holds already are skipped, by their content. A run that was cut off goes on where it stopped. What can't be
    used is counted by reason and noted in a file. Hidden files and folders are left out. Photos that moved get their new path and person;
    those whose file has another content now get new faces.

    Examples:

      facedex ingest ~/photos

      facedex ingest group.jpg --min-face 40 -c party

      facedex ingest ~/photos --prune --yes
    """
    from core.web import Limits
    from faces.agreement import agreed
    from faces.quality import gate
    from faces.recipe import DEFAULT, resolve, spelled
    from ingest.progress import shown
    from ingest.report import RejectsFile
    from ingest.run import Options
    from ingest.run import ingest as run
    from photos import sources
    from workers.executors import cores
    from workers.worker import Detection

    listed = all(map(sources.is_list, source))
    if person is None and not listed and any(map(sources.is_list, source)):
        raise UsageError("CSV lists and other sources don't go together: ingest the lists by themselves.")
    person = person or (PersonFrom.csv if listed else PersonFrom.folder)
    limits = Limits(settings().web_seconds, allow_private_addresses or settings().allow_private_addresses)
    _check(source, person, limits, prune)
    names = spelled(model or DEFAULT.model, detector or DEFAULT.detector)
    if rejects:
        check_writable(rejects, "--rejects")
    options = Options(
        Detection(min_face, anti_spoofing, gate(min_quality or [])),
        cores() if workers is None else workers,
        settings().max_pixels,
        thumbnails=thumbnails,
        remember=settings().data_dir / "seen",
        rehash=rehash,
        dask=dask,
        bulk_load=bulk_load,
        merge=merge,
    )
    rejects = rejects or settings().data_dir / "rejects" / f"{collection}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"

    from es import client as connection
    from es.collections import ensure, find

    is_pruned = True
    with connection.connect(settings(), say) as client:
        version = connection.allowed(lambda: connection.server_version(client)) if settings().url else None
        if version and (concern := connection.version_concern(version)):
            say(f"facedex: {concern}")
        found = find(client, collection)
        if prune and not yes:
            _check_prune(client, found, _local(source))
        found = found or ensure(client, collection, resolve(*names).as_dict(), expected_faces=expected_faces)
        recipe = agreed(collection, found.recipe, model=model, detector=detector)
        with RejectsFile(rejects) as file, shown(lambda: sources.photos(source, person, limits)) as seen:
            report = run(client, collection, recipe, sources.photos(source, person, limits), file, options, seen)
        if not json:
            show_report(report, json)
        if prune:
            is_pruned = _prune(client, _local(source), report, yes)
    if json:
        print_json(report.as_dict())
    elif report.pruned.total():
        show(
            f"Pruned, as their photos are gone: {number_of(report.pruned['faces'], 'face')}, "
            f"{number_of(report.pruned['rejects'], 'reject')}."
        )
    raise typer.Exit(INCOMPLETE if report.rejected or report.outdated or not is_pruned else DONE)


def _check(source: list[str], person: PersonFrom, limits: Limits, prune: bool) -> None:
    from photos import sources

    try:
        sources.check(source, person, limits)
    except UsageError as error:
        if prune and error.code in {"empty_folder", "no_such_source"}:  # a disk that is not there looks the same
            raise UsageError(f"{error} Nothing was pruned; if the photos are gone, name the folder above.", code=error.code) from None
        raise
    if prune and person is PersonFrom.csv:
        raise UsageError("A list does not say which photos it held before: --prune needs folders or photos.")


def _local(sources: list[str]) -> list[Path]:
    """What is gone can be told of this machine's files only."""
    return [Path(each) for each in sources if "://" not in each]


def _check_prune(client: Elasticsearch, collection: Collection | None, sources: list[Path]) -> None:
    """Refuses, before a run that can be long, what nobody can be asked about after it; the number is told as it is before."""
    from es.transport import patience
    from ingest import prune

    if sys.stdin.isatty():
        return
    with patience(client):
        gone = prune.gone(client, collection.name, sources) if collection else Counter[str]()
    check_asking(f"{_question(gone)} (Fewer, where photos only moved.)")


def _question(gone: Counter[str]) -> str:
    return f"Delete {number_of(gone['faces'], 'face')} and {number_of(gone['rejects'], 'reject')} whose photos are gone?"


def _prune(client: Elasticsearch, sources: list[Path], report: Report, yes: bool) -> bool:
    """Deletes what is gone; says whether all of that could be done."""
    from es.transport import patience
    from ingest import prune

    if report.closed:
        say(f"facedex: nothing was pruned, because {number_of(report.closed, 'folder')} can't be read: what is in there is not known.")
        return False
    with patience(client):
        if not yes:
            gone = prune.gone(client, report.collection, sources)
            if not gone.total():
                return True
            ask(_question(gone))
        try:
            report.pruned = prune.prune(client, report.collection, sources)
        except EngineError as error:
            if error.code != "forbidden":
                raise
            say(f"facedex: nothing was pruned: {error}")
            return False
    return True


def show_report(report: Report, json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Prints what a run did; ``more`` is for JSON alone."""
    from ingest.report import pace

    if json:
        print_json(report.as_dict() | dict(more or {}))
        return
    shown = table("photos", "number", right=("number",))
    shown.add_row("with faces, stored", f"{report.indexed:,}")
    shown.add_row("skipped, there already", f"{report.skipped:,}")
    if report.moved:
        shown.add_row("  of these, moved", f"{report.moved:,}")
    if report.renamed:
        shown.add_row("  of these, with another name or label", f"{report.renamed:,}")
    if report.replaced:
        shown.add_row("replaced, as the file changed", f"{report.replaced:,}")
    for reason, count in report.rejected.most_common():
        shown.add_row(f"rejected: {reason}", f"{count:,}")
    if report.again:
        shown.add_row("of these, looked at again", f"{report.again:,}")
    if report.below_quality:
        shown.add_row("faces below --min-quality", f"{report.below_quality:,}")
    rate = report.photos / max(report.seconds, 1e-9)
    show(
        shown,
        f"{number_of(report.faces, 'face')} of {number_of(report.photos, 'photo')} into {report.collection} in "
        f"{report.seconds:.1f} s, {rate:,.0f} a second",
    )
    if report.indexed > 1 and len(report.people) == 1 and None not in report.people:
        name = next(iter(report.people))
        show(f"All of them were taken for photos of {name!r}, the folder they are in: --person none leaves people unnamed.")
    if report.stages:
        show(pace(report))
    if report.outdated:
        show(
            f"Still there, though out of date: {number_of(report.outdated, 'face or reject', 'faces or rejects')}, "
            "because this user may not delete: "
            "have a steward of the collection run the same command."
        )
    if report.rejects_file:
        show(f"What was left out, and why: {report.rejects_file}")
