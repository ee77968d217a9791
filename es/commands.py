"""The commands about the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.command_line import App
from core.settings import settings
from core.terminal import Json, print_json, say, show, table
from es.collections_commands import UNKNOWN, collections, show_collections, size, summary

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.cluster.record import Record

app = App()
app.add_typer(collections, name="collections")


@app.command()
def up(json: Json = False) -> None:
    """Start the engine: an Elasticsearch node of Facedex's own, kept running between commands.

    Every command does this by itself when it needs to. With ELASTICSEARCH_URL set, nothing is started and that cluster is checked.

    Example: facedex up
    """
    from es import client as connection

    with connection.connect(settings(), say) as client:
        version = connection.allowed(lambda: connection.server_version(client))
    _engine(json, version)


def _engine(json: bool, version: str | None) -> None:
    from es.client import without_secrets
    from es.local import node

    cluster = _cluster()
    own = node.running(settings()) if settings().url is None and cluster is None else None
    url = own.url if own else ", ".join(cluster.urls) if cluster else without_secrets(settings().url or "")
    if json:
        print_json({"url": url, "version": version, "log": str(own.log) if own else None})
    else:
        show(f"Elasticsearch {version or UNKNOWN} is up at {url}" + (f", its log is {own.log}" if own else ""))


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

    return record.in_use(settings()) if settings().url is None else None


def _status(client: Elasticsearch, log: str | None) -> dict[str, Any]:
    from es import collections as stored
    from es.client import allowed, server_version, version_concern

    # What of the cluster the user may not see stays unknown; whoever may only search is shown the collections.
    version = allowed(lambda: server_version(client))
    if version is not None and (concern := version_concern(version)):
        say(f"facedex: {concern}")
    health = allowed(lambda: client.cluster.health()["status"])
    return {
        "url": str(next(iter(client.transport.node_pool.all())).base_url),
        "version": version,
        "health": health,
        "nodes": allowed(lambda: nodes_of(client)) or [],
        "collections": [summary(client, found) for found in allowed(lambda: stored.all_of(client)) or []],
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


def _show_status(document: dict[str, Any], json: bool, stopped: str = "") -> None:
    if json:
        print_json(document)
        return
    if document["url"] is None:
        show(stopped)
        return
    show(f"Elasticsearch {document['version'] or UNKNOWN} at {document['url']}, health {document['health'] or UNKNOWN}")
    if document["log"]:
        show(f"Its log: {document['log']}")
    if not document["nodes"]:
        show("This user may not see the nodes; `facedex security whoami` shows what you may do.")
    nodes = table("node", "heap used", "heap", "disk free", right=("heap used", "heap", "disk free"))
    for node in document["nodes"]:
        nodes.add_row(node["name"], *(size(node[key]) for key in ("heap_used_bytes", "heap_max_bytes", "disk_free_bytes")))
    if document["nodes"]:
        show(nodes)
    show_collections(document["collections"])
