"""What commands and programs leave in the index of operations: enough to tell who searched and what for, and nobody's name or face."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

import facedex
from es.documents import OPERATIONS
from es.operations import latest
from faces.recipe import DEFAULT
from ingest.report import RejectsFile, Report
from ingest.run import Options, ingest
from photos.sources import PersonFrom, photos
from tests.cli.conftest import Type, type_
from tests.faces_made import small_copies
from tests.ingest.runs_made import run

__all__ = ["type_"]


@pytest.fixture
def people(client: Elasticsearch, name: str, tmp_path: Path, portraits: dict[str, Path]) -> Path:
    folder = tmp_path / "people"
    small_copies(portraits["obama.jpg"], folder / "Barack", 2)
    (folder / "Barack" / "broken.jpg").write_text("no photo")
    run(client, name, folder, workers=0)
    return folder


@pytest.fixture
def records(client: Elasticsearch, name: str) -> Callable[[str], list[dict[str, Any]]]:
    def read(action: str) -> list[dict[str, Any]]:
        client.indices.refresh(index=OPERATIONS)
        return [record for record in latest(client, 100, name) if record["action"] == action]

    return read


def test_a_run_a_search_and_a_deletion(
    name: str, people: Path, portraits: dict[str, Path], type_: Type, records: Callable[[str], list[dict[str, Any]]]
) -> None:
    (ran,) = records("ingest")
    assert ran["ingest"]["reasons"] == [{"reason": "not_an_image", "count": 1}]
    assert {"photos": 3, "indexed": 2, "skipped": 0, "rejected": 1}.items() <= ran["ingest"].items()
    assert ran["faces"] == 2

    words = ("--where", "person!=Joe", "--since", "2020-01-01", "--min-quality", "size=20", "--purpose", "a test")
    assert type_("search", portraits["obama2.jpg"], people / "Barack" / "broken.jpg", "-c", name, "--json", *words).code == 1
    (searched,) = records("search")
    assert {"targets": 2, "failed": 1, "faces": 1, "results": 1, "verified": 1, "error": ["not_an_image"]}.items() <= searched.items()
    assert (searched["purpose"], searched["filters"]) == ("a test", ["@timestamp", "face.quality.size", "person"])
    assert 0 < searched["latency"]["median"] <= searched["latency"]["p95"] < 1000 * searched["seconds"]

    listed = type_("operations", "list", "-c", name, "--json").json["operations"]
    assert [record["action"] for record in listed] == ["search", "ingest"]
    for secret in ("Joe", "Barack", "obama", "broken", str(people)):
        assert secret not in json.dumps(listed)
    shown = type_("operations", "list", "-c", name).out
    assert "2 photos, 1 person named, 1 verified, not_an_image" in shown

    assert type_("collections", "delete", name, "--yes").code == 0
    assert [record["faces"] for record in records("delete")] == [2]


def test_old_records_are_asked_about_and_deleted(type_: Type) -> None:
    assert type_("operations", "prune", "--older-than", "365d", "--json").json["error"]["code"] == "usage"
    assert type_("operations", "prune", "--older-than", "soon", "--json", "--yes").json["error"]["code"] == "usage"
    assert type_("operations", "prune", "--older-than", "36500d", "--yes", "--json").json == {"deleted": 0}


def test_what_somebody_else_wrote_hides_nothing(client: Elasticsearch, name: str, people: Path, type_: Type) -> None:
    for odd in ({"action": "x"}, {"@timestamp": 1, "user": ["a", "b"], "seconds": "2"}):
        client.index(index=OPERATIONS, document={"collection": name} | odd, refresh=True)
    shown = type_("operations", "list", "-c", name).out
    assert shown.count("not written by Facedex") == 2
    assert "3 photos, 2 faces stored, 1 rejected" in shown


def test_an_interrupted_run(
    client: Elasticsearch, name: str, people: Path, portraits: dict[str, Path], records: Callable[[str], list[dict[str, Any]]]
) -> None:
    small_copies(portraits["biden.jpg"], people / "Joe", 2)

    def stop(report: Report) -> None:
        if report.indexed:
            raise KeyboardInterrupt

    with RejectsFile(people / "rejects.jsonl") as file, pytest.raises(KeyboardInterrupt):
        ingest(client, name, DEFAULT, photos([people], PersonFrom.folder), file, Options(workers=0), stop)
    assert [record["outcome"] for record in records("ingest")] == ["interrupted", "finished"]


def test_a_program_is_recorded_when_it_closes(
    name: str, people: Path, portraits: dict[str, Path], records: Callable[[str], list[dict[str, Any]]]
) -> None:
    with facedex.open(name) as collection:
        collection.search(portraits["obama2.jpg"], where=["person=Barack"])
        list(collection.search_many([portraits["obama2.jpg"], portraits["biden.jpg"]]))
        collection.find(portraits["obama2.jpg"])
        assert records("search") == []
    (searched,) = records("search")
    assert (searched["targets"], searched["filters"]) == (4, ["person"])
