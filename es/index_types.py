"""The types of vector index, and how each is shaped.

Faces are a hard case for a graph: to lose one right answer in a thousand, a search of one has to look at about a hundredth of all faces in
random places. Comparing every face by one bit a dimension, and the best of them by the full vectors, loses next to none, is as quick up to
a million, and needs no building; of many millions, only those in the nearest cells are compared (:mod:`es.cells`). So that is the default
where there are cells, or few faces.

A collection of a graph type begins without one: as long as it is small, and while it is filled for the first time, every face is compared.
The graph is built by a merge of all at once (see :mod:`es.merging`), each face put into it a single time: for 100,000 faces of 128
dimensions (m 16) that took 21 s of CPU. Faces that went into graphs as they came took 33 s, and were left in ten segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import UsageError

INDEX_TYPES = ("flat", "int8_flat", "int4_flat", "bbq_flat", "hnsw", "int8_hnsw", "int4_hnsw", "bbq_hnsw")
DEFAULT_INDEX_TYPE = "bbq_flat"
_LARGE_TYPE = "bbq_hnsw"
_LARGE = (
    4_000_000  # faces: without cells, comparing more of them (15 ms a million of 128 dimensions) takes longer than most are willing to wait
)
OF_THE_TYPE = ("num_candidates",)  # notes of a collection that were measured on its type of index
GRAPH_FROM = 50_000  # faces: as many are compared one by one (4 ms) in about the time that a graph takes to lose none
# Neighbours a node (twice as many in the lowest layer), and candidates looked at while it is built. With m = 16, Elasticsearch's default,
# faces that lie apart can't be reached: of one segment with 100,000 faces of 128 dimensions, 5,600 comparisons found 98.7 % of the first
# mates; with 32 as many found 99.9 %, for 8 bytes a face more and a tenth more CPU. 64 finds no more; ef_construction = 200 costs twice the
# CPU, and finds no more either.
GRAPH = {"m": 32, "ef_construction": 100}
# Quantised types find candidates; the best of this many times k are compared again with the full vectors, so that distances are exact.
OVERSAMPLE = 3


def default(faces: int, *, has_cells: bool) -> str:
    """The type that suits so many faces of a model with or without cells."""
    return DEFAULT_INDEX_TYPE if has_cells or faces <= _LARGE else _LARGE_TYPE


def index_options(index_type: str) -> dict[str, Any]:
    """How the vectors of a type are indexed.

    Raises:
        UsageError: it is none of :data:`INDEX_TYPES`.
    """
    if index_type not in INDEX_TYPES:
        raise UsageError(f"{index_type!r} is no index type: use one of {', '.join(INDEX_TYPES)}.")
    options: dict[str, Any] = {"type": index_type}
    if index_type.endswith("hnsw"):
        options |= GRAPH
    if is_quantised(index_type):
        options["rescore_vector"] = {"oversample": OVERSAMPLE}
    return options


def is_quantised(index_type: str) -> bool:
    """Whether faces are compared by fewer bits first, and the best of them again by their full vectors."""
    return not index_type.startswith(("flat", "hnsw"))


def first_options(index_type: str) -> dict[str, Any]:
    """How they are indexed before there is a graph.

    Raises:
        UsageError: as :func:`index_options`.
    """
    index_options(index_type)  # which tells the types that there are
    return index_options(without_graph(index_type))


def without_graph(index_type: str) -> str:
    """The type that compares every face, of the same vectors: what a graph type can be made out of in place."""
    return index_type.replace("hnsw", "flat")


def of(vector: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str, bool]:
    """The index type of a collection by its mapping, and whether its graph is still to be built.

    Args:
        vector: the mapping of the embedding.
        meta: Facedex's part of the mapping's ``_meta``.
    """
    is_, wanted = str(vector["index_options"]["type"]), str(meta.get("index_type", ""))
    waits = is_ != wanted and is_ == without_graph(wanted)
    return (wanted if waits else is_), waits
