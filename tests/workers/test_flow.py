from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from faces.recipe import DEFAULT
from photos.places import File, Given, Place, Streamed
from tests.faces_made import small_copies
from tests.workers.looks_made import Deadly, Endless
from workers import flow as flows
from workers.executors import Embedder, InProcess, Processes
from workers.flow import flow
from workers.worker import Detection, Outcome

PREPARED = (DEFAULT, Detection(), 100_000_000, False)


class Counting(InProcess):
    """Notes how many photos come in each call, which can be as many as for a worker process."""

    together = Processes.together

    def __init__(self) -> None:
        super().__init__(PREPARED, 20)
        self.calls: list[int] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(len(args[0]))
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def photo(tmp_path: Path, portraits: dict[str, Path]) -> Place:
    (path,) = small_copies(portraits["obama.jpg"], tmp_path, 1)
    return File(str(path))


def looked_at(places: list[Place], executor: Embedder) -> list[tuple[int, Outcome]]:
    return [(number, outcome) for (number, _), outcome in flow(enumerate(places), lambda item: item[1], lambda: executor)]


def reasons(found: list[tuple[int, Outcome]]) -> list[str | None]:
    assert [number for number, _ in found] == list(range(len(found)))
    return [outcome.reject.reason if outcome.reject else None for _, outcome in found]


def test_quick_photos_go_together(photo: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_QUICK", 60)
    together = Counting()
    found = looked_at([photo] * 30, together)
    assert together.calls == [1, 8, 8, 8, 5]
    monkeypatch.setattr(flows, "_QUICK", 0)
    alone = Counting()
    assert [outcome.faces[0].embedding.tobytes() for _, outcome in looked_at([photo] * 30, alone)] == [
        outcome.faces[0].embedding.tobytes() for _, outcome in found
    ]
    assert alone.calls == [1] * 30


@pytest.mark.parametrize(("bad", "reason", "bad_ones"), [(Deadly(b""), "worker_died", {17, 21}), (Endless(b""), "timeout", {21})])
def test_a_photo_costs_nothing_but_itself(
    photo: Place, monkeypatch: pytest.MonkeyPatch, bad: Place, reason: str, bad_ones: set[int]
) -> None:
    monkeypatch.setattr(flows, "_QUICK", 60)
    monkeypatch.setattr(flows, "_WINDOW", 8)
    places = [bad if number in bad_ones else photo for number in range(40)]
    calls: list[int] = []
    executor = Processes(1, PREPARED, seconds=5)
    look = executor.look

    def noted(photos: Sequence[Place]) -> Any:
        calls.append(len(photos))
        return look(photos)

    monkeypatch.setattr(executor, "look", noted)
    found = looked_at(places, executor)
    assert reasons(found) == [reason if number in bad_ones else None for number in range(40)]
    assert calls.count(8) >= 2
    assert sum(calls) == 40 + 8  # one group was done again


def test_what_is_dear_to_send_again_goes_alone(photo: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_QUICK", 60)
    dear = Streamed("nowhere.tgz", 0, 10)
    together = Counting()
    found = looked_at([photo] * 4 + [dear, dear] + [photo] * 3, together)
    assert together.calls == [1, 3, 1, 1, 1, 2]
    assert reasons(found) == [None] * 4 + ["unreadable"] * 2 + [None] * 3


def test_one_by_one_each_is_looked_at_when_it_comes(photo: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_QUICK", 60)
    executor = Counting()
    assert len(list(flow([photo] * 9, lambda place: place, lambda: executor, one_by_one=True))) == 9
    assert executor.calls == [1] * 9


def test_items_that_end_with_an_error_are_done_up_to_there(photo: Place) -> None:
    def items() -> Iterator[Place]:
        yield from [photo] * 11
        raise RuntimeError("the list is broken")

    found = []
    with pytest.raises(RuntimeError, match="the list is broken"):
        for _, outcome in flow(items(), lambda place: place, Counting):
            found.append(outcome.faces)
    assert len(found) == 11


def test_rejects_stand_where_their_photos_stood(photo: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_QUICK", 60)
    places = [Given(b"no photo") if number % 3 == 0 else photo for number in range(20)]
    assert reasons(looked_at(places, Counting())) == ["not_an_image" if number % 3 == 0 else None for number in range(20)]
