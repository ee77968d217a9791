"""The slow way through ``es.local.node.ensure``: nothing runs, or something that ran is gone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import EngineError, FacedexError, StorageError, UsageError
from core.settings import ELASTICSEARCH_VERSION
from es.local import distribution, jdk, locks, memory, node, places
from es.local.launch import Job

if TYPE_CHECKING:
    from core.settings import Settings

_POLL = 0.05
_GRACE = 45.0  # beyond node_start_seconds: the supervisor keeps to the limit itself, and needs time to stop what it started
_LEFTOVER_SECONDS = 10.0
_FULL_BYTES = 1_000_000
_KINDS: dict[str, type[FacedexError]] = {kind.__name__: kind for kind in (EngineError, StorageError, UsageError)}


def start(settings: Settings, home: places.Home, say: Callable[[str], None]) -> node.Node:
    """Starts the node, or waits for the one that another command is starting."""
    user = places.server_user(settings)
    java_home = jdk.find_java_home(settings, say)
    server = distribution.find_server(settings, say)
    places.make_home(home, user)
    try:
        with locks.exclusive(home.starting, seconds=2 * (settings.node_start_seconds + _GRACE)):
            found = node.ready(home) or await_other(settings, home)
            if found is not None:
                return found
            node.clear_leftovers(home, patience=_LEFTOVER_SECONDS)
            _check_port(settings.node_port)
            say("Starting Elasticsearch.")
            job = Job(
                home=str(home.path),
                server=str(server),
                java_home=str(java_home),
                version=ELASTICSEARCH_VERSION,
                heap=memory.heap(settings.node_heap),
                port=settings.node_port,
                idle_seconds=settings.node_idle_minutes * 60,
                start_seconds=settings.node_start_seconds,
                user=user,
                extra={"path.repo": [str(home.snapshots)]},
            )
            spawn(job)
            return await_ready(settings, home)
    except TimeoutError:
        raise EngineError(
            "Another command has been starting Elasticsearch for too long: try `facedex down`.", code="engine_start"
        ) from None
    except OSError as error:
        raise StorageError.of(error, f"write to {home.path}", "Free it, or set FACEDEX_DATA_DIR to another place.") from None


def await_other(settings: Settings, home: places.Home) -> node.Node | None:
    """A supervisor whose starter was cut off goes on; one that is on its way out is waited for; one that hangs is killed."""
    deadline = time.monotonic() + settings.node_start_seconds + _GRACE
    while locks.held(home.alive):
        found = node.ready(home)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            node.stop_at(home)
        time.sleep(_POLL)
    return None


def _check_port(port: int) -> None:
    if port == 0:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise EngineError(
                f"The port {port} of FACEDEX_NODE_PORT is reserved for root: set one above 1023.", code="port_taken"
            ) from None
        except OSError:
            raise EngineError(
                f"The port {port} of FACEDEX_NODE_PORT is taken by another program: set another one, or 0 for any.", code="port_taken"
            ) from None


def spawn(job: Job) -> None:
    """Starts the supervisor. It needs nothing that was installed, so it runs without the site folders: lighter, sooner there."""
    here = str(Path(__file__).resolve().parents[2])
    log = Path(job.home) / "supervisor.log"
    with log.open("wb") as errors:
        spawned = subprocess.run(
            [sys.executable, "-S", "-P", "-m", "es.local.supervisor", json.dumps(asdict(job))],
            env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": here},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            timeout=30,
            check=False,
        )
    if spawned.returncode != 0:
        raise EngineError(f"The supervisor of Elasticsearch did not start; see {log}.", code="engine_start")


def await_ready(settings: Settings, home: places.Home) -> node.Node:
    """Until the supervisor says how it went, or is gone."""
    deadline = time.monotonic() + settings.node_start_seconds + _GRACE
    while time.monotonic() < deadline:
        alive = locks.held(home.alive)  # looked at first: what it wrote before it went is read after
        found = node.ready(home)
        if found is not None:
            return found
        if not alive:
            raise _failure(home)
        time.sleep(_POLL)
    node.stop_at(home)
    raise EngineError(f"Elasticsearch did not start in time; its log is {home.log}.", code="engine_start")


def _failure(home: places.Home) -> FacedexError:
    state = node.read_state(home)
    if state.get("phase") != "failed":
        if shutil.disk_usage(home.path).free < _FULL_BYTES:  # so full that not even the failure could be noted
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return EngineError(f"Elasticsearch stopped while it started; its log is {home.log}.", code="engine_start")
    return _KINDS.get(state["kind"], EngineError)(state["message"], code=state["code"])
