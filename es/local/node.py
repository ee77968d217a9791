"""The embedded node: Elasticsearch on this machine, started when a command first needs it, stopped when none came for a while.

``ensure`` is the door. Every command walks through it, so it stays light: what a start needs is imported only for a start.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StorageError
from es.local import locks, places, processes

if TYPE_CHECKING:
    from core.settings import Settings

Say = Callable[[str], None]

_ANSWER_SECONDS = 1.0  # for a connection on loopback
_STOP_SECONDS = 45.0  # the supervisor itself gives the server 30


def silent(_: str) -> None:
    """The default listener."""


@dataclass(frozen=True)
class Node:
    """A running node."""

    url: str
    pid: int  # of the server, not of its supervisor
    version: str
    log: Path
    data: Path
    heap: str  # as Java writes it: 512m
    started: float  # seconds since 1970


# Kept open until this process ends: see _use.
_in_use: dict[Path, int] = {}


def ensure(settings: Settings, say: Say = silent) -> Node:
    """The node of these settings, started if it isn't running; from here to the end of this process it won't stop for idleness.

    Raises:
        EngineError: it can't be started; codes no_jdk, download, port_taken, engine_start.
        StorageError: a folder can't be written, or the disk is full.
        UsageError: ``node_user`` can't be used.
    """
    home = places.node_home(settings)
    _use(home, settings)
    node = ready(home)
    if node is None:
        from es.local import start

        node = start.start(settings, home, say)
    return node


def running(settings: Settings) -> Node | None:
    """The node if it runs. Looks only."""
    return ready(places.node_home(settings))


def stop(settings: Settings) -> bool:
    """Stops the node and waits for its end: first asked, then killed. False if nothing ran."""
    return stop_at(places.node_home(settings))


def stop_at(home: places.Home) -> bool:
    """As ``stop``, the node of this folder."""
    if not home.path.is_dir():
        return False
    was_there = _end_supervisor(home)
    # Whoever holds this lock now is another command's new node, which is none of ours to end.
    try:
        claim = locks.take(home.alive, seconds=0)
    except TimeoutError:
        return was_there
    try:
        return clear_leftovers(home, patience=0) or was_there
    finally:
        os.close(claim)


def _end_supervisor(home: places.Home) -> bool:
    """Ends the supervisor that holds the lock, and no other that may take it meanwhile; says whether there was one."""
    import signal
    import time

    deadline = time.monotonic() + _STOP_SECONDS
    while locks.held(home.alive) and time.monotonic() < deadline:
        boss = read_state(home).get("supervisor", {})
        pid, mark = boss.get("pid", 0), boss.get("mark")
        if not processes.same(pid, mark):  # it is about to write who it is
            time.sleep(0.05)
            continue
        processes.send(pid, mark, signal.SIGTERM)
        if not processes.wait_gone(pid, mark, _STOP_SECONDS):
            processes.send(pid, mark, signal.SIGKILL)
            processes.wait_gone(pid, mark, 5)
        return True
    return False


def log_path(settings: Settings) -> Path:
    """Where the node's log is, or will be."""
    return places.node_home(settings).log


def ready(home: places.Home) -> Node | None:
    """The node of this folder, if its supervisor lives, says it is ready, and its port can be reached."""
    state = read_state(home)
    if state.get("phase") != "ready" or not locks.held(home.alive) or not _reachable(state["port"]):
        return None
    return Node(
        url=f"{'https' if state.get('tls') else 'http'}://127.0.0.1:{state['port']}",
        pid=state["server"]["pid"],
        version=state["version"],
        log=home.log,
        data=home.data,
        heap=state["heap"],
        started=state["started"],
    )


def read_state(home: places.Home) -> dict[str, Any]:
    """What the supervisor wrote last; empty if nothing."""
    try:
        state = json.loads(home.state.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    except OSError as error:
        raise StorageError.of(error, f"read {home.state}", "Let this user read it, or set FACEDEX_DATA_DIR to another place.") from None
    return state if isinstance(state, dict) else {}


def clear_leftovers(home: places.Home, *, patience: float) -> bool:
    """After a supervisor that was killed: its server ends by itself when its input closes; one that does not is killed.

    Says whether a server was still there.
    """
    import signal

    server = read_state(home).get("server", {})
    pid, its_mark = server.get("pid", 0), server.get("mark")
    was_there = processes.same(pid, its_mark)
    if was_there and not processes.wait_gone(pid, its_mark, patience):
        processes.send(pid, its_mark, signal.SIGKILL)
        processes.wait_gone(pid, its_mark, 10)
    home.state.unlink(missing_ok=True)
    return was_there


def _use(home: places.Home, settings: Settings) -> None:
    """Marks the node as in use, before its state is read: the supervisor never stops a node that is in use.

    The mark is a shared lock that the kernel frees with this process, even a killed one. Programs started from here don't inherit
    it (the descriptor closes on exec); forked workers do: they are part of the command, and end with it.
    """
    if home.path not in _in_use:
        try:
            _in_use[home.path] = locks.take(home.in_use, seconds=5, shared=True)
        except (FileNotFoundError, NotADirectoryError):
            places.make_home(home, places.server_user(settings))
            _in_use[home.path] = _first_lock(home)
        except OSError as error:
            raise _unwritable(home, error) from None
    os.utime(_in_use[home.path])


def _first_lock(home: places.Home) -> int:
    try:
        return locks.take(home.in_use, seconds=5, shared=True)
    except OSError as error:
        raise _unwritable(home, error) from None


def _unwritable(home: places.Home, error: OSError) -> StorageError:
    return StorageError.of(error, f"write to {home.path}", "Free it, or set FACEDEX_DATA_DIR to another place.")


def _reachable(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False
