"""Moving a collection to another index, for real: while it is searched and written, cut off anywhere, twice at once."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, UsageError
from core.settings import settings
from es import collections, versions
from es.client import connect
from es.documents import alias, face_id
from es.following import Following
from es.loading import BulkLoad
from es.local.node import silent
from es.migration import Migration, Shape, migrate
from es.scan import current, delete, scan, update
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.faces_made import lost, rejected, sha, vector, work
from tests.same_answers import answers, assert_same

QUICK = Shape(merge=False)


def fill(client: Elasticsearch, name: str, count: int, *, first: int = 0) -> None:
    writer = Writer(client, name, model="Dlib", run="run-1", detection="min_face=80")
    list(writer.write(work(f"{number}.jpg", number, person=f"person {number % 7}") for number in range(first, first + count)))


@pytest.fixture
def filled(client: Elasticsearch, name: str) -> str:
    collections.create(client, name, DEFAULT.as_dict(), index_type="flat")
    fill(client, name, 300)
    client.indices.refresh(index=alias(name))
    return name


Stored = dict[str, dict[str, Any]]


def stored(client: Elasticsearch, index: str) -> Stored:
    client.indices.refresh(index=index)
    hits = client.search(index=index, size=10_000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def same(before: Stored, after: Stored) -> None:
    """Ids, all fields, and vectors (to the last bit but one: they are stored as direction and length)."""
    assert before.keys() == after.keys()
    for id_, document in before.items():
        assert np.allclose(document["embedding"], after[id_]["embedding"], rtol=1e-6)
        assert {**document, "embedding": None} == {**after[id_], "embedding": None}


def nothing_left(client: Elasticsearch, name: str) -> None:
    found = versions.versions(client, name)
    assert found.filling is None
    assert found.old == ()
    assert not is_blocked(client, found.current)


def is_blocked(client: Elasticsearch, index: str) -> bool:
    return "blocks" in client.indices.get_settings(index=index)[index]["settings"]["index"]


def test_all_is_there_in_another_type_with_other_shards(client: Elasticsearch, filled: str) -> None:
    client.update(index=alias(filled), id=face_id(sha("5.jpg"), 0, "Dlib"), doc={"labels": {"a b": "é", "n": "1"}, "thumbnail": "/9j/"})
    collections.annotate(client, filled, calibration={"a": 1})
    before, was = stored(client, alias(filled)), collections.get(client, filled)
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
    collections.annotate(client, filled, old=1, gone=2)
    with Migration(client, filled, QUICK) as migration:
        collections.annotate(client, filled, new=3, gone=None)
        migration.fill()
        migration.swap()
    collections.annotate(client, filled, last=4)
    assert collections.get(client, filled).notes == {"old": 1, "new": 3, "last": 4}


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


def test_another_index_is_not_swapped_in(client: Elasticsearch, filled: str) -> None:
    def spoil(document: Mapping[str, Any], **change: Any) -> None:
        with pytest.raises(CollectionError) as caught, Migration(client, filled, QUICK) as migration:
            migration.fill()
            client.update(index=migration.moved.index, id=next(iter(before)), doc=dict(document), refresh=True)
            migration.swap()
        assert caught.value.code == "differs"
        nothing_left(client, filled)

    before = dict(list(stored(client, alias(filled)).items())[:1])
    for id_ in set(stored(client, alias(filled))) - set(before):
        client.delete(index=alias(filled), id=id_)  # so that the sample has it for certain
    spoil({"embedding": vector(77).tolist()})
    spoil({"person": "somebody else"})
    assert stored(client, alias(filled)) == before


def test_whoever_lost_the_mark_neither_writes_nor_swaps(client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CollectionError), Migration(client, filled, QUICK) as migration:
        migration.fill()
        migration.hold()
        with monkeypatch.context() as later:
            later.setattr("es.marks.is_over", lambda _: True)
            assert versions.recover(client, filled)
        fill(client, filled, 1, first=500)  # acknowledged: must not be lost
        migration.hand_over()
    assert face_id(sha("500.jpg"), 0, "Dlib") in stored(client, alias(filled))
    nothing_left(client, filled)


def test_whoever_lost_the_mark_leaves_what_became_of_the_collection(
    client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that slept for long: meanwhile, its migration was taken away, and another one made an index of the same name."""
    with pytest.raises(CollectionError), Migration(client, filled, QUICK) as migration:
        with monkeypatch.context() as later:
            later.setattr("es.marks.is_over", lambda _: True)
            assert versions.recover(client, filled)
        assert migrate(client, filled, QUICK, silent).index == migration.moved.index
        migration.hold()
    assert collections.get(client, filled).index == migration.moved.index
    assert len(stored(client, alias(filled))) == 300
    assert is_blocked(client, migration.moved.old)


def test_a_swap_whose_answer_was_lost_is_not_taken_back(client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), Migration(client, filled, QUICK) as migration:
        migration.fill()
        migration.hold()

        def cut(*_: object) -> None:
            raise KeyboardInterrupt

        asked = client.indices.update_aliases
        monkeypatch.setattr(client.indices, "update_aliases", lambda **how: cut(asked(**how)))
        try:
            migration.hand_over()
        finally:
            monkeypatch.undo()
    assert collections.get(client, filled).index == migration.moved.index
    assert len(stored(client, alias(filled))) == 300


def test_a_block_that_was_there_already_does_not_mean_that_writes_are_done(
    client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifted: list[str] = []
    unblock = versions.unblock

    def lift(client: Elasticsearch, index: str) -> None:
        lifted.append(index)
        unblock(client, index)

    monkeypatch.setattr(versions, "unblock", lift)
    with Migration(client, filled, QUICK) as migration:
        client.indices.add_block(index=migration.moved.old, block="write")  # by a request whose answer was lost
        migration.hold()
        assert lifted == [migration.moved.old]
        assert is_blocked(client, migration.moved.old)


def test_a_shard_that_does_not_say_how_far_it_is_ends_it(client: Elasticsearch, filled: str) -> None:
    index = collections.get(client, filled).index
    with pytest.raises(EngineError, match="can't answer"):
        Following(client, index, index, "", lambda: None, shards=2).catch_up()


def test_what_is_found_out_about_the_old_model_is_not_said_of_the_new_one(client: Elasticsearch, filled: str) -> None:
    with Migration(client, filled, QUICK, DEFAULT.as_dict()) as migration:
        collections.annotate(client, filled, calibration={"threshold": 1}, expected_faces=7)
        migration.hold()
        migration.hand_over()
    assert collections.get(client, filled).notes == {"expected_faces": 7}


def test_a_change_to_an_index_that_was_dropped_makes_none_and_is_not_lost(client: Elasticsearch, filled: str) -> None:
    (document,) = current(client, scan(client, alias(filled), {"term": {"image.sha256": sha("5.jpg")}}, []), ["person"])
    migrate(client, filled, QUICK, silent, drop_old=True)
    client.cluster.put_settings(persistent={"action.auto_create_index": "true"})  # Elasticsearch's default
    try:
        assert update(client, [(document, {"person": "new"})]) == 1
    finally:
        client.cluster.put_settings(persistent={"action.auto_create_index": None})
    assert stored(client, alias(filled))[document.id]["person"] == "new"
    nothing_left(client, filled)


def test_what_can_not_be_read_again_in_the_new_index_is_not_taken_for_gone(
    client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (document,) = current(client, scan(client, alias(filled), {"term": {"image.sha256": sha("5.jpg")}}, []), ["person"])
    collections.delete(client, collections.get(client, filled))
    lost(client, filled)
    client.indices.delete(index=f"{alias(filled)}-v1")
    client.indices.create(
        index=f"{alias(filled)}-v2",
        settings={"routing.allocation.require._name": "nobody"},
        aliases={alias(filled): {}},
        wait_for_active_shards=0,
    )
    monkeypatch.setattr("es.bulk.settings", lambda: settings().model_copy(update={"retry_seconds": 0.2}))
    with pytest.raises(EngineError):
        delete(client, [document])


_CUT = """
import os, signal, sys
from core.settings import settings
from es.client import connect
from es.migration import Shape, migrate
client = connect(settings())
left = int(sys.argv[2])
ask = type(client.transport).perform_request
def counted(self, *args, **how):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(self, *args, **how)
type(client.transport).perform_request = counted
migrate(client, sys.argv[1], Shape('int8_hnsw', 2, merge=False), print)
print('done', flush=True)
"""


@pytest.mark.parametrize("seed", range(5))
def test_killed_anywhere_the_collection_stays_usable(client: Elasticsearch, filled: str, seed: int) -> None:
    """Killed before one of its requests (of about 40), each time; then it is written, and moved for good."""
    before = stored(client, alias(filled))
    at = random.Random(seed).randint(3, 40)
    process = subprocess.run([sys.executable, "-c", _CUT, filled, str(at)], capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    assert stored(client, alias(filled)).keys() == before.keys()  # searches know nothing of it
    versions.recover(client, filled)
    versions.drop_old(client, filled)
    nothing_left(client, filled)
    fill(client, filled, 1, first=500)
    migrate(client, filled, QUICK, silent, drop_old=True)
    nothing_left(client, filled)
    after = stored(client, alias(filled))
    after.pop(face_id(sha("500.jpg"), 0, "Dlib"))
    same(before, after)


def test_a_deleted_collection_leaves_no_version(client: Elasticsearch, filled: str) -> None:
    migrate(client, filled, QUICK, silent)
    with connect(settings()) as other:
        collections.delete(other, collections.get(client, filled))
    assert not client.indices.exists(index=f"{alias(filled)}*", allow_no_indices=False)
