"""The commands that make collections and fill them."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import CollectionError
from core.settings import settings
from core.terminal import DEFAULT_COLLECTION, DONE, INCOMPLETE, CollectionName, Json, print_json, say, show, table
from es.commands import collections
from ingest.sources import PersonFrom

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from faces.recipe import Recipe
    from ingest.report import Report

app = typer.Typer()

Model = Annotated[str | None, typer.Option(help="DeepFace's name of the recognition model.  [default: Dlib]", metavar="NAME")]
Detector = Annotated[str | None, typer.Option(help="DeepFace's name of the face detector.  [default: dlib]", metavar="NAME")]


@app.command()
def ingest(
    source: Annotated[list[Path], typer.Argument(help="Folders, photos, or with --person csv lists of photos.", metavar="SOURCE...")],
    collection: CollectionName = DEFAULT_COLLECTION,
    person: Annotated[
        PersonFrom | None,
        typer.Option(
            help="Who a photo shows: the folder it is in, the column `person` of a CSV list (with the column `path`), or not known. "
            " [default: csv for .csv files, else folder]",
            show_default=False,
        ),
    ] = None,
    min_face: Annotated[
        int, typer.Option(min=20, max=4000, help="Width in pixels from which faces are looked for.", metavar="PIXELS")
    ] = 80,
    model: Model = None,
    detector: Detector = None,
    anti_spoofing: Annotated[bool, typer.Option("--anti-spoofing", help="Leave out faces that look like a picture of a picture.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, max=512, help="Worker processes; 0: this process itself.  [default: one a core]")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(help="A Dask cluster to look at the photos, which its workers see at the same paths.", metavar="tcp://HOST:PORT"),
    ] = None,
    bulk_load: Annotated[
        bool | None,
        typer.Option(
            "--bulk-load/--no-bulk-load",
            help="While it runs, the index neither refreshes nor keeps copies.  [default: from 10,000 new photos on; copies of a "
            "collection that has faces already are kept]",
            show_default=False,
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge/--no-merge", help="Merge the index after a bulk load, so that searches are quick.")
    ] = True,
    rejects: Annotated[Path | None, typer.Option(help="Where to note the photos left out, as JSON lines.", metavar="FILE")] = None,
    json: Json = False,
) -> None:
    """Put the faces of photos into a collection, which is made if it isn't there.

    Photos that the collection holds already are skipped, by their content. A run that was cut off goes on where it stopped. What can't be
    used is counted by reason and noted in a file. Hidden files and folders are left out.

    Examples:

      facedex ingest ~/photos

      facedex ingest group.jpg --min-face 40 -c party
    """
    from faces.agreement import agreed
    from faces.recipe import resolve
    from ingest import sources
    from ingest.progress import shown
    from ingest.report import RejectsFile
    from ingest.run import Options, cores
    from ingest.run import ingest as run
    from ingest.worker import Detection

    listed = all(path.suffix.lower() == ".csv" for path in source)
    person = person or (PersonFrom.csv if listed else PersonFrom.folder)
    sources.check(source, person)
    wanted = resolve(model or "Dlib", detector or "dlib") if model or detector else None
    options = Options(
        Detection(min_face, anti_spoofing),
        cores() if workers is None else workers,
        settings().max_pixels,
        dask=dask,
        bulk_load=bulk_load,
        merge=merge,
    )
    rejects = rejects or settings().data_dir / "rejects" / f"{collection}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"

    from es import client as connection
    from es.collections import find

    with connection.connect(settings(), say) as client:
        if settings().url and (concern := connection.version_concern(connection.server_version(client))):
            say(f"facedex: {concern}")
        found = find(client, collection)
        if found is None:
            recipe = wanted or resolve()
            _create(client, collection, recipe)
        else:
            recipe = agreed(collection, found.recipe, model=model, detector=detector)
        with RejectsFile(rejects) as file, shown(lambda: sources.photos(source, person)) as seen:
            report = run(client, collection, recipe, sources.photos(source, person), file, options, seen)
    _show(report, json)
    raise typer.Exit(INCOMPLETE if report.rejected else DONE)


def _create(client: Elasticsearch, name: str, recipe: Recipe) -> None:
    from es.collections import create

    try:
        create(client, name, recipe.as_dict())
    except CollectionError as error:
        if error.code != "collection_exists":  # another ingest was quicker
            raise


def _show(report: Report, json: bool) -> None:
    from ingest.report import pace

    if json:
        print_json(report.as_dict())
        return
    shown = table("photos", "number", right=("number",))
    shown.add_row("with faces, stored", f"{report.indexed:,}")
    shown.add_row("skipped, there already", f"{report.skipped:,}")
    for reason, count in report.rejected.most_common():
        shown.add_row(f"rejected: {reason}", f"{count:,}")
    rate = report.photos / report.seconds
    show(
        shown,
        f"{report.faces:,} faces of {report.photos:,} photos into {report.collection} in {report.seconds:.1f} s, {rate:,.0f} a second",
    )
    if report.stages:
        show(pace(report))
    if report.rejects_file:
        show(f"What was left out, and why: {report.rejects_file}")


@collections.command("create")
def create_(
    name: Annotated[str, typer.Argument(help="The collection to make.")],
    model: Model = None,
    detector: Detector = None,
    index_type: Annotated[str | None, typer.Option(help="Vector index: flat, hnsw, or int8_, int4_, bbq_ and one of these.")] = None,
    shards: Annotated[int, typer.Option(min=1, max=1024, help="Primary shards.")] = 1,
    replicas: Annotated[
        int | None, typer.Option(min=0, max=10, help="Copies of each shard.  [default: one where there is a second node]")
    ] = None,
    json: Json = False,
) -> None:
    """Make an empty collection with a pinned recipe. (`facedex ingest` does so too, with the default one.)

    Example: facedex collections create staff --shards 3 --replicas 1
    """
    from es import client as connection
    from es.collections import DEFAULT_INDEX_TYPE, check_name, create
    from faces.recipe import resolve

    check_name(name)
    recipe = resolve(model or "Dlib", detector or "dlib")
    with connection.connect(settings(), say) as client:
        made = create(client, name, recipe.as_dict(), index_type=index_type or DEFAULT_INDEX_TYPE, shards=shards, replicas=replicas)
    if json:
        print_json({"name": made.name, "index": made.index, "index_type": made.index_type, "recipe": dict(made.recipe)})
    else:
        show(f"Made the collection {name} ({recipe.model}, {recipe.dims} dimensions, {made.index_type}).")
