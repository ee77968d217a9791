"""Folders of photos for the tests of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faces_made import small_copies
from tests.ingest.runs_made import age


@pytest.fixture
def folder(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """Six photos of two people, old enough to be remembered."""
    small_copies(portraits["obama.jpg"], tmp_path / "photos" / "Barack", 3)
    small_copies(portraits["biden.jpg"], tmp_path / "photos" / "Joe", 3)
    age(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture(params=[True, False], ids=["remembering", "reading"])
def remember(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "seen" if request.param else None


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are remembered at once, so that tests need not wait until they are old."""
    monkeypatch.setattr("ingest.fingerprints._RACY_NS", 0)
