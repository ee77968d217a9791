"""Is the server one to trust: its version, its licence, its clock?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from core.findings import Finding
from core.terminal import number_of
from es.client import speaking, version_concern
from es.doctor.cluster import Cluster

_SKEW_SECONDS = 5.0
_NEEDS_ENTERPRISE = ("bbq_disk",)
_ENTERPRISE = ("enterprise", "trial")


def version(cluster: Cluster) -> Iterator[Finding]:
    """The servers' versions, beside each other and the client's."""
    from importlib.metadata import version as installed

    versions = sorted({node["version"] for node in cluster.nodes.values()})
    client = installed("elasticsearch")
    found = list(versions_concern(versions, client))
    yield from found or [Finding("version", "ok", f"Elasticsearch {versions[0]}, client {client}.")]


def versions_concern(versions: list[str], client: str) -> Iterator[Finding]:
    """What is to be said of servers of these versions, spoken to by a client of that one."""
    for each in versions:
        if concern := version_concern(each):
            yield Finding("version", "warning", concern, "Copies of a face can differ for good.", "update Elasticsearch")
    if len(versions) > 1:
        yield Finding(
            "version",
            "warning",
            f"The nodes have different versions: {', '.join(versions)}.",
            "Shards can't move to older nodes; that is a state for the time of an update only.",
            "finish the update",
        )
    theirs = versions[-1].partition(".")[0]
    if theirs != client.partition(".")[0]:
        yield Finding(
            "version",
            "error",
            f"The client has version {client}, the server {versions[-1]}.",
            "Other major versions speak another language.",
            f"pip install 'elasticsearch>={theirs},<{int(theirs) + 1}', or update Facedex",
        )


def licence(cluster: Cluster) -> Iterator[Finding]:
    """The licence: a basic one is enough."""
    from elasticsearch import ApiError

    with speaking():
        try:
            found = cluster.client.license.get()["license"]
        except ApiError as error:
            if error.status_code in (400, 404, 405):  # a distribution without
                yield Finding("licence", "ok", "This distribution has no licences.")
                return
            raise
    types = {each.index_type for each in cluster.collections}
    yield from licence_concern(found["type"], found["status"], found.get("expiry_date_in_millis"), types)


def licence_concern(kind: str, status: str, expiry_ms: int | None, index_types: set[str]) -> Iterator[Finding]:
    """What is to be said of a licence, with collections of these index types."""
    days = None if expiry_ms is None else (expiry_ms / 1000 - datetime.now(UTC).timestamp()) / 86400
    paid = sorted(index_types.intersection(_NEEDS_ENTERPRISE))
    if status != "active":
        yield Finding(
            "licence",
            "error",
            f"The {kind} licence is {status}.",
            "Elasticsearch refuses more and more requests.",
            "POST _license/start_basic: a basic one is enough for Facedex",
        )
    elif kind == "trial":
        yield Finding(
            "licence",
            "notice",
            f"The trial licence ends in {number_of(round(days or 0), 'day')}.",
            "What needs more than a basic licence stops working then; Facedex by itself needs no more.",
            "POST _license/start_basic when it has ended",
        )
    else:
        yield Finding("licence", "ok", f"The licence is {kind}, which is enough.")
    if paid and kind not in _ENTERPRISE:
        yield Finding(
            "licence",
            "error",
            f"The index type {paid[0]} is in use with a {kind} licence.",
            "It needs an Enterprise licence.",
            "move the collection to bbq_hnsw or int8_hnsw",
        )


def clock(cluster: Cluster) -> Iterator[Finding]:
    """The nodes' clocks beside this machine's."""
    wrong = {node["name"]: node["skew"] for node in cluster.usage.values() if abs(node["skew"]) > _SKEW_SECONDS}
    for name, skew in wrong.items():
        yield Finding(
            "clock",
            "warning",
            f"The clock of {name} is {abs(skew):,.0f} seconds {'ahead of' if skew > 0 else 'behind'} this machine's.",
            "`--since`, ages of snapshots and marks of bulk loads go by clocks.",
            "synchronise both by NTP",
        )
    if not wrong:
        yield Finding("clock", "ok", "The clocks agree.")
