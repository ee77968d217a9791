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

import psutil
import pytest
from elasticsearch import Elasticsearch

from core.settings import Settings
from es import node as embedded
from es.documents import alias
from tests.faces_made import small_copies
from tests.storm import between

Content = set[tuple[str, tuple[float, ...]]]

PHOTOS = 300
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
    out, err = process.communicate(timeout=90)
    assert process.returncode in {0, 1}, err
    report: dict[str, Any] = json.loads(out)
    assert report["photos"] == PHOTOS
    return report


def content(client: Elasticsearch, name: str) -> Content:
    client.indices.refresh(index=alias(name))
    hits = client.search(index=alias(name), size=5000, source={"includes": ["embedding"], "exclude_vectors": False})["hits"]["hits"]
    return {(hit["_id"], tuple(hit["_source"]["embedding"])) for hit in hits}


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
    time.sleep(moment.uniform(0.3, 1) * seconds)
    process.kill()
    process.communicate()
    finish(start(folder, name))
    assert content(client, name) == calm
    (shape,) = client.indices.get_settings(index=alias(name)).values()
    assert "refresh_interval" not in shape["settings"]["index"]


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    for _ in range(1000):
        found = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
        if len(found) == 2:
            return found
        time.sleep(0.02)
    pytest.fail("there were no workers")


def test_sigkill_to_workers(
    client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float], moment: random.Random
) -> None:
    calm, _ = undisturbed
    process = start(folder, name)
    workers = workers_of(process)
    for worker in workers:
        time.sleep(moment.uniform(0, 1.5))
        worker.kill()
    report = finish(process)
    assert set(report["rejected"]) <= {"worker_died"}
    assert sum(report["rejected"].values()) <= 2
    finish(start(folder, name))
    assert content(client, name) == calm


def test_sigkill_to_the_node(folder: Path, undisturbed: tuple[Content, float], moment: random.Random) -> None:
    calm, seconds = undisturbed
    env = {"FACEDEX_DATA_DIR": str(folder / "data"), "FACEDEX_NODE_HEAP": "512m"}
    own = Settings(data_dir=folder / "data", node_heap="512m")
    try:
        running = embedded.ensure(own)
        process = start(folder, "faces", **env)
        time.sleep(moment.uniform(0.3, 0.9) * seconds)
        os.kill(running.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=90)
        assert process.returncode in {0, 2}  # 0: it was quicker
        assert process.returncode == 0 or "run the command again" in err or "did not answer" in err
        assert "Traceback" not in err
        finish(start(folder, "faces", **env))  # starts a new node
        with Elasticsearch(embedded.ensure(own).url) as client:
            assert content(client, "faces") == calm
    finally:
        embedded.stop(own)


def test_disk_full_comes_and_goes(
    client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float], moment: random.Random
) -> None:
    calm, seconds = undisturbed
    process = start(folder, name)
    time.sleep(moment.uniform(0.3, 0.8) * seconds)
    client.indices.put_settings(index=f"{alias(name)}*", settings={"index.blocks.read_only_allow_delete": True}, allow_no_indices=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode in {0, 2}  # 0: it came too early or too late
    assert process.returncode == 0 or "disk is full" in err
    client.indices.put_settings(index=f"{alias(name)}*", settings={"index.blocks.read_only_allow_delete": None})
    finish(start(folder, name))
    assert content(client, name) == calm


def test_a_storm_of_429_503_and_cut_connections_is_sat_out(
    client: Elasticsearch, name: str, folder: Path, undisturbed: tuple[Content, float], moment: random.Random
) -> None:
    calm, _ = undisturbed
    asked = troubles = 0

    def trouble(path: str) -> int | None:
        nonlocal asked, troubles
        if "_bulk" not in path and "_search" not in path:
            return None
        asked += 1
        what = moment.choice([429, 503, 0, None, None, None]) if asked > 2 else 429
        troubles += what is not None
        return what

    with between(client, trouble) as url:
        report = finish(start(folder, name, ELASTICSEARCH_URL=url, FACEDEX_RETRY_SECONDS="60"))
    assert troubles >= 2
    assert report["rejected"] == {}
    assert content(client, name) == calm
