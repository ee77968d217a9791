"""What was done with collections: one document for each search command, ingest run, calibration or deletion.

It says who, when, what for, how long and how many; it holds no vectors, no faces, no names of photos or people. It is written when the
answer has been given, and whatever goes wrong with that harms nothing.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.errors import EngineError, FacedexError
from core.settings import settings
from core.terminal import say
from es.client import failure, speaking
from es.documents import OPERATIONS
from es.transport import Transport

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


_SECONDS = 5.0  # what a record may take, at most
_GONE = frozenset({"unreachable", "timeout", "overloaded", "not_elasticsearch"})  # nothing can be written there; it was told already
_SILENT = frozenset({"forbidden"})  # who may search need not be allowed to write

_NOT_FOUND = 404
_REFUSED = (
    "Elasticsearch does not allow this: what was done with all collections is for the roles facedex_viewer, to read, and facedex_steward, "
    "without the name of a collection; `facedex security whoami` shows what you may do."
)

_KEYWORD: Mapping[str, Any] = {"type": "keyword"}
_COUNT: Mapping[str, Any] = {"type": "long"}
_REAL: Mapping[str, Any] = {"type": "float"}
_REASONS = {"type": "nested", "properties": {"reason": _KEYWORD, "count": _COUNT}}
MAPPING: Mapping[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "@timestamp": {"type": "date"},
        **dict.fromkeys(("action", "collection", "user", "host", "version", "outcome", "error", "filters"), _KEYWORD),
        "purpose": {"type": "keyword", "ignore_above": 1024},
        "seconds": _REAL,
        **dict.fromkeys(("targets", "failed", "faces", "results", "verified"), _COUNT),
        "exact": {"type": "boolean"},
        "latency": {"properties": {"median": _REAL, "p95": _REAL}},
        "ingest": {
            "properties": {
                "run": _KEYWORD,
                **dict.fromkeys(("photos", "indexed", "skipped", "embedded", "rejected"), _COUNT),
                "reasons": _REASONS,
                "photos_per_second": _REAL,
            },
        },
    },
}


class Searches:
    """Adds up what searches did, for one document, however many there were.

    Args:
        filters: the names of the fields by which faces were left out; never what they were compared with, which can be a person.
        exact: whether every face was compared.
    """

    def __init__(self, filters: Sequence[str] = (), *, exact: bool = False) -> None:
        self.filters = set(filters)
        self.exact = exact
        self._counts = dict.fromkeys(("targets", "failed", "faces", "results", "verified"), 0)
        self._codes: set[str] = set()
        self._seconds = array("f")

    def add(self, *, faces: int, results: int, verified: int, seconds: float, error: str | None = None) -> None:
        """One target: its faces, who was named, how many of these within the threshold, and how long the collection took."""
        for key, number in {"targets": 1, "failed": error is not None, "faces": faces, "results": results, "verified": verified}.items():
            self._counts[key] += number
        if error is None:
            self._seconds.append(seconds)
        else:
            self._codes.add(error)

    def facts(self) -> dict[str, Any]:
        """What the document says of them; latencies in milliseconds a target."""
        facts: dict[str, Any] = {**self._counts, "exact": self.exact, "filters": sorted(self.filters), "error": sorted(self._codes)}
        if took := sorted(self._seconds):
            last = len(took) - 1
            facts["latency"] = {"median": round(1000 * took[last // 2], 3), "p95": round(1000 * took[round(0.95 * last)], 3)}
        return facts


@contextmanager
def recorded(
    client: Elasticsearch,
    action: str,
    collection: str,
    facts: Callable[[], Mapping[str, Any]] = dict,
    *,
    purpose: str | None = None,
) -> Iterator[None]:
    """Records what happens within the block, however it ends.

    Args:
        client: the connection.
        action: such as ``search``.
        collection: with which.
        facts: asked at the end for what else the document says; see :data:`MAPPING`.
        purpose: what for; else the setting.
    """
    begun, clock = datetime.now(UTC), time.monotonic()
    outcome, codes = "finished", list[str]()
    try:
        yield
    except FacedexError as error:
        outcome, codes = "failed", [error.code]
        raise
    except BaseException as error:
        outcome = "failed" if isinstance(error, Exception) else "interrupted"
        raise
    finally:
        if not _GONE.intersection(codes):
            said = dict(facts())
            codes = sorted({*said.pop("error", ()), *codes})
            known = {"outcome": outcome, "error": codes, "seconds": round(time.monotonic() - clock, 3)}
            write(client, action, collection, begun, known | said, purpose=purpose)


def write(
    client: Elasticsearch,
    action: str,
    collection: str,
    begun: datetime,
    facts: Mapping[str, Any],
    *,
    purpose: str | None = None,
    warn: Callable[[str], None] = say,
) -> None:
    """Writes one document. What goes wrong is one sentence at most; to lack the right to write there is nothing wrong."""
    if not settings().record_operations:
        return
    try:
        whose = {"user": _user(client), "host": os.uname().nodename, "version": _version(), "purpose": purpose or settings().purpose}
        document = {"@timestamp": begun.isoformat(), "action": action, "collection": collection} | whose | dict(facts)
        with speaking():
            _add(client, {key: value for key, value in document.items() if value not in (None, [])})
    except FacedexError as error:
        if error.code not in _SILENT:
            # A request that was not answered in time can have been carried out.
            unknown = error.code == "timeout"
            warn(f"facedex: this was done, {'whether it was recorded is not known' if unknown else f'but not recorded: {error}'}")


def _add(client: Elasticsearch, document: Mapping[str, Any]) -> None:
    result = _sent(client, document)
    if result["status"] == _NOT_FOUND:
        create(client)
        result = _sent(client, document)
    if result["status"] == _NOT_FOUND:
        raise EngineError(f"{OPERATIONS} is no alias of {OPERATIONS}-v1: have an administrator make it one.", code="no_operations")
    if "error" in result:
        raise failure(result["status"], result)


def _sent(client: Elasticsearch, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What became of one new document. In bulk, as that takes a right that lets nobody overwrite (see :mod:`es.security.roles`)."""
    hurried = client.options(max_retries=0, request_timeout=_SECONDS)
    answer = hurried.bulk(operations=[{"create": {"_index": OPERATIONS, "require_alias": True}}, document])
    result: Mapping[str, Any] = answer["items"][0]["create"]
    return result


def create(client: Elasticsearch) -> None:
    """Makes the index where it isn't there; several may do so at the same moment.

    Raises:
        EngineError: the user may not (``forbidden``), or Elasticsearch is gone.
    """
    from elasticsearch import BadRequestError

    with speaking():
        try:
            client.options(max_retries=0, request_timeout=2 * _SECONDS).indices.create(
                index=f"{OPERATIONS}-v1",
                mappings=MAPPING,
                settings={"number_of_shards": 1, "auto_expand_replicas": "0-1"},
                aliases={OPERATIONS: {"is_write_index": True}},
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise


@lru_cache(maxsize=1)
def _user(client: Elasticsearch) -> str:
    """Elasticsearch's user where there is one, else the operating system's."""
    from getpass import getuser

    transport = client.transport
    assert isinstance(transport, Transport)  # noqa: S101 - es.client makes all clients
    if transport.username is not None:
        return transport.username
    if transport.has_api_key:
        try:
            with speaking():
                who = client.options(max_retries=0, request_timeout=_SECONDS).security.authenticate()
            key = who.body.get("api_key", {}).get("name")
            return f"{who['username']}, key {key}" if key else str(who["username"])
        except FacedexError:
            pass
    try:
        return getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())


@lru_cache(maxsize=1)
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("facedex")
    except PackageNotFoundError:  # run from its folder
        return "unknown"


def latest(client: Elasticsearch, count: int, collection: str | None = None) -> list[dict[str, Any]]:
    """The documents of the last operations, newest first.

    Raises:
        EngineError: Elasticsearch can't be reached or refuses (``forbidden``).
    """
    from elasticsearch import NotFoundError

    query = {"term": {"collection": collection}} if collection else None
    with _reading():
        try:
            # Without ignore_unavailable, which would hide from a user that there is something to read.
            found = client.search(index=OPERATIONS, size=count, sort=[{"@timestamp": "desc"}], query=query)
        except NotFoundError:  # nothing was recorded yet
            return []
    return [hit["_source"] for hit in found["hits"]["hits"]]


@contextmanager
def _reading() -> Iterator[None]:
    try:
        with speaking():
            yield
    except EngineError as error:
        if error.code != "forbidden":
            raise
        raise EngineError(_REFUSED, code="forbidden") from None


def prune(client: Elasticsearch, before: datetime) -> int:
    """Deletes what was recorded before a moment; returns how many documents.

    Raises:
        EngineError: Elasticsearch can't be reached or refuses (``forbidden``).
    """
    from es.scan import current, delete, scan

    if not latest(client, 1):
        return 0
    with _reading():
        hits = scan(client, OPERATIONS, {"range": {"@timestamp": {"lt": before.isoformat()}}}, [])
        return delete(client, current(client, hits, ["@timestamp"]))
