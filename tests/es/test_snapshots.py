"""Snapshot, delete everything, restore: identical."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, UsageError
from es import collections, repositories, restore, snapshots, versions
from es.documents import alias, rejects_alias
from es.migration import Migration, Shape, migrate
from faces.recipe import DEFAULT
from ingest.writer import Writer
from tests.faces_made import content, rejected, work

QUICK = Shape(merge=False)


@pytest.fixture
def repository(client: Elasticsearch) -> str:
    return repositories.find(client, None, is_own_node=True)


@pytest.fixture
def snapshot(client: Elasticsearch, repository: str, name: str) -> Iterator[str]:
    """A name for a snapshot, deleted afterwards."""
    yield f"s-{name}"
    client.options(ignore_status=404).snapshot.delete(repository=repository, snapshot=f"s-{name}*")


@pytest.fixture
def new_name(client: Elasticsearch, name: str) -> Iterator[str]:
    yield f"{name}-new"
    if found := collections.find(client, f"{name}-new"):
        collections.delete(client, found)


def filled(client: Elasticsearch, name: str) -> collections.Collection:
    """A collection with faces of some people, rejects, notes, and settings of its own."""
    collections.create(client, name, DEFAULT.as_dict(), shards=2)
    works = [work(f"{number}.jpg", number, number + 100, person=f"p{number % 7}") for number in range(40)]
    list(Writer(client, name, model="Dlib", run="r", detection="d").write([*works, rejected("blurred.jpg"), rejected("no.jpg", "corrupt")]))
    client.indices.put_settings(index=alias(name), settings={"index.refresh_interval": "7s"})
    client.indices.update_aliases(actions=[{"add": {"index": f"{alias(name)}-v1", "alias": f"mine-{name}"}}])
    return collections.annotate(client, name, num_candidates=30, calibration={"threshold": 0.08, "curve": [[0.1, 0.2]]})


def everything(client: Elasticsearch, name: str) -> dict[str, Any]:
    """All that a collection is: every document with its vector, and all that describes the indices but what is new by nature."""
    found: dict[str, Any] = {"vectors": content(client, name)}
    for index in (f"{alias(name)}-v1", f"{rejects_alias(name)}-v1"):
        client.indices.refresh(index=index)
        hits = client.search(index=index, size=5000, source={"exclude_vectors": False})["hits"]["hits"]
        shape = client.indices.get(index=index)[index]
        for changing in ("uuid", "history_uuid", "version", "resize", "routing", "creation_date", "provided_name"):
            shape["settings"]["index"].pop(changing, None)
        found[index] = {"documents": {hit["_id"]: hit["_source"] for hit in hits}, **shape}
    return found


def test_snapshot_delete_restore_is_identical(client: Elasticsearch, name: str, repository: str, snapshot: str) -> None:
    collection = filled(client, name)
    before = everything(client, name)
    made = snapshots.make(client, repository, snapshot, [collection], everything=False, say=print)
    assert (made.state, made.collections, dict(made.faces), made.is_ours) == ("SUCCESS", [name], {name: 80}, True)
    collections.delete(client, collection)
    assert not client.indices.exists(index=f"{alias(name)}*", allow_no_indices=False)

    assert restore.restore(client, repository, made, [name], None, print) == [restore.Restored(name, 80, 80)]
    after = everything(client, name)
    assert after == before
    assert len(after[f"{alias(name)}-v1"]["documents"]) == 80
    assert len(after[f"{rejects_alias(name)}-v1"]["documents"]) == 2
    back = collections.get(client, name)
    assert back.origin != collection.origin  # what machines remember of its photos may be of later ones
    assert replace(back, origin=collection.origin) == collection


def test_it_never_overwrites_but_restores_under_another_name(
    client: Elasticsearch, name: str, new_name: str, repository: str, snapshot: str
) -> None:
    collection = filled(client, name)
    made = snapshots.make(client, repository, snapshot, [collection], everything=False, say=print)
    with pytest.raises(CollectionError, match="--as") as caught:
        restore.restore(client, repository, made, None, None, print)
    assert caught.value.code == "collection_exists"

    assert restore.restore(client, repository, made, None, new_name, print)[0].is_as_counted
    assert content(client, new_name) == content(client, name)
    found = client.indices.get(index=f"{alias(new_name)}*")
    assert {index: shape["aliases"] for index, shape in found.items()} == {
        f"{alias(new_name)}-v1": {alias(new_name): {"is_write_index": True}},
        f"{rejects_alias(new_name)}-v1": {rejects_alias(new_name): {"is_write_index": True}},
    }
    assert collections.get(client, new_name).notes == collection.notes
    assert client.indices.get_alias(name=f"mine-{name}").body.keys() == {f"{alias(name)}-v1"}


def test_what_can_not_be_restored_is_told(client: Elasticsearch, name: str, repository: str, snapshot: str) -> None:
    collection = collections.create(client, name, DEFAULT.as_dict())
    made = snapshots.make(client, repository, snapshot, [collection], everything=False, say=print)
    with pytest.raises(CollectionError, match=f"it holds: {name}"):
        restore.restore(client, repository, made, ["other"], None, print)
    with pytest.raises(CollectionError, match=snapshot):
        snapshots.get(client, repository, "no-such")
    with pytest.raises(UsageError, match="already"):
        snapshots.make(client, repository, snapshot, [collection], everything=False, say=print)
    with pytest.raises(UsageError, match="lower-case"):
        snapshots.make(client, repository, "NO GOOD", [collection], everything=False, say=print)
    collections.delete(client, collection)
    client.indices.create(index=f"{alias(name)}-v1")  # without an alias: no collection
    try:
        with pytest.raises(CollectionError, match="in the way"):
            restore.restore(client, repository, made, None, None, print)
    finally:
        client.indices.delete(index=f"{alias(name)}-v1")


def test_a_broken_snapshot_restores_nothing_and_says_so(
    client: Elasticsearch, name: str, repository: str, snapshot: str, surroundings: Path
) -> None:
    collection = filled(client, name)
    made = snapshots.make(client, repository, snapshot, [collection], everything=False, say=print)
    blobs = set((surroundings / "snapshots" / "facedex" / "indices").rglob("__*"))
    hidden = [(path, path.with_name(f"hidden{path.name}")) for path in blobs]
    collections.delete(client, collection)
    for path, aside in hidden:
        path.rename(aside)
    try:
        with pytest.raises(EngineError) as caught:
            restore.restore(client, repository, made, None, None, print)
        assert caught.value.code == "restore_failed"
        assert not client.indices.exists(index=f"{alias(name)}*", allow_no_indices=False)
    finally:
        for path, aside in hidden:
            aside.rename(path)
    restore.restore(client, repository, made, None, None, print)
    back = collections.get(client, name)
    assert back.origin != collection.origin  # what machines remember of its photos may be of later ones
    assert replace(back, origin=collection.origin) == collection


def test_a_bulk_load_that_a_snapshot_caught_is_settled(
    client: Elasticsearch, name: str, new_name: str, repository: str, snapshot: str
) -> None:
    from es.loading import BulkLoad

    collection = collections.create(client, name, DEFAULT.as_dict())
    load = BulkLoad(client, name, print, merge=False)
    with load:
        load.begin()
        made = snapshots.make(client, repository, snapshot, [collection], everything=False, say=print)
    restore.restore(client, repository, made, None, new_name, print)
    settings = client.indices.get_settings(index=alias(new_name))[f"{alias(new_name)}-v1"]["settings"]["index"]
    assert "refresh_interval" not in settings
    assert settings["auto_expand_replicas"] == "0-1"
    assert "--loading-" not in str(client.indices.get(index=f"{alias(new_name)}-v1").body)


def test_of_several_versions_the_collection_is_the_newest_that_is_whole(
    client: Elasticsearch, name: str, new_name: str, repository: str, snapshot: str
) -> None:
    """As a schedule catches them: one that was replaced, one to which writes are held, one that is being filled."""
    filled(client, name)
    migrate(client, name, QUICK, print)
    collection = collections.get(client, name)
    with Migration(client, name, QUICK) as migration:
        migration.hold()
        client.snapshot.create(repository=repository, snapshot=snapshot, indices=[f"{alias(name)}*"], wait_for_completion=True)
    found = snapshots.get(client, repository, snapshot)
    assert (len(found.indices), found.collections) == (4, [name])
    before = content(client, name)
    for target in (name, new_name):
        if target == name:
            collections.delete(client, collection)
        assert restore.restore(client, repository, found, None, target if target != name else None, print)[0].faces == 80
        back = collections.get(client, target)
        assert back.index == f"{alias(target)}-v2"
        assert content(client, target) == before
        # What machines remember of its photos was true of what it became later.
        assert back.origin not in (collection.origin, "")
        here = versions.versions(client, target)
        assert (here.old, here.filling) == ((), None)
        assert len(list(Writer(client, target, model="Dlib", run="r", detection="d").write([work("late.jpg", 999)]))) == 1


def test_snapshots_of_others_are_not_deleted(client: Elasticsearch, name: str, repository: str, snapshot: str) -> None:
    collection = collections.create(client, name, DEFAULT.as_dict())
    client.snapshot.create(repository=repository, snapshot=snapshot, indices=[collection.index], wait_for_completion=True)
    found = snapshots.get(client, repository, snapshot)
    assert (found.is_ours, found.collections) == (False, [name])
    assert snapshot in [each.name for each in snapshots.all_of(client, repository)]
    with pytest.raises(UsageError, match="not made by Facedex"):
        snapshots.delete(client, repository, [found])
    assert (datetime.now(UTC) - found.started).total_seconds() < 60


@pytest.mark.parametrize(
    ("index", "name"),
    [
        ("facedex-faces-v1", "faces"),
        ("facedex-a-v-b-v12", "a-v-b"),
        ("facedex-faces-rejects-v1", None),
        ("facedex-faces--copy-0a-v1", None),
        ("facedex--operations-v1", None),
        ("other-v1", None),
    ],
)
def test_which_collection_an_index_is(index: str, name: str | None) -> None:
    assert snapshots.collection_of(index) == name


def test_the_repository_is_the_one_that_is_meant(client: Elasticsearch, repository: str, surroundings: Path) -> None:
    assert repositories.find(client, repository, is_own_node=True) == repository == "facedex"
    with pytest.raises(UsageError, match="there are: facedex"):
        repositories.find(client, "nowhere", is_own_node=True)
    client.snapshot.delete_repository(name=repository)
    try:
        for other in ("one", "two"):
            body = {"type": "fs", "settings": {"location": f"{surroundings}/snapshots/{other}"}}
            client.snapshot.create_repository(name=other, repository=body)
            if other == "one":
                assert repositories.find(client, None, is_own_node=False) == "one"
        with pytest.raises(UsageError, match="one, two"):
            repositories.find(client, None, is_own_node=False)
    finally:
        for other in client.snapshot.get_repository().body:
            client.snapshot.delete_repository(name=other)
        for other in ("one", "two"):
            shutil.rmtree(surroundings / "snapshots" / other, ignore_errors=True)
        repositories.find(client, None, is_own_node=True)  # what was there is found again


@pytest.mark.parametrize(("is_own_node", "remedy"), [(True, "facedex down"), (False, "_snapshot/facedex")])
def test_without_a_folder_for_snapshots_the_way_to_one_is_told(
    client: Elasticsearch, repository: str, monkeypatch: pytest.MonkeyPatch, *, is_own_node: bool, remedy: str
) -> None:
    client.snapshot.delete_repository(name=repository)
    try:
        with monkeypatch.context() as patched, pytest.raises(EngineError, match=remedy) as caught:
            patched.setattr(repositories, "_have_folder", lambda _: False)
            repositories.find(client, None, is_own_node=is_own_node)
        assert caught.value.code == "no_repository"
    finally:
        repositories.find(client, None, is_own_node=True)
