"""Worker processes that can die at any moment, each at the end of a pipe of its own.

Pools of the standard library give up when a worker dies, and pebble's workers share two locks: one that is killed while it holds one
can hold up all the others. Here nothing is shared, so a kill at any moment costs the photos in that process and nothing else.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from core.errors import ModelError
from workers.worker import limited, start

_STARTS = 3  # a process that dies so often before it is ready will always die
_READY_SECONDS = 600.0  # models on a slow disk take long, but not for ever
_GRACE_SECONDS = 10.0  # after which a process ends itself, unless its parent did
# Spawned, not forked: the parent has threads, and a fork could inherit a lock that is held.
_context = multiprocessing.get_context("spawn")
_starting = threading.Lock()


class WorkerDied(Exception):
    """The process ended while it looked at a photo."""


class Workers:
    """So many processes, each served by a thread."""

    def __init__(self, count: int, initargs: Any, seconds: float) -> None:
        self._initargs = initargs
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._mine = threading.local()
        self._children: set[_Child] = set()
        self._closed = False

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> Future[Any]:
        """Has a process call the function; the future raises TimeoutError or WorkerDied where that did not end well."""
        return self._threads.submit(self._call, (fn, args, kwargs), seconds)

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """Ends the processes: when all is done, or at once."""
        if cancel:
            self._closed = True
            self._threads.shutdown(wait=False, cancel_futures=True)
            for child in tuple(self._children):
                child.kill()
        self._threads.shutdown(wait=wait)
        if wait:
            for child in tuple(self._children):
                child.end()
            self._children.clear()

    def _call(self, task: Any, seconds: float) -> Any:
        for _ in range(_STARTS):
            child = self._child()
            try:
                if child.is_ready() and child.give(task):
                    return child.answer(seconds)
            except (TimeoutError, WorkerDied):
                self._bury(child)
                raise
            self._bury(child)  # it was gone before it had the photo, which is not the photo's fault
            if self._closed:
                raise WorkerDied
        raise ModelError("A worker process dies before it is ready, perhaps for lack of memory: use fewer --workers.", code="workers")

    def _child(self) -> _Child:
        child: _Child | None = getattr(self._mine, "child", None)
        if child is None:
            child = self._mine.child = _Child(self._initargs, self._seconds)
            self._children.add(child)
            if self._closed:
                child.kill()
        return child

    def _bury(self, child: _Child) -> None:
        child.kill()
        child.end()
        self._children.discard(child)
        self._mine.child = None


class _Child:
    """One process."""

    def __init__(self, initargs: Any, seconds: float) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(theirs, initargs, seconds), name="facedex-worker", daemon=True)
        with _starting, _uninterrupted(), _by_itself():
            try:
                self._process.start()
            except OSError as error:
                raise ModelError(f"No worker process can be started ({error.strerror}): use fewer --workers.", code="workers") from None
        theirs.close()  # so that the end of the process is the end of the pipe
        self._ready = False

    def is_ready(self) -> bool:
        """Waits until its models are loaded; false if it died of that."""
        with suppress(EOFError, OSError):
            self._ready = self._ready or (self._pipe.poll(_READY_SECONDS) and bool(self._pipe.recv()))
        return self._ready

    def give(self, task: Any) -> bool:
        """Hands it a photo; false if it is gone."""
        with suppress(OSError):
            self._pipe.send(task)
            return True
        return False

    def answer(self, seconds: float) -> Any:
        """What it made of the photo."""
        try:
            if not self._pipe.poll(seconds):
                raise TimeoutError
            well, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise WorkerDied from None
        if not well:
            raise answer
        return answer

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def end(self) -> None:
        """Closes its pipe, which tells it to end, and waits for that."""
        self._pipe.close()
        self._process.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Has a child begin with Ctrl-C held back: it is for the parent, and the child's imports would die of it loudly."""
    resource_tracker.ensure_running()  # which a first process would start, and let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _by_itself() -> Iterator[None]:
    """Has a child begin without the program that starts it, which it would import: a script without a guard would run once more in each."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _serve(pipe: Connection, initargs: Any, seconds: float) -> None:
    """The process: prepares itself, then does what comes through the pipe until that closes, as it does when the parent dies."""
    start(*initargs)
    with suppress(EOFError, ConnectionError):
        pipe.send(True)
        while True:
            fn, args, kwargs = pipe.recv()
            try:
                with limited(seconds + _GRACE_SECONDS):  # a parent that is gone can't end it
                    answer = True, fn(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
                answer = False, error
            pipe.send(answer)
