"""Shards that have no place: which, and why, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from es.client import speaking

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

# What each of Elasticsearch's deciders means for a person.
_DECIDERS = {
    "disk_threshold": "the disks of the nodes are too full (see the watermarks)",
    "same_shard": "each node that could hold it holds a copy already: there are too few nodes for so many replicas",
    "filter": "the index's or the cluster's allocation filters exclude the nodes",
    "enable": "allocation is switched off (cluster.routing.allocation.enable)",
    "max_retry": "it failed too often, and waits for `POST _cluster/reroute?retry_failed=true`",
    "awareness": "no zone is left for it (awareness attributes)",
    "shards_limit": "the nodes hold as many shards as they may",
    "node_version": "the nodes that are left are older than the one it came from",
    "restore_in_progress": "it could not be restored from its snapshot",
    "throttling": "other shards are moved first",
}
_CAUSES = {
    "NODE_LEFT": "its node has left",
    "ALLOCATION_FAILED": "its last start failed",
    "NEW_INDEX_RESTORED": "it is being restored",
    "EXISTING_INDEX_RESTORED": "it is being restored",
    "INDEX_CREATED": "it was never given a place",
    "REPLICA_ADDED": "it was never given a place",
    "CLUSTER_RECOVERED": "the cluster has just started",
}


@dataclass(frozen=True, slots=True)
class Homeless:
    """A shard without a node."""

    index: str
    number: int
    primary: bool
    since: str  # what happened, in words
    why: str  # it has no place now, in words
    is_final: bool  # it will not get one by waiting


def unassigned(client: Elasticsearch, index: str) -> list[Homeless]:
    """The shards of these indices that have no node; the first copy of each is asked about, for the others are refused alike.

    Raises:
        EngineError: Elasticsearch refuses.
    """
    with speaking():
        shards: list[Any] = list(client.cat.shards(index=index, format="json", h="index,shard,prirep,state,unassigned.reason"))
    found: dict[tuple[str, str, str], Homeless] = {}
    for each in shards:
        key = each["index"], each["shard"], each["prirep"]
        if each["state"] == "UNASSIGNED" and key not in found:
            found[key] = _explained(client, *key, _CAUSES.get(each["unassigned.reason"], "it lost its place"))
    return list(found.values())


def _explained(client: Elasticsearch, index: str, shard: str, kind: str, since: str) -> Homeless:
    from elasticsearch import BadRequestError

    primary = kind == "p"
    with speaking():
        try:
            answer = client.cluster.allocation_explain(index=index, shard=int(shard), primary=primary).body
        except BadRequestError:  # it has found a place meanwhile
            answer = {}
    return Homeless(index, int(shard), primary, since, _words(answer), answer.get("can_allocate") in ("no", "no_valid_shard_copy"))


def _words(answer: dict[str, Any]) -> str:
    if answer.get("can_allocate") == "no_valid_shard_copy":
        return "no node that is here holds its data: start the node that does, or restore a snapshot"
    deciders = {
        decider["decider"]
        for node in answer.get("node_allocation_decisions", [])
        for decider in node.get("deciders", [])
        if decider["decision"] in ("NO", "THROTTLE")
    }
    told = [words for name, words in _DECIDERS.items() if name in deciders]
    return "; ".join(told) or str(answer.get("allocate_explanation", "it is being given a place"))[:200]
