"""The examples of the documentation run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

import demo
from es.collections import delete, find

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def example_photos(tmp_path: Path, portraits: dict[str, Path], client: Elasticsearch, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder with what the examples name; the collections that they make are deleted afterwards."""
    shutil.copytree(demo.portraits() / "people", tmp_path / "photos")
    shutil.copy(portraits["obama2.jpg"], tmp_path / "who.jpg")
    shutil.copy(portraits["obama3.jpg"], tmp_path / "other.jpg")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("faces", "friends"):
        if found := find(client, name):
            delete(client, found)


@pytest.mark.usefixtures("example_photos")
def test_the_examples_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    examples = list(Document.parse(str(DOCS / "python.md"), PythonCodeBlockParser()).examples())
    assert len(examples) > 5
    for example in examples:
        example.evaluate()
    printed = capsys.readouterr().out
    assert "photos/Barack Obama/obama.jpg" in printed
    assert "True" in printed
    assert "no-such-photo.jpg ('unreadable'" in printed
    assert "no_collection" in printed
