"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from core.errors import FacedexError
from core.findings import Finding
from es.doctor import backups, disk, drift, engine, indices, machine, memory, security, shards
from es.doctor.cluster import Cluster

if TYPE_CHECKING:
    from core.settings import Settings

Check = Callable[[Cluster], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    engine.version,
    engine.licence,
    engine.clock,
    disk.watermarks,
    disk.blocks,
    memory.heap,
    memory.vectors,
    memory.preload,
    shards.unassigned,
    shards.replicas,
    indices.segments,
    drift.mappings,
    indices.without_cells,
    indices.bulk_loads,
    indices.migrations,
    indices.aliases,
    indices.orphans,
    indices.template,
    backups.backups,
    security.access,
    security.habits,
)
_GONE = ("unreachable", "timeout", "not_elasticsearch", "unauthorized", "no_collection")


def of_machine(settings: Settings) -> list[Finding]:
    """What is to be said of this machine, without an engine."""
    return [finding for check in (machine.java, machine.cache, machine.private, machine.room) for finding in check(settings)]


def of_cluster(cluster: Cluster) -> list[Finding]:
    """What is to be said of the engine and its collections.

    Raises:
        FacedexError: the engine is gone, or has no such collection.
    """
    return [finding for check in CHECKS for finding in _one(check, cluster)]


def _one(check: Check, cluster: Cluster) -> list[Finding]:
    """A check that can't look must not hide what the others see."""
    name = check.__name__.replace("_", " ")
    try:
        return list(check(cluster))
    except FacedexError as error:
        if error.code in _GONE:
            raise
        if error.code == "forbidden":
            return [
                Finding(
                    name,
                    "notice",
                    "This user is not allowed to look.",
                    "Nothing is known of it.",
                    "run it as a user with the role facedex_steward",
                )
            ]
        return [Finding(name, "warning", f"Could not look: {error}", "Nothing is known of it.", "see the log of Elasticsearch")]
