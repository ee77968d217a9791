"""Whether two indices hold the same faces: a sample of documents, vectors and searches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from es import cells
from es.client import speaking
from es.vectors import FIELD, VECTOR, unpacked

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

_SAMPLE = 200  # documents
_PROBES = 10  # faces that are searched for
_K, _CANDIDATES = 10, 500
# For the cosine, vectors are stored as direction and length: the last bits of what is written once more can differ.
_TOLERANCE = 1e-6
_SCORE = 1e-5
_LEAST_FOUND = 0.9  # of the probes; a graph misses one now and then


def hashed(ids: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits for each id. Two that have the same would only be noticed as one too many."""
    return np.array([int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "little") for id_ in ids], np.uint64)


def different_documents(client: Elasticsearch, old: str, new: str) -> str | None:
    """What is wrong with a random sample of the documents of an index that takes no writes, if something is."""
    wanted = _drawn(client, old, _SAMPLE)
    found = _documents(client, new, list(wanted))
    for id_, (source, vector) in wanted.items():
        if id_ not in found or found[id_][0] != source:
            return "a face is missing or has other fields"
        if not np.allclose(found[id_][1], vector, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(vector).max())):
            return "a face has another vector"
    return None


def agreement(client: Elasticsearch, old: str, new: str) -> tuple[float | None, str | None]:
    """How far two indices that take no writes answer a random sample of searches alike.

    Returns:
        The share of the nearest 10 that both find (``None`` without faces), and what is wrong, if something is.
    """
    probes = [vector for _, vector in _drawn(client, old, _PROBES).values()]
    if not probes:
        return None, None
    pairs = [(before, after) for before, after in zip(_nearest(client, old, probes), _nearest(client, new, probes), strict=True) if before]
    best = [abs(max(before.values()) - max(after.values(), default=0)) <= _SCORE for before, after in pairs]
    shared = float(np.mean([len(before.keys() & after.keys()) / len(before) for before, after in pairs]))
    return shared, None if np.mean(best) >= _LEAST_FOUND else "searches don't find what they found"


Stored = dict[str, tuple[Mapping[str, Any], "NDArray[np.float32]"]]


def _drawn(client: Elasticsearch, index: str, count: int) -> Stored:
    random = {"function_score": {"query": {"exists": {"field": FIELD}}, "random_score": {}}}
    return _asked(client, index, random, count)


def _documents(client: Elasticsearch, index: str, ids: list[str]) -> Stored:
    return _asked(client, index, {"ids": {"values": ids}}, max(1, len(ids)))


def _asked(client: Elasticsearch, index: str, query: Mapping[str, Any], count: int) -> Stored:
    with speaking():
        answer = client.search(
            index=index,
            query=dict(query),
            size=count,
            source={"exclude_vectors": True, "excludes": [cells.FIELD]},  # older versions have none
            docvalue_fields=[VECTOR],
            allow_partial_search_results=False,
        )
    return {hit["_id"]: (hit["_source"], unpacked(hit["fields"][FIELD])[0]) for hit in answer["hits"]["hits"]}


def _nearest(client: Elasticsearch, index: str, vectors: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
    """Ids and scores of the nearest of each."""
    searches: list[Any] = []
    for vector in vectors:
        knn = {"field": FIELD, "query_vector": vector.tolist(), "k": _K, "num_candidates": _CANDIDATES}
        searches += [{"allow_partial_search_results": False}, {"knn": knn, "size": _K, "_source": False}]
    with speaking():
        answers = client.msearch(index=index, searches=searches)["responses"]
        return [{hit["_id"]: hit["_score"] for hit in answer["hits"]["hits"]} for answer in answers]
