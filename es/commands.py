"""The commands about the engine and its collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import FacedexError
from core.settings import settings
from core.terminal import Json, Yes, ask, print_json, say, show, table

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.cluster.record import Record
    from es.collections import Collection

app = typer.Typer()
collections = typer.Typer(
    no_args_is_help=True, help="Sets of faces, each made with one pinned recipe.\n\nExample: facedex collections list"
)
app.add_typer(collections, name="collections")


@app.command()
def up(json: Json = False) -> None:
    """Start the engine: an Elasticsearch node of Facedex's own, kept running between commands.

    Every command does this by itself when it needs to. With ELASTICSEARCH_URL set, nothing is started and that cluster is checked.

    Example: facedex up
    """
    from es import client as connection

    with connection.connect(settings(), say) as client:
        version = connection.server_version(client)
    _engine(json, version)


def _engine(json: bool, version: str) -> None:
    from es.client import without_secrets
    from es.local import node

    cluster = _cluster()
    own = node.running(settings()) if settings().url is None and cluster is None else None
    url = own.url if own else ", ".join(cluster.urls) if cluster else without_secrets(settings().url or "")
    if json:
        print_json({"url": url, "version": version, "log": str(own.log) if own else None})
    else:
        show(f"Elasticsearch {version} is up at {url}" + (f", its log is {own.log}" if own else ""))


@app.command()
def down(json: Json = False) -> None:
    """Stop Facedex's own Elasticsearch node. Its faces are kept.

    Example: facedex down
    """
    from es.local import node

    stopped = node.stop(settings())
    if _cluster():
        say("facedex: the cluster is none of this command's: `facedex cluster down` stops it.")
    if json:
        print_json({"stopped": stopped})
    else:
        show("Stopped; the faces are kept." if stopped else "Facedex's own node was not running.")


@app.command()
def status(json: Json = False) -> None:
    """Show the engine: address, version, health, nodes, collections, and where its log is. Starts nothing.

    Example: facedex status --json
    """
    from es.local import node

    log = None
    stopped: dict[str, Any] = {"url": None, "version": None, "health": "stopped", "nodes": [], "collections": [], "log": None}
    if cluster := _cluster():
        from es.access import STOPPED, is_running

        if not is_running(cluster):
            _show_status(stopped, json, STOPPED)
            return
    elif settings().url is None:
        log = str(node.log_path(settings()))
        if node.running(settings()) is None:
            told = f"Facedex's own Elasticsearch node is not running: the next command starts it, or `facedex up`.\nIts log: {log}"
            _show_status(stopped | {"log": log}, json, told)
            return
    from es import client as connection

    with connection.connect(settings(), say) as client:
        _show_status(_status(client, log), json)


def _cluster() -> Record | None:
    """Facedex's own cluster, if it is what commands use."""
    from es.cluster import record

    return record.read(settings()) if settings().url is None else None


def _status(client: Elasticsearch, log: str | None) -> dict[str, Any]:
    from es import collections as stored
    from es.client import server_version, speaking, version_concern

    version = server_version(client)
    if concern := version_concern(version):
        say(f"facedex: {concern}")
    with speaking():
        health = client.cluster.health()
    return {
        "url": str(next(iter(client.transport.node_pool.all())).base_url),
        "version": version,
        "health": health["status"],
        "nodes": nodes_of(client),
        "collections": [_summary(client, found) for found in stored.all_of(client)],
        "log": log,
    }


def nodes_of(client: Elasticsearch) -> list[dict[str, Any]]:
    """Each node of a cluster, by name."""
    from es.client import speaking

    with speaking():
        nodes = client.nodes.stats(metric=["jvm", "fs"], filter_path="nodes.*.name,nodes.*.roles,nodes.*.jvm.mem,nodes.*.fs.total")
    return sorted(map(_node, nodes["nodes"].values()), key=lambda node: str(node["name"]))


def _node(entry: dict[str, Any]) -> dict[str, Any]:
    memory, disk = entry["jvm"]["mem"], entry["fs"]["total"]
    return {
        "name": entry["name"],
        "heap_used_bytes": memory["heap_used_in_bytes"],
        "heap_max_bytes": memory["heap_max_in_bytes"],
        "disk_free_bytes": disk.get("available_in_bytes"),
    }


def _summary(client: Elasticsearch, collection: Collection) -> dict[str, Any]:
    from es.collections import count
    from es.loading import recover

    try:
        if recover(client, collection.name):
            say(f"facedex: {collection.name}: a bulk load was cut off; refreshes and copies are as they were before it.")
        counts: dict[str, int | None] = {**count(client, collection)}
    except FacedexError as error:  # one that is broken must not hide the others
        say(f"facedex: {collection.name}: {error}")
        counts = dict.fromkeys(("faces", "people", "photos", "rejects"))
    return {"name": collection.name, **counts, "recipe": dict(collection.recipe)}


def _show_status(document: dict[str, Any], json: bool, stopped: str = "") -> None:
    if json:
        print_json(document)
        return
    if document["url"] is None:
        show(stopped)
        return
    show(f"Elasticsearch {document['version']} at {document['url']}, health {document['health']}")
    if document["log"]:
        show(f"Its log: {document['log']}")
    nodes = table("node", "heap used", "heap", "disk free", right=("heap used", "heap", "disk free"))
    for node in document["nodes"]:
        nodes.add_row(node["name"], *(_size(node[key]) for key in ("heap_used_bytes", "heap_max_bytes", "disk_free_bytes")))
    show(nodes)
    _show_collections(document["collections"])


def _size(count: int | None) -> str:
    from rich.filesize import decimal

    return "?" if count is None else decimal(count)


def _show_collections(found: list[dict[str, Any]]) -> None:
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
        found = [_summary(client, collection) for collection in all_of(client)]
    if json:
        print_json({"collections": found})
    else:
        _show_collections(found)


@collections.command("show")
def show_(name: Annotated[str, typer.Argument(help="The collection.")], json: Json = False) -> None:
    """Describe one collection: its recipe, what it holds, what it left out and why, how it is stored.

    Example: facedex collections show faces
    """
    from es import client as connection
    from es.collections import describe, get

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
    for key in ("model", "detector", "alignment", "dims", "metric", "threshold", "search_threshold", "weights_sha256"):
        shown.add_row(key.replace("_", " "), str(described["recipe"].get(key)))
    for key in ("index", "index_type", "shards", "replicas", "health"):
        shown.add_row(key.replace("_", " "), str(described[key]))
    shown.add_row("on disk", _size(described["bytes"]))
    shown.add_row("created", described["created"])
    show(shown)


@collections.command("delete")
def delete_(name: Annotated[str, typer.Argument(help="The collection.")], yes: Yes = False, json: Json = False) -> None:
    """Delete a collection with all its faces.

    Example: facedex collections delete faces --yes
    """
    from es import client as connection
    from es.collections import count, delete, get

    with connection.connect(settings(), say) as client:
        found = get(client, name)
        faces = count(client, found)["faces"]
        if not yes:
            ask(f"Delete the collection {name} with its {faces:,} faces?")
        delete(client, found)
    if json:
        print_json({"deleted": name, "faces": faces})
    else:
        show(f"Deleted {name} with its {faces:,} faces.")


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
            f"{name}: {before['segments']:,} segments before, {after['segments']:,} now; {before['deleted']:,} deleted documents before, "
            f"{after['deleted']:,} now; {_size(before['bytes'])} before, {_size(after['bytes'])} now."
        )
