"""Restoring collections from a snapshot: as they were, or under another name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import CollectionError, EngineError, FacedexError, UsageError
from es.client import speaking
from es.collections import FILLING, check_name, find
from es.documents import alias, rejects_alias
from es.loading import recover
from es.local.node import silent
from es.shards import unassigned
from es.snapshots import RECORD, Snapshot, collection_of, counted, polls

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.local.node import Say


@dataclass(frozen=True, slots=True)
class Restored:
    """A collection that is back."""

    name: str
    faces: int
    expected: int | None  # as counted when the snapshot began; None where that is not known

    @property
    def is_as_counted(self) -> bool:
        """Whether nothing is missing or more. (Faces that came or went while the snapshot was made tell here, too.)"""
        return self.expected in (None, self.faces)


def restore(
    client: Elasticsearch, repository: str, snapshot: Snapshot, names: Sequence[str] | None, new_name: str | None, say: Say
) -> list[Restored]:
    """Brings collections back, and waits until they can be searched.

    Args:
        client: the connection.
        repository: where from.
        snapshot: what.
        names: which of its collections; ``None``: all, and the record of operations where there is none now.
        new_name: what the one collection is to be called.
        say: hears how far it is.

    Raises:
        UsageError: a new name for more than one.
        CollectionError: it is not in the snapshot, or the cluster has one of that name (code ``collection_exists``).
        EngineError: a shard could not be restored (code ``restore_failed``); what came of it is deleted again.
    """
    chosen = _chosen(snapshot, names, new_name)
    targets = [new_name or name for name in chosen]
    for target in targets:
        if find(client, check_name(target)):
            raise CollectionError(
                f"There is a collection {target!r}: delete it first (`facedex collections delete {target}`), or restore it under another "
                "name with --as.",
                code="collection_exists",
            )
    indices = [index for index in snapshot.indices if _belongs(index, chosen)]
    if names is None and RECORD in snapshot.indices and not _exists(client, RECORD):
        indices.append(RECORD)
    renaming = {"rename_pattern": f"{alias(chosen[0])}-(.*)", "rename_replacement": f"{alias(new_name)}-$1"} if new_name else {}
    made = [f"{alias(new_name)}{index.removeprefix(alias(chosen[0]))}" if new_name else index for index in indices]
    if there := [index for index in made if _exists(client, index)]:
        raise CollectionError(
            f"The index {there[0]} is in the way, and belongs to no collection: see `facedex doctor`, or restore with --as.",
            code="collection_exists",
        )
    _begin(client, repository, snapshot.name, indices, renaming)
    try:
        kept = [index for target in targets for index in _name(client, target, made)]
        if new_name:
            _settle_load(client, new_name)
    except FacedexError:
        with suppress(FacedexError), speaking():
            client.indices.delete(index=made, ignore_unavailable=True)
        raise
    _await(client, [*kept, *(index for index in made if index == RECORD)], say)
    return [_settled(client, target, snapshot.faces.get(name)) for name, target in zip(chosen, targets, strict=True)]


def _chosen(snapshot: Snapshot, names: Sequence[str] | None, new_name: str | None) -> list[str]:
    held = snapshot.collections
    chosen = held if names is None else list(dict.fromkeys(names))
    missing = [name for name in chosen if name not in held]
    if missing or not chosen:
        raise CollectionError(
            f"The snapshot {snapshot.name} holds no collection {missing[0] if missing else ''!r}; it holds: {', '.join(held) or 'none'}.",
            code="no_collection",
        )
    if new_name is not None and len(chosen) != 1:
        raise UsageError(f"--as names one collection, and the snapshot holds {len(chosen)} ({', '.join(chosen)}): choose one with -c.")
    return chosen


def _belongs(index: str, names: Sequence[str]) -> bool:
    return (collection_of(index) or collection_of(index.replace("-rejects-v", "-v"))) in names


def _exists(client: Elasticsearch, index: str) -> bool:
    with speaking():
        return bool(client.indices.exists(index=index))


def _begin(client: Elasticsearch, repository: str, snapshot: str, indices: list[str], renaming: dict[str, str]) -> None:
    with speaking():
        client.snapshot.restore(
            repository=repository,
            snapshot=snapshot,
            indices=indices,
            include_global_state=False,
            feature_states=["none"],
            ignore_index_settings=["index.blocks.write"],  # set while a migration held writes: there is nobody to lift it
            include_aliases=not renaming,  # under another name they would lead to two collections
            wait_for_completion=False,
            **renaming,  # type: ignore[arg-type]
        )


def _name(client: Elasticsearch, name: str, made: list[str]) -> list[str]:
    """Gives the restored indices of a collection their aliases; returns those that are kept.

    A snapshot on a schedule can hold older versions of the index, and one that a migration was filling: they are deleted again. What the
    collection is, is the newest that was filled.
    """
    versions = [index for index in made if collection_of(index) == name]
    rejects = [index for index in made if collection_of(index) is None and index.startswith(f"{rejects_alias(name)}-v")]
    with speaking():
        shapes = client.indices.get(index=versions, filter_path="*.aliases,*.mappings._meta").body
    about = {index: shapes[index].get("mappings", {}).get("_meta", {}).get("facedex", {}) for index in versions}
    filled = [index for index in versions if about[index] and FILLING not in about[index]]
    if not filled:
        raise EngineError(f"The snapshot holds no whole index of {name!r}: an older one may do.", code="restore_failed")
    newest = max(filled, key=lambda index: int(index.rpartition("-v")[2]))
    left = [index for index in versions if index != newest]
    moving = [each for each in shapes[newest].get("aliases", {}) if each.startswith((f"{alias(name)}--migrating", f"{alias(name)}--next"))]
    actions: list[Any] = [{"remove": {"index": newest, "alias": each}} for each in moving]
    actions += [{"add": {"index": newest, "alias": alias(name), "is_write_index": True}}]
    actions += [{"add": {"index": index, "alias": rejects_alias(name), "is_write_index": True}} for index in rejects]
    with speaking():
        if left:
            client.indices.delete(index=left)
        # What machines remember of the photos of the collection as it was later does not hold for this one: its origin is its own.
        meta = {key: value for key, value in about[newest].items() if key != "origin"}
        client.indices.put_mapping(index=newest, meta={"facedex": meta})
        client.indices.update_aliases(actions=actions)
    return [newest, *rejects]


def _settle_load(client: Elasticsearch, name: str) -> None:
    """A bulk load that the snapshot caught has no mark under another name to be settled by."""
    with speaking():
        found = client.indices.get_settings(index=alias(name), filter_path="*.settings.index.refresh_interval")
        if any(shape["settings"]["index"]["refresh_interval"] == "-1" for shape in found.values()):
            client.indices.put_settings(index=alias(name), settings={"index": {"refresh_interval": None, "auto_expand_replicas": "0-1"}})


def _await(client: Elasticsearch, indices: list[str], say: Say) -> None:
    for tell in polls():
        with speaking():  # the health of an index is yellow, not red, while its first shards are awaited
            shards = client.cat.shards(index=indices, format="json", h="prirep,state")
        states = {each["state"] for each in shards if each["prirep"] == "p"}  # type: ignore[index]
        if states <= {"STARTED", "RELOCATING"}:
            return
        if "INITIALIZING" not in states:
            failed = next((each for each in unassigned(client, ",".join(indices)) if each.primary and each.is_final), None)
            if failed is not None:
                with speaking():
                    client.indices.delete(index=indices, ignore_unavailable=True)
                raise EngineError(
                    f"The shard {failed.number} of {failed.index} could not be restored ({failed.since}; {failed.why}): nothing was kept; "
                    "if the repository is damaged, an older snapshot may do.",
                    code="restore_failed",
                )
        if tell:
            say(_progress(client, indices))


def _progress(client: Elasticsearch, indices: list[str]) -> str:
    with speaking():
        found = client.indices.recovery(index=indices, filter_path="*.shards.index.size")
    sizes = [shard["index"]["size"] for entry in found.values() for shard in entry["shards"]]
    done, of = (sum(size[key] for size in sizes) for key in ("recovered_in_bytes", "total_in_bytes"))
    return f"Restored {done / 1e6:,.0f} of {of / 1e6:,.0f} MB."


def _settled(client: Elasticsearch, name: str, expected: int | None) -> Restored:
    recover(client, name, silent)
    with speaking():
        client.indices.refresh(index=alias(name))
    return Restored(name, counted(client, alias(name)), expected)
