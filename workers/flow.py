"""Photos through workers: in order, with bounded work on the way."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from workers.worker import Outcome, represent

if TYPE_CHECKING:
    from concurrent.futures import Future

    from photos.places import Place
    from workers.executors import Embedder

Item = TypeVar("Item")

_WINDOW = 64  # photos on their way, for each worker: bounds memory, and keeps the others busy behind a slow photo


def flow(items: Iterable[Item], place: Callable[[Item], Place], start: Callable[[], Embedder]) -> Generator[tuple[Item, Outcome]]:
    """Items with what the workers made of their photos, in the order given. The workers start with the first one.

    A worker that dies costs its one photo, and so does a photo that takes too long. Where the items themselves end with an error, those
    before it come first. To be closed by whoever stops earlier.

    Args:
        items: whatever has a photo.
        place: where an item's photo is.
        start: starts the workers.

    Raises:
        FacedexError: what would fail for every photo.
    """
    given = _UntilError(items)
    try:
        first = next(given)
    except StopIteration:
        given.check()
        return
    flying: deque[tuple[Item, Future[Outcome]]] = deque()
    executor = start()
    try:
        for item in itertools.chain([first], given):
            flying.append((item, executor.submit(represent, place(item))))
            while flying and (len(flying) >= _WINDOW * executor.width or flying[0][1].done()):
                yield _landed(flying.popleft(), executor)
        while flying:
            yield _landed(flying.popleft(), executor)
        executor.shutdown()
        given.check()
    finally:
        executor.shutdown(cancel_futures=True)  # after the last photo there is nothing left to cancel


def _landed(flown: tuple[Item, Future[Outcome]], executor: Embedder) -> tuple[Item, Outcome]:
    item, future = flown
    return item, executor.outcome(future)


class _UntilError(Generic[Item]):
    """Items up to an error, which waits until those before it are done."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001 - raised once those before it are done
            self._error = error
            raise StopIteration from None

    def check(self) -> None:
        """Raises the error, if there was one."""
        if self._error is not None:
            raise self._error
