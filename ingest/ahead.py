"""Making things a little before they are asked for, in a thread that nobody ever has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import suppress
from queue import Empty, Queue
from typing import TypeVar

Item = TypeVar("Item")
_WAKE_SECONDS = 1.0


class _End:
    """What a thread says last: that there is nothing more, or what went wrong."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def ahead(items: Generator[Item], name: str) -> Generator[Item]:
    """What a generator yields, in order, made one item ahead in a thread of this name. Its error is raised here, after what came before.

    Once this is closed, the thread ends at its next item and closes the generator. It is not waited for: a photo can be slow to come.
    """
    made: Queue[Item | _End] = Queue(1)
    closed = threading.Event()

    def make() -> None:
        end = _End()
        try:
            for item in items:
                made.put(item)
                if closed.is_set():
                    break
        except Exception as error:  # noqa: BLE001 - handed to whoever asks
            end = _End(error)
        items.close()
        if not closed.is_set():
            made.put(end)

    threading.Thread(target=make, name=name, daemon=True).start()
    try:
        while not isinstance(item := _got(made), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        with suppress(Empty):
            while True:  # a thread that waits for room goes on, and ends
                made.get_nowait()


def _got(made: Queue[Item | _End]) -> Item | _End:
    # A Ctrl-C that comes between Python's last look for signals and the wait itself is noticed only when the wait ends.
    while True:
        with suppress(Empty):
            return made.get(timeout=_WAKE_SECONDS)
