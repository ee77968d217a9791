"""Photos through workers: in order, with bounded work on the way."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from workers.worker import Outcome

if TYPE_CHECKING:
    from concurrent.futures import Future

    from photos.places import Place
    from workers.executors import Embedder

Item = TypeVar("Item")

_WINDOW = 64  # photos on their way, for each worker: bounds memory, and keeps the others busy behind a slow photo
_QUICK = 0.1  # seconds, that a photo takes of which several go together: slower ones gain nothing by it, and would hold up others


def flow(
    items: Iterable[Item], place: Callable[[Item], Place], start: Callable[[], Embedder], *, one_by_one: bool = False
) -> Generator[tuple[Item, Outcome]]:
    """Items with what the workers made of their photos, in the order given. The workers start with the first one.

    A photo that a worker dies of, or that takes too long, costs nothing but time: those that were with it are done again. Where the items
    themselves end with an error, those before it come first. To be closed by whoever stops earlier.

    Args:
        items: whatever has a photo.
        place: where an item's photo is.
        start: starts the workers.
        one_by_one: each is looked at when it comes. Without, several quick ones go together, and wait until all of them are there.

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
        yield from _flown(itertools.chain([first], given), place, executor, 1 if one_by_one else executor.together)
        executor.shutdown()
        given.check()
    finally:
        executor.shutdown(cancel_futures=True)  # after the last photo there is nothing left to cancel


def is_quick(outcome: Outcome) -> bool:
    """Whether a photo was looked at, and took so little time that its like gain by going together."""
    return "faces" in outcome.seconds and sum(outcome.seconds.values()) < _QUICK


def _flown(items: Iterator[Item], place: Callable[[Item], Place], executor: Embedder, most: int) -> Iterator[tuple[Item, Outcome]]:
    flying: deque[tuple[list[Item], list[Place], Future[list[Outcome]]]] = deque()
    groups = _Groups(items, place)
    flown, together = 0, 1  # items on their way; and those of the next call
    while True:
        while flying and (flown + together > _WINDOW * executor.width or flying[0][2].done()):
            group, places, future = flying.popleft()
            flown -= len(group)
            outcomes = executor.outcomes(places, future)
            together = most if all(map(is_quick, outcomes)) else 1
            yield from zip(group, outcomes, strict=True)
        group, places = groups.take(together)
        if not group:
            break
        flying.append((group, places, executor.look(places)))
        flown += len(group)
    for group, places, future in flying:
        yield from zip(group, executor.outcomes(places, future), strict=True)


class _Groups(Generic[Item]):
    """Items by groups, with their places. One that is dear to send again goes alone: of a group that ends badly each is sent again."""

    def __init__(self, items: Iterator[Item], place: Callable[[Item], Place]) -> None:
        self._pairs = ((item, place(item)) for item in items)
        self._held: list[tuple[Item, Place]] = []

    def take(self, most: int) -> tuple[list[Item], list[Place]]:
        """The next ones, at most so many; none: there are no more."""
        group, self._held = self._held, []
        for item, where in itertools.islice(self._pairs, most - len(group)):
            if group and (where.costs_again or group[0][1].costs_again):
                self._held = [(item, where)]
                break
            group.append((item, where))
        return [item for item, _ in group], [where for _, where in group]


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
