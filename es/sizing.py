"""How many shards and copies a collection of an expected size is to have, and what it will take of memory and disk.

A search asks every shard, and within it every segment, so few shards are quick; a merge and a recovery take a shard as a whole, so none is
to be too large; and shards on several nodes are searched and filled side by side. From that:

- A shard holds no more faces than :data:`MOST_FACES`, nor more bytes than :data:`MOST_BYTES`.
- Faces are spread over more nodes only where each shard still gets :data:`WORTH` of them.
- As many shards as nodes, a divisor of that or a multiple, so that all nodes hold the same.
- One copy where there is a second node to hold it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from es.index_types import GRAPH

# A graph is built by the merge: 1 million faces of 128 dimensions took 180 s of two cores, so 10 million take most of an hour
# of one node. Types without a graph compare the query with every face of a shard: 22 ms a million (numpy, one core), so 2 million
# keep a search below a tenth of a second. By bits a million take 15 ms, and of more than 1.5 million only those in some cells are compared.
MOST_FACES = {"graph": 10_000_000, "bits": 10_000_000, "flat": 2_000_000}
MOST_BYTES = 40e9  # Elastic's advice is 10 to 50 GB a shard, so that one moves between nodes in minutes
# 1 million faces are searched in 12 to 18 ms within one shard: fewer are not worth asking a second one.
WORTH = 1_000_000
MOST_SHARDS = 1024  # Elasticsearch's own limit

# Bytes of a face besides its vectors: ids, paths, boxes, quality, and all of that once more as a source. Without a thumbnail. (Measured:
# 50,000 faces with a box, landmarks and quality of their own and paths of 29 characters, merged, took 947 bytes each as bbq_flat, 542 of
# them vectors. Among 400,000 the index of hashes takes 16 bytes less.)
OTHER_BYTES = 400
_GRAPH_BYTES = 4 * GRAPH["m"]  # a face's links: Elastic's sizing formula (53 were measured, with m = 32)
_QUANTISED = {"int8": (1.0, 4), "int4": (0.5, 4), "bbq": (0.125, 14)}  # bytes a dimension, and a face: likewise
_MERGE = 2.0  # a merge writes the new segment before it deletes the old ones


@dataclass(frozen=True, slots=True)
class Layout:
    """How a collection is laid out, and what it is expected to take in the whole cluster, copies included."""

    shards: int
    replicas: int
    memory_bytes: (
        int  # what searches want in the page cache: graph and quantised vectors (the vectors themselves, where there are no others)
    )
    disk_bytes: int  # once merged
    peak_disk_bytes: int  # while it merges


def layout(faces: int, dims: int, index_type: str, data_nodes: int, *, shards: int | None = None, replicas: int | None = None) -> Layout:
    """The layout for so many faces; what is given stays.

    Args:
        faces: how many are expected.
        dims: length of a vector.
        index_type: one of :data:`es.index_types.INDEX_TYPES`.
        data_nodes: nodes that hold data.
        shards: primary shards, where they are decided already.
        replicas: copies of each, likewise.
    """
    nodes = max(1, data_nodes)
    copies = (1 if nodes > 1 else 0) if replicas is None else replicas
    each = OTHER_BYTES + 4 * dims + _searched_bytes(dims, index_type) * (0 if index_type == "flat" else 1)
    disk = faces * each * (1 + copies)
    memory = faces * _searched_bytes(dims, index_type) * (1 + copies)
    return Layout(shards or _shards(faces, each, index_type, nodes), copies, round(memory), round(disk), round(disk * _MERGE))


def _shards(faces: int, bytes_each: float, index_type: str, nodes: int) -> int:
    kind = "graph" if index_type.endswith("hnsw") else "bits" if index_type.startswith("bbq") else "flat"
    most = min(MOST_FACES[kind], MOST_BYTES / bytes_each)
    needed = max(1, math.ceil(faces / most))
    divisors = [number for number in range(1, nodes + 1) if nodes % number == 0]
    spread = max(number for number in divisors if number == 1 or faces >= number * WORTH)
    if spread >= needed:
        return spread
    enough = next((number for number in divisors if number >= needed), nodes * math.ceil(needed / nodes))
    return min(enough, MOST_SHARDS)


def _searched_bytes(dims: int, index_type: str) -> float:
    """Of a face: what a search goes through."""
    a_dimension, a_face = next((cost for kind, cost in _QUANTISED.items() if index_type.startswith(kind)), (4.0, 0))
    return a_dimension * dims + a_face + (_GRAPH_BYTES if index_type.endswith("hnsw") else 0)
