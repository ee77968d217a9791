import threading
from collections.abc import Generator

import pytest

from ingest.ahead import ahead


def numbers(count: int, closed: threading.Event, error: Exception | None = None) -> Generator[int]:
    try:
        yield from range(count)
        if error is not None:
            raise error
    finally:
        closed.set()


def test_all_comes_in_order_and_the_generator_is_closed() -> None:
    closed = threading.Event()
    assert list(ahead(numbers(100, closed), "test")) == list(range(100))
    assert closed.wait(10)


def test_an_error_comes_after_what_was_made_before_it() -> None:
    made = ahead(numbers(3, threading.Event(), ValueError("broken")), "test")
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(made)


def test_no_more_than_needed_is_made() -> None:
    taken: list[int] = []

    def endless() -> Generator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    made = ahead(endless(), "test")
    assert [next(made) for _ in range(5)] == [0, 1, 2, 3, 4]
    made.close()
    assert len(taken) <= 5 + 3


def test_whoever_closes_it_does_not_wait_for_what_is_slow() -> None:
    asked, come, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Generator[int]:
        yield from numbers(1, closed)
        asked.set()
        come.wait(60)
        yield 1

    made = ahead(slow(), "slow")
    assert next(made) == 0
    assert asked.wait(10)
    made.close()
    assert not come.is_set()
    come.set()
    for thread in threading.enumerate():
        if thread.name == "slow":
            thread.join(10)
            assert not thread.is_alive()
