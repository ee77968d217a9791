import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineError, FacedexError, RecipeMismatch, UsageError
from faces.recipe import DEFAULT
from ingest.resume import Job
from ingest.run import Options, embed
from photos.sources import Source
from tests.faces_made import small_copies
from tests.workers.looks_made import die, hang, vectors
from workers import executors
from workers.executors import Embedder, InProcess, Processes, embedder
from workers.worker import Detection, represent

PREPARED = (DEFAULT, Detection(), 100_000_000, False)


def pid(_: str) -> int:
    return os.getpid()


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Iterator[Processes]:
    made = Processes(1, PREPARED, seconds=getattr(request, "param", 20))
    yield made
    made.shutdown(cancel_futures=True)


def test_all_executors_give_the_same(tmp_path: Path, portraits: dict[str, Path]) -> None:
    paths = small_copies(portraits["obama.jpg"], tmp_path, 6)
    alone = vectors(paths, Options(workers=0))
    assert len(alone) == 6
    assert vectors(paths, Options(workers=2)) == alone


@pytest.mark.parametrize("pool", [2], indirect=True)
def test_a_death_and_a_hang_cost_one_photo_each(pool: Processes, tmp_path: Path, portraits: dict[str, Path]) -> None:
    (path,) = small_copies(portraits["obama.jpg"], tmp_path, 1)
    place = Source(str(path)).place
    futures = [pool.submit(die, ""), pool.submit(represent, [place]), pool.submit(hang, ""), pool.submit(represent, [place])]
    outcomes = [outcome for future in futures for outcome in pool.outcomes([place], future)]
    assert [outcome.reject.reason if outcome.reject else None for outcome in outcomes] == ["worker_died", None, "timeout", None]


def test_a_worker_that_dies_between_two_photos_costs_none(pool: Processes) -> None:
    first = pool.submit(pid, "").result()
    os.kill(first, signal.SIGKILL)
    time.sleep(0.3)
    assert pool.submit(pid, "").result() != first


def test_a_worker_that_never_gets_ready_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Processes(1, ("not", "enough"), seconds=2)  # type: ignore[arg-type]
    with pytest.raises(FacedexError, match="fewer --workers"):
        pool.submit(pid, "").result()
    pool.shutdown(cancel_futures=True)


def test_cancelled_it_ends_at_once(pool: Processes) -> None:
    pool.submit(pid, "").result()
    futures = [pool.submit(hang, "") for _ in range(5)]
    begun = time.monotonic()
    pool.shutdown(cancel_futures=True)
    assert time.monotonic() - begun < 2
    assert all(future.done() for future in futures)


def test_no_more_photos_are_taken_than_fit_the_window(tmp_path: Path, portraits: dict[str, Path]) -> None:
    taken = 0
    (path,) = small_copies(portraits["obama.jpg"], tmp_path, 1)

    def photos() -> Iterator[Job]:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield Job(Source(str(path)), None, None)

    works = embed(photos(), DEFAULT, Options(workers=1))
    for _ in range(3):
        next(works)
    time.sleep(0.5)  # a slow writer
    assert taken <= 3 + 64
    works.close()


def test_other_weights_are_refused(tmp_path: Path, portraits: dict[str, Path]) -> None:
    from dataclasses import replace

    (path,) = small_copies(portraits["obama.jpg"], tmp_path, 1)
    other = replace(DEFAULT, weights_sha256="0" * 64)
    for workers in (0, 1):
        with pytest.raises(RecipeMismatch):
            list(embed([Job(Source(str(path)), None, None)], other, Options(workers=workers)))


def test_without_dask_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'facedex\[dask\]'"):
        embedder(1, "tcp://127.0.0.1:1", PREPARED, 1)


@pytest.mark.filterwarnings("ignore:::distributed", "ignore:::tornado", "ignore::ResourceWarning")
def test_no_dask_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_ANSWER_SECONDS", 1)
    with pytest.raises(EngineError, match="no Dask scheduler"):
        embedder(1, "tcp://127.0.0.1:1", PREPARED, 1)


def test_zero_workers_is_this_process() -> None:
    made: Any = embedder(0, None, PREPARED, 1)
    assert isinstance(made, InProcess)
    assert isinstance(made, Embedder)
    assert made.submit(pid, "").result() == os.getpid()
