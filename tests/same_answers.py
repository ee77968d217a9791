"""What a collection answers, to be compared with what it answers from another index, or from another cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from es.collections import get
from query.exact import exact
from query.knn import Depth, nearest
from tests.faces_made import vector

Answers = list[list[tuple[str, str | None, float]]]  # for each probe: face, person and distance, the nearest first


def answers(client: Elasticsearch, name: str, seeds: Iterable[int], k: int = 20) -> tuple[Answers, Answers]:
    """The nearest faces of probes made with these seeds: by the exact search, and by the index with enough candidates."""
    probes = [vector(seed) for seed in seeds]
    found = nearest(client, name, probes, k, depth=Depth(10_000, again=not get(client, name).index_type.endswith("hnsw")))
    return _told(exact(client, name, np.array(probes), k)), _told(found)


def _told(found: Iterable[Iterable[Mapping[str, Any]]]) -> Answers:
    return [[(hit["_id"], hit["_source"].get("person"), 2 - 2 * hit["_score"]) for hit in hits] for hits in found]


def assert_same(one: tuple[Answers, Answers], other: tuple[Answers, Answers]) -> None:
    """The same faces and people in the same order, at the same distances; by both searches."""
    for before, after in zip(one, other, strict=True):
        assert [[hit[:2] for hit in hits] for hits in before] == [[hit[:2] for hit in hits] for hits in after]
        for hits, others in zip(before, after, strict=True):
            assert np.allclose([hit[2] for hit in hits], [hit[2] for hit in others], atol=1e-6)
