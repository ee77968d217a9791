from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import EngineError
from es import collections
from es.documents import alias, rejects_alias
from faces.recipe import DEFAULT
from ingest import known
from ingest.known import Known, lookup
from ingest.writer import Work, Writer
from tests.faces_made import lost, rejected, sha, work
from workers.worker import Reject


@pytest.fixture
def filled(client: Elasticsearch, name: str) -> str:
    collections.create(client, name, DEFAULT.as_dict())
    writer = Writer(client, name, model="Dlib", run="r", detection="min_face=80")
    list(writer.write([work("a.jpg", 1, 2), work("b.jpg", 3), rejected("c.jpg"), rejected("d.jpg", "timeout")]))
    client.indices.refresh(index=[alias(name), rejects_alias(name)])
    return name


def test_known_photos_are_settled_and_others_absent(client: Elasticsearch, filled: str) -> None:
    found = lookup(client, filled, [sha(photo) for photo in ("a.jpg", "b.jpg", "c.jpg", "new.jpg")])
    assert set(found) == {sha("a.jpg"), sha("b.jpg"), sha("c.jpg")}
    assert all(entry.is_settled("min_face=80") for entry in found.values())
    assert found[sha("c.jpg")].reject == Reject("no_face", "A sentence.")


def test_looked_at_in_another_way_is_not_settled(client: Elasticsearch, filled: str) -> None:
    assert not lookup(client, filled, [sha("a.jpg")])[sha("a.jpg")].is_settled("min_face=40")


def test_a_photo_whose_faces_are_not_all_there_is_not_settled(client: Elasticsearch, filled: str) -> None:
    entry = lookup(client, filled, [sha("a.jpg")])[sha("a.jpg")]
    client.delete(index=alias(filled), id=next(iter(entry.faces)), refresh=True)
    assert not lookup(client, filled, [sha("a.jpg")])[sha("a.jpg")].is_settled("min_face=80")


def test_what_failed_in_passing_is_tried_again(client: Elasticsearch, filled: str) -> None:
    assert not lookup(client, filled, [sha("d.jpg")])[sha("d.jpg")].is_settled("min_face=80")


def test_more_hits_than_one_answer_holds_are_all_found(client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_WINDOW", 2)
    found = lookup(client, filled, [sha(photo) for photo in ("a.jpg", "b.jpg", "c.jpg")])
    assert [len(found[sha(photo)].faces) for photo in ("a.jpg", "b.jpg")] == [2, 1]


def test_nothing_asked_is_nothing_known(client: Elasticsearch) -> None:
    assert lookup(client, "not-there", []) == {}
    assert not Known().is_settled("min_face=80")


def test_parts_of_two_looks_at_a_photo_are_not_settled_and_the_next_run_repairs_them(client: Elasticsearch, name: str) -> None:
    # What a run leaves that was cut off between two shards, while it replaced the faces of an earlier one.
    collections.create(client, name, DEFAULT.as_dict(), shards=3)
    list(Writer(client, name, model="Dlib", run="1", detection="min_face=80").write([work("a.jpg", *range(24))]))
    old = {hit["_id"]: hit["_source"] for hit in _all(client, name)}
    list(
        Writer(client, name, model="Dlib", run="2", detection="min_face=40").write([_known(client, name, work("a.jpg", *range(100, 120)))])
    )
    for id_ in sorted(old)[::3]:  # a third of the replacement never came
        client.index(index=alias(name), id=id_, document=old[id_] | {"embedding": [0.5] * 128})
    for seeds, detection in ((range(100, 120), "min_face=40"), (range(24), "min_face=80")):
        client.indices.refresh(index=alias(name))
        assert not lookup(client, name, [sha("a.jpg")])[sha("a.jpg")].is_settled(detection)
        writer = Writer(client, name, model="Dlib", run="3", detection=detection)
        list(writer.write([_known(client, name, work("a.jpg", *seeds))]))
        assert {hit["_source"]["ingest"]["detection"] for hit in _all(client, name)} == {detection}
        assert len(_all(client, name)) == len(seeds)
        assert lookup(client, name, [sha("a.jpg")])[sha("a.jpg")].is_settled(detection)


def test_a_photo_both_stored_and_rejected_is_not_settled(client: Elasticsearch, filled: str) -> None:
    list(Writer(client, filled, model="Dlib", run="r", detection="min_face=80").write([rejected("a.jpg")]))
    client.indices.refresh(index=rejects_alias(filled))
    entry = lookup(client, filled, [sha("a.jpg")])[sha("a.jpg")]
    assert not entry.is_settled("min_face=80")
    again = work("a.jpg", 1, 2)
    again.known = entry
    list(Writer(client, filled, model="Dlib", run="r", detection="min_face=80").write([again]))
    client.indices.refresh(index=[alias(filled), rejects_alias(filled)])
    settled = lookup(client, filled, [sha("a.jpg")])[sha("a.jpg")]
    assert settled.is_settled("min_face=80")
    assert settled.reject is None


def test_a_shard_that_cannot_answer_is_an_error_not_an_unknown_photo(client: Elasticsearch, name: str) -> None:
    lost(client, name)
    with pytest.raises(EngineError):
        lookup(client, name, [sha("a.jpg")])


def _all(client: Elasticsearch, name: str) -> list[Any]:
    client.indices.refresh(index=alias(name))
    hits: list[Any] = client.search(index=alias(name), size=1000)["hits"]["hits"]
    return hits


def _known(client: Elasticsearch, name: str, made: Work) -> Work:
    client.indices.refresh(index=[alias(name), rejects_alias(name)])
    made.known = lookup(client, name, [str(made.outcome.sha256)]).get(str(made.outcome.sha256))
    return made
