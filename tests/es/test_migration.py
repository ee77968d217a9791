"""Moving a collection to another index, for real: while it is searched and written, cut off anywhere, twice at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, UsageError
from core.settings import settings
from es import collections, versions
from es.documents import alias, face_id
from es.loading import BulkLoad
from es.local.node import silent
from es.migration import Migration, Shape, migrate
from es.scan import current, delete, scan, update
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.es.migrations_made import QUICK, fill, is_blocked, nothing_left, same, stored
from tests.faces_made import rejected, sha, vector, work
from tests.same_answers import answers, assert_same


def test_all_is_there_in_another_type_with_other_shards(client: Elasticsearch, filled: str) -> None:
    client.update(index=alias(filled), id=face_id(sha("5.jpg"), 0, "Dlib"), doc={"labels": {"a b": "é", "n": "1"}, "thumbnail": "/9j/"})
    collections.annotate(client, filled, calibration={"a": 1})
    before, was = stored(client, alias(filled)), collections.get(client, filled)
    collections.annotate(client, filled, num_candidates=50)  # which was measured on another type
    moved = migrate(client, filled, Shape("int8_hnsw", 3), silent)
    same(before, stored(client, alias(filled)))
    now = collections.get(client, filled)
    assert (now.index, now.index_type) == (f"{alias(filled)}-v2", "int8_hnsw")
    assert (now.recipe, now.notes, now.created, now.origin) == (was.recipe, was.notes, was.created, was.origin)
    assert (moved.faces, moved.shards, moved.agreement, moved.kept) == (300, 3, 1.0, True)
    described = collections.describe(client, now)
    assert (described["shards"], described["old"], described["health"]) == (3, [f"{alias(filled)}-v1"], "green")
    settings_ = client.indices.get_settings(index=now.index)[now.index]["settings"]["index"]
    assert settings_["auto_expand_replicas"] == "0-1"
    assert "refresh_interval" not in settings_
    assert stored(client, f"{alias(filled)}-v1").keys() == before.keys()  # kept, and closed to writers
    assert is_blocked(client, f"{alias(filled)}-v1")
    with pytest.raises(CollectionError, match="exists"):
        collections.create(client, filled, DEFAULT.as_dict())
    assert versions.drop_old(client, filled) == [f"{alias(filled)}-v1"]
    with pytest.raises(CollectionError, match="exists"):
        collections.create(client, filled, DEFAULT.as_dict())
    migrate(client, filled, QUICK, silent, drop_old=True)
    same(before, stored(client, f"{alias(filled)}-v3"))
    nothing_left(client, filled)


def test_an_empty_collection_can_be_moved(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    assert migrate(client, name, Shape(shards=2), silent).faces == 0
    assert collections.get(client, name).index.endswith("-v2")
    assert len(collections.all_of(client)) == len({each.name for each in collections.all_of(client)})


def test_wrong_types_and_missing_collections_are_told_first(client: Elasticsearch, filled: str) -> None:
    with pytest.raises(UsageError, match="bbq_disk"):
        migrate(client, filled, Shape("bbq_disk"), silent)
    with pytest.raises(CollectionError):
        migrate(client, "nobody", Shape(), silent)
    nothing_left(client, filled)


def test_one_shard_answers_as_three(client: Elasticsearch, filled: str) -> None:
    before = answers(client, filled, range(1000, 1020))
    migrate(client, filled, Shape("int8_hnsw", 3), silent)
    assert_same(before, answers(client, filled, range(1000, 1020)))


@dataclass
class Life:
    """Threads that search, write, change and delete without pause, through what the commands use."""

    client: Elasticsearch
    name: str
    written: set[int] = field(default_factory=set)
    renamed: dict[int, str] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    searches: int = 0
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        number = 10_000
        writer = Writer(self.client, self.name, model="Dlib", run="run-2", detection="min_face=80")
        while not self.over.is_set():
            some = range(number, number + 5)
            list(writer.write(work(f"{each}.jpg", each) for each in some))
            self.written |= set(some)
            number += 5

    def change(self) -> None:
        for number in range(100):
            if self.over.is_set():
                return
            for document in self._read(number):
                assert update(self.client, [(document, {"person": f"new {number}"})]) == 1
                self.renamed[number] = f"new {number}"
            for document in self._read(number + 100):
                assert delete(self.client, [document]) == 1
                self.deleted.add(number + 100)
            time.sleep(0.02)

    def _read(self, number: int) -> list[Any]:
        query = {"term": {"image.sha256": sha(f"{number}.jpg")}}
        return list(current(self.client, scan(self.client, alias(self.name), query, []), ["image.path", "person"]))

    def search(self) -> None:
        while not self.over.is_set():
            number = 200 + self.searches % 100  # faces that stay
            knn = {"field": "embedding", "query_vector": vector(number).tolist(), "k": 5, "num_candidates": 300}
            hits = self.client.search(index=alias(self.name), knn=knn, size=5)["hits"]["hits"]
            self.searches += 1
            if len(hits) != 5 or hits[0]["_source"]["image"]["path"] != f"/photos/{number}.jpg":
                self.wrong.append(f"{number}: {len(hits)} hits")

    @contextlib.contextmanager
    def lived(self) -> Iterator[None]:
        def kept(work: Callable[[], None]) -> Callable[[], None]:
            def one() -> None:
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - told by check
                    self.wrong.append(repr(error))

            return one

        works = [self.write, self.change, *[self.search] * 2]
        threads = [threading.Thread(target=kept(work)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def check(self) -> None:
        assert self.wrong == []
        assert self.searches > 50
        assert self.written
        assert self.renamed
        assert self.deleted
        found = stored(self.client, alias(self.name))
        expected = set(range(300)) - self.deleted | self.written
        assert found.keys() == {face_id(sha(f"{number}.jpg"), 0, "Dlib") for number in expected}
        for number in expected:
            document = found[face_id(sha(f"{number}.jpg"), 0, "Dlib")]
            assert np.allclose(document["embedding"], vector(number), rtol=1e-6)
            if number in self.renamed:
                assert document["person"] == self.renamed[number]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers wait as long as they do by default."""
    monkeypatch.setattr("es.bulk.settings", lambda: settings().model_copy(update={"retry_seconds": 120.0}))


@pytest.mark.usefixtures("patient")
def test_nothing_fails_and_nothing_is_lost_while_it_moves(client: Elasticsearch, filled: str) -> None:
    life = Life(client, filled)
    with life.lived():
        for shape in (Shape("int8_hnsw", 3), QUICK):
            migrate(client, filled, shape, silent)
            written, searched = len(life.written), life.searches
            while not life.wrong and (len(life.written) == written or life.searches == searched):
                time.sleep(0.01)  # it goes on in the new index
    life.check()
    assert collections.get(client, filled).index.endswith("-v3")


def test_who_meets_the_block_goes_on_in_the_new_index(client: Elasticsearch, filled: str) -> None:
    """Each kind of write, begun while the old index takes none: of documents read before, after they changed, and of new ones."""
    documents = {document.id: document for document in current(client, scan(client, alias(filled), {"match_all": {}}, []), ["person"])}
    ids = [face_id(sha(f"{number}.jpg"), 0, "Dlib") for number in range(4)]
    client.update(index=alias(filled), id=ids[3], doc={"person": "somebody else"})  # since it was read
    done: dict[str, int] = {}

    def write() -> None:
        done["deleted"] = delete(client, [documents[ids[0]]])
        done["updated"] = update(client, [(documents[ids[1]], {"person": "new"})])
        done["changed"] = update(client, [(documents[ids[3]], {"person": "late"})])
        stale = work("again.jpg", 7000)
        list(Writer(client, filled, model="Dlib", run="r", detection="d").write([stale, rejected("r.jpg")]))

    with Migration(client, filled, QUICK) as migration:
        migration.fill()
        migration.hold()
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert done == {}
        migration.swap()
        thread.join()
    assert done == {"deleted": 1, "updated": 1, "changed": 0}
    found = stored(client, alias(filled))
    assert ids[0] not in found
    assert [found[id_]["person"] for id_ in (ids[1], ids[3])] == ["new", "somebody else"]
    assert face_id(sha("again.jpg"), 0, "Dlib") in found
    # One that was read before goes on in the new index, even where the old one is gone by now.
    versions.drop_old(client, filled)
    assert delete(client, [documents[ids[2]]]) == 1
    assert not client.exists(index=alias(filled), id=ids[2])


def test_writers_that_wait_too_long_are_told_why(client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es.bulk.settings", lambda: settings().model_copy(update={"retry_seconds": 0.5}))
    with Migration(client, filled, QUICK) as migration:
        migration.hold()
        with pytest.raises(EngineError, match="is being moved") as caught:
            fill(client, filled, 1, first=500)
    assert caught.value.code == "held"
    fill(client, filled, 1, first=500)
    nothing_left(client, filled)


def test_notes_made_meanwhile_are_kept(client: Elasticsearch, filled: str) -> None:
    collections.annotate(client, filled, old=1, gone=2, num_candidates=50)
    with Migration(client, filled, QUICK) as migration:
        collections.annotate(client, filled, new=3, gone=None)
        migration.fill()
        migration.swap()
    collections.annotate(client, filled, last=4)
    assert collections.get(client, filled).notes == {"old": 1, "num_candidates": 50, "new": 3, "last": 4}


def test_of_two_at_once_the_second_is_refused(client: Elasticsearch, filled: str) -> None:
    with Migration(client, filled, QUICK) as migration:
        with pytest.raises(CollectionError) as caught:
            migrate(client, filled, QUICK, silent)
        assert caught.value.code == "migrating"
        assert not versions.recover(client, filled), "it goes on"
        with BulkLoad(client, filled, silent) as load, pytest.raises(CollectionError) as caught:
            load.begin()
        assert caught.value.code == "migrating"
        migration.fill()
        migration.swap()
    versions.drop_old(client, filled)
    nothing_left(client, filled)


def test_a_bulk_load_goes_first(client: Elasticsearch, filled: str) -> None:
    with BulkLoad(client, filled, silent, merge=False) as load:
        load.begin()
        with pytest.raises(CollectionError) as caught:
            migrate(client, filled, QUICK, silent)
        assert caught.value.code == "loading"
        nothing_left(client, filled)
    migrate(client, filled, QUICK, silent)
