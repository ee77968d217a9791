"""Photos through workers: in order, with bounded work on the way."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from workers.worker import Outcome, represent

if TYPE_CHECKING:
    from concurrent.futures import Future

    from photos.places import Place
    from workers.executors import Embedder

Item = TypeVar("Item")

_WINDOW = 64  # photos on their way, for each worker: bounds memory, and keeps the others busy behind a slow photo
TOGETHER = 8  # photos that go to a worker in one call: see faces.pipeline.Pipeline.find_all
_QUICK = 0.1  # seconds, that a photo takes of which several go together: slower ones gain nothing by it, and would hold up others


def flow(items: Iterable[Item], place: Callable[[Item], Place], start: Callable[[], Embedder]) -> Generator[tuple[Item, Outcome]]:
    """Items with what the workers made of their photos, in the order given. The workers start with the first one.

    A photo that a worker dies of, or that takes too long, costs nothing but itself. Where the items themselves end with an error, those
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
    executor = start()
    try:
        yield from _flown(itertools.chain([first], given), place, executor)
        executor.shutdown()
        given.check()
    finally:
        executor.shutdown(cancel_futures=True)  # after the last photo there is nothing left to cancel


def _flown(items: Iterator[Item], place: Callable[[Item], Place], executor: Embedder) -> Iterator[tuple[Item, Outcome]]:
    flying: deque[tuple[list[Item], list[Place], Future[list[Outcome]]]] = deque()
    flown, together = 0, 1  # items on their way; and those of the next call
    while True:
        while flying and (flown + together > _WINDOW * executor.width or flying[0][2].done()):
            group, places, future = flying.popleft()
            flown -= len(group)
            for item, outcome in zip(group, executor.outcomes(places, future), strict=True):
                together = TOGETHER if sum(outcome.seconds.values()) < _QUICK else 1
                yield item, outcome
        group = list(itertools.islice(items, together))
        if not group:
            break
        places = [place(item) for item in group]
        flying.append((group, places, executor.submit(represent, places)))
        flown += len(group)
    for group, places, future in flying:
        yield from zip(group, executor.outcomes(places, future), strict=True)


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
