"""`facedex snapshot` as a person types it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from es import collections, repositories
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.cli.conftest import Type
from tests.faces_made import work


@pytest.fixture
def filled(client: Elasticsearch, name: str) -> Iterator[str]:
    """A collection of three faces; the snapshots and what was restored are deleted afterwards."""
    collections.create(client, name, DEFAULT.as_dict())
    list(Writer(client, name, model="Dlib", run="r", detection="d").write([work(f"{number}.jpg", number) for number in range(3)]))
    yield name
    if found := collections.find(client, f"{name}-back"):
        collections.delete(client, found)
    repository = repositories.find(client, None, is_own_node=True)
    client.options(ignore_status=404).snapshot.delete(repository=repository, snapshot=f"*{name}*")


def test_a_snapshot_from_end_to_end(filled: str, type_: Type) -> None:
    made = type_("snapshot", "create", "-c", filled, "--name", f"s-{filled}", "--json")
    assert made.code == 0
    assert made.json.items() >= {"repository": "facedex", "state": "SUCCESS", "collections": [filled], "faces": {filled: 3}}.items()
    said = type_("snapshot", "create", "-c", filled, "--name", f"t-{filled}")
    assert "Whoever is erased later is still in it" in said.out

    listed = type_("snapshot", "list", "--json").json["snapshots"]
    assert [each["age_days"] < 1 for each in listed if filled in each["collections"]] == [True, True]
    assert f"s-{filled}" in type_("snapshot", "list").out

    refused = type_("snapshot", "restore", f"s-{filled}", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "collection_exists")
    back = type_("snapshot", "restore", f"s-{filled}", "--as", f"{filled}-back", "--json")
    assert back.code == 0
    assert back.json["collections"] == [{"name": f"{filled}-back", "faces": 3, "expected": 3}]
    assert type_("collections", "delete", filled, "--yes").code == 0
    assert "with 3 faces, as of" in type_("snapshot", "restore", f"s-{filled}").out

    assert type_("snapshot", "delete", f"s-{filled}").code == 2  # nobody to ask
    assert type_("snapshot", "delete", "--older-than", "1d", "--yes", "--json").json["deleted"] == []
    deleted = type_("snapshot", "delete", f"s-{filled}", "--yes", "--json")
    assert deleted.json["deleted"] == [f"s-{filled}"]
    missing = type_("snapshot", "restore", f"s-{filled}", "--json")
    assert (missing.code, missing.json["error"]["code"]) == (2, "no_snapshot")


def test_all_collections_with_the_record_of_operations(client: Elasticsearch, filled: str, type_: Type) -> None:
    record = "facedex--operations-v1"
    was_there = bool(client.indices.exists(index=record))
    if not was_there:
        client.indices.create(index=record)
    try:
        assert type_("snapshot", "create", "--name", f"s-{filled}").code == 0
        kept = client.snapshot.get(repository="facedex", snapshot=f"s-{filled}")["snapshots"][0]["indices"]
        assert record in kept
        assert f"facedex-{filled}-rejects-v1" in kept
    finally:
        if not was_there:
            client.indices.delete(index=record)
    if not was_there:
        collections.delete(client, collections.get(client, filled))
        others = [c for c in kept if filled not in c and c != record]
        if not others:  # in a run of many tests there may be collections of others
            assert type_("snapshot", "restore", f"s-{filled}").code == 0
            assert client.indices.exists(index=record)
            client.indices.delete(index=record)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("delete",), "usage"),
        (("delete", "--older-than", "soon", "--yes"), "usage"),
        (("create", "--repository", "nowhere"), "repository"),
        (("schedule", "--daily", "02:30"), "no_slm"),
        (("schedule",), "no_slm"),
        (("schedule", "--daily", "02:30", "--off"), "usage"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(words: tuple[str, ...], code: str, client: Elasticsearch, type_: Type) -> None:
    done = type_("snapshot", *words, "--json")
    assert (done.code, done.json["error"]["code"]) == (2, code)
    assert done.err.count("\n") == 1
