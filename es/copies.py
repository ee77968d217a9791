"""Copies of a collection's vectors under another index type, for as long as something is measured on them.

A copy has no alias, and a name that no collection can have, so nothing takes it for one. It is deleted however the block ends; what a
killed process left is found by the next one.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from elasticsearch.helpers import pack_dense_vector

from es.bulk import Operation, refusal, send
from es.client import speaking
from es.documents import alias, face_mapping
from es.index_types import first_options
from es.local import processes
from es.merging import SEGMENTS, merge
from es.vectors import Page, map_slices

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection

_COPY = "--copy-"  # no collection's name has two dashes
_STALE_SECONDS = 24 * 3600.0  # of another machine's, whose processes can't be seen
_BROUGHT = ("person", "image.sha256")


@contextmanager
def copy(client: Elasticsearch, collection: Collection, index_type: str, *, segments: int = SEGMENTS) -> Iterator[str]:
    """Copies the vectors, people and contents of a collection; yields the copy's index, which is deleted at the end.

    Args:
        client: the connection.
        collection: what to copy.
        index_type: one of :data:`es.index_types.INDEX_TYPES`.
        segments: to how many each shard is merged: the fewer, the more depends on the graph.

    Raises:
        UsageError: no such index type.
        EngineError: Elasticsearch refuses, or is gone.
        StorageError: the cluster's disks are full.
    """
    meta = {"host": socket.gethostname(), "pid": os.getpid(), "birth": processes.mark(os.getpid()), "created": time.time()}
    mapping = face_mapping(collection.dims, str(collection.recipe["metric"]), first_options(index_type), {"index_type": index_type})
    mapping["_meta"]["facedex-copy"] = meta
    with speaking():
        found = client.indices.get_settings(index=collection.index, filter_path="*.settings.index.number_of_shards")
    shards = int(found[collection.index]["settings"]["index"]["number_of_shards"])
    index = f"{alias(collection.name)}{_COPY}{uuid.uuid4().hex}"
    try:
        with speaking():
            layout = {"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1"}
            client.indices.create(index=index, mappings=mapping, settings=layout)
        _fill(client, collection.index, index, segments)
        yield index
    finally:
        with speaking():
            client.indices.delete(index=index, ignore_unavailable=True)


def sweep(client: Elasticsearch, collection: Collection) -> int:
    """Deletes the copies of a collection that killed processes left behind; returns how many."""
    with speaking():
        found = client.indices.get(index=f"{alias(collection.name)}{_COPY}*", filter_path="*.mappings._meta")
        left = [index for index, shape in found.items() if _is_left(shape.get("mappings", {}).get("_meta", {}).get("facedex-copy", {}))]
        if left:
            client.indices.delete(index=left, ignore_unavailable=True)
    return len(left)


def is_left(index: str, shape: Mapping[str, Any]) -> bool:
    """Whether an index, with its mapping, is a copy that a killed process left behind."""
    return _COPY in index and _is_left(shape.get("mappings", {}).get("_meta", {}).get("facedex-copy", {}))


def _is_left(meta: Mapping[str, Any]) -> bool:
    if meta.get("host") == socket.gethostname():
        return not processes.same(int(meta["pid"]), meta["birth"])
    return time.time() - float(meta.get("created", 0)) > _STALE_SECONDS


def _fill(client: Elasticsearch, index: str, into: str, segments: int) -> None:
    def write(pages: Iterator[Page]) -> None:
        for page in pages:
            operations = [Operation.of({"create": {"_index": into, "_id": id_}}, document) for id_, document in _documents(page)]
            for operation, result in zip(operations, send(client, operations), strict=True):
                if "error" in result:
                    raise refusal(operation, result)

    map_slices(client, index, {"match_all": {}}, write, fields=_BROUGHT)
    with speaking():
        client.indices.refresh(index=into)
    merge(client, into, segments)


def _documents(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    for id_, vector, fields in zip(page.ids, page.vectors, page.fields, strict=True):
        document: dict[str, Any] = {"image": {"sha256": fields["image.sha256"][0]}, "embedding": pack_dense_vector(vector)}
        if "person" in fields:  # a very long name is stored, but not indexed
            document["person"] = fields["person"][0]
        yield id_, document
