"""Moving a collection to another index, of another type or with other shards, while it is searched and written.

The next version of the index is filled while the current one goes on. What is written meanwhile is found by its sequence number, which
every write raises; what is deleted, by comparing ids. When little is left, the current index takes no writes for a moment: the last of them
are brought over, both are compared, and the alias changes hands in one atomic request. Writers wait for that, and then write to where the
alias leads (``es.bulk``). The old index is kept, blocked, until it is dropped.

The new index has a mark of the process that fills it (``es.marks``), through which it also writes: whoever loses the mark can neither write
nor swap any more. So of several migrations one goes on, and what a killed one leaves is taken away by the next command
(``es.versions.recover``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from core.errors import CollectionError, EngineError, FacedexError
from core.terminal import number_of
from es import cells, loading, marks, merging, versions
from es.client import health, speaking
from es.collections import FILLING, Collection, finish, get, merge_notes
from es.comparing import agreement, different_documents
from es.documents import MAPPING_VERSION, alias, face_layout, face_mapping, rejects_alias
from es.following import Following
from es.index_types import DEFAULT_INDEX_TYPE, OF_THE_TYPE, default, first_options
from es.local.node import silent
from es.transport import patience

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.local.node import Say

_FEW = 500  # changes that are left to the last round, during which writers wait
_ROUNDS = 20  # at most: where more is written than can be brought over, the last round takes longer
_POLL = 5  # seconds
_TRIES = 5
_LASTING = ("expected_faces",)  # the notes that hold for another recipe, too: distances are others then
_QUIET_SECONDS = 60.0  # that dropping the old index waits for searches that are still in it


@dataclass(frozen=True, slots=True)
class Shape:
    """What the new index is to be; ``None``: as the old one."""

    index_type: str | None = None
    shards: int | None = None
    replicas: int | None = None
    merge: bool = True  # to few segments, which makes searches quicker


@dataclass(slots=True)
class Moved:
    """What a migration did."""

    collection: str
    old: str
    index: str
    index_type: str
    shards: int
    faces: int = 0
    caught_up: int = 0  # faces that were written or deleted meanwhile
    seconds: float = 0.0
    held_seconds: float = 0.0  # during which writers waited
    agreement: float | None = None  # of a sample of searches: the share of the nearest 10 that both indices find
    kept: bool = True  # the old index

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def migrate(client: Elasticsearch, name: str, shape: Shape, say: Say, *, drop_old: bool = False) -> Moved:
    """Moves a collection to a new index with the same faces, persons, labels and vectors.

    Raises:
        UsageError: no such index type.
        CollectionError: there is no such collection (``no_collection``), another migration of it (``migrating``) or a bulk load
            (``loading``) goes on, or what was copied is not the same (``differs``). All is as it was then.
        EngineError: Elasticsearch refuses, or is gone. What is left is taken away by the next command.
    """
    begun = time.monotonic()
    with patience(client), Migration(client, name, shape) as migration:
        moved = migration.moved
        say(f"Filling {moved.index} from {moved.old}; searches and writes go on.")
        migration.fill()
        migration.swap()
        moved.seconds = round(time.monotonic() - begun, 2)
        if drop_old:
            moved.kept = not drop(client, name)
    return moved


def drop(client: Elasticsearch, name: str) -> bool:
    """Deletes the old index, once no search is in it any more; says whether that came within a minute."""
    old = list(versions.versions(client, name).old)
    until = time.monotonic() + _QUIET_SECONDS
    while versions.is_searched(client, old):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    versions.drop_old(client, name)
    return True


class Migration:
    """One migration, as a context: leaving it before the swap gives up the new index.

    Args:
        client: the connection.
        name: the collection.
        shape: what the new index is to be.
        recipe: how its vectors are made, where that changes.
    """

    def __init__(self, client: Elasticsearch, name: str, shape: Shape, recipe: Mapping[str, Any] | None = None) -> None:
        self._client = client
        self._name = name
        self._shape = shape
        self._lock = threading.Lock()
        self._mark = versions.new_mark(name)
        self._renewed = time.monotonic()
        self._swapped = False
        self._is_anew = recipe is not None
        self._lent: list[dict[str, Any]] = []  # aliases that are there for the migration only
        versions.recover(client, name)
        loading.recover(client, name, silent)
        self._collection = get(client, name)
        self._settings = _settings(client, self._collection.index)
        self.moved = self._make(recipe)
        shards = int(self._settings["number_of_shards"] or 1)
        model = str(self._collection.recipe["model"])
        self._follow = Following(client, self.moved.old, self.moved.index, self._mark, self.renew, shards, model)

    @property
    def collection(self) -> Collection:
        """As it was when the migration began."""
        return self._collection

    def _make(self, recipe: Mapping[str, Any] | None) -> Moved:
        """Makes the new index, which says that this migration goes on: the name of the next version is free for one only."""
        from elasticsearch import BadRequestError

        found = versions.versions(self._client, self._name)
        if found.filling is not None:
            raise _goes_on(self._name)
        old = self._collection
        if found.current != old.index:
            raise _goes_on(self._name)
        index_type = self._shape.index_type or old.index_type
        if recipe and not self._shape.index_type and index_type == DEFAULT_INDEX_TYPE:
            index_type = default(old.faces or 0, has_cells=cells.is_there(str(recipe["model"])))
        shards = self._shape.shards or int(self._settings["number_of_shards"] or 1)
        made = recipe or old.recipe
        mapping = face_mapping(
            int(made["dims"]), str(made["metric"]), first_options(index_type), self._meta(recipe) | {"index_type": index_type}
        )
        layout = {"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1", **face_layout(index_type)}
        with speaking():
            try:
                self._client.indices.create(
                    index=found.next, mappings=mapping, settings=layout, aliases={self._mark: marks.written(marks.owner())}
                )
            except BadRequestError as error:
                if error.error != "resource_already_exists_exception":
                    raise
                raise _goes_on(self._name) from None
        return Moved(self._name, old.index, found.next, index_type, shards)

    def _meta(self, recipe: Mapping[str, Any] | None) -> dict[str, Any]:
        old = self._collection
        notes, made = self._lasting(old.notes), {"created": old.created, "mapping": MAPPING_VERSION, FILLING: True}
        if recipe:
            return {"recipe": dict(recipe), "notes": notes, **made}
        # What machines remember of the collection's photos holds for the new index too.
        return {"recipe": dict(old.recipe), "notes": notes, "origin": old.origin, **made}

    def _lasting(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        dropped = OF_THE_TYPE if self._shape.index_type not in (None, self._collection.index_type) else ()
        return {key: value for key, value in notes.items() if key not in dropped and (not self._is_anew or key in _LASTING)}

    def __enter__(self) -> Self:
        try:
            # After the mark: whichever of a load and a migration comes second sees the other.
            if loading.is_running(self._client, self._name):
                raise CollectionError(
                    f"A bulk load into {self._name!r} goes on: migrate when it is done, or ingest with --no-bulk-load.", code="loading"
                )
            self._settings = _settings(self._client, self.moved.old)
        except BaseException:
            self._give_up()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._swapped:
            self._give_up()

    def _give_up(self) -> None:
        with suppress(FacedexError):  # what can't be taken away now is found by the next command
            if versions.discard(self._client, self._name, self.moved.old, self.moved.index, self._mark):
                return
            found = versions.versions(self._client, self._name)
            if found.current == self.moved.old and found.filling is None:
                versions.unblock(self._client, found.current)  # blocked after the mark was lost, with nobody left to lift it

    def renew(self, *, now: bool = False) -> None:
        """To be called now and then while the migration goes on; ``now`` asks at once whether it has the mark.

        Raises:
            CollectionError: another has taken the mark, as this one was not heard of for long.
        """
        with self._lock:
            if not now and time.monotonic() - self._renewed < marks.LEASE / 3:
                return
            self._renewed = time.monotonic()
            again = {"index": self.moved.index, "alias": self._mark}
            with speaking():
                self._client.indices.update_aliases(
                    actions=[{"remove": again | {"must_exist": True}}, {"add": again | marks.written(marks.owner())}]
                )

    def fill(self) -> None:
        """Brings over all faces, and then what changed meanwhile, until little is left."""
        self._follow.catch_up(is_first=True)
        for _ in range(_ROUNDS):
            if self._follow.catch_up() <= _FEW:
                break
        self.ready()
        self._follow.sweep()

    def ready(self) -> None:
        """Merges the new index, and gives it the copies and refreshes that it is to have."""
        client, index = self._client, self.moved.index
        with speaking():
            client.indices.refresh(index=index)
        if self._shape.merge:
            self._merge()
        else:
            merging.note_size(client, index)
        settings = {name: value for name, value in self._settings.items() if name != "number_of_shards"}
        if self._shape.replicas is not None:
            settings |= {"auto_expand_replicas": "false", "number_of_replicas": str(self._shape.replicas)}
        with speaking():
            client.indices.put_settings(index=index, settings={"index": settings})
        while True:
            self.renew()
            found = health(client, _POLL, index=index, wait_for_status="green", wait_for_events="languid")
            if found["status"] == "green" or not found["initializing_shards"]:
                return

    def _merge(self) -> None:
        # In a thread, so that the mark is renewed meanwhile.
        failed: list[BaseException] = []

        def work() -> None:
            try:
                merging.merge(self._client, self.moved.index)
            except FacedexError as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="merge", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_POLL)
            self.renew()
        if failed:
            raise failed[0]

    def swap(self) -> None:
        """Has writers wait, brings over the last changes, compares, and lets the alias lead to the new index.

        Raises:
            CollectionError: the two are not the same.
        """
        self._follow.catch_up()
        begun = time.monotonic()
        self.hold()
        self._follow.catch_up()
        self._compare()
        self.hand_over()
        self.moved.held_seconds = round(time.monotonic() - begun, 3)

    def hold(self) -> None:
        """From now on, the old index takes no writes; those that were on their way are done.

        Raises:
            EngineError: a shard did not say so.
        """
        self.renew(now=True)
        for _ in range(_TRIES):
            with speaking():
                answer = self._client.indices.add_block(index=self.moved.old, block="write")
            if answer["shards_acknowledged"]:
                return
            # Not waited for: a shard was late, or the block was there already, as when an answer was lost.
            versions.unblock(self._client, self.moved.old)
        raise EngineError(f"Writes to {self._name!r} could not be held: see `facedex doctor`, then try again.", code="unavailable")

    def count(self) -> int:
        """How many faces the new index has."""
        return self._follow.counts()[1]

    def lend(self) -> str:
        """A name under which the new index can be filled as a collection, with the rejects of the old one."""
        name = versions.next_name(self._name)
        self._lent = [
            {"index": self.moved.index, "alias": alias(name)},
            {"index": f"{rejects_alias(self._name)}-v1", "alias": rejects_alias(name)},
        ]
        with speaking():
            self._client.indices.update_aliases(actions=[{"add": each} for each in self._lent])
        return name

    def hand_over(self) -> None:
        """Lets the alias lead to the new index, in one step. Needs the mark.

        Raises:
            FacedexError: refused; the alias leads to where it led.
        """
        notes = self._lasting(get(self._client, self._name).notes)
        finish(self._client, self.moved.index)
        merge_notes(self._client, self.moved.index, self._lasting(self._collection.notes), notes)
        actions: list[dict[str, Any]] = [
            {"remove": {"index": self.moved.index, "alias": self._mark, "must_exist": True}},
            {"remove": {"index": self.moved.old, "alias": alias(self._name), "must_exist": True}},
            {"add": {"index": self.moved.index, "alias": alias(self._name), "is_write_index": True}},
            *({"remove": each} for each in self._lent),
        ]
        try:
            with speaking():
                self._client.indices.update_aliases(actions=actions)
        except FacedexError:
            # An answer that was lost is asked for again, and then there is nothing to remove any more.
            if get(self._client, self._name).index != self.moved.index:
                raise
        self._swapped = True
        # Noted between the copy above and the swap. Later ones see the new index (see es.collections.annotate).
        merge_notes(self._client, self.moved.index, notes, self._lasting(_notes(self._client, self.moved.old)))

    def _compare(self) -> None:
        """All that was written is in the new index by now. If it has as many faces, it has the same ones."""
        counts = self._follow.counts()
        if counts[0] != counts[1]:
            self._follow.sweep()
            counts = self._follow.counts()
        if counts[0] != counts[1]:
            raise _differs(self._name, f"{number_of(counts[1], 'face')} instead of {counts[0]:,}")
        self.moved.faces, self.moved.caught_up = counts[0], self._follow.caught_up
        difference = different_documents(self._client, self.moved.old, self.moved.index)
        if difference is None:
            self.moved.agreement, difference = agreement(self._client, self.moved.old, self.moved.index)
        if difference:
            raise _differs(self._name, difference)


def _goes_on(name: str) -> CollectionError:
    return CollectionError(f"{name!r} is being migrated already: wait until that is done.", code="migrating")


def _differs(name: str, how: str) -> CollectionError:
    return CollectionError(f"{name!r} was not migrated, as the new index is not the same ({how}): all is as it was.", code="differs")


def _settings(client: Elasticsearch, index: str) -> dict[str, str | None]:
    """The settings of an index that its successor is to have."""
    with speaking():
        found = client.indices.get_settings(index=index)[index]["settings"]["index"]
    kept = {name: found.get(name) for name in ("number_of_shards", "refresh_interval", "auto_expand_replicas")}
    if kept["auto_expand_replicas"] in (None, "false"):  # else the number follows the nodes
        kept["number_of_replicas"] = found.get("number_of_replicas")
    return kept


def _notes(client: Elasticsearch, index: str) -> Mapping[str, Any]:
    with speaking():
        meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["facedex"]
    notes: Mapping[str, Any] = meta.get("notes", {})
    return notes
