from __future__ import annotations

from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

import demo
from core.errors import RecipeMismatch
from es.collections import create, delete, get
from faces.recipe import DEFAULT


@pytest.fixture
def named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(demo, "COLLECTION", name)
    monkeypatch.setattr(demo, "PAGE", tmp_path / "page.html")
    return name


def test_the_demo_names_the_right_person(named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo.run(json=False)
    out = capsys.readouterr().out
    assert out.index("Barack Obama") < out.index("Joe Biden")
    assert (tmp_path / "page.html").read_text().count('<li class="match">') == 2


def test_the_demo_keeps_to_the_recipe_of_its_collection(client: Elasticsearch, named: str) -> None:
    create(client, named, DEFAULT.as_dict() | {"model": "Facenet", "detector": "retinaface"})
    with pytest.raises(RecipeMismatch):
        demo.run(json=False)
    delete(client, get(client, named))
