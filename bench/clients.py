"""Many clients that search at once: in threads, or in threads of several processes.

A client in Python needs the interpreter's lock for part of a search over the wire, and real clients are elsewhere: those of servers are put
into processes of their own, the same for every server.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.engines.engine import Engine

    Vectors = NDArray[np.float32]

PROCESSES = 4
_PATIENCE = 300.0  # seconds for all processes to be there

_own: dict[str, Any] = {}  # of a process of clients: its engine, probes, and where all meet


class Clients:
    """Asks an engine from many places. Leave it to end its processes."""

    def __init__(self, engine: Engine, probes: Vectors, k: int, processes: int = PROCESSES) -> None:
        """Args:
        engine: built.
        probes: (n, dims), asked for in turn.
        k: faces that are wanted.
        processes: of the clients of a server; 0 for threads of this one. An engine in this process has no others.
        """
        self._engine, self._probes, self._k = engine, probes, k
        self._processes = processes if engine.served else 0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Clients:
        if self._processes:
            context = multiprocessing.get_context("spawn")
            meeting = context.Barrier(self._processes)
            self._pool = ProcessPoolExecutor(self._processes, context, _begin, (self._engine, self._probes, meeting))
            list(self._pool.map(_meet, range(self._processes)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def rate(self, clients: int, effort: int, seconds: float) -> float:
        """Searches a second that so many clients get together, each asking again as soon as it is answered."""
        if self._pool is None:
            return _together(self._engine, self._probes, self._k, effort, clients, 0, seconds)
        processes = min(clients, self._processes)
        share = clients // processes
        meet = processes == self._processes
        asked = [self._pool.submit(_clients, self._k, effort, share, number * share, seconds, meet) for number in range(processes)]
        return sum(each.result() for each in asked)


def _begin(engine: Engine, probes: Vectors, meeting: Any) -> None:
    _own.update(engine=engine, probes=probes, meeting=meeting)


def _meet(_: int) -> None:
    """Once, so that all processes are there."""
    _own["meeting"].wait(_PATIENCE)


def _clients(k: int, effort: int, clients: int, first: int, seconds: float, meet: bool) -> float:
    return _together(_own["engine"], _own["probes"], k, effort, clients, first, seconds, _own["meeting"] if meet else None)


def _together(engine: Engine, probes: Vectors, k: int, effort: int, clients: int, first: int, seconds: float, meeting: Any = None) -> float:
    start = threading.Barrier(clients, None if meeting is None else lambda: meeting.wait(_PATIENCE))

    def ask(number: int) -> tuple[int, float]:
        if engine.served:
            engine.find(probes[number % len(probes)], k, effort)  # connects
        start.wait()
        begun, done = time.perf_counter(), 0
        while time.perf_counter() < begun + seconds:
            engine.find(probes[(number + done) % len(probes)], k, effort)
            done += 1
        return done, time.perf_counter() - begun

    with ThreadPoolExecutor(clients) as pool:
        return sum(done / took for done, took in pool.map(ask, range(first, first + clients)))
