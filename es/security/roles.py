"""Who may do what: the roles of Facedex, as Elasticsearch's role API and a node's ``roles.yml`` take them.

A role is for one collection, or for all. Wildcards don't do for one: ``facedex-staff-v*`` reaches the collection ``staff-vip``. So the
indices are told by regular expressions, between slashes, which match whole names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from es.collections import check_name
from es.documents import OPERATIONS, PREFIX

Right = Literal["search", "ingest", "steward", "viewer"]
Role = Mapping[str, Any]

RIGHTS: tuple[Right, ...] = ("search", "ingest", "steward", "viewer")

# Who has the privilege `index` may still change mappings in Elasticsearch 9, and so recipes: its other actions are named instead.
_WRITE = ("indices:data/write/index*", "indices:data/write/update*", "indices:data/write/bulk*")
# Of the collection's indices. Nobody but a steward deletes; an ingest refreshes what it stored, and updates the paths of photos that moved.
PRIVILEGES: Mapping[Right, tuple[str, ...]] = {
    "search": ("read", "view_index_metadata"),
    "ingest": ("read", "view_index_metadata", "maintenance", *_WRITE),
    "steward": ("all",),
    "viewer": ("read", "view_index_metadata"),
}
# Not `monitor`, for nobody: it also shows the running searches in all collections, and with them faces. These are its parts without them.
_LOOK = (
    "cluster:monitor/main",
    "cluster:monitor/health",
    "cluster:monitor/nodes/info*",
    "cluster:monitor/nodes/stats*",
    "cluster:monitor/settings",
    "cluster:monitor/state",  # where shards are
    "cluster:monitor/allocation",
    "cluster:monitor/xpack/license/get",
    "indices:admin/index_template/get",
)
_CLUSTER: Mapping[Right, tuple[str, ...]] = {"search": (), "ingest": (), "steward": (*_LOOK, "create_snapshot"), "viewer": ()}
# To add, but not to overwrite: what `create_doc` is without the right to change the mapping, which it brings until Elasticsearch 10.
# (Elasticsearch takes the name of an action as the beginning of one, so "indices:data/write/index", which a request of one document
# takes, would be too much.)
_ADD = ("indices:data/write/index:op_type/create", "indices:data/write/bulk")
_ANY = "[a-z0-9][a-z0-9_]*(-[a-z0-9_]+)*"  # what es.collections.check_name lets through
_HELPERS = "|--.*"  # marks of loads and copies of vectors, which a steward makes
_KIBANA = {"application": "kibana-.kibana", "privileges": ["space_read"], "resources": ["space:default"]}


def role_name(right: Right, collection: str | None = None) -> str:
    """``facedex_search`` for all collections, ``facedex_search_staff`` for one."""
    return f"facedex_{right}" if collection is None else f"facedex_{right}_{collection}"


def roles(collections: Iterable[str] = ()) -> dict[str, Role]:
    """The role descriptors by name: for each collection, or without any for all that there are and will be.

    Raises:
        UsageError: a name that no collection can have.
    """
    names: list[str | None] = [check_name(name) for name in collections]
    return {role_name(right, name): descriptor(right, name) for name in names or [None] for right in RIGHTS}


def descriptor(right: Right, collection: str | None = None) -> Role:
    """One role.

    Args:
        right: what it lets do.
        collection: with which; ``None``: with all.
    """
    indices = [{"names": [pattern(right, collection)], "privileges": list(PRIVILEGES[right])}]
    operations = _operations(right, collection)
    if operations:
        indices.append({"names": [f"{OPERATIONS}*"], "privileges": operations})
    whose = f"the collection {collection}" if collection else "all collections"
    made: dict[str, Any] = {
        "description": f"Facedex: {_DOES[right]} {whose}",
        "cluster": list(_CLUSTER[right]),
        "indices": indices,
    }
    if right == "viewer":
        made["applications"] = [_KIBANA]
    return made


_DOES: Mapping[Right, str] = {
    "search": "searches in",
    "ingest": "ingests into, without deleting,",
    "steward": "makes, changes and deletes",
    "viewer": "looks through Kibana at",
}


def pattern(right: Right, collection: str | None = None) -> str:
    """The indices and aliases of a collection (or of all) that a right is about, as Elasticsearch writes a regular expression."""
    return f"/{PREFIX}{collection or _ANY}(-rejects)?(-v[0-9]+{_HELPERS if right == 'steward' else ''})?/"


def _operations(right: Right, collection: str | None) -> list[str]:
    """What may be done with the record of operations, which is about all collections."""
    if right in {"search", "ingest"}:
        return list(_ADD)
    if collection is not None:
        return list(_ADD) if right == "steward" else []
    return ["all"] if right == "steward" else ["read", "view_index_metadata"]
