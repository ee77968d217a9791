"""Are the disks full, or will they soon be?"""

from __future__ import annotations

from collections.abc import Iterator

from core.findings import Finding, Level
from es.doctor.cluster import Cluster
from es.doctor.sizes import required_free

_PREFIX = "cluster.routing.allocation.disk"
_STAGES: tuple[tuple[str, Level, str], ...] = (  # the worst first
    ("flood_stage", "error", "Elasticsearch takes no more faces into any index with a shard there."),
    ("high", "warning", "Elasticsearch moves shards away from it, and refuses more before long."),
    ("low", "warning", "No more shards are put there: new collections and copies stay without a place."),
)
_REMEDY = "free space, add a disk or a node; `facedex snapshot delete --older-than 30d` and old collections may be what takes it"


def watermarks(cluster: Cluster) -> Iterator[Finding]:
    """The free space of each node beside the watermarks that the cluster really has."""
    settings = cluster.cluster_settings
    if settings.get(f"{_PREFIX}.threshold_enabled") == "false":
        yield Finding(
            "disk",
            "warning",
            "The disk watermarks are switched off.",
            "A full disk breaks shards instead of stopping writes in time.",
            f'PUT _cluster/settings {{"persistent": {{"{_PREFIX}.threshold_enabled": null}}}}',
        )
        return
    low = []
    for node in cluster.data_nodes.values():
        total, free = node["fs"]["total"]["total_in_bytes"], node["fs"]["total"]["available_in_bytes"]
        for stage, level, why in _STAGES:
            mark = settings.get(f"{_PREFIX}.watermark.{stage}", "100%")
            need = required_free(mark, total, settings.get(f"{_PREFIX}.watermark.{stage}.max_headroom", "-1"))
            if free < need:
                low.append(node["name"])
                name = stage.replace("_", " ")
                what = f"{node['name']} has {_gb(free)} free, less than the {name} watermark asks for ({mark}: {_gb(need)})."
                yield Finding("disk", level, what, why, _REMEDY)
                break
    if not low:
        least = min((node["fs"]["total"]["available_in_bytes"] for node in cluster.data_nodes.values()), default=0)
        yield Finding("disk", "ok", f"Every node is below the watermarks; the fullest has {_gb(least)} free.")


def blocks(cluster: Cluster) -> Iterator[Finding]:
    """Indices that take no writes."""
    blocked = False
    # By migrations, see indices.migrations.
    held = cluster.replaced | {found.current for found in cluster.versions.values() if found.filling}
    for index in filter(cluster.concerns, cluster.indices):
        if _is_set(cluster, index, "read_only_allow_delete"):
            blocked = True
            yield Finding(
                "blocks",
                "error",
                f"{index} takes no more faces: its node's disk was full.",
                "Ingesting fails; searches and deletions work.",
                "free space; Elasticsearch then lifts that by itself within a minute",
            )
        if cluster.setting(index, "verified_before_close") == "true":
            blocked = True
            yield Finding("blocks", "error", f"{index} is closed.", "Neither ingests nor searches of it work.", f"POST {index}/_open")
        for kind in ("write", "read_only", "read", "metadata"):
            if _is_set(cluster, index, kind) and not (kind == "write" and index in held):
                blocked = True
                yield Finding(
                    "blocks",
                    "warning",
                    f"{index} has a {kind.replace('_', '-')} block.",
                    "Somebody has set it; ingesting or searching fails.",
                    f'PUT {index}/_settings {{"index.blocks.{kind}": null}}',
                )
    if not blocked:
        yield Finding("blocks", "ok", "No index refuses writes.")


def _is_set(cluster: Cluster, index: str, kind: str) -> bool:
    return bool(cluster.setting(index, f"blocks.{kind}") == "true")


def _gb(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)
