"""Bulk-load mode: while very many faces come, the index neither refreshes nor copies itself; afterwards all is as it was.

What is to be restored stands in the cluster itself, so that a load that is cut off, however, leaves a trace that the next command finds.
Each load marks the collection with an alias of its own, whose filter holds what it found and until when the mark is good. Adding an alias
is one atomic change of the cluster's state, and aliases are read together with the settings: so a load that finds no mark has read
settings that no other load had changed yet. A load that ends first says so on its mark, then looks at the others': so of loads that end
at the same moment at least one sees that none is left, restores, and only then takes the marks away. Where two cross, the mode can end
too early, which costs speed; it can't stay.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from core.errors import CollectionError, EngineError, FacedexError
from es import marks, merging, versions
from es.client import speaking
from es.documents import alias

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from es.local.node import Say

_MARK = "--loading-"  # no collection's name has two dashes
_LEASE = marks.LEASE
_OVER = 0.0
_MODE = {"refresh_interval": "-1"}
_NO_COPIES = {"auto_expand_replicas": "false", "number_of_replicas": "0"}
_SHAPE = ",".join(f"*.settings.index.{name}" for name in ("refresh_interval", "auto_expand_replicas", "number_of_replicas"))


@dataclass(frozen=True, slots=True)
class Mark:
    """What one load leaves in the cluster for as long as it goes on."""

    restore: Mapping[str, str | None]  # settings as they were; None: not set
    until: float  # seconds since 1970
    host: str
    pid: int
    birth: str | None  # with the pid, tells a process from a later one

    @property
    def is_stale(self) -> bool:
        """Whether its load is over: its process is gone, or has not renewed it."""
        return marks.is_over(asdict(self))


@dataclass(frozen=True, slots=True)
class _State:
    index: str
    settings: Mapping[str, str | None]
    marks: Mapping[str, Mark]  # by alias

    @property
    def is_loading(self) -> bool:
        """Whether a load goes on."""
        return any(not mark.is_stale for mark in self.marks.values())

    @property
    def over(self) -> list[str]:
        """Marks of loads that are over."""
        return [name for name, mark in self.marks.items() if mark.is_stale]


class BulkLoad:
    """One load into one collection, as a context: ``begin`` switches the mode on, leaving the context restores what was."""

    def __init__(self, client: Elasticsearch, name: str, say: Say, *, merge: bool = True) -> None:
        self._client = client
        self._name = name
        self._say = say
        self._merge = merge
        self._own = f"{alias(name)}{_MARK}{uuid.uuid4().hex}"
        self._index = ""
        self._restore: Mapping[str, str | None] = {}
        self._renewed: float | None = None  # None: not begun
        self._tried = False

    def begin(self, *, keep_replicas: bool = False) -> None:
        """Switches the mode on.

        Raises:
            FacedexError: the cluster refuses.
        """
        self._tried = True
        state = _read(self._client, self._name)
        known = next(iter(state.marks.values()), None)
        self._index, self._restore = state.index, known.restore if known else state.settings
        self._mark(time.time() + _LEASE)
        # After the mark: whichever of a load and a migration comes second sees the other.
        if versions.versions(self._client, self._name).filling is not None:
            self._mark(_OVER)
            _settle(self._client, self._name)
            self._renewed = None
            raise CollectionError(f"{self._name!r} is being migrated: a bulk load has to wait until that is done.", code="migrating")
        _put(self._client, state.index, _MODE if keep_replicas else _MODE | _NO_COPIES)

    def try_begin(self, *, keep_replicas: bool) -> None:
        """Switches the mode on, unless it is, if the cluster lets us: what is only quicker is no reason to fail. Tried once."""
        if self._tried:
            return
        self._tried = True
        try:
            self.begin(keep_replicas=keep_replicas)
        except FacedexError as error:
            self._say(f"facedex: goes on without bulk-load mode, which was refused: {error}")

    def renew(self) -> None:
        """To be called now and then while the load goes on."""
        if self._renewed is not None and time.monotonic() - self._renewed > _LEASE / 3:
            with suppress(FacedexError):  # whatever is wrong, the photos' own requests will tell it
                self._mark(time.time() + _LEASE)

    def _mark(self, until: float) -> None:
        hidden = marks.written(marks.owner() | {"restore": dict(self._restore), "until": until})
        with speaking():
            self._client.indices.update_aliases(actions=[{"add": {"index": self._index, "alias": self._own, **hidden}}])
        self._renewed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._renewed is None:
            return
        try:
            self._mark(_OVER)
            _settle(self._client, self._name)
        except FacedexError as failed:
            # The mark stays: it is put right later. (A collection that was deleted meanwhile needs nothing.)
            if not isinstance(failed, CollectionError):
                self._say("facedex: the index is still in bulk-load mode; the next ingest or `facedex status` restores it.")
            return
        if kind is None and self._merge:
            merge(self._client, self._name, self._say)


def is_running(client: Elasticsearch, name: str) -> bool:
    """Whether a load into the collection goes on."""
    return _read(client, name).is_loading


def is_left_over(client: Elasticsearch, name: str) -> bool:
    """Whether a load that was cut off left something to restore."""
    return bool(_read(client, name).over)


def recover(client: Elasticsearch, name: str, say: Say) -> bool:
    """Restores what a load that was cut off left behind, if there is one; says whether that was done.

    Where the user may not change settings, it is told who can: the collection works meanwhile, only not as quickly or safely.

    Raises:
        FacedexError: the cluster refuses for another reason.
    """
    try:
        return _settle(client, name)
    except EngineError as error:
        if error.code != "forbidden":
            raise
        say(f"facedex: {name}: a bulk load was cut off, and this user may not restore the index: have a steward run `facedex status`.")
        return False


def merge(client: Elasticsearch, name: str, say: Say) -> None:
    """Merges the index of a collection into few segments, which makes searches quicker. Without that, all is there, too."""
    say("Merging the vector index, so that searches are quick; --no-merge leaves that out, and it can be cut off.")
    try:
        merging.merge(client, alias(name))
    except FacedexError as error:
        say(f"facedex: all is stored, but the index was not merged: {error}")


def _settle(client: Elasticsearch, name: str) -> bool:
    """Takes away the marks of loads that are over, and restores if no other goes on; says whether there were any."""
    state = _read(client, name)
    if not state.over:
        return False
    if not state.is_loading:
        _put(client, state.index, state.marks[state.over[0]].restore)
        with speaking():
            client.indices.refresh(index=alias(name))
    with speaking():
        client.indices.update_aliases(actions=[{"remove": {"index": state.index, "aliases": state.over, "must_exist": False}}])
    return True


def _read(client: Elasticsearch, name: str) -> _State:
    """The settings and the marks, at one and the same moment."""
    with speaking():
        answer = client.indices.get(index=alias(name), filter_path=f"*.aliases,{_SHAPE}")
    ((index, shape),) = answer.items()
    found = shape.get("settings", {}).get("index", {})
    settings = {"refresh_interval": found.get("refresh_interval"), "auto_expand_replicas": found.get("auto_expand_replicas")}
    if found.get("auto_expand_replicas", "false") == "false":  # else the number follows the nodes
        settings["number_of_replicas"] = found.get("number_of_replicas")
    found_marks = {
        each: Mark(**marks.read(shown)) for each, shown in shape.get("aliases", {}).items() if each.startswith(f"{alias(name)}{_MARK}")
    }
    return _State(index, settings, found_marks)


def _put(client: Elasticsearch, index: str, settings: Mapping[str, str | None]) -> None:
    with speaking():
        client.indices.put_settings(index=index, settings={"index": dict(settings)})
