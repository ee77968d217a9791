"""The graph of a collection: not there at first, built by one merge of everything, wherever the faces lie."""

from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers

from core.errors import EngineError
from es import collections, merging
from es.collections import Collection
from es.documents import LARGEST_SEGMENT, alias
from es.index_types import GRAPH, INDEX_TYPES
from es.loading import BulkLoad
from es.local.node import silent
from es.sizing import layout
from faces.recipe import DEFAULT
from query.knn import depth, nearest
from tests.faces_made import Content, content, vector

FACES = 3_000  # Elasticsearch makes no graph for a segment of 1,000


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many faces as a test makes are enough for a graph."""
    monkeypatch.setattr(merging, "GRAPH_FROM", FACES)


def fill(client: Elasticsearch, name: str, first: int = 0, count: int = FACES) -> None:
    faces = (
        {"_index": alias(name), "_id": str(seed), "person": f"p{seed}", "embedding": helpers.pack_dense_vector(vector(seed))}
        for seed in range(first, first + count)
    )
    helpers.bulk(client, faces, chunk_size=1_000, refresh=True)


def made(client: Elasticsearch, name: str, index_type: str = "int8_hnsw", shards: int = 1) -> Collection:
    return collections.create(client, name, DEFAULT.as_dict(), index_type=index_type, shards=shards, replicas=0)


def options(client: Elasticsearch, name: str) -> dict[str, Any]:
    ((_, found),) = client.indices.get_mapping(index=alias(name)).items()
    return dict(found["mappings"]["properties"]["embedding"]["index_options"])


def graph_bytes(client: Elasticsearch, name: str) -> list[int]:
    """Of each segment."""
    stats = client.indices.stats(index=alias(name), metric=["dense_vector", "segments"])["_all"]["primaries"]
    return [stats["dense_vector"]["off_heap"]["total_vex_size_bytes"], stats["segments"]["count"]]


def same(is_: Content, was: Content) -> None:
    """The same ids with the same vectors, but for the rounding of what was written again."""
    after, before = dict(is_), dict(was)
    assert after.keys() == before.keys()
    ids = sorted(after)
    assert np.allclose([after[id_] for id_ in ids], [before[id_] for id_ in ids], rtol=1e-6)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("index_type", [each for each in INDEX_TYPES if each.endswith("hnsw")])
def test_the_graph_is_built_when_there_are_enough_faces(client: Elasticsearch, name: str, index_type: str) -> None:
    made(client, name, index_type)
    fill(client, name, count=FACES - 1)
    merging.merge(client, alias(name))
    found = collections.get(client, name)
    assert (found.index_type, found.waits, found.graph_faces) == (index_type, True, None)
    assert options(client, name)["type"] == index_type.replace("hnsw", "flat")
    assert graph_bytes(client, name)[0] == 0
    fill(client, name, FACES - 1, 1)
    before = content(client, name)
    merging.merge(client, alias(name))
    found = collections.get(client, name)
    assert (found.index_type, found.waits, found.graph_faces) == (index_type, False, FACES)
    collections.annotate(client, name, num_candidates=7)
    assert collections.get(client, name).graph_faces == FACES
    assert {key: options(client, name)[key] for key in GRAPH} == GRAPH
    assert graph_bytes(client, name)[0] > FACES
    same(content(client, name), before)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("shards", [1, 2])
def test_one_segment_a_shard_gets_its_graph_too(client: Elasticsearch, name: str, shards: int) -> None:
    made(client, name, shards=shards)
    fill(client, name, count=FACES * shards)
    client.indices.forcemerge(index=alias(name), max_num_segments=1)
    client.indices.refresh(index=alias(name))
    before, sources = content(client, name), {hit["_id"]: hit["_source"] for hit in helpers.scan(client, index=alias(name))}
    merging.merge(client, alias(name))
    client.indices.refresh(index=alias(name))
    graph, segments = graph_bytes(client, name)
    assert segments == shards
    assert graph > FACES
    same(content(client, name), before)
    assert {hit["_id"]: hit["_source"] for hit in helpers.scan(client, index=alias(name))} == sources
    (hits,) = nearest(client, name, [vector(7)], 1)
    assert hits[0]["_id"] == "7"
    assert hits[0]["_score"] == pytest.approx(1)


@pytest.mark.usefixtures("few")
def test_a_bulk_load_ends_with_the_graph(client: Elasticsearch, name: str) -> None:
    made(client, name)
    with BulkLoad(client, name, silent) as load:
        load.begin()
        fill(client, name)
    assert not collections.get(client, name).waits
    ((_, found),) = client.indices.get_settings(index=alias(name)).items()
    assert "merge" not in found["settings"]["index"]  # what made it quick is taken back


@pytest.mark.usefixtures("few")
def test_a_build_that_was_cut_off_is_done_by_the_next_merge(client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made(client, name)
    fill(client, name)
    client.indices.forcemerge(index=alias(name), max_num_segments=1)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merging, "_touch", cut_off)
        with pytest.raises(KeyboardInterrupt):
            merging.merge(client, alias(name))
    assert graph_bytes(client, name)[0] == 0
    merging.merge(client, alias(name))
    client.indices.refresh(index=alias(name))
    assert graph_bytes(client, name)[0] > FACES
    assert collections.get(client, name).graph_faces == FACES


@pytest.mark.parametrize(
    ("faces", "noted", "looked_at"),
    [(None, None, 300), (3_000, None, 300), (100_000, None, 1_000), (2_000_000, None, 10_000), (100_000, 50, 50)],
)
def test_the_larger_a_graph_the_further_a_search_looks(faces: int | None, noted: int | None, looked_at: int) -> None:
    notes = {} if noted is None else {"num_candidates": noted}
    assert depth(Collection("name", "index", {}, "int8_hnsw", 128, "", "", notes, graph_faces=faces)).candidates == looked_at


@pytest.mark.usefixtures("few")
def test_a_merge_notes_how_large_the_graph_is(client: Elasticsearch, name: str) -> None:
    made(client, name)
    fill(client, name)
    merging.merge(client, alias(name))
    fill(client, name, FACES, 10)
    merging.merge(client, alias(name))
    assert collections.get(client, name).graph_faces == FACES + 10


@pytest.mark.usefixtures("few")
def test_built_once_it_is_not_built_again(client: Elasticsearch, name: str) -> None:
    made(client, name)
    said: list[str] = []
    fill(client, name, count=10)
    merging.build_if_due(client, alias(name), said.append)
    assert said == []
    fill(client, name)
    merging.build_if_due(client, alias(name), said.append)
    merging.build_if_due(client, alias(name), said.append)
    assert len(said) == 1
    assert not collections.get(client, name).waits


@pytest.mark.usefixtures("few")
def test_who_may_not_is_told_who_can(client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made(client, name)
    fill(client, name)

    def refused(*_: object) -> None:
        raise EngineError("this user may not", code="forbidden")

    monkeypatch.setattr(merging, "_give_graph", refused)
    said: list[str] = []
    merging.build_if_due(client, alias(name), said.append)
    assert "steward" in said[-1]
    assert len(client.search(index=alias(name), size=1)["hits"]["hits"]) == 1


@pytest.mark.usefixtures("few")
def test_what_was_measured_without_a_graph_is_not_used_with_one(client: Elasticsearch, name: str) -> None:
    made(client, name)
    collections.annotate(client, name, num_candidates=100, other=1)
    fill(client, name)
    merging.merge(client, alias(name))
    assert collections.get(client, name).notes == {"other": 1}


def test_the_noted_size_follows_down_too(client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_NOTED_FROM", 20)
    made(client, name, "bbq_flat")
    noted = []
    for last, count in ((0, 19), (19, 6), (25, 1)):
        fill(client, name, last, count)
        merging.build_if_due(client, alias(name), silent)
        noted.append(collections.get(client, name).faces)
    assert noted == [None, 25, 25]  # a twenty-fifth more is not worth noting
    helpers.bulk(client, ({"_op_type": "delete", "_index": alias(name), "_id": str(seed)} for seed in range(21)), refresh=True)
    collections.annotate(client, name, other=1)
    merging.merge(client, alias(name))
    assert (collections.get(client, name).faces, collections.get(client, name).notes) == (5, {"other": 1})


def test_a_large_shard_without_a_graph_keeps_segments_that_are_alike(
    client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(client, name, "bbq_flat")
    ((index, found),) = client.indices.get_settings(index=alias(name)).items()
    assert found["settings"]["index"]["merge"]["policy"]["max_merged_segment"] == f"{LARGEST_SEGMENT}mb"
    client.indices.put_settings(
        index=index, settings={"index": {"merge.policy.max_merged_segment": "1b", "merge.policy.floor_segment": "1b"}}
    )
    for first in range(0, 2_000, 100):
        fill(client, name, first, 100)
    monkeypatch.setattr(merging, "LARGEST_SEGMENT", layout(2_000, 128, "bbq_flat", 1, shards=1, replicas=0).disk_bytes / 5 / 2**20)
    merging.merge(client, index)
    client.indices.refresh(index=index)
    left = sizes(client, name)
    assert len(left) == 10
    assert max(left) < sum(left) * 0.6  # what is left over is put together, and is not the most


def test_only_collections_without_a_graph_have_small_segments(client: Elasticsearch, name: str) -> None:
    made(client, name, "bbq_hnsw")
    ((_, found),) = client.indices.get_settings(index=alias(name)).items()
    assert "merge" not in found["settings"]["index"]


def sizes(client: Elasticsearch, name: str) -> list[int]:
    """Bytes of each segment."""
    found = client.indices.segments(index=alias(name))["indices"]
    return [
        segment["size_in_bytes"]
        for each in found.values()
        for copies in each["shards"].values()
        for copy in copies
        for segment in copy["segments"].values()
        if segment["search"]
    ]
