"""Runs that are disturbed at random moments, and run again: afterwards all ids and vectors equal those of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.settings import Settings
from es.documents import alias
from es.local import node as embedded
from tests.faces_made import Content, content, small_copies, worker_at_work
from tests.storm import LOST, between

PHOTOS = 300
_STUCK = 400  # seconds: a storm's waits are random, and took 27 to 71 on a quiet machine of two slow cores
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10_000))


@pytest.fixture(autouse=True)
def moment() -> random.Random:
    sys.stdout.write(f"CHAOS_SEED={SEED}\n")  # shown when a test fails
    return random.Random(SEED)


@pytest.fixture(scope="module")
def folder(portraits: dict[str, Path]) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="facedex-chaos-"))
    made.chmod(0o711)
    small_copies(portraits["obama2.jpg"], made / "photos" / "Barack", PHOTOS // 2)
    small_copies(portraits["biden.jpg"], made / "photos" / "Joe", PHOTOS // 2)
    yield made
    shutil.rmtree(made)


def start(folder: Path, name: str, *words: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "facedex", "ingest", str(folder / "photos"), "-c", name, "--json", "--workers", "2", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        out, err = process.communicate(timeout=_STUCK)
    finally:
        process.kill()  # where it is stuck, it is not to be in the way of other tests
    assert process.returncode in {0, 1}, err
    report: dict[str, Any] = json.loads(out)
    assert report["photos"] == PHOTOS
    return report


@pytest.fixture(scope="module")
def undisturbed(client: Elasticsearch, folder: Path) -> Iterator[tuple[Content, float]]:
    """What a run stores when nothing happens, and how long it takes."""
    name = f"calm-{os.getpid()}"
    begun = time.monotonic()
    finish(start(folder, name))
    seconds = time.monotonic() - begun
    stored = content(client, name)
    assert len(stored) == PHOTOS
    yield stored, seconds
    client.indices.delete(index=[f"{alias(name)}-v1", f"{alias(name)}-rejects-v1"])


def test_sigkill_to_the_parent(
    client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float], moment: random.Random
) -> None:
    calm, seconds = undisturbed
    process = start(folder, name, "--bulk-load")
    worker_at_work(process.pid)
    assert refresh_interval(client, name) == "-1"
    time.sleep(moment.uniform(0, 0.6) * seconds)
    process.kill()
    process.communicate()
    finish(start(folder, name))
    assert content(client, name) == calm
    assert refresh_interval(client, name) is None


def refresh_interval(client: Elasticsearch, name: str) -> str | None:
    (shape,) = client.indices.get_settings(index=alias(name)).values()
    interval: str | None = shape["settings"]["index"].get("refresh_interval")
    return interval


def test_sigkill_to_workers(
    client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float], moment: random.Random
) -> None:
    calm, _ = undisturbed
    process = start(folder, name)
    for _ in range(2):
        worker_at_work(process.pid, moment.uniform(0, 1)).kill()
    report = finish(process)
    assert set(report["rejected"]) <= {"worker_died"}
    assert sum(report["rejected"].values()) <= 2
    finish(start(folder, name))
    assert content(client, name) == calm


def test_sigkill_to_the_node(folder: Path, undisturbed: tuple[Content, float], moment: random.Random) -> None:
    calm, _ = undisturbed
    env = {"FACEDEX_DATA_DIR": str(folder / "data"), "FACEDEX_NODE_HEAP": "512m"}
    own = Settings(data_dir=folder / "data", node_heap="512m")
    try:
        running = embedded.ensure(own)
        process = start(folder, "faces", **env)
        worker_at_work(process.pid, moment.uniform(0, 1))
        os.kill(running.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=90)
        assert process.returncode == 2
        assert "run the command again" in err or "did not answer" in err
        assert "Traceback" not in err
        finish(start(folder, "faces", **env))  # starts a new node
        with Elasticsearch(embedded.ensure(own).url) as client:
            assert content(client, "faces") == calm
    finally:
        embedded.stop(own)


def test_disk_full_comes_and_goes(client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float]) -> None:
    calm, _ = undisturbed

    def full(*, is_full: bool) -> None:
        client.indices.put_settings(index=f"{alias(name)}*", settings={"index.blocks.read_only_allow_delete": is_full or None})

    def before_the_first_write(path: str) -> None:
        if "_bulk" in path:
            full(is_full=True)

    with between(client, before_the_first_write) as url:
        process = start(folder, name, ELASTICSEARCH_URL=url)
        _, err = process.communicate(timeout=_STUCK)
    assert process.returncode == 2
    assert "disk is full" in err
    assert content(client, name) == set()
    full(is_full=False)
    finish(start(folder, name))
    assert content(client, name) == calm


def test_a_storm_of_429_503_and_cut_connections_is_sat_out(
    client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float], moment: random.Random
) -> None:
    calm, _ = undisturbed
    troubles = in_a_row = 0
    begun = False

    def trouble(path: str) -> int | None:
        nonlocal troubles, in_a_row, begun
        begun = begun or "_refresh" in path
        if not begun:  # before the run, a command that can't reach its cluster says so
            return None
        quiet = [None] * 4 if troubles >= 5 else []  # a short run has few requests: the first ones always meet the storm
        what = moment.choice([429, 503, 0, LOST, *quiet]) if troubles else 429
        # One that never ends is another test's, and by chance alone patience would end now and then.
        in_a_row = in_a_row + 1 if what is not None and in_a_row < 4 else 0
        troubles += in_a_row > 0
        return what if in_a_row else None

    with between(client, trouble) as url:
        report = finish(start(folder, name, ELASTICSEARCH_URL=url, FACEDEX_RETRY_SECONDS="180"))
    assert troubles >= 5
    assert (report["indexed"], report["faces"], report["rejected"]) == (PHOTOS, PHOTOS, {})
    assert content(client, name) == calm
