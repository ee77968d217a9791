"""Reading vectors out of an index: packed, in slices that are read side by side, a page of each at a time.

Doc values in the format ``binary`` (base64 of big-endian float32) take 12 microseconds a face of 128 dimensions, all told; lists of
numbers, from doc values, source or ``fields``, take 150 to 330. Servers before 9.4 answer lists, which are read too.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from core.errors import FacedexError
from es.client import speaking

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

PAGE = 2_000  # faces; more are not quicker
_KEPT = "10m"  # between two pages
_SLICES = 8  # at most: each takes a thread here and one of the server's
FIELD = "embedding"
VECTOR: Mapping[str, Any] = {"field": FIELD, "format": "binary"}  # as a doc value, packed

Result = TypeVar("Result")
Hit = dict[str, Any]  # one of a search's answer


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """Some faces, in the order of the index."""

    ids: list[str]
    vectors: NDArray[np.float32]  # (faces, dims), as they were stored
    fields: list[Mapping[str, Any]]  # what else was asked for, a list of values by name


def map_slices(
    client: Elasticsearch,
    index: str,
    query: Mapping[str, Any],
    work: Callable[[Iterator[Page]], Result],
    *,
    fields: Sequence[str] = (),
    slices: int | None = None,
) -> list[Result]:
    """Cuts the faces that match into slices, and has each gone through by a thread of its own: the map of a map-reduce.

    All slices see the index as it was at the beginning, whatever is written meanwhile. Of each, a page at a time is held.

    Args:
        client: the connection.
        index: what to go through.
        query: what must match.
        work: is given the pages of one slice, and may leave off early.
        fields: what to bring of each face besides its vector, from doc values.
        slices: how many; ``None``: as many as there are cores, 8 at most.

    Raises:
        EngineError: a shard can't answer, or Elasticsearch is gone. The other slices are given up.
    """
    wanted = {"source": False, "docvalue_fields": [VECTOR, *({"field": name} for name in fields)]}
    return map_hits(client, index, query, lambda hits: work(_pages(hits)), wanted, slices=slices)


def _pages(pages: Iterator[list[Hit]]) -> Iterator[Page]:
    for hits in pages:
        found = [hit for hit in hits if FIELD in hit.get("fields", {})]
        if found:
            yield Page(
                [hit["_id"] for hit in found], unpacked([hit["fields"][FIELD][0] for hit in found]), [hit["fields"] for hit in found]
            )


def map_hits(
    client: Elasticsearch,
    index: str,
    query: Mapping[str, Any],
    work: Callable[[Iterator[list[Hit]]], Result],
    wanted: Mapping[str, Any],
    *,
    slices: int | None = None,
) -> list[Result]:
    """As :func:`map_slices`, with hits as the server gives them; ``wanted`` are arguments of the search that say what a hit has."""
    count = slices or min(_SLICES, os.cpu_count() or 1)
    over = threading.Event()
    with speaking():
        pit = str(client.open_point_in_time(index=index, keep_alive=_KEPT)["id"])

    def one(number: int) -> Result:
        try:
            return work(_hits(client, pit, query, wanted, (number, count), over))
        except BaseException:
            over.set()  # for one answer that is incomplete is none
            raise

    try:
        with ThreadPoolExecutor(count, thread_name_prefix="slice") as pool:
            try:
                return list(pool.map(one, range(count)))
            finally:
                over.set()
    finally:
        with suppress(FacedexError), speaking():  # it ends by itself, too
            client.close_point_in_time(id=pit)


def _hits(
    client: Elasticsearch, pit: str, query: Mapping[str, Any], wanted: Mapping[str, Any], piece: tuple[int, int], over: threading.Event
) -> Iterator[list[Hit]]:
    number, count = piece
    after: Any = None
    while not over.is_set():
        with speaking():
            answer = client.search(
                pit={"id": pit, "keep_alive": _KEPT},
                slice={"id": number, "max": count} if count > 1 else None,
                query=dict(query),
                size=PAGE,
                sort=["_shard_doc"],
                search_after=after,
                track_total_hits=False,
                allow_partial_search_results=False,
                **wanted,
            )
        hits = answer["hits"]["hits"]
        if hits:
            yield hits
        if len(hits) < PAGE:
            return
        after = hits[-1]["sort"]


def unpacked(values: Sequence[str | list[float]]) -> NDArray[np.float32]:
    """Vectors as a server gives them, packed or as lists of numbers: (len(values), dims)."""
    if isinstance(values[0], str):
        packed = b"".join(map(base64.b64decode, values))  # type: ignore[arg-type]
        return np.frombuffer(packed, ">f4").reshape(len(values), -1).astype(np.float32)
    return np.array(values, np.float32)
