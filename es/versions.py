"""The versions of a collection's index: the current one, older ones that are kept, one that is being filled.

``facedex-<name>`` is an alias over one of ``facedex-<name>-v1``, ``-v2`` and so on. A migration (``es.migration``) fills the next one, and
has a mark on it (``es.marks``) until the alias leads to it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import CollectionError
from es import marks
from es.client import speaking
from es.documents import alias, rejects_alias

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_MARK = "--migrating-"  # no collection's name has two dashes


@dataclass(frozen=True, slots=True)
class Filling:
    """A version that a migration fills."""

    index: str
    mark_alias: str
    mark: Mapping[str, Any]

    @property
    def is_left(self) -> bool:
        """Whether its migration was cut off."""
        return marks.is_over(self.mark)


@dataclass(frozen=True, slots=True)
class Versions:
    """All indices of a collection's faces."""

    current: str
    old: tuple[str, ...]
    filling: Filling | None
    next: str  # what the next one is called


def versions(client: Elasticsearch, name: str) -> Versions:
    """The versions that there are.

    Raises:
        CollectionError: there is no such collection.
    """
    with speaking():
        answer = client.indices.get_alias(index=f"{alias(name)}-v*", expand_wildcards="all")
    ours = {index: shape["aliases"] for index, shape in answer.items() if re.fullmatch(re.escape(alias(name)) + r"-v\d+", index)}
    current = next((index for index, names in ours.items() if alias(name) in names), None)
    if current is None:
        raise CollectionError(f"There is no collection {name!r}: `facedex collections list` names those that are.", code="no_collection")
    filling = next(
        (
            Filling(index, each, marks.read(shape))
            for index, names in ours.items()
            for each, shape in names.items()
            if each.startswith(f"{alias(name)}{_MARK}") and index != current
        ),
        None,
    )
    taken = {current, filling.index if filling else current}
    number = 1 + max(int(index.rpartition("-v")[2]) for index in ours)
    return Versions(current, tuple(sorted(set(ours) - taken)), filling, f"{alias(name)}-v{number}")


def origin(client: Elasticsearch, name: str) -> str:
    """What stays the same while a collection moves from index to index with its vectors; a new one of its name has another.

    Raises:
        CollectionError: there is no such collection.
    """
    with speaking():
        return made_now(client, name).origin


class Made(NamedTuple):
    """What documents of a collection are written for: see :func:`origin`; and the version of its mapping."""

    origin: str
    mapping: int


def made_now(client: Elasticsearch, name: str) -> Made:
    """What a collection is at this moment, as part of what is repeated as a whole: errors are the client's own."""
    known = "*.mappings._meta.facedex"
    answer = client.indices.get(index=alias(name), filter_path=f"{known}.origin,{known}.mapping,*.settings.index.uuid")
    (shape,) = answer.values()
    meta = shape.get("mappings", {}).get("_meta", {}).get("facedex", {})
    return Made(str(meta.get("origin") or shape["settings"]["index"]["uuid"]), int(meta.get("mapping", 0)))


def new_mark(name: str) -> str:
    """The alias of a new mark."""
    return f"{alias(name)}{_MARK}{uuid.uuid4().hex}"


def next_name(name: str) -> str:
    """The name of a collection while it is filled anew from its photos. (No user can call one so.)"""
    return f"{name}--next"


def recover(client: Elasticsearch, name: str) -> bool:
    """Takes away what a migration that was cut off left: its half-filled index, and the block on the current one. Says whether there was.

    Raises:
        FacedexError: the cluster refuses.
    """
    try:
        found = versions(client, name)
    except CollectionError:
        return False
    if found.filling is None or not found.filling.is_left:
        return False
    return discard(client, name, found.current, found.filling.index, found.filling.mark_alias)


def discard(client: Elasticsearch, name: str, current: str, filling: str, mark_alias: str) -> bool:
    """Gives up a version that is being filled, and lets the current one take writes; says whether that was done.

    The mark is exchanged for one of this process first. Where that fails, another has it, or the alias leads to the version by now, perhaps
    by a request whose answer was lost: then nothing of it is touched. Where it succeeds, such a request can't be carried out any more.
    """
    actions: list[dict[str, Any]] = [
        {"remove": {"index": filling, "alias": mark_alias, "must_exist": True}},
        {"add": {"index": filling, "alias": new_mark(name), **marks.written(marks.owner())}},
    ]
    try:
        with speaking():
            client.indices.update_aliases(actions=actions)  # of several that find it, one gets it
    except CollectionError:
        return False
    with suppress(CollectionError):  # the collection was deleted meanwhile
        unblock(client, current)  # first: as long as the mark is there, the block is found
    with suppress(CollectionError), speaking():  # lent while it is filled from photos
        client.indices.delete_alias(index=f"{rejects_alias(name)}-v1", name=rejects_alias(next_name(name)))
    with speaking():
        client.indices.delete(index=filling, ignore_unavailable=True)
    return True


def unblock(client: Elasticsearch, index: str) -> None:
    """Lets an index take writes again."""
    with speaking():
        client.indices.put_settings(index=index, settings={"index.blocks.write": None})


def drop_old(client: Elasticsearch, name: str) -> list[str]:
    """Deletes the versions that were replaced; says which.

    Raises:
        CollectionError: there is no such collection.
    """
    old = list(versions(client, name).old)
    if old:
        with speaking():
            client.indices.delete(index=old, ignore_unavailable=True)
    return old


def is_searched(client: Elasticsearch, indices: list[str]) -> bool:
    """Whether searches go on in these indices, or keep a point in time of them."""
    with speaking():
        found = client.indices.stats(index=indices, metric="search", filter_path="_all.total.search")["_all"]["total"]["search"]
    return bool(found["open_contexts"] or found["query_current"] or found["fetch_current"])
