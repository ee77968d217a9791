"""A real Dask cluster of two worker processes on this machine."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import RecipeMismatch
from es import collections
from faces.recipe import DEFAULT
from ingest.report import RejectsFile, Report
from ingest.resume import Job
from ingest.run import Options, embed, ingest
from photos.places import Given
from photos.sources import PersonFrom, Source, photos
from tests.faces_made import content, small_copies
from tests.workers.looks_made import die, hang, vectors
from workers.executors import DaskCluster
from workers.worker import Detection

pytestmark = [
    # Raised by Dask itself while workers come and go.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    ) as started:
        yield started


def pids(cluster: Any) -> list[int]:
    from distributed import Client

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_it_gives_what_processes_give_and_a_killed_worker_loses_nothing(cluster: Any, tmp_path: Path, portraits: dict[str, Path]) -> None:
    paths = small_copies(portraits["obama.jpg"], tmp_path, 300)
    pool = vectors(paths, Options(workers=2))
    dask = Options(dask=cluster.scheduler_address)
    assert vectors(paths[:20], dask) == pool[:20]

    victim = pids(cluster)[0]
    jobs = (Job(Source(str(path)), None, None) for path in paths)
    works = embed(jobs, DEFAULT, dask)
    done = [next(works) for _ in range(10)]
    os.kill(victim, signal.SIGKILL)
    done += works
    assert [(work.outcome.sha256, work.outcome.faces[0].embedding.tobytes()) for work in done] == pool


def test_a_photo_that_kills_its_workers_or_hangs_in_them_is_a_reject(cluster: Any, tmp_path: Path) -> None:
    made = DaskCluster(cluster.scheduler_address, (DEFAULT, Detection(), 100_000_000, False), seconds=1)
    try:
        for fn in (die, hang):
            [outcome] = made.outcomes([Given(b"")], made.submit(fn, "photo.jpg"))
            assert outcome.reject is not None
            assert outcome.reject.reason == "worker_died"
    finally:
        made.shutdown(cancel_futures=True)
    assert threading.active_count() < 50


def test_other_weights_on_a_worker_are_refused(cluster: Any, tmp_path: Path, portraits: dict[str, Path]) -> None:
    (path,) = small_copies(portraits["obama.jpg"], tmp_path, 1)
    other = replace(DEFAULT, weights_sha256="0" * 64)
    with pytest.raises(RecipeMismatch):
        list(embed([Job(Source(str(path)), None, None)], other, Options(dask=cluster.scheduler_address)))


def test_a_run_through_a_cluster_makes_the_same_collection_even_if_a_worker_is_killed(
    client: Elasticsearch, name: str, cluster: Any, tmp_path: Path, portraits: dict[str, Path]
) -> None:
    for person in ("obama", "biden"):
        small_copies(portraits[f"{person}.jpg"], tmp_path / "photos" / person, 150)
    (tmp_path / "photos" / "nothing.txt").write_text("no photo")
    kinds = {name: Options(workers=2), f"{name}-dask": Options(dask=cluster.scheduler_address)}
    held, reports = {}, []
    try:
        for made, options in kinds.items():
            collections.create(client, made, DEFAULT.as_dict())
            killed = False

            def seen(report: Report, options: Options = options) -> None:
                nonlocal killed
                if options.dask and report.embedded > 20 and not killed:
                    killed = True
                    os.kill(pids(cluster)[0], signal.SIGKILL)

            with RejectsFile(tmp_path / f"{made}.jsonl") as file:
                sources = photos([tmp_path / "photos"], PersonFrom.folder)
                reports.append(ingest(client, made, DEFAULT, sources, file, options, seen))
            assert killed == bool(options.dask)
            held[made] = content(client, made)
    finally:
        collections.delete(client, collections.get(client, f"{name}-dask"))
    assert [(report.indexed, report.rejected) for report in reports] == [(300, {"not_an_image": 1})] * 2
    assert len(held[name]) == 300
    assert held[name] == held[f"{name}-dask"]
