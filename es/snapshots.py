"""Snapshots: copies of collections in a repository of Elasticsearch, and the way back.

A snapshot holds a collection's own indices (its faces, with the recipe and the notes, and its rejects), the record of operations where
everything is asked for, and no state of the cluster. Elasticsearch copies only what an earlier snapshot in the repository doesn't hold.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import CollectionError, EngineError, UsageError
from es.client import speaking
from es.collections import Collection
from es.documents import OPERATIONS, PREFIX, rejects_alias

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.local.node import Say

RECORD = f"{OPERATIONS}-v1"  # of operations
_FACES = re.compile(rf"{PREFIX}([a-z0-9][a-z0-9_-]*)-v\d+")
_MAKER = "facedex"  # the key of what we say about a snapshot of ours
_METADATA_BYTES = 1000  # Elasticsearch takes 1024
_SLOWEST_POLL = 2.0  # seconds
_TELL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that holds collections."""

    name: str
    state: str  # SUCCESS, IN_PROGRESS, PARTIAL, FAILED
    started: datetime
    ended: datetime | None
    indices: Sequence[str]
    is_ours: bool  # made by Facedex, or on a schedule of its own
    faces: Mapping[str, int]  # of each collection, as counted when it began; empty where not known
    bytes: int | None
    failure: str | None

    @property
    def collections(self) -> list[str]:
        """The names of the collections in it."""
        return sorted({name for name in map(collection_of, self.indices) if name})

    @property
    def age_days(self) -> float:
        """Since it began: what it holds may be as old as that."""
        return (datetime.now(UTC) - self.started).total_seconds() / 86400


def collection_of(index: str) -> str | None:
    """The collection whose faces an index holds, by its name alone; ``None`` for rejects, copies and whatever else."""
    found = _FACES.fullmatch(index)
    return None if found is None or found[1].endswith("-rejects") or "--" in index else found[1]


def new_name() -> str:
    """A name for a snapshot made now."""
    return f"{PREFIX}{datetime.now(UTC):%Y%m%d-%H%M%S}"


def make(client: Elasticsearch, repository: str, name: str, collections: Sequence[Collection], *, everything: bool, say: Say) -> Snapshot:
    """Makes a snapshot, and waits until it is whole.

    Args:
        client: the connection.
        repository: where to.
        name: its name.
        collections: what to copy.
        everything: the record of operations, too.
        say: hears how far it is.

    Raises:
        UsageError: a name that Elasticsearch does not take, or that is taken.
        EngineError: it failed or is partial (code ``snapshot_failed``).
    """
    indices = _own_indices(client, collections, everything=everything)
    with speaking():
        client.indices.refresh(index=indices)
    faces = {each.name: counted(client, each.index) for each in collections}
    about = {_MAKER: {"faces": faces}}
    if len(json.dumps(about)) > _METADATA_BYTES:
        about = {_MAKER: {}}
    with speaking(), _naming(repository, name):
        client.snapshot.create(
            repository=repository,
            snapshot=name,
            indices=indices,
            include_global_state=False,
            feature_states=["none"],
            metadata=about,
            wait_for_completion=False,
        )
    try:
        made = _await_made(client, repository, name, say)
    except KeyboardInterrupt:
        say(f"The snapshot {name} goes on in the cluster: `facedex snapshot list` shows it, `facedex snapshot delete {name}` ends it.")
        raise
    if made.state != "SUCCESS":
        raise EngineError(
            f"The snapshot {name} is {made.state.lower()}{f' ({made.failure})' if made.failure else ''}: delete it, see `facedex doctor`, "
            "and make another.",
            code="snapshot_failed",
        )
    return made


def _own_indices(client: Elasticsearch, collections: Sequence[Collection], *, everything: bool) -> list[str]:
    with speaking():
        there = client.indices.get(index=f"{PREFIX}*", filter_path="*.aliases").body
    rejects = {rejects_alias(each.name) for each in collections}
    own = [each.index for each in collections]
    own += [index for index, shape in there.items() if rejects & shape.get("aliases", {}).keys()]
    return own + ([RECORD] if everything and RECORD in there else [])


def counted(client: Elasticsearch, index: str) -> int:
    """How many documents an index has."""
    with speaking():
        return int(client.count(index=index)["count"])


@contextmanager
def _naming(repository: str, name: str) -> Iterator[None]:
    from elasticsearch import BadRequestError

    try:
        yield
    except BadRequestError as error:
        if error.error == "snapshot_name_already_in_use_exception":
            raise UsageError(
                f"There is a snapshot {name!r} in {repository} already: give another --name.", code="snapshot_exists"
            ) from None
        if error.error == "invalid_snapshot_name_exception":
            raise UsageError(f"{name!r} can't name a snapshot: use lower-case letters, digits, - and _.") from None
        raise


def _await_made(client: Elasticsearch, repository: str, name: str, say: Say) -> Snapshot:
    for tell in polls():
        found = get(client, repository, name)
        if found.state != "IN_PROGRESS":
            return found
        if tell:
            with speaking():
                stats = client.snapshot.status(repository=repository, snapshot=name)["snapshots"][0]["stats"]
            done, of = (stats.get(key, {}).get("size_in_bytes", 0) for key in ("processed", "incremental"))
            say(f"Copied {done / 1e6:,.0f} of {of / 1e6:,.0f} MB.")
    raise AssertionError


def polls() -> Iterator[bool]:
    """Pauses that grow from short to a few seconds; true when it is time to say how far things are."""
    pause, told = 0.05, time.monotonic()
    while True:
        tell = time.monotonic() - told >= _TELL_SECONDS
        if tell:
            told = time.monotonic()
        yield tell
        time.sleep(pause)
        pause = min(pause * 1.5, _SLOWEST_POLL)


def all_of(client: Elasticsearch, repository: str) -> list[Snapshot]:
    """The snapshots with collections in them, oldest first. Others in the repository are none of ours."""
    with speaking():
        found = client.snapshot.get(repository=repository, snapshot="_all", index_details=True, ignore_unavailable=True)["snapshots"]
    parsed = sorted(map(_parse, found), key=lambda snapshot: snapshot.started)
    return [each for each in parsed if each.is_ours or each.collections]


def get(client: Elasticsearch, repository: str, name: str) -> Snapshot:
    """The snapshot of that name.

    Raises:
        CollectionError: there is none (code ``no_snapshot``); the sentence names those that there are.
    """
    from elasticsearch import NotFoundError

    with speaking():
        try:
            if "*" not in name and "," not in name:
                return _parse(client.snapshot.get(repository=repository, snapshot=name, index_details=True)["snapshots"][0])
        except NotFoundError:
            pass
    names = [each.name for each in all_of(client, repository)][-10:]
    known = f"the newest are: {', '.join(names)}" if names else "there is none yet: `facedex snapshot create` makes one"
    raise CollectionError(f"There is no snapshot {name!r} in the repository {repository}; {known}.", code="no_snapshot")


def _parse(entry: Mapping[str, Any]) -> Snapshot:
    about = (entry.get("metadata") or {}).get(_MAKER)
    sizes = [detail.get("size_in_bytes", 0) for detail in (entry.get("index_details") or {}).values()]
    failures = [f"{each.get('index')}: {each.get('reason')}" for each in entry.get("failures") or []]
    return Snapshot(
        name=entry["snapshot"],
        state=entry["state"],
        started=datetime.fromtimestamp(entry["start_time_in_millis"] / 1000, UTC),
        ended=datetime.fromtimestamp(entry["end_time_in_millis"] / 1000, UTC) if entry.get("end_time_in_millis") else None,
        indices=entry["indices"],
        is_ours=isinstance(about, dict),
        faces=about.get("faces", {}) if isinstance(about, dict) else {},
        bytes=sum(sizes) if sizes else None,
        failure=entry.get("reason") or (failures[0][:200] if failures else None),
    )


def delete(client: Elasticsearch, repository: str, snapshots: Sequence[Snapshot]) -> None:
    """Deletes snapshots, one after the other. One that is still being made is ended.

    Raises:
        UsageError: one was made by something else than Facedex, and may hold more than faces.
    """
    for each in snapshots:
        if not each.is_ours:
            raise UsageError(
                f"The snapshot {each.name!r} was not made by Facedex and may hold more: delete it with Elasticsearch's own means."
            )
    for each in snapshots:
        with speaking():
            client.options(request_timeout=3600.0, max_retries=0).snapshot.delete(repository=repository, snapshot=each.name)
