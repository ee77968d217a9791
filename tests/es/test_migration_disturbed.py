"""Migrations that are disturbed: cut off anywhere, robbed of their mark, answered by half."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError
from core.settings import settings
from es import collections, versions
from es.client import connect
from es.documents import alias, face_id
from es.following import Following
from es.local.node import silent
from es.migration import Migration, migrate
from es.scan import current, delete, scan, update
from faces.recipe import DEFAULT
from tests.es.migrations_made import QUICK, fill, is_blocked, nothing_left, same, stored
from tests.faces_made import lost, sha, vector


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
        Following(client, index, index, "", lambda: None, 2, "Dlib").catch_up()


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
