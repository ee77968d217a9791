"""`facedex bench` as a person types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from es.collections import annotate, create, get
from es.documents import alias
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.cli.conftest import Type
from tests.faces_made import vector, work


@pytest.fixture
def people(client: Elasticsearch, name: str) -> str:
    """A collection of 50 people with two photos each."""
    create(client, name, DEFAULT.as_dict())
    works = [work(f"{number}.jpg", number, person=f"p{number % 50}") for number in range(100)]
    for number, each in enumerate(works):
        object.__setattr__(each.outcome.faces[0], "embedding", (vector(number % 50) + 0.3 * vector(number + 900)).astype(np.float32))
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))
    return name


def copies(client: Elasticsearch) -> list[str]:
    return [index for index in client.indices.get(index="facedex-*", filter_path="*.aliases") if "--copy-" in index]


def test_recall_of_a_collection_and_of_copies(client: Elasticsearch, people: str, type_: Type) -> None:
    done = type_("bench", "recall", "-c", people, "--probes", 30, "--k", 5, "--index-types", "hnsw, flat", "--json")
    assert done.code == 0
    assert done.json.items() >= {"collection": people, "faces": 100, "probes": 30, "probes_with_mates": 30, "k": 5, "stored": None}.items()
    assert done.json["exact"]["labelled_rank1"] == 1.0
    assert [(each["index_type"], each["copy"]) for each in done.json["indices"]] == [
        ("bbq_flat", False),
        ("hnsw", True),
        ("flat", True),
    ]
    assert [level["num_candidates"] for level in done.json["indices"][0]["levels"]] == [300]
    assert done.json["indices"][0]["levels"][-1].items() >= {"recall": 1.0, "rank1": 1.0, "labelled_rank1": 1.0}.items()
    assert all(each["recommended"] is None for each in done.json["indices"])
    assert copies(client) == []

    table = type_("bench", "recall", "-c", people, "--probes", 5).out
    assert "recall@10" in table
    assert "right person" in table
    assert "graph" not in table
    assert "Below 50,000 faces there is no graph" in type_("bench", "recall", "-c", people, "--probes", 5, "--index-types", "hnsw").out


def test_a_small_collection_has_nothing_to_store(client: Elasticsearch, people: str, type_: Type) -> None:
    done = type_("bench", "recall", "-c", people, "--probes", 5, "--store")
    assert done.code == 0
    assert "nothing to choose" in done.out
    assert "num_candidates" not in get(client, people).notes


def test_the_recommendation_is_stored_beside_other_notes(
    client: Elasticsearch, people: str, type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate(client, people, other=1)
    monkeypatch.setattr("query.recall._compared", lambda *_: 7)  # as if there were a graph
    done = type_("bench", "recall", "-c", people, "--probes", 5, "--store", "--json")
    best = done.json["indices"][0]["recommended"]["num_candidates"]
    assert done.json["stored"] == best
    assert get(client, people).notes == {"other": 1, "num_candidates": best}
    assert f"look at {best:,} candidates" in type_("bench", "recall", "-c", people, "--probes", 5, "--store").out


def test_what_searches_do_now_is_measured_too(client: Elasticsearch, people: str, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("query.recall._compared", lambda *_: 7)  # as if there were a graph
    annotate(client, people, num_candidates=1234)
    assert "now 1,234" in type_("bench", "recall", "-c", people, "--probes", 5).out


def test_no_copy_stays_after_an_error(client: Elasticsearch, people: str, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es.copies.map_slices", lambda *_, **__: 1 / 0)
    assert type_("bench", "recall", "-c", people, "--probes", 5, "--index-types", "flat").code == 2
    assert copies(client) == []


def test_wrong_use_is_told_before_the_work_begins(people: str, tmp_path: Path, type_: Type) -> None:
    refused = type_("bench", "recall", "-c", people, "--index-types", "steep", "--json")
    assert refused.code == 2
    assert "int8_hnsw" in refused.json["error"]["message"]
    assert type_("bench", "recall", "-c", f"{people}-other").code == 2
