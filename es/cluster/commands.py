"""The commands about several nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.command_line import App
from core.errors import EngineError, FacedexError, UsageError
from core.settings import settings
from core.terminal import Json, Yes, ask, number_of, print_json, say, show, table

if TYPE_CHECKING:
    from types import ModuleType

    from es.cluster.plan import Kind, Member
    from es.cluster.record import Record

app = App(
    no_args_is_help=True,
    help="A cluster of Facedex's own: several Elasticsearch nodes on this machine, with TLS and a password.\n\n"
    "Example: facedex cluster up --nodes 3",
)

_NODES = 3
_SOON_SECONDS, _GREEN_SECONDS = 5, 120
_OTHERS_SECONDS = 600.0  # for another command that starts or stops it
_GIVE_UP_SECONDS = 60.0


@app.command()
def up(
    nodes: Annotated[
        int | None, typer.Option(min=1, max=16, help="How many nodes: 3 at first, then as many as there are.", metavar="NUMBER")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Each node's heap, like 1g; at first a share of a quarter of the memory.", metavar="SIZE"),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="docker, local (processes of this machine), or auto: docker where an engine runs.", metavar="ENGINE")
    ] = "auto",
    json: Json = False,
) -> None:
    """Start a cluster of several nodes, or what of it is stopped. From then on every command uses it.

    Certificates and a password are made once, and kept where only you can read them.

    Example: facedex cluster up --nodes 3 --memory 1g
    """
    from es.cluster import record
    from es.local.places import node_home

    with record.alone(settings(), seconds=_OTHERS_SECONDS):
        found = _planned(nodes, memory, engine)
        record.prepare(found.plan)
        record.write(found)
        members = engine_of(found.kind).up(found.plan, say)
        found = record.note_urls(found, tuple(member.url for member in members if member.url))
    health = _formed(found.nodes)
    if node_home(settings()).data.exists():
        say("facedex: the faces of the single node stay where they are, and are not in the cluster: ingest their photos again.")
    if settings().url is not None:
        say("facedex: ELASTICSEARCH_URL is set, so commands go on using that: unset it to use this cluster.")
    if json:
        print_json({**_document(found, members), "health": health})
        return
    show(
        f"{found.nodes} node{'s' * (found.nodes > 1)} up, health {health}: {', '.join(found.urls)}",
        f"The password and the certificate authority are in {found.folder}.",
    )


@app.command()
def down(
    erase: Annotated[
        bool, typer.Option("--erase", help="Delete its faces, its password and its certificates, too; snapshots stay.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Stop the cluster. Its faces are kept, unless they are to be erased.

    Example: facedex cluster down
    """
    from es.cluster import record

    found = record.read(settings())
    if found is None:
        _show_none(json, {"stopped": False, "erased": False})
        return
    if erase and not yes:
        ask(f"Delete the cluster of {number_of(found.nodes, 'node')} with all its faces?")
    stopped = engine_of(found.kind).down(found.plan, erase=False)  # at once: a command that is starting it gives up
    with record.alone(settings(), seconds=_GIVE_UP_SECONDS):
        found = record.read(settings()) or found  # it may have got more nodes meanwhile
        stopped = engine_of(found.kind).down(found.plan, erase=erase) or stopped
        if erase:
            record.erase(found)
    if json:
        print_json({"stopped": stopped, "erased": erase})
        return
    show("Erased." if erase else "Stopped; the faces are kept." if stopped else "The cluster was not running.")


@app.command()
def restart(
    names: Annotated[list[str] | None, typer.Argument(help="Only these nodes, such as es02.", metavar="NODE")] = None,
    json: Json = False,
) -> None:
    """Restart the nodes one after the other, each once every shard has its copies again: no search fails meanwhile.

    Each starts with what has changed: the heap of `facedex cluster up --memory`, another version of Elasticsearch, new certificates.

    Example: facedex cluster restart
    """
    from es.cluster import record

    with record.alone(settings(), seconds=_OTHERS_SECONDS):
        found = record.in_use(settings())
        if found is None:
            raise EngineError("There is no cluster of Facedex's own that was up: `facedex cluster up` makes one.", code="no_cluster")
        wrong = sorted(set(names or ()) - set(found.plan.names))
        if wrong:
            raise UsageError(f"There is no node {wrong[0]!r}: there are {', '.join(found.plan.names)}.")
        chosen = [name for name in found.plan.names if not names or name in names]
        record.prepare(found.plan)
        engine = engine_of(found.kind)
        for name in chosen:
            _check_green(found.nodes, name)
            say(f"Restarting {name}.")
            engine.stop(found.plan, name)
            engine.up(found.plan, say)
        health = _formed(found.nodes)
    if json:
        print_json({"restarted": chosen, "health": health})
    else:
        show(f"Restarted {', '.join(chosen)}; health {health}.")


def _check_green(nodes: int, name: str) -> None:
    """Lets no node go while another has no copy of what it holds.

    Raises:
        EngineError: the cluster did not become green.
    """
    health = _formed(nodes)
    if health != "green":
        raise EngineError(
            f"The cluster is {health}: not every shard has all its copies, so {name} was not restarted. See `facedex doctor`.",
            code="not_green",
        )


@app.command()
def status(json: Json = False) -> None:
    """Show the cluster: health, shards without a node, and each node. Starts nothing.

    Example: facedex cluster status --json
    """
    from es.cluster import record

    found = record.read(settings())
    if found is None:
        _show_none(json, {"kind": None, "urls": [], "health": "none", "unassigned_shards": None, "nodes": [], "folder": None})
        return
    document = status_of(found)
    if json:
        print_json(document)
        return
    show(f"{document['nodes_running']} of {number_of(found.nodes, 'node')} run ({found.kind}), health {document['health']}")
    if document["unassigned_shards"]:
        show(f"Without a node: {number_of(document['unassigned_shards'], 'copy of a shard', 'copies of shards')}.")
    shown = table("node", "", "address", "heap used", "heap", "disk free", right=("heap used", "heap", "disk free"))
    for entry in document["nodes"]:
        sizes = (_size(entry[key]) for key in ("heap_used_bytes", "heap_max_bytes", "disk_free_bytes"))
        shown.add_row(entry["name"], "running" if entry["running"] else "stopped", entry["url"] or "", *sizes)
    show(shown, f"The password and the certificate authority are in {found.folder}.")


def status_of(found: Record) -> dict[str, Any]:
    """The document of ``facedex cluster status``."""
    document = {**_document(found, engine_of(found.kind).members(found.plan)), "health": "stopped", "unassigned_shards": None}
    document["nodes_running"] = sum(entry["running"] for entry in document["nodes"])
    stats: dict[str, Any] = {}
    if found.urls:
        stats = _look(document)
    else:
        say("facedex: the cluster was not up yet, and is not used until then: `facedex cluster up` goes on with it.")
    absent = dict.fromkeys(("heap_used_bytes", "heap_max_bytes", "disk_free_bytes"))
    document["nodes"] = [{**absent, **stats.get(entry["name"], {}), **entry} for entry in document["nodes"]]
    return document


def _look(document: dict[str, Any]) -> dict[str, Any]:
    """Notes the cluster's health in the document; what each node says of itself, by name."""
    from es import client as connection
    from es.commands import nodes_of

    try:
        with connection.connect(_own()) as client, connection.speaking():
            health = client.cluster.health()
            document |= {"health": health["status"], "unassigned_shards": health["unassigned_shards"]}
            return {entry["name"]: entry for entry in nodes_of(client)}
    except FacedexError as error:
        if error.code != "cluster_stopped":
            document["health"] = "unreachable"
            say(f"facedex: {error}")
        return {}


def _planned(nodes: int | None, memory: str | None, engine: str) -> Record:
    """What is to run: what there is, with what was asked for.

    Raises:
        UsageError: it can't become that.
    """
    import re

    from es.cluster import containers, record
    from es.local.memory import heap

    if engine not in {"auto", "docker", "local"}:
        raise UsageError(f"{engine!r} is no engine: use docker, local or auto.")
    if memory is not None and not re.fullmatch(r"\d+[mMgG]", memory):
        raise UsageError(f"{memory!r} is no size: give a number and m or g, for example 1g.")
    found = record.read(settings())
    if found is None:
        kind: Kind = "docker" if engine == "docker" or (engine == "auto" and containers.available()) else "local"
        if kind == "docker" and not containers.available():
            raise EngineError("No Docker engine answers: start it, or give --engine local.", code="no_docker")
        count = nodes or _NODES
        return record.Record(record.folder(settings()), kind, count, heap(memory, count))
    if engine not in {"auto", found.kind}:
        raise UsageError(f"The cluster that is there runs as {found.kind}: `facedex cluster down --erase` removes it, then begin anew.")
    if nodes is not None and nodes < found.nodes:
        raise UsageError(
            f"The cluster has {number_of(found.nodes, 'node')}, and can't lose any: `facedex cluster down --erase` removes it."
        )
    return replace(found, nodes=nodes or found.nodes, heap=heap(memory) if memory else found.heap)


def engine_of(kind: Kind) -> ModuleType:
    """The module that runs the nodes."""
    from es.cluster import containers, processes

    return containers if kind == "docker" else processes


def _own() -> Any:
    """The settings without a cluster that somebody named."""
    return settings().model_copy(update={"url": None, "api_key": None, "username": None, "password": None})


def _formed(nodes: int) -> str:
    """Waits until all nodes are one cluster with all its shards; its health then, or after two minutes."""
    from es import client as connection

    wanted = {"wait_for_nodes": f">={nodes}", "wait_for_status": "green"}
    with connection.connect(_own()) as client:
        health = connection.health(client, _SOON_SECONDS, **wanted)
        if health["timed_out"]:
            missing = health["unassigned_shards"] + health["initializing_shards"]
            say(f"Waiting until every shard has its copies; {missing} are missing.")
            health = connection.health(client, _GREEN_SECONDS, **wanted)
        return str(health["status"])


def _document(found: Record, members: list[Member]) -> dict[str, Any]:
    nodes = [{"name": member.name, "running": member.running, "url": member.url} for member in members]
    return {"kind": found.kind, "urls": list(found.urls), "nodes": nodes, "folder": str(found.folder)}


def _show_none(json: bool, document: dict[str, Any]) -> None:
    if json:
        print_json(document)
    else:
        show("There is no cluster of Facedex's own: `facedex cluster up` makes one.")


def _size(count: int | None) -> str:
    from rich.filesize import decimal

    return "" if count is None else decimal(count)
