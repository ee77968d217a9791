"""Are the indices in the state that searches and ingests expect?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from core.findings import Finding
from core.terminal import number_of, say
from es import cells, loading, templates, versions
from es.client import speaking
from es.copies import is_left
from es.doctor.cluster import Cluster
from es.documents import LARGEST_SEGMENT, MAPPING_VERSION, PREFIX, WITH_CELLS, alias, rejects_alias
from es.snapshots import RECORD

_MANY_SEGMENTS = 40  # of a shard, beside those that are as large as they get: an index at rest has half as many at most
_MANY_DELETED, _FEWEST_DELETED = 0.2, 1000  # share, documents


def segments(cluster: Cluster) -> Iterator[Finding]:
    """Many segments and deleted documents, which searches pay for."""
    found = []
    for each in cluster.collections:
        shards = [shard for shard in cluster.shards if shard["index"] == each.index]
        many = [
            shard["segments"] for shard in shards if shard["segments"] > _MANY_SEGMENTS + 2 * shard["bytes"] / (LARGEST_SEGMENT * 2**20)
        ]
        docs, deleted = sum(shard["docs"] for shard in shards), sum(shard["deleted"] for shard in shards)
        remedy = f"facedex collections optimize {each.name}"
        if many:
            what = f"A shard of {each.name} has {max(many)} segments."
            found.append(Finding("segments", "warning", what, "Each search goes through every segment.", remedy))
        if deleted >= _FEWEST_DELETED and deleted > _MANY_DELETED * (docs + deleted):
            what = f"{deleted / (docs + deleted):.0%} of what {each.name} stores is deleted ({number_of(deleted, 'document')})."
            why = "They take memory and time in each search, and erased faces are on the disk until they are merged away."
            found.append(Finding("segments", "warning", what, why, remedy))
    yield from found or [Finding("segments", "ok", "Few segments, few deleted faces.")]


def without_cells(cluster: Cluster) -> Iterator[Finding]:
    """Faces that searches of some cells can't find, as they have none: written by an older Facedex, or by another tool."""
    found = []
    for each in cluster.collections:
        if each.mapping >= WITH_CELLS and cells.is_there(str(each.recipe["model"])):
            with speaking():
                lost = cluster.client.count(index=each.index, query={"bool": {"must_not": [{"exists": {"field": cells.FIELD}}]}})["count"]
            if lost:
                what = f"{each.name} has {number_of(lost, 'face')} without a cell."
                why = "Searches of collections with more than 1.5 million faces look into some cells, and don't find them."
                found.append(Finding("cells", "error", what, why, f"facedex collections migrate {each.name}"))
    yield from found or [Finding("cells", "ok", "All faces that should have a cell have one.")]


def bulk_loads(cluster: Cluster) -> Iterator[Finding]:
    """What an interrupted bulk load left."""
    found = []
    for each in cluster.collections:
        if loading.is_left_over(cluster.client, each.name):
            found.append(
                Finding(
                    "bulk load",
                    "warning",
                    f"A bulk load into {each.name} was cut off.",
                    "Until it is settled new faces are not found, and there are no copies of shards.",
                    "facedex status",
                    partial(loading.recover, cluster.client, each.name, say),
                )
            )
        elif cluster.setting(each.index, "refresh_interval") == "-1":
            if loading.is_running(cluster.client, each.name):
                found.append(Finding("bulk load", "notice", f"A bulk load into {each.name} goes on.", "New faces are found when it ends."))
            else:
                found.append(
                    Finding(
                        "bulk load",
                        "warning",
                        f"{each.name} is never refreshed, and no bulk load goes on.",
                        "New faces are stored but not found.",
                        f'PUT {each.index}/_settings {{"index.refresh_interval": null}}',
                        partial(_refresh_again, cluster, each.index),
                    )
                )
    yield from found or [Finding("bulk load", "ok", "No bulk load was cut off.")]


def _refresh_again(cluster: Cluster, index: str) -> None:
    with speaking():
        cluster.client.indices.put_settings(index=index, settings={"index": {"refresh_interval": None}})
        cluster.client.indices.refresh(index=index)


def migrations(cluster: Cluster) -> Iterator[Finding]:
    """Collections that are being moved, and what moves left."""
    found = []
    for name, has in cluster.versions.items():
        if has.filling and has.filling.is_left:
            what, why = f"A migration of {name} was cut off.", "The half-filled index takes disk, and the collection may take no writes."
            fix = partial(versions.recover, cluster.client, name)
            found.append(Finding("migration", "warning", what, why, "facedex status", fix))
        elif has.filling:
            what = f"{name} is being moved to {has.filling.index}."
            found.append(Finding("migration", "notice", what, "At the end, writers wait for a moment."))
        if old := sorted(cluster.replaced & set(has.old)):
            why, remedy = "It takes disk, and holds faces that were erased since.", f"facedex collections drop-old {name}"
            found.append(Finding("migration", "notice", f"{', '.join(old)} of {name} is kept.", why, remedy))
    yield from found or [Finding("migration", "ok", "No collection is being moved, and no old index is kept.")]


def aliases(cluster: Cluster) -> Iterator[Finding]:
    """Collections whose names lead to more or less than their one index."""
    found = []
    for each in cluster.collections:
        for name in (alias(each.name), rejects_alias(each.name)):
            behind = {index: shape["aliases"][name] for index, shape in cluster.indices.items() if name in shape["aliases"]}
            writable = [index for index, how in behind.items() if how.get("is_write_index") or len(behind) == 1]
            if len(behind) == 1 and writable and "filter" not in next(iter(behind.values())):
                continue
            if not behind:
                what, why = f"The alias {name} is missing.", "Rejects of this collection can't be stored."
                remedy = f"POST _aliases: add {name} to {name}-v1, with is_write_index true"
            elif len(behind) > 1:
                what = (
                    f"The alias {name} leads to {len(behind)} indices ({', '.join(sorted(behind))}), {len(writable)} of them to write into."
                )
                why = "Searches show faces of both, and ingests may be refused."
                remedy = f"POST _aliases: remove {name} from all but one, which is_write_index"
            else:
                what, why = f"The alias {name} has a filter.", "Searches and counts leave faces out."
                remedy = f"POST _aliases: remove {name}, then add it without a filter"
            found.append(Finding("aliases", "error", what, why, remedy))
    yield from found or [Finding("aliases", "ok", "Each collection's name leads to its one index.")]


def orphans(cluster: Cluster) -> Iterator[Finding]:
    """Indices of ours that no collection uses."""
    found = []
    versions_ = cluster.replaced | {has.filling.index for has in cluster.versions.values() if has.filling}
    used = {name for each in cluster.collections for name in (alias(each.name), rejects_alias(each.name))}
    for index, shape in cluster.indices.items():
        if not cluster.concerns(index) or index == RECORD or index.startswith(f"{PREFIX}-"):
            continue
        if is_left(index, shape):
            what, remedy = f"The copy {index} was left behind by a measurement that was killed.", f"DELETE {index}"
        elif "--" in index or index in versions_ or used & shape["aliases"].keys():
            continue
        else:
            what = f"The index {index} belongs to no collection."
            remedy = f"look what is in it, then DELETE {index}, or give it its alias again"
        size = sum(shard["bytes"] for shard in cluster.shards if shard["index"] == index)
        found.append(Finding("orphans", "warning", what, f"It takes {size / 1e6:,.1f} MB of disk, and may hold faces.", remedy))
    yield from found or [Finding("orphans", "ok", "No index is left over.")]


def template(cluster: Cluster) -> Iterator[Finding]:
    """The templates through which administrators add settings."""
    from elasticsearch import ApiError

    with speaking():
        try:
            version = templates.version(cluster.client)
        except ApiError as error:
            if error.status_code != 403:  # noqa: PLR2004
                raise
            yield Finding("templates", "ok", "This user may not see templates, and needs none.")
            return
    if version == MAPPING_VERSION or (version == 0 and not cluster.collections):
        yield Finding("templates", "ok", "The templates are those of this version.")
        return
    yield Finding(
        "templates",
        "notice",
        "The templates are missing." if version == 0 else f"The templates are of mapping version {version}, not {MAPPING_VERSION}.",
        "Settings in facedex-faces@custom don't reach new collections without them.",
        "facedex doctor --fix, as a user with manage_index_templates",
        partial(templates.install, cluster.client) if version < MAPPING_VERSION else None,
    )
