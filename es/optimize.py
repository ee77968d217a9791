"""Merging a collection's segments: searches get quicker, and what was deleted leaves the disk."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from core.errors import StorageError
from es.client import speaking
from es.merging import SECONDS, merge

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.collections import Collection
    from es.local.node import Say

_LEASE_SECONDS = 90.0  # Elasticsearch lets go of deletions within half a minute of the last write


def optimize(client: Elasticsearch, collection: Collection, say: Say) -> dict[str, dict[str, int]]:
    """Merges what holds deleted faces, then all into few segments, with the graph if that waits, however long it takes.

    Returns ``segments``, ``deleted`` and ``bytes`` before and after.

    Raises:
        StorageError: a node has no room for it: for a while the index takes up to twice as much (code ``disk_full``).
    """
    from elasticsearch import ConnectionTimeout

    before = _state(client, collection.index)
    _check_room(client, collection.index)
    say(f"Merges {before['segments']:,} segments of {collection.name} with {before['deleted']:,} deleted documents.")
    if before["deleted"]:
        _await_leases(client, collection.index, say)
    with speaking(), suppress(ConnectionTimeout):  # it goes on in the server
        patient = client.options(request_timeout=SECONDS, max_retries=0)
        patient.indices.forcemerge(index=collection.index, only_expunge_deletes=True)
    merge(client, collection.index)
    return {"before": before, "after": _state(client, collection.index)}


def _state(client: Elasticsearch, index: str) -> dict[str, int]:
    with speaking():
        client.indices.refresh(index=index)
        found: Any = client.indices.stats(index=index, metric=["docs", "segments", "store"])["_all"]["primaries"]
    return {"segments": found["segments"]["count"], "deleted": found["docs"]["deleted"], "bytes": found["store"]["size_in_bytes"]}


def _await_leases(client: Elasticsearch, index: str, say: Say) -> None:
    """Waits until no copy of a shard asks for its latest deletions to be kept, which it does in case another copy must catch up."""
    with speaking():
        client.indices.flush(index=index)
    deadline = time.monotonic() + _LEASE_SECONDS
    while _keeps_deletions(client, index):
        if time.monotonic() >= deadline:
            say("The latest deletions are still kept for copies of shards to catch up: run it again later to have them leave the disk.")
            return
        time.sleep(1)


def _keeps_deletions(client: Elasticsearch, index: str) -> bool:
    with speaking():
        shards: Any = client.indices.stats(index=index, metric="docs", level="shards")["indices"][index]["shards"]
    return any(
        lease["retaining_seq_no"] <= copy["seq_no"]["global_checkpoint"]
        for copies in shards.values()
        for copy in copies
        for lease in copy.get("retention_leases", {}).get("leases", [])
    )


def _check_room(client: Elasticsearch, index: str) -> None:
    with speaking():
        shards: Any = client.cat.shards(index=index, format="json", bytes="b", h="node,store")
        nodes: Any = client.nodes.stats(metric="fs", filter_path="nodes.*.name,nodes.*.fs.total")["nodes"]
    free = {node["name"]: node["fs"]["total"]["available_in_bytes"] for node in nodes.values()}
    for name, has in free.items():
        need = sum(int(shard["store"] or 0) for shard in shards if shard["node"] == name)
        if need > has:
            raise StorageError(
                f"Merging may take {need / 1e9:,.1f} GB of the disk of {name} for a while; {has / 1e9:,.1f} GB are free: free more first.",
                code="disk_full",
            )
