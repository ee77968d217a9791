"""The searches of a program that goes on: added up, and recorded once a minute, so that a service makes no second request for each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from es.operations import Searches, write

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_EVERY = 60.0  # seconds

log = logging.getLogger("facedex")


class Kept:
    """Adds up the searches of one collection, from any thread; a thread of its own writes them.

    Args:
        client: the connection, open until :meth:`flush` was called for the last time.
        collection: what is searched.
        every: seconds between two documents.
    """

    def __init__(self, client: Elasticsearch, collection: str, *, every: float = _EVERY) -> None:
        self._client = client
        self._collection = collection
        self._every = every
        self._lock = threading.Lock()
        self._searches = Searches()
        self._timer: threading.Timer | None = None
        self._begun = datetime.now(UTC)
        self._clock = time.monotonic()

    def of(self, filters: Sequence[str], *, exact: bool) -> Self:
        """What is told of the searches that begin now."""
        with self._lock:
            self._searches.filters.update(filters)
            self._searches.exact |= exact
        return self

    def add(self, **counts: Any) -> None:
        """One target, as :meth:`es.operations.Searches.add`."""
        with self._lock:
            if self._timer is None:
                self._begun, self._clock = datetime.now(UTC), time.monotonic()
                self._timer = threading.Timer(self._every, self.flush)
                self._timer.daemon = True
                with suppress(RuntimeError):  # no more threads, as the program ends: the last flush writes it
                    self._timer.start()
            self._searches.add(**counts)

    def flush(self) -> None:
        """Writes what came since the last time, if anything did."""
        with self._lock:
            if self._timer is None:
                return
            self._timer.cancel()
            self._timer = None
            done, self._searches = self._searches, Searches()
            begun, seconds = self._begun, time.monotonic() - self._clock
        write(self._client, "search", self._collection, begun, {"seconds": round(seconds, 3)} | _said(done), warn=log.warning)


def _said(done: Searches) -> dict[str, Any]:
    return {"outcome": "finished"} | done.facts()
