import pytest
from elasticsearch import Elasticsearch

from es import collections
from es.documents import alias, rejects_index
from faces.recipe import DEFAULT
from ingest import known
from ingest.known import Known, lookup
from ingest.worker import Reject
from ingest.writer import Writer
from tests.faces_made import rejected, sha, work


@pytest.fixture
def filled(client: Elasticsearch, name: str) -> str:
    collections.create(client, name, DEFAULT.as_dict())
    writer = Writer(client, name, model="Dlib", run="r", detection="min_face=80")
    list(writer.write([work("a.jpg", 1, 2), work("b.jpg", 3), rejected("c.jpg"), rejected("d.jpg", "timeout")]))
    client.indices.refresh(index=[alias(name), rejects_index(name)])
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
    client.delete(index=alias(filled), id=entry.face_ids[0], refresh=True)
    assert not lookup(client, filled, [sha("a.jpg")])[sha("a.jpg")].is_settled("min_face=80")


def test_what_failed_in_passing_is_tried_again(client: Elasticsearch, filled: str) -> None:
    assert not lookup(client, filled, [sha("d.jpg")])[sha("d.jpg")].is_settled("min_face=80")


def test_more_hits_than_one_answer_holds_are_all_found(client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_WINDOW", 2)
    found = lookup(client, filled, [sha(photo) for photo in ("a.jpg", "b.jpg", "c.jpg")])
    assert [len(found[sha(photo)].face_ids) for photo in ("a.jpg", "b.jpg")] == [2, 1]


def test_nothing_asked_is_nothing_known(client: Elasticsearch) -> None:
    assert lookup(client, "not-there", []) == {}
    assert not Known().is_settled("min_face=80")
