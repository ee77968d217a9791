"""The exact search: compares probes with every face, and so tells what an approximate one may miss.

Map-reduce: each shard or slice scores its own faces, then the best of all are merged. A cluster that runs scripts scores a few probes on
its shards. Where it runs none, and for many probes at once, all vectors are read once, in slices side by side, and scored here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import numpy as np

from core.errors import CollectionError, EngineError
from es.client import speaking
from es.documents import alias
from es.scan import present
from es.vectors import FIELD, Page, map_slices

if TYPE_CHECKING:
    from elastic_transport import Transport
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

Hit = dict[str, Any]  # _id, _score, _source: as a kNN search answers it
Scored = tuple[float, str]  # minus the score, and an id: sorted, the best comes first, and equals by id

SOURCE = ("person", "image.path", "face.box")

Parts = TypeVar("Parts")

_SCANS = 3  # at most, where a node leaves
_FEW = 10  # probes: a script goes through all faces once for each, a scan once for all
_MOST_HITS = 10_000  # that Elasticsearch answers at once
_LOT = 2_000  # probes at once
_HELD = 1_000_000  # faces that are held at once for all probes, of each slice
_DOCUMENTS = 2_000  # fetched at once
_FOUND = "docs._id,docs._source,docs.found,docs.error"
_SCRIPT = f"(1 + cosineSimilarity(params.face, '{FIELD}')) / 2"

_no_scripts: WeakSet[Transport] = WeakSet()  # connections to clusters that run none


def exact(
    client: Elasticsearch,
    name: str,
    vectors: NDArray[np.float32],
    k: int,
    *,
    filters: Sequence[Mapping[str, Any]] = (),
    source: Sequence[str] = SOURCE,
) -> list[list[Hit]]:
    """The k nearest faces of each probe, best first, equals by id; compared with every face.

    Args:
        client: the connection.
        name: the collection.
        vectors: the probes, (n, dims).
        k: how many faces for each.
        filters: Elasticsearch query clauses, which must all hold.
        source: what to bring of each face.

    Returns:
        For each probe hits with ``_id``, ``_score`` ((1 + cosine) / 2, as a kNN search scores) and ``_source``.

    Raises:
        EngineError: Elasticsearch can't be reached, or a part of the faces can't be read: no answer is better than an incomplete one.
        CollectionError: there is no such collection.
    """
    probes = _directions(np.atleast_2d(vectors))
    if len(probes) <= _FEW and k <= _MOST_HITS and probes.any(axis=1).all() and client.transport not in _no_scripts:
        found = _by_script(client, name, probes, k, _query(filters), source)
        if found is not None:
            return found
    best = nearest(client, alias(name), vectors, k, query=_query(filters))
    documents = _documents(client, name, {id_ for each in best for _, id_ in each}, source)
    return [
        # One that was deleted since is left out.
        [{"_id": id_, "_score": -score, "_source": documents[id_]} for score, id_ in each if id_ in documents]
        for each in best
    ]


def nearest(
    client: Elasticsearch, index: str, vectors: NDArray[np.float32], k: int, *, query: Mapping[str, Any] | None = None
) -> list[list[Scored]]:
    """The k nearest faces of each probe by a scan, without their documents: (minus the score, id), best first.

    Args:
        client: the connection.
        index: what to go through.
        vectors: the probes, (n, dims).
        k: how many faces for each.
        query: which faces; all by default.
    """
    probes = _directions(np.atleast_2d(vectors))
    size = max(1, min(_LOT, _HELD // k))
    found: list[list[Scored]] = []
    for begin in range(0, len(probes), size):
        lot = probes[begin : begin + size]

        def score(pages: Iterator[Page], lot: NDArray[np.float64] = lot) -> list[list[Scored]]:
            best = _Best(lot, k)
            for page in pages:
                best.add(page)
            return best.faces

        parts = _again(client, partial(map_slices, client, index, query or {"match_all": {}}, score))
        found.extend(list(islice(merge(*each), k)) for each in zip(*parts, strict=True))
    return found


def _again(client: Elasticsearch, scan: Callable[[], Parts]) -> Parts:
    """A scan sees the faces of each shard on one node; if that leaves meanwhile, the whole is begun anew on others."""
    for _ in range(_SCANS - 1 if len(client.transport.node_pool) > 1 else 0):
        with suppress(EngineError, CollectionError):  # it says that its view of the index is not there any more
            return scan()
    return scan()


class _Best:
    """The k best faces for each probe of what was seen so far."""

    def __init__(self, probes: NDArray[np.float64], k: int) -> None:
        self._probes = probes
        self._k = k
        self._floor = np.full(len(probes), -np.inf, np.float32)  # what a face must reach to be among them
        self.faces: list[list[Scored]] = [[] for _ in probes]

    def add(self, page: Page) -> None:
        """Scores some faces, and keeps those that are better than the worst so far."""
        # Rounded as the server does it: two copies of one face score the same, wherever they stand in a page.
        scores = ((1 + self._probes @ _directions(page.vectors).T) / 2).astype(np.float32)
        floor = self._floor
        if len(page.ids) > self._k and np.isneginf(floor).any():
            at = len(page.ids) - self._k
            floor = np.maximum(floor, np.partition(scores, at, axis=1)[:, at])
        rows, columns = np.nonzero(scores >= floor[:, None])
        bounds = np.searchsorted(rows, np.arange(len(scores) + 1))
        for row in np.flatnonzero(np.diff(bounds)):
            new = columns[bounds[row] : bounds[row + 1]]
            kept = self.faces[row]
            kept.extend(zip((-scores[row, new]).tolist(), [page.ids[column] for column in new], strict=True))
            kept.sort()
            del kept[self._k :]
            if len(kept) == self._k:
                self._floor[row] = -kept[-1][0]


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Vectors of length 1; one of zeros stays, and its cosine with anything is 0."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    directions: NDArray[np.float64] = wide / np.where(lengths == 0, 1, lengths)
    return directions


def _query(filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"bool": {"filter": [*filters, {"exists": {"field": FIELD}}]}}


def _documents(client: Elasticsearch, name: str, ids: set[str], source: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    wanted = iter(sorted(ids))
    documents: dict[str, Mapping[str, Any]] = {}
    while some := list(islice(wanted, _DOCUMENTS)):
        with speaking():
            answer = client.mget(index=alias(name), ids=some, source_includes=list(source), filter_path=_FOUND)
        documents |= {each["_id"]: each.get("_source", {}) for each in present(answer["docs"])}
    return documents


def _by_script(
    client: Elasticsearch, name: str, probes: NDArray[np.float64], k: int, query: Mapping[str, Any], source: Sequence[str]
) -> list[list[Hit]] | None:
    """What the shards find by themselves, or ``None`` where the cluster runs no scripts; that is remembered."""
    from elasticsearch import BadRequestError

    found = []
    with speaking():
        for probe in probes:
            script = {"source": _SCRIPT, "params": {"face": probe.tolist()}}
            try:
                answer = client.search(
                    index=alias(name),
                    query={"script_score": {"query": dict(query), "script": script}},
                    size=k,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    source={"includes": list(source)},
                    filter_path="hits.hits._id,hits.hits._score,hits.hits._source",
                )
            except BadRequestError:  # if it is another reason, the scan says so
                _no_scripts.add(client.transport)
                return None
            hits: list[Hit] = answer.get("hits", {}).get("hits", [])
            found.append(sorted(hits, key=lambda hit: (-hit["_score"], hit["_id"])))
    return found
