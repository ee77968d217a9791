"""The nodes of a cluster as processes of this machine, each with a supervisor of its own (see ``es.local``), on loopback only.

Each has two ports, chosen once and kept in ``nodes.json`` beside the record: programs that hold the addresses find a node again that was
started again, and so do the other nodes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import EngineError, StorageError
from core.settings import ELASTICSEARCH_VERSION, Settings, settings
from es.cluster.plan import Member, Plan
from es.cluster.shape import free_port, is_free, node_settings
from es.local import node, places
from es.local.places import Home

_FOREVER = 1e9  # seconds
_HELD = ("http", "transport")

Ports = dict[str, dict[str, int]]  # by node: http, transport


def up(plan: Plan, say: Callable[[str], None]) -> list[Member]:
    """Starts the nodes that don't run, all at the same time, and waits until each answers; then says where all are.

    Raises:
        EngineError: one can't be started; the others go on.
        StorageError: a folder can't be written, or the disk is full.
    """
    from es.local import distribution, jdk, locks, start
    from es.local.launch import Job

    config = settings()
    homes = _homes(config, plan)
    user = places.server_user(config)
    java_home, server = jdk.find_java_home(config, say), distribution.find_server(config, say)
    try:
        with locks.exclusive(plan.folder / "starting.lock", seconds=2 * config.node_start_seconds):
            missing = [name for name, home in homes.items() if start.await_other(config, home) is None]
            kept = _read(plan)
            kept["formed"] = kept["formed"] and _have_data(homes.values())
            ports = _choose(plan, kept["ports"], missing)
            _write(plan, formed=kept["formed"], ports=ports)
            if missing:
                say(f"Starting Elasticsearch ({', '.join(missing)}).")
            snapshots = _snapshots(config, user)
            for name in missing:
                home = homes[name]
                places.make_home(home, user)
                node.clear_leftovers(home, patience=10)
                start.spawn(
                    Job(
                        home=str(home.path),
                        server=str(server),
                        java_home=str(java_home),
                        version=ELASTICSEARCH_VERSION,
                        heap=plan.heap,
                        port=ports[name]["http"],
                        idle_seconds=_FOREVER,
                        start_seconds=config.node_start_seconds,
                        user=user,
                        node=name,
                        extra=_extra(plan, name, ports, formed=kept["formed"]) | {"path.repo": [str(snapshots)]},
                        files=str(plan.files(name)),
                    )
                )
            for name in missing:
                start.await_ready(config, homes[name])
            _write(plan, formed=True, ports=ports)
    except TimeoutError:
        raise EngineError(
            "Another command has been starting the cluster for too long: try `facedex cluster down`.", code="engine_start"
        ) from None
    except OSError as error:
        raise StorageError.of(error, f"start the nodes of {plan.folder}", "Free it, or set FACEDEX_DATA_DIR to another place.") from None
    return members(plan)


def members(plan: Plan) -> list[Member]:
    """The nodes as they are now."""
    found = ((name, node.ready(home)) for name, home in _homes(settings(), plan).items())
    return [Member(name, at.url, running=True, id=str(at.pid)) if at else Member(name, None, running=False, id="") for name, at in found]


def down(plan: Plan, *, erase: bool) -> bool:
    """Stops all nodes, at the same time, and waits for their end; says whether any ran. Their faces go only if they are to be erased."""
    homes = list(_homes(settings(), plan).values())
    with ThreadPoolExecutor(len(homes)) as pool:
        ran = list(pool.map(node.stop_at, homes))
    if erase:
        for home in homes:
            _remove(home.path)
        shared = _shared(settings())
        with suppress(OSError):  # snapshots stay
            for place in (shared.snapshots, shared.path, shared.path.parent):
                place.rmdir()
    return any(ran)


def stop(plan: Plan, name: str) -> bool:
    """Stops one node in good order; says whether it ran."""
    return node.stop_at(home_of(plan, name))


def home_of(plan: Plan, name: str) -> Home:
    """The folder of a node."""
    return _homes(settings(), plan)[name]


def _homes(config: Settings, plan: Plan) -> dict[str, Home]:
    # Beside the record, whose folder the server's user can't enter.
    return {name: places.home_of(config, f"nodes/{name}") for name in plan.names}


def _snapshots(config: Settings, user: places.User | None) -> Path:
    """The folder that all nodes share for snapshots. It stays when the nodes are erased."""
    shared = _shared(config)
    places.make_folder(shared.path)
    places.make_servers(shared.snapshots, user)
    return shared.snapshots


def _shared(config: Settings) -> Home:
    # A home that belongs to the server's user itself would be refused when root starts the cluster again.
    return places.home_of(config, "nodes/shared")


def _have_data(homes: Iterable[Home]) -> bool:
    """Whether any node knows the cluster. Where none does (an erasure was cut off), they would wait for each other for ever."""
    return any(home.data.is_dir() and any(home.data.iterdir()) for home in homes)


def _remove(path: Path) -> None:
    try:
        if path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise StorageError.of(error, f"remove {path}", "Remove it by hand.") from None


def _extra(plan: Plan, name: str, ports: Ports, *, formed: bool) -> dict[str, object]:
    return node_settings(plan, name, formed=formed) | {
        "discovery.seed_hosts": [f"127.0.0.1:{ports[each]['transport']}" for each in plan.names],
        "transport.port": ports[name]["transport"],
    }


def _read(plan: Plan) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads((plan.folder / "nodes.json").read_text())
    except (FileNotFoundError, ValueError):
        return {"formed": False, "ports": {}}
    return kept


def _write(plan: Plan, *, formed: bool, ports: Ports) -> None:
    from es.security.file_realm import private

    private(plan.folder / "nodes.json", json.dumps({"formed": formed, "ports": ports}, indent=2) + "\n")


def _choose(plan: Plan, kept: Ports, missing: list[str]) -> Ports:
    """The ports of all nodes: as before, unless another program has taken one meanwhile."""
    ports: Ports = {}
    taken = {port for pair in kept.values() for port in pair.values()}
    for name in plan.names:
        pair = dict(kept.get(name, {}))
        for what in _HELD:
            if what not in pair or (name in missing and not is_free(pair[what])):
                pair[what] = free_port(taken)
                taken.add(pair[what])
        ports[name] = pair
    return ports
