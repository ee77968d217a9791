"""The commands about collections that know how faces are made: made, and moved to another index or model."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.settings import settings
from core.terminal import DONE, INCOMPLETE, Json, number_of, print_json, say, show
from es.collections_commands import ExpectedFaces, IndexType, Replicas, Shards, collections, show_layout, warn_of_copies
from ingest.commands import Detector, Model

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection
    from es.migration import Moved, Shape
    from ingest.migration import Photos
    from ingest.report import Report


@collections.command("create")
def create_(
    name: Annotated[str, typer.Argument(help="The collection to make.")],
    model: Model = None,
    detector: Detector = None,
    index_type: IndexType = None,
    expected_faces: ExpectedFaces = None,
    shards: Shards = None,
    replicas: Replicas = None,
    json: Json = False,
) -> None:
    """Make an empty collection with a pinned recipe. (`facedex ingest` does so too, with the default one.)

    Without --shards, there is one; with --expected-faces, as many as so many faces need.

    Example: facedex collections create staff --expected-faces 5000000
    """
    from es import client as connection
    from es.collections import check_name, create, planned
    from faces.recipe import resolve

    check_name(name)
    recipe = resolve(model or "Dlib", detector or "dlib")
    with connection.connect(settings(), say) as client:
        made = create(
            client,
            name,
            recipe.as_dict(),
            index_type=index_type,
            shards=shards,
            replicas=replicas,
            expected_faces=expected_faces,
        )
        warn_of_copies(client, replicas)
        expected = (
            planned(client, made.dims, made.index_type, expected_faces, shards=shards, replicas=replicas)
            if expected_faces is not None
            else None
        )
    if json:
        estimate: dict[str, Any] | None = None
        if expected is not None:
            estimate = {"faces": expected_faces, "memory_bytes": expected.memory_bytes, "disk_bytes": expected.disk_bytes}
        shape = {"name": made.name, "index": made.index, "index_type": made.index_type}
        print_json(shape | {"recipe": dict(made.recipe), "expected": estimate})
        return
    show(f"Made the collection {name} ({recipe.model}, {recipe.dims} dimensions, {made.index_type}).")
    if expected is not None and expected_faces is not None:
        show_layout(expected_faces, expected)


@collections.command("migrate")
def migrate_(
    name: Annotated[str, typer.Argument(help="The collection.")],
    index_type: IndexType = None,
    shards: Shards = None,
    expected_faces: ExpectedFaces = None,
    replicas: Replicas = None,
    model: Model = None,
    detector: Detector = None,
    min_face: Annotated[int, typer.Option(min=20, max=4000, help="With another model: as `facedex ingest` has it.", metavar="PIXELS")] = 80,
    merge: Annotated[bool, typer.Option("--merge/--no-merge", help="Merge the new index, so that searches are quick.")] = True,
    leave_missing: Annotated[
        bool, typer.Option("--leave-missing", help="With another model: go on without the photos that are gone.")
    ] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Delete the old index afterwards.")] = False,
    json: Json = False,
) -> None:
    """Move a collection to a new index, while it is searched and written: of another type, with other shards, or of another model.

    Vectors are copied; for another model, all photos are looked at again, and meanwhile the collection takes no writes. The old index is
    kept until `facedex collections drop-old`. A migration that was cut off is taken back by the next command.

    Examples:

      facedex collections migrate faces --expected-faces 20000000

      facedex collections migrate faces --model Facenet512 --detector retinaface
    """
    from es import client as connection
    from es.collections import annotate, get, planned
    from es.migration import Shape, migrate
    from es.operations import recorded
    from faces.recipe import Recipe, resolve

    with connection.connect(settings(), say) as client:
        found = get(client, name)
        pinned = Recipe.from_dict(found.recipe)
        recipe = resolve(model or pinned.model, detector or pinned.detector) if model or detector else pinned
        is_anew = recipe.difference(pinned) is not None
        expected = expected_faces if expected_faces is not None else found.notes.get("expected_faces")
        if shards is None and expected is not None:
            shards = planned(client, recipe.dims, index_type or found.index_type, int(expected)).shards
        shape = Shape(index_type, shards, replicas, merge)
        report = photos = None
        with recorded(client, "migrate", name):
            if is_anew:
                moved, report, photos = _anew(client, found, recipe, shape, min_face, leave_missing=leave_missing, drop_old=drop_old)
            else:
                moved = migrate(client, name, shape, say, drop_old=drop_old)
        if expected_faces is not None:
            annotate(client, name, expected_faces=expected_faces)
        warn_of_copies(client, replicas)
    _tell(moved, report, photos, json)
    raise typer.Exit(INCOMPLETE if (report and report.rejected) or (photos and photos.gone) else DONE)


def _anew(
    client: Elasticsearch, found: Collection, recipe: Any, shape: Shape, min_face: int, *, leave_missing: bool, drop_old: bool
) -> tuple[Moved, Report, Photos]:
    from core.web import Limits
    from ingest.migration import Photos, migrate
    from ingest.progress import shown
    from ingest.report import RejectsFile
    from ingest.run import Options
    from workers.executors import cores
    from workers.worker import Detection

    config = settings()
    limits = Limits(config.web_seconds, config.allow_private_addresses)
    note = config.data_dir / "rejects" / f"{found.name}-migrate-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"
    options = Options(Detection(min_face), cores(), config.max_pixels)
    say(f"Looking at the photos of {found.name} with {recipe.model}; it is searched as it is, and takes no writes.")
    counted = Photos(client, found.index, limits)
    with RejectsFile(note) as file, shown(counted.sources) as seen:
        return migrate(client, found.name, recipe, shape, options, file, limits, seen, leave_missing=leave_missing, drop_old=drop_old)


def _tell(moved: Moved, report: Report | None, photos: Photos | None, json: bool) -> None:
    from ingest.commands import show_report

    if json:
        more = {"ingest": report.as_dict() if report else None, "gone": photos.gone if photos else 0}
        print_json(moved.as_dict() | more)
        return
    if report:
        show_report(report, json)
    for path in photos.gone_first if photos else ():
        say(f"gone: {path}")
    took = f"{moved.seconds:.1f} s, of which writers waited {moved.held_seconds:.1f} s"
    show(
        f"{moved.collection} is {moved.index} now: {number_of(moved.faces, 'face')}, {moved.index_type}, "
        f"{number_of(moved.shards, 'shard')}; {took}."
    )
    if moved.agreement is not None:
        show(f"Of a sample of searches, {moved.agreement:.1%} of the nearest 10 are the same.")
    if moved.kept:
        show(f"{moved.old} is kept: `facedex collections drop-old {moved.collection}` deletes it.")
