"""The commands about collections that need no photos: listed, shown, changed where they are, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import App
from core.errors import FacedexError, UsageError
from core.settings import settings
from core.terminal import Json, Yes, ask, number_of, print_json, say, show, table

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection
    from es.sizing import Layout

collections = App(no_args_is_help=True, help="Sets of faces, each made with one pinned recipe.\n\nExample: facedex collections list")

ExpectedFaces = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many faces there will be: chooses shards, and the index type of models without cells.",
        metavar="NUMBER",
        show_default=False,
    ),
]
IndexType = Annotated[
    str | None,
    typer.Option(
        help="bbq_flat (every face is compared, by bits first: the usual one), int4_flat, int8_flat or flat; with a graph bbq_hnsw, "
        "int4_hnsw, int8_hnsw or hnsw. docs/migration.md says which is for what.",
        metavar="TYPE",
        show_default=False,
    ),
]
Shards = Annotated[int | None, typer.Option(min=1, max=1024, help="Primary shards.", metavar="NUMBER", show_default=False)]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=0, max=10, help="Copies of each shard (default: one where there is a second node).", metavar="NUMBER", show_default=False
    ),
]

UNKNOWN = "(not for this user to know)"


def summary(client: Elasticsearch, collection: Collection) -> dict[str, Any]:
    """What lists say of a collection; what was cut off in it is put right."""
    from es import loading, versions
    from es.collections import count

    try:
        if versions.recover(client, collection.name):
            say(f"facedex: {collection.name}: a migration was cut off; what it left is gone, and the collection takes writes again.")
        if loading.recover(client, collection.name, say):
            say(f"facedex: {collection.name}: a bulk load was cut off; refreshes and copies are as they were before it.")
        counts: dict[str, int | None] = {**count(client, collection)}
    except FacedexError as error:  # one that is broken must not hide the others
        say(f"facedex: {collection.name}: {error}")
        counts = dict.fromkeys(("faces", "people", "photos", "rejects"))
    return {"name": collection.name, **counts, "recipe": dict(collection.recipe)}


def size(count: int | None) -> str:
    """Bytes for people."""
    from rich.filesize import decimal

    return "?" if count is None else decimal(count)


def show_collections(found: list[dict[str, Any]]) -> None:
    """Prints a table of summaries."""
    if not found:
        show("No collection yet: `facedex ingest FOLDER` makes one.")
        return
    shown = table("collection", "faces", "people", "photos", "rejects", "model", right=("faces", "people", "photos", "rejects"))
    for entry in found:
        counts = ("?" if entry[key] is None else f"{entry[key]:,}" for key in ("faces", "people", "photos", "rejects"))
        shown.add_row(entry["name"], *counts, str(entry["recipe"]["model"]))
    show(shown)


@collections.command("list")
def list_(json: Json = False) -> None:
    """List the collections.

    Example: facedex collections list
    """
    from es import client as connection
    from es.collections import all_of

    with connection.connect(settings(), say) as client:
        found = [summary(client, collection) for collection in all_of(client)]
    if json:
        print_json({"collections": found})
    else:
        show_collections(found)


@collections.command("show")
def show_(name: Annotated[str, typer.Argument(help="The collection.")], json: Json = False) -> None:
    """Describe one collection: its recipe, what it holds, what it left out and why, how it is stored.

    Example: facedex collections show faces
    """
    from es import client as connection
    from es.collections import describe, get
    from es.index_types import GRAPH_FROM

    with connection.connect(settings(), say) as client:
        described = describe(client, get(client, name))
    if json:
        print_json(described)
        return
    shown = table("", "")
    shown.add_row("collection", name)
    for key in ("faces", "people", "photos", "rejects"):
        shown.add_row(key, f"{described[key]:,}")
    for reason, count in described["rejected"].items():
        shown.add_row(f"  {reason}", f"{count:,}")
    called = {"threshold": "threshold of verify", "search_threshold": "threshold of search", "weights_sha256": "weights sha256"}
    for key in ("model", "detector", "alignment", "dims", "metric", *called):
        shown.add_row(called.get(key, key), str(described["recipe"].get(key)))
    for key in ("index", "index_type", "shards", "replicas", "health"):
        shown.add_row(key.replace("_", " "), UNKNOWN if described[key] is None else str(described[key]))
    if described["graph_waits"]:
        shown.add_row("graph", f"from {GRAPH_FROM:,} faces on, after an ingest; until then every face is compared")
    shown.add_row("on disk", size(described["bytes"]))
    shown.add_row("created", described["created"])
    if described["expected_faces"] is not None:
        shown.add_row("expected faces", f"{described['expected_faces']:,}")
    if described["num_candidates"] is not None:
        shown.add_row("candidates", f"{described['num_candidates']:,} (bench recall --store)")
    if described["old"]:
        shown.add_row("kept", f"{', '.join(described['old'])} (collections drop-old)")
    if described["migrating_to"]:
        shown.add_row("migrating to", described["migrating_to"])
    show(shown)


@collections.command("delete")
def delete_(name: Annotated[str, typer.Argument(help="The collection.")], yes: Yes = False, json: Json = False) -> None:
    """Delete a collection with all its faces.

    Example: facedex collections delete faces --yes
    """
    from es import client as connection
    from es.collections import count, delete, get
    from es.operations import recorded

    with connection.connect(settings(), say) as client:
        found = get(client, name)
        faces = count(client, found)["faces"]
        if not yes:
            ask(f"Delete the collection {name} with {number_of(faces, 'face')}?")
        with recorded(client, "delete", name, lambda: {"faces": faces}):
            delete(client, found)
    if json:
        print_json({"deleted": name, "faces": faces})
    else:
        show(f"Deleted {name} with {number_of(faces, 'face')}.")


@collections.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The collection.")],
    replicas: Replicas = None,
    index_type: IndexType = None,
    expected_faces: ExpectedFaces = None,
    json: Json = False,
) -> None:
    """Change a collection where it is: copies, the number of expected faces, the type of vector index.

    Types change forwards in the order flat, int8_flat, int4_flat, bbq_flat, hnsw, int8_hnsw, int4_hnsw, bbq_hnsw. The way back, and other
    shards, take `facedex collections migrate`.

    Example: facedex collections set faces --replicas 1
    """
    from es import client as connection
    from es.adjusting import adjust
    from es.collections import describe, planned

    if replicas is None and index_type is None and expected_faces is None:
        raise UsageError("Say what to change: --replicas, --index-type or --expected-faces.")
    with connection.connect(settings(), say) as client:
        found = adjust(client, name, replicas=replicas, index_type=index_type, expected_faces=expected_faces)
        described = describe(client, found)
        advised = planned(client, found.dims, found.index_type, expected_faces) if expected_faces else None
        warn_of_copies(client, replicas)
    if json:
        print_json(described)
        return
    show(
        f"{name}: {described['index_type']}, {number_of(described['shards'], 'shard')}, "
        f"{number_of(described['replicas'], 'copy', 'copies')} of each."
    )
    if advised and expected_faces and advised.shards != described["shards"]:
        show(
            f"For {number_of(expected_faces, 'face')}, {number_of(advised.shards, 'shard')} would be better: "
            f"`facedex collections migrate {name}` makes them."
        )


@collections.command("drop-old")
def drop_old_(name: Annotated[str, typer.Argument(help="The collection.")], yes: Yes = False, json: Json = False) -> None:
    """Delete the old index that a migration left.

    Example: facedex collections drop-old faces --yes
    """
    from es import client as connection
    from es.versions import drop_old, versions

    with connection.connect(settings(), say) as client:
        old = list(versions(client, name).old)
        if old and not yes:
            ask(f"Delete {', '.join(old)}, which {name} does not use any more?")
        dropped = drop_old(client, name)
    if json:
        print_json({"collection": name, "dropped": dropped})
    else:
        show(f"Deleted {', '.join(dropped)}." if dropped else f"{name} has no old index.")


def warn_of_copies(client: Elasticsearch, replicas: int | None) -> None:
    """Says so where the cluster has too few nodes for so many copies of each shard."""
    from es.client import allowed

    nodes = allowed(lambda: int(client.cluster.health(filter_path="number_of_data_nodes")["number_of_data_nodes"]))
    if nodes is not None and replicas is not None and replicas >= nodes:
        there = "there is 1" if nodes == 1 else f"there are {nodes}"
        say(
            f"facedex: for {number_of(replicas, 'copy', 'copies')} of a shard it takes {replicas + 1} nodes, and {there}: "
            "the cluster is yellow until there are more. "
            f"--replicas {nodes - 1} is the most that has a place."
        )


def show_layout(faces: int, layout: Layout) -> None:
    """Prints what is expected of so many faces."""
    show(
        f"For {number_of(faces, 'face')}: {number_of(layout.shards, 'shard')}, {number_of(layout.replicas, 'copy', 'copies')} "
        f"of each; about {size(layout.memory_bytes)} of memory for "
        f"quick searches, {size(layout.disk_bytes)} of disk, {size(layout.peak_disk_bytes)} while it merges."
    )


@collections.command()
def optimize(name: Annotated[str, typer.Argument(help="The collection.")], json: Json = False) -> None:
    """Merge the index of a collection into few segments: searches get quicker, and deleted faces leave the disk.

    Worth it after large ingests and many deletions. For a while it takes up to twice the disk.

    Example: facedex collections optimize faces
    """
    from es import client as connection
    from es.collections import get
    from es.optimize import optimize as merge

    with connection.connect(settings(), say) as client:
        done = merge(client, get(client, name), say)
    if json:
        print_json({"collection": name, **done})
    else:
        before, after = done["before"], done["after"]
        show(
            f"{name}: {number_of(before['segments'], 'segment')} before, {after['segments']:,} now; "
            f"{number_of(before['deleted'], 'deleted document')} before, "
            f"{after['deleted']:,} now; {size(before['bytes'])} before, {size(after['bytes'])} now."
        )
