"""One cluster of three local processes for all tests here, in a data folder of its own: the other tests use the single node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from core.settings import settings
from es.client import connect
from es.cluster import record
from es.cluster.record import Record
from tests.cli.conftest import type_ as type_  # noqa: PLC0414 - a fixture

ENVIRONMENT = {"FACEDEX_RETRY_SECONDS": "120"}


def facedex(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **ENVIRONMENT, "FACEDEX_DATA_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "facedex", "cluster", *words], env=env, capture_output=True, text=True, timeout=400, check=True
    )


@pytest.fixture(scope="session")
def folder(surroundings: Path) -> Iterator[Path]:
    """The data folder, with the cluster running."""
    made = Path(tempfile.mkdtemp(prefix="facedex-cluster-"))
    made.chmod(0o711)  # started by root, the nodes run as another user
    try:
        up = facedex("up", "--nodes", "3", "--memory", "512m", "--engine", "local", "--json", folder=made)
        assert json.loads(up.stdout)["health"] == "green"
        yield made
    finally:
        facedex("down", "--erase", "--yes", folder=made)
        shutil.rmtree(made)


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands and connections of the test mean the cluster."""
    for name, value in (ENVIRONMENT | {"FACEDEX_DATA_DIR": str(folder)}).items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def cluster(inside: None) -> Record:
    found = record.read(settings())
    assert found is not None
    return found


@pytest.fixture
def nodes(cluster: Record) -> Iterator[Elasticsearch]:
    """A client of the cluster."""
    with connect(settings()) as client:
        yield client
