"""Folders for the tests of the embedded node."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from core.settings import settings
from es import collections
from es.documents import alias
from faces.recipe import DEFAULT
from tests.es.migrations_made import fill


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Half a second, for a cluster that stays busy."""
    monkeypatch.setenv("FACEDEX_RETRY_SECONDS", "0.5")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that the server's user can enter; pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="facedex-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def small_disk(open_dir: Path) -> Iterator[Path]:
    """A disk with room for nearly nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = open_dir / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k,mode=755", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("a small disk can't be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def filled(client: Elasticsearch, name: str) -> str:
    """A collection of 300 faces, in an index without a graph."""
    collections.create(client, name, DEFAULT.as_dict(), index_type="flat")
    fill(client, name, 300)
    client.indices.refresh(index=alias(name))
    return name
