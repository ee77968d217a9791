"""The doctor on a real engine: each condition is caused, found, and gone when it is put right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, pack_dense_vector

from core.findings import Finding
from core.settings import settings
from es import collections, snapshots, versions
from es.doctor import backups, disk, drift, examine, indices, memory, security, shards
from es.doctor.cluster import Cluster
from es.documents import alias, face_id, rejects_alias
from es.index_types import index_options
from es.loading import BulkLoad
from es.local import processes
from es.merging import SEGMENTS
from es.migration import Migration, Shape, migrate
from es.optimize import optimize
from faces.recipe import DEFAULT
from tests.es.migrations_made import QUICK, fill, same, stored
from tests.faces_made import lost, vector

Check = Callable[[Cluster], Iterator[Finding]]


@pytest.fixture
def ask(client: Elasticsearch, name: str) -> Callable[[Check], list[Finding]]:
    """What a check says of the test's collection, looked at anew."""
    return lambda check: list(check(Cluster(client, settings(), name)))


def levels(found: list[Finding]) -> list[str]:
    return [each.level for each in found]


@contextmanager
def set_for_a_while(client: Elasticsearch, **values: Any) -> Iterator[None]:
    """Settings of the cluster, taken back whatever happens."""
    named = {key.replace("__", "."): value for key, value in values.items()}
    client.cluster.put_settings(persistent=named)
    try:
        yield
    finally:
        client.cluster.put_settings(persistent=dict.fromkeys(named))


def test_a_sound_engine_has_nothing_to_do(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    found = examine.of_cluster(Cluster(client, settings(), name))
    said = [each for each in found if each.level != "ok"]
    assert [(each.check, each.level) for each in said if each.check != "snapshots"] == []
    assert len(found) >= len(examine.CHECKS)
    assert all(each.what.endswith(".") for each in found)


def test_watermarks_of_the_cluster_itself(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    marks = "cluster__routing__allocation__disk__watermark__"
    with set_for_a_while(client, **{f"{marks}low": "900tb", f"{marks}high": "2b", f"{marks}flood_stage": "1b"}):
        (found,) = ask(disk.watermarks)
        assert (found.level, "low watermark" in found.what) == ("warning", True)
    with set_for_a_while(client, cluster__routing__allocation__disk__threshold_enabled=False):
        assert "switched off" in ask(disk.watermarks)[0].what
    assert levels(ask(disk.watermarks)) == ["ok"]


def test_write_blocks(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    try:
        client.indices.put_settings(index=made.index, settings={"blocks.read_only_allow_delete": True})  # what the flood stage sets
        assert levels(ask(disk.blocks)) == ["error"]
    finally:
        client.indices.put_settings(index=made.index, settings={"blocks.read_only_allow_delete": None})
    client.indices.put_settings(index=made.index, settings={"blocks.write": True})
    assert levels(ask(disk.blocks)) == ["warning"]
    client.indices.put_settings(index=made.index, settings={"blocks.write": None})
    assert levels(ask(disk.blocks)) == ["ok"]


def test_mapping_drift_is_found_and_what_is_safe_is_put_right(
    client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]
) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    assert levels(ask(drift.mappings)) == ["ok"]
    mapping = client.indices.get_mapping(index=made.index)[made.index]["mappings"]
    client.indices.delete(index=made.index)
    mapping["dynamic"] = "true"
    del mapping["properties"]["thumbnail"]
    del mapping["properties"]["image"]["properties"]["width"]
    mapping["properties"]["face"]["properties"]["confidence"] = {"type": "double", "index": False}
    mapping["properties"]["embedding"]["index_options"] = index_options("int8_hnsw") | {"m": 8}
    instead = f"instead-{name}"  # of the templates, which would bring the fields back
    client.indices.put_index_template(name=instead, index_patterns=[f"{alias(name)}-v*"], priority=900)
    try:
        client.indices.create(index=made.index, mappings=mapping, aliases={alias(name): {"is_write_index": True}})
    finally:
        client.indices.delete_index_template(name=instead)

    found = ask(drift.mappings)
    assert any("dynamic" in each.what for each in found)
    assert any("lacks the fields image.width, thumbnail" in each.what for each in found)
    assert [each.level for each in found if "confidence.type" in each.what] == ["error"]
    assert [each.level for each in found if "index_options.m " in each.what] == ["warning"]
    for each in found:
        if each.fix:
            each.fix()
    left = ask(drift.mappings)
    assert levels(left) == ["error", "warning"]
    assert client.indices.get_mapping(index=made.index)[made.index]["mappings"]["dynamic"] == "strict"


def test_a_collection_of_the_first_mapping_works_and_is_told_to_be_larger(
    client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]
) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    mapping = client.indices.get_mapping(index=made.index)[made.index]["mappings"]
    client.indices.delete(index=made.index)
    image, face = (mapping["properties"][part]["properties"] for part in ("image", "face"))
    for field in (image["width"], image["height"], face["confidence"], *face["box"]["properties"].values()):
        assert field["index"] is False
        field["index"] = True
    mapping["_meta"]["facedex"]["mapping"] = 1
    client.indices.create(index=made.index, mappings=mapping, aliases={alias(name): {"is_write_index": True}})
    fill(client, name, 30)
    before = stored(client, made.index)

    (found,) = ask(drift.mappings)
    assert (found.level, found.remedy) == ("notice", f"facedex collections migrate {name}")
    assert "face.box.x" in found.what
    moved = migrate(client, name, QUICK, lambda _: None)
    assert levels(ask(drift.mappings)) == ["ok"]
    after = stored(client, moved.index)
    assert all(document.pop("cell") for document in after.values())  # which the first mapping had not
    same(before, after)
    for index in (made.index, moved.index):  # what is not indexed is looked for all the same
        for field in ("face.box.w", "face.confidence", "image.width"):
            value = next(iter(client.search(index=index, size=1, docvalue_fields=[{"field": field}])["hits"]["hits"]))["fields"][field][0]
            assert client.count(index=index, query={"range": {field: {"gte": value}}})["count"] > 0
            assert client.count(index=index, query={"range": {field: {"gt": 1e9}}})["count"] == 0


def test_many_segments_and_deleted_faces(
    client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es.optimize._LEASE_SECONDS", 0.0)  # half a minute is too long for a test: deletions stay
    made = collections.create(client, name, DEFAULT.as_dict(), index_type="flat")
    unmerged = {"merge.policy.max_merged_segment": "1b", "merge.policy.floor_segment": "1b"}
    client.indices.put_settings(index=made.index, settings=unmerged)
    embedding = pack_dense_vector(vector(1))
    ids = [face_id(str(number), 0, "Dlib") for number in range(2600)]
    faces = ({"_op_type": "create", "_id": id_, "person": "p", "embedding": embedding} for id_ in ids)
    bulk(client, faces, index=made.index, refresh=True)
    assert levels(ask(indices.segments)) == ["ok"]
    for number in range(45):
        client.index(index=made.index, document={"person": str(number), "embedding": embedding}, refresh=True)
    bulk(client, ({"_op_type": "delete", "_id": id_} for id_ in ids[:600]), index=made.index, refresh=True)
    many, deleted = ask(indices.segments)
    assert "segments" in many.what
    assert "is deleted" in deleted.what
    assert many.remedy == f"facedex collections optimize {name}"

    client.indices.put_settings(index=made.index, settings=dict.fromkeys(unmerged))
    done = optimize(client, collections.get(client, name), print)
    assert done["before"]["segments"] > 40
    assert done["after"]["segments"] <= SEGMENTS
    assert ["segments" in each.what for each in ask(indices.segments)] == [False]


def test_a_bulk_load_that_was_cut_off(
    client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    load = BulkLoad(client, name, print)
    load.begin()
    assert levels(ask(indices.bulk_loads)) == ["notice"]
    with monkeypatch.context() as patched:
        patched.setattr(processes, "same", lambda *_: False)  # its process is gone
        (found,) = ask(indices.bulk_loads)
        assert found.level == "warning"
        assert found.fix is not None
        found.fix()
    assert levels(ask(indices.bulk_loads)) == ["ok"]
    client.indices.put_settings(index=made.index, settings={"refresh_interval": "-1"})  # without a mark
    (found,) = ask(indices.bulk_loads)
    assert found.fix is not None
    found.fix()
    assert levels(ask(indices.bulk_loads)) == ["ok"]


def test_aliases_that_lead_elsewhere(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    other = f"{alias(name)}-v2"
    client.indices.update_aliases(actions=[{"remove": {"index": f"{rejects_alias(name)}-v1", "alias": rejects_alias(name)}}])
    client.indices.create(index=other, aliases={alias(name): {}})
    try:
        found = {each.what.split()[2]: each for each in indices.aliases(Cluster(client, settings(), None)) if name in each.what}
        assert found[alias(name)].level == found[rejects_alias(name)].level == "error"
        assert "2 indices" in found[alias(name)].what
    finally:
        client.indices.delete(index=other)
    back = {"alias": rejects_alias(name), "index": f"{rejects_alias(name)}-v1", "is_write_index": True}
    filtered = {"alias": alias(name), "index": made.index, "filter": {"term": {"person": "p"}}}
    client.indices.update_aliases(actions=[{"add": back}, {"add": filtered}])
    assert [each.what.split()[-1] for each in ask(indices.aliases)] == ["filter."]
    client.indices.update_aliases(actions=[{"remove": {"index": made.index, "alias": alias(name)}}])
    client.indices.update_aliases(actions=[{"add": {"index": made.index, "alias": alias(name), "is_write_index": True}}])
    assert levels(ask(indices.aliases)) == ["ok"]


def test_indices_that_nobody_uses(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    dead = {"_meta": {"facedex-copy": {"host": "elsewhere", "pid": 1, "birth": "x", "created": 0}}}
    left = [f"{alias(name)}--copy-1", f"{alias(name)}-v7"]
    client.indices.create(index=left[0], mappings=dead)
    client.indices.create(index=left[1])
    try:
        found = ask(indices.orphans)
        assert [each.level for each in found] == ["warning", "warning"]
        assert all(any(index in each.what for each in found) for index in left)
    finally:
        client.indices.delete(index=left)
    assert levels(ask(indices.orphans)) == ["ok"]


def test_migrations_are_no_faults_unless_they_were_cut_off(
    client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    assert levels(ask(indices.migrations)) == ["ok"]
    quick = Shape(merge=False)
    migrate(client, name, quick, print)
    (kept,) = ask(indices.migrations)
    assert (kept.level, kept.remedy) == ("notice", f"facedex collections drop-old {name}")
    with Migration(client, name, quick) as migration:
        migration.hold()
        for check in (disk.blocks, indices.orphans):
            assert levels(ask(check)) == ["ok"]
        assert levels(ask(indices.migrations)) == ["notice", "notice"]
        monkeypatch.setattr("es.marks.is_over", lambda _: True)
        left, _ = ask(indices.migrations)
        assert left.level == "warning"
        assert left.fix is not None
        left.fix()
        versions.drop_old(client, name)
        assert levels([*ask(indices.migrations), *ask(disk.blocks)]) == ["ok", "ok"]


def test_shards_that_are_nowhere_say_why(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    lost(client, name)
    found = ask(shards.unassigned)
    assert levels(found) == ["error", "error"]
    assert all("allocation filters exclude the nodes" in each.what for each in found)


def test_a_copy_that_one_node_can_not_hold(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    collections.create(client, name, DEFAULT.as_dict(), replicas=1)
    found = ask(shards.unassigned)
    assert levels(found) == ["warning", "warning"]
    assert "only one node" in found[0].what
    assert levels(ask(shards.replicas)) == ["ok"]  # there is nobody to hold a copy


def test_full_vectors_that_are_preloaded(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    made = collections.create(client, name, DEFAULT.as_dict())
    assert levels(ask(memory.preload)) == ["ok"]
    client.indices.close(index=made.index)
    assert levels(ask(memory.vectors)) == ["ok"]  # a closed index hides no other
    assert [each.what.split()[-1] for each in ask(disk.blocks)] == ["closed."]
    client.indices.put_settings(index=made.index, settings={"store.preload": ["vec", "vex"]})
    client.indices.open(index=made.index)
    (found,) = ask(memory.preload)
    assert (found.level, "full vectors" in found.what) == ("warning", True)


def test_slips_that_would_be_losses(client: Elasticsearch, ask: Callable[[Check], list[Finding]]) -> None:
    with set_for_a_while(client, action__destructive_requires_name=False, action__auto_create_index="true"):
        assert levels(ask(security.habits)) == ["warning", "notice"]
    assert levels(ask(security.habits)) == ["ok"]


def test_collections_without_a_snapshot(client: Elasticsearch, name: str, ask: Callable[[Check], list[Finding]]) -> None:
    from es import repositories

    made = collections.create(client, name, DEFAULT.as_dict())
    assert levels(ask(backups.backups)) == ["notice"]
    repository = repositories.find(client, None, is_own_node=True)
    snapshot = snapshots.make(client, repository, f"s-{name}", [made], everything=False, say=print)
    assert levels(ask(backups.backups)) == ["ok"]
    snapshots.delete(client, repository, [snapshot])
    assert levels(ask(backups.backups)) == ["notice"]
