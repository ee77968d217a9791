"""The exact search beside brute force in numpy, and beside the kNN search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from elasticsearch import BadRequestError, Elasticsearch
from numpy.typing import NDArray

from core.errors import CollectionError, EngineError
from es import collections, vectors
from es.documents import alias
from faces.recipe import DEFAULT
from ingest.writer import Writer
from query import exact as module
from query.exact import exact
from tests.faces_made import lost, vector, work

GALLERY = 300
Fill = Callable[..., None]


@pytest.fixture
def fill(client: Elasticsearch, name: str) -> Fill:
    """Makes the collection, with a gallery of random faces: the person of seed s is p(s mod 20)."""

    def make(count: int = GALLERY, **layout: Any) -> None:
        collections.create(client, name, DEFAULT.as_dict(), **layout)
        writer = Writer(client, name, model="Dlib", run="r", detection="d")
        list(writer.write([work(f"{seed}.jpg", seed, person=f"p{seed % 20}") for seed in range(count)]))
        client.indices.refresh(index=alias(name))

    return make


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "PAGE", 16)


def but(*people: str) -> dict[str, Any]:
    return {"bool": {"must_not": {"terms": {"person": list(people)}}}}


def brute(probes: NDArray[np.float32], seeds: list[int], k: int) -> list[list[tuple[str, float]]]:
    """What must be found: the photo and the score, best first."""
    gallery = np.stack([vector(seed) for seed in seeds]).astype(np.float64)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    found = []
    for probe in probes.astype(np.float64):
        scores = (1 + gallery @ probe / np.linalg.norm(probe)) / 2
        found.append([(f"/photos/{seeds[at]}.jpg", scores[at]) for at in np.argsort(-scores)[:k]])
    return found


def same(found: list[list[dict[str, Any]]], expected: list[list[tuple[str, float]]]) -> None:
    assert [[hit["_source"]["image"]["path"] for hit in hits] for hits in found] == [[path for path, _ in each] for each in expected]
    for hits, each in zip(found, expected, strict=True):
        assert [hit["_score"] for hit in hits] == pytest.approx([score for _, score in each], abs=1e-6)


PROBES = np.stack([vector(seed) for seed in range(1000, 1025)])


@pytest.mark.parametrize("shards", [1, 3])
def test_it_is_brute_force(client: Elasticsearch, name: str, fill: Fill, small_pages: None, shards: int) -> None:
    fill(shards=shards)
    found = exact(client, name, PROBES, 7)
    same(found, brute(PROBES, list(range(GALLERY)), 7))
    assert found[0][0].keys() == {"_id", "_score", "_source"}
    assert found[0][0]["_source"].keys() == {"person", "image", "face"}
    assert found[0][0]["_source"]["face"].keys() == {"box"}


def test_filters_hold_and_people_are_left_out(client: Elasticsearch, name: str, fill: Fill, small_pages: None) -> None:
    fill()
    filters: list[dict[str, Any]] = [{"terms": {"person": ["p1", "p2", "p3"]}}, {"range": {"face.box.x": {"gte": 100}}}]
    found = exact(client, name, PROBES, 9, filters=[*filters, but("p2", "p9")])
    same(found, brute(PROBES, [seed for seed in range(100, GALLERY) if seed % 20 in {1, 3}], 9))
    assert exact(client, name, PROBES, 9, filters=[{"term": {"person": "nobody"}}]) == [[] for _ in PROBES]


def test_more_are_asked_for_than_there_are(client: Elasticsearch, name: str, fill: Fill) -> None:
    fill(30)
    same(exact(client, name, PROBES[:2], 100), brute(PROBES[:2], list(range(30)), 100))


def test_an_empty_collection_has_none(client: Elasticsearch, name: str, fill: Fill) -> None:
    fill(0)
    assert exact(client, name, PROBES[0], 5) == [[]]
    assert exact(client, name, PROBES[:0], 5) == []


def test_equals_come_by_id_and_none_is_lost_between_slices(client: Elasticsearch, name: str, fill: Fill, small_pages: None) -> None:
    fill(0)
    works = [work(f"{number}.jpg", 1) for number in range(100)]
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))
    (found,) = exact(client, name, vector(1), 10)
    everything = sorted(hit["_id"] for hit in exact(client, name, vector(1), 100)[0])
    assert len(everything) == 100
    assert [hit["_id"] for hit in found] == everything[:10]


def test_probes_in_several_lots(client: Elasticsearch, name: str, fill: Fill, small_pages: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(50)
    monkeypatch.setattr(module, "_HELD", 40)
    same(exact(client, name, PROBES, 5), brute(PROBES, list(range(50)), 5))


@pytest.mark.parametrize("index_type", ["flat", "hnsw", "int8_hnsw", "bbq_hnsw"])
def test_the_knn_search_scores_the_same(client: Elasticsearch, name: str, fill: Fill, index_type: str) -> None:
    fill(index_type=index_type)
    for probe, hits in zip(PROBES[:5], exact(client, name, PROBES[:5], 10), strict=True):
        knn = {"field": "embedding", "query_vector": probe.tolist(), "k": 200, "num_candidates": 300}
        answer = client.search(index=alias(name), knn=knn, size=200, source=False)
        approximate = {hit["_id"]: hit["_score"] for hit in answer["hits"]["hits"]}
        assert len(approximate.keys() & {hit["_id"] for hit in hits}) >= 9
        for hit in hits:
            if hit["_id"] in approximate:
                assert hit["_score"] == pytest.approx(approximate[hit["_id"]], abs=1e-6)


def test_a_part_that_cannot_be_read_is_an_error(client: Elasticsearch, name: str) -> None:
    lost(client, name)
    with pytest.raises(EngineError):
        exact(client, name, PROBES, 5)


def test_there_must_be_a_collection(client: Elasticsearch, name: str) -> None:
    with pytest.raises(CollectionError):
        exact(client, name, PROBES, 5)


def test_servers_without_packed_vectors_are_read_too() -> None:
    assert vectors.unpacked([[1.0, 2.0], [3.0, 4.0]]).tolist() == [[1, 2], [3, 4]]
    assert vectors.unpacked(["P4AAAEAAAAA=", "QEAAAECAAAA="]).tolist() == [[1, 2], [3, 4]]


class Scripted:
    """Stands for a client of a cluster that runs scripts, or refuses them: this server has none."""

    def __init__(self, client: Elasticsearch, answer: dict[str, Any] | None) -> None:
        self._client = client
        self._answer = answer
        self.transport = type("Transport", (), {"node_pool": [None]})()
        self.scripts: list[dict[str, Any]] = []

    def search(self, **body: Any) -> Any:
        if "script_score" not in body.get("query", {}):
            return self._client.search(**body)
        self.scripts.append(body)
        if self._answer is not None:
            return self._answer
        return self._client.search(**body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_scripts_are_tried_once_for_a_few_probes(client: Elasticsearch, name: str, fill: Fill) -> None:
    fill(50)
    scripted: Any = Scripted(client, None)
    for _ in range(2):
        same(exact(scripted, name, PROBES[:3], 5), brute(PROBES[:3], list(range(50)), 5))
    assert len(scripted.scripts) == 1


def test_where_scripts_run_their_answer_is_taken(client: Elasticsearch, name: str) -> None:
    hits = [{"_id": "b", "_score": 0.9, "_source": {}}, {"_id": "a", "_score": 0.9, "_source": {}}]
    scripted: Any = Scripted(client, {"hits": {"hits": hits}})
    found = exact(scripted, name, PROBES[:2], 2, filters=[{"term": {"person": "p"}}, but("q")])
    assert [[hit["_id"] for hit in each] for each in found] == [["a", "b"], ["a", "b"]]
    assert len(scripted.scripts) == 2
    scored = scripted.scripts[0]["query"]["script_score"]
    assert scored["script"]["params"]["face"] == pytest.approx((PROBES[0] / np.linalg.norm(PROBES[0])).tolist(), abs=1e-6)
    assert scored["query"]["bool"]["filter"][:2] == [{"term": {"person": "p"}}, but("q")]


def test_this_server_has_no_scripts(client: Elasticsearch, name: str, fill: Fill) -> None:
    fill(1)
    script = {"source": module._SCRIPT, "params": {"face": vector(0).tolist()}}
    with pytest.raises(BadRequestError):
        client.search(index=alias(name), query={"script_score": {"query": {"match_all": {}}, "script": script}})
