"""Has every shard a place, and a copy where there can be one?"""

from __future__ import annotations

from collections.abc import Iterator

from core.findings import Finding
from es import loading, shards
from es.doctor.cluster import Cluster
from es.documents import PREFIX


def unassigned(cluster: Cluster) -> Iterator[Finding]:
    """Shards without a node, with the reason in words."""
    found = False
    alone = len(cluster.data_nodes) == 1
    homeless = [each for each in shards.unassigned(cluster.client, f"{PREFIX}*") if cluster.concerns(each.index)]
    lost = {(each.index, each.number) for each in homeless if each.primary}
    for each in homeless:
        if not each.primary and (each.index, each.number) in lost:
            continue  # it comes back with the first copy
        found = True
        if each.primary:
            what = f"The shard {each.number} of {each.index} is nowhere: {each.since}; {each.why}."
            why = "Its faces can't be searched."
            remedy = "bring its node back; if it is lost: facedex snapshot restore"
            yield Finding("shards", "error", what, why, remedy)
        elif alone:
            what = f"A copy of the shard {each.number} of {each.index} is wanted, and there is only one node."
            remedy = f'a second node, or PUT {each.index}/_settings {{"index.auto_expand_replicas": "0-1"}}'
            yield Finding("shards", "warning", what, "The cluster stays yellow, which hides other troubles.", remedy)
        else:
            what = f"A copy of the shard {each.number} of {each.index} has no place: {each.since}; {each.why}."
            yield Finding("shards", "warning", what, "If the node of the other copy fails, faces are lost.", "do what the reason says")
    if not found:
        yield Finding("shards", "ok", "Every shard has its place.")


def replicas(cluster: Cluster) -> Iterator[Finding]:
    """Collections without copies where there is a node for them."""
    bare = []
    if len(cluster.data_nodes) > 1:
        bare = [
            each
            for each in cluster.collections
            if cluster.setting(each.index, "number_of_replicas") == "0" and not loading.is_running(cluster.client, each.name)
        ]
    for each in bare:
        yield Finding(
            "copies",
            "warning",
            f"{each.name} has no copies, and the cluster has {len(cluster.data_nodes)} nodes.",
            "If a node fails, its faces are lost.",
            f'PUT {each.index}/_settings {{"index.auto_expand_replicas": "0-1"}}',
        )
    if not bare:
        yield Finding("copies", "ok", "Shards have copies where there are nodes for them.")
