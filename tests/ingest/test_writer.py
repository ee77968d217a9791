import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, StorageError
from core.settings import settings
from es import collections
from es.client import connect
from es.documents import alias, rejects_alias
from faces.recipe import DEFAULT
from ingest.known import lookup
from ingest.writer import Work, Writer
from tests.faces_made import rejected, sha, vector, work
from tests.storm import LOST, between
from workers.worker import Outcome, Reject


@pytest.fixture
def writer(client: Elasticsearch, name: str) -> Writer:
    collections.create(client, name, DEFAULT.as_dict())
    return Writer(client, name, model="Dlib", run="run-1", detection="min_face=80")


def stored(client: Elasticsearch, name: str) -> dict[str, dict[str, Any]]:
    client.indices.refresh(index=[alias(name), rejects_alias(name)])
    hits = client.search(index=alias(name), size=1000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def test_faces_are_stored_as_they_are(client: Elasticsearch, name: str, writer: Writer) -> None:
    done = list(writer.write([work("a.jpg", 1, 2, person="Ada"), work("b.jpg", 3)]))
    assert [written.created for written in done] == [2, 1]
    documents = sorted(stored(client, name).values(), key=lambda document: (document["image"]["path"], document["face"]["ordinal"]))
    first = documents[0]
    assert first["image"] == {"sha256": sha("a.jpg"), "path": "/photos/a.jpg", "width": 640, "height": 480, "faces": 2}
    assert first["face"]["box"] == {"x": 1, "y": 2, "w": 30, "h": 40}
    assert first["person"] == "Ada"
    assert first["ingest"] == {"run": "run-1", "detection": "min_face=80"}
    assert "person" not in documents[2]
    for document, seed in zip(documents, (1, 2, 3), strict=True):
        # Stored as direction and length, for the cosine: the last bit can differ.
        assert np.allclose(np.array(document["embedding"], np.float32), vector(seed), rtol=1e-6)


def test_writing_twice_changes_nothing(client: Elasticsearch, name: str, writer: Writer) -> None:
    list(writer.write([work("a.jpg", 1, 2)]))
    before = stored(client, name)
    (again,) = writer.write([work("a.jpg", 1, 2)])
    assert again.created == 0
    assert stored(client, name) == before


def test_the_same_content_twice_in_one_request_is_one(client: Elasticsearch, name: str, writer: Writer) -> None:
    done = list(writer.write([work("a.jpg", 1, person="Ada"), work("copy.jpg", 1, person="Ben", content="a.jpg")]))
    assert [written.created for written in done] == [1, 0]
    (document,) = stored(client, name).values()
    assert document["person"] == "Ada"


def test_faces_found_in_another_way_replace_the_old_ones(client: Elasticsearch, name: str, writer: Writer) -> None:
    list(writer.write([work("a.jpg", 1, 2, 3), work("b.jpg", 9)]))
    client.indices.refresh(index=alias(name))
    finer = Writer(client, name, model="Dlib", run="run-2", detection="min_face=40")
    again = work("a.jpg", 4, 5)
    again.known = lookup(client, name, [sha("a.jpg")])[sha("a.jpg")]
    list(finer.write([again]))
    vectors = sorted(document["embedding"][0] for document in stored(client, name).values())
    assert vectors == pytest.approx(sorted(float(vector(seed)[0]) for seed in (4, 5, 9)))


def test_a_look_of_the_same_name_that_finds_another_number_replaces_what_was_cut_off(
    client: Elasticsearch, name: str, writer: Writer
) -> None:
    first, second = work("a.jpg", 1, 2, 3), work("a.jpg", 4, 5)
    list(writer.write([first]))
    client.indices.refresh(index=alias(name))
    gone = next(id_ for id_, document in stored(client, name).items() if document["face"]["ordinal"] == 2)
    client.delete(index=alias(name), id=gone, refresh=True)
    second.known = lookup(client, name, [sha("a.jpg")])[sha("a.jpg")]
    list(Writer(client, name, model="Dlib", run="run-2", detection="min_face=80").write([second]))
    vectors = sorted(document["embedding"][0] for document in stored(client, name).values())
    assert vectors == pytest.approx(sorted(float(vector(seed)[0]) for seed in (4, 5)))
    assert lookup(client, name, [sha("a.jpg")])[sha("a.jpg")].is_settled("min_face=80")


def test_rejects_are_kept_beside_the_faces_and_leave_when_it_went_well(client: Elasticsearch, name: str, writer: Writer) -> None:
    list(writer.write([rejected("a.jpg")]))
    client.indices.refresh(index=rejects_alias(name))
    known = lookup(client, name, [sha("a.jpg")])[sha("a.jpg")]
    assert known.reject == Reject("no_face", "A sentence.")
    finer = Writer(client, name, model="Dlib", run="run-2", detection="min_face=40")
    found = work("a.jpg", 1)
    found.known = known
    list(finer.write([found]))
    counted = collections.count(client, collections.get(client, name))
    client.indices.refresh(index=[alias(name), rejects_alias(name)])
    counted = collections.count(client, collections.get(client, name))
    assert (counted["faces"], counted["rejects"]) == (1, 0)


def test_unreadable_photos_are_kept_apart_by_path(client: Elasticsearch, name: str, writer: Writer) -> None:
    unreadable = [Work(work(path).source, Outcome(reject=Reject("unreadable", "Gone."))) for path in ("a.jpg", "b.jpg", "a.jpg")]
    list(writer.write(unreadable))
    client.indices.refresh(index=rejects_alias(name))
    assert collections.count(client, collections.get(client, name))["rejects"] == 2


def test_more_than_one_request_keeps_the_order(client: Elasticsearch, name: str, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.writer._CHUNK_FACES", 300)
    works = [work(f"{number}.jpg", number) for number in range(1100)]
    assert [written.source for written in writer.write(iter(works))] == [each.source for each in works]
    client.indices.refresh(index=alias(name))
    assert collections.count(client, collections.get(client, name))["faces"] == 1100


def test_a_full_disk_is_told_and_nothing_is_lost(client: Elasticsearch, name: str, writer: Writer) -> None:
    list(writer.write([work("a.jpg", 1)]))
    client.indices.put_settings(index=alias(name), settings={"index.blocks.read_only_allow_delete": True})  # what the flood stage sets
    begun = time.monotonic()
    with pytest.raises(StorageError, match="disk is full") as caught:
        list(writer.write([work("b.jpg", 2)]))
    assert time.monotonic() - begun < 5  # at once, not after all retries
    assert caught.value.code == "disk_full"
    client.indices.put_settings(index=alias(name), settings={"index.blocks.read_only_allow_delete": None})
    list(writer.write([work("a.jpg", 1), work("b.jpg", 2)]))
    assert len(stored(client, name)) == 2


def test_copies_of_a_photo_that_is_looked_at_anew_count_once_and_the_first_stands(
    client: Elasticsearch, name: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.writer._CHUNK_FACES", 2)  # so that the copies are in different requests
    list(writer.write([work("anna/a.jpg", 1, content="a", person="Anna")]))
    client.indices.refresh(index=alias(name))
    known = lookup(client, name, [sha("a")])[sha("a")]
    again = [work("anna/a.jpg", 2, 3, content="a", person="Anna"), *(work(f"{n}.jpg", n) for n in range(9))]
    again.append(work("carl/a.jpg", 2, 3, content="a", person="Carl"))
    again[0].known = again[-1].known = known
    done = list(Writer(client, name, model="Dlib", run="r", detection="min_face=40").write(again))
    assert [done[0].created, done[-1].created] == [2, 0]
    assert {document.get("person") for document in stored(client, name).values() if document["image"]["sha256"] == sha("a")} == {"Anna"}


@pytest.mark.parametrize("error", [OSError("it is gone"), EngineError("The Dask cluster is gone.", code="dask_unreachable")])
def test_what_is_embedded_is_stored_even_if_the_photos_end_with_an_error(
    client: Elasticsearch, name: str, writer: Writer, error: Exception
) -> None:
    def works() -> Iterator[Work]:
        yield work("a.jpg", 1)
        raise error

    with pytest.raises(type(error), match="gone"):
        list(writer.write(works()))
    assert len(stored(client, name)) == 1


def test_names_that_json_or_the_index_cannot_hold_lose_nothing(client: Elasticsearch, name: str, writer: Writer) -> None:
    bad = os.fsdecode(b"caf\xe9")
    list(writer.write([work(f"{bad}.jpg", 1, person=bad), work("long.jpg", 2, person="x" * 40_000)]))
    people = sorted(document["person"] for document in stored(client, name).values())
    assert people == ["caf\\xe9", "x" * 40_000]


def test_a_collection_deleted_meanwhile_is_not_made_again(client: Elasticsearch, name: str, writer: Writer) -> None:
    collections.delete(client, collections.get(client, name))
    with pytest.raises((EngineError, CollectionError)):
        list(writer.write([work("a.jpg", 1)]))
    assert not client.indices.exists(index=alias(name))


def test_refusals_do_not_quote_vectors(client: Elasticsearch, name: str, writer: Writer) -> None:
    bad = work("a.jpg", 1)
    object.__setattr__(bad.outcome.faces[0], "embedding", vector(1, dims=64))
    with pytest.raises(EngineError) as caught:
        list(writer.write([bad]))
    assert f"{float(vector(1)[0]):.4f}" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("reason", ["timeout", "worker_died", "failed"])
def test_a_passing_reject_while_looking_again_keeps_the_faces(client: Elasticsearch, name: str, writer: Writer, reason: str) -> None:
    list(writer.write([work("a.jpg", 1, 2)]))
    before = stored(client, name)
    known = lookup(client, name, [sha("a.jpg")])[sha("a.jpg")]
    other = Writer(client, name, model="Dlib", run="run-2", detection="min_face=60")
    (done,) = other.write([replace(rejected("a.jpg", reason), known=known)])
    assert done.outcome.reject is not None
    assert stored(client, name) == before
    assert not lookup(client, name, [sha("a.jpg")])[sha("a.jpg")].is_settled("min_face=60"), "the next run looks again"


def test_faces_whose_acknowledgement_was_lost_count_as_stored(client: Elasticsearch, name: str, writer: Writer) -> None:
    asked = 0

    def trouble(path: str) -> int | None:
        nonlocal asked
        asked += "_bulk" in path
        return LOST if "_bulk" in path and asked == 1 else None

    with between(client, trouble) as url, connect(settings().model_copy(update={"url": url})) as shaken:
        again = Writer(shaken, name, model="Dlib", run="run-1", detection="min_face=80")
        done = list(again.write([work("a.jpg", 1, 2), work("b.jpg", 3)]))
    assert asked == 2
    assert [written.created for written in done] == [2, 1]
    assert len(stored(client, name)) == 3
