"""Waiting for a cluster that is busy, or away for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from core.settings import settings
from es.local import node

Answer = TypeVar("Answer")

BUSY = frozenset({429, 502, 503, 504})  # what may pass by itself: too many requests, a shard or a node that is on its way
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds


class Busy(Exception):
    """Raised inside a call to say that it is to be made once more."""


def patiently(call: Callable[[], Answer], seconds: float) -> Answer:
    """Makes a call until it is answered: waits between two tries grow exponentially, each a random part of that (full jitter), so that
    many clients don't come back at the same moment.

    Args:
        call: what must be harmless to repeat.
        seconds: how long to try in all.

    Raises:
        Exception: what the last try raised; what will not pass (a full disk, a missing index, a node of our own that is gone) at once.
    """
    from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

    return Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
        stop=stop_before_delay(seconds),
        reraise=True,
    )(call)


def may_pass(error: BaseException) -> bool:
    """Whether the same may go well in a moment, perhaps at another node."""
    from elastic_transport import ConnectionTimeout
    from elasticsearch import ApiError
    from elasticsearch import ConnectionError as ConnectionFailed

    if isinstance(error, Busy | ConnectionTimeout):
        return True
    if isinstance(error, ApiError):
        return is_passing(error.status_code, error.body)
    # Our own node comes back with the next command only, at another port.
    return isinstance(error, ConnectionFailed) and not is_distrust(error) and not _is_own_node_gone(error)


def is_distrust(error: BaseException) -> bool:
    """Whether TLS failed for a reason that stays. (A node that dies while it greets us makes a TLS error, too.)"""
    from elastic_transport import TlsError

    return isinstance(error, TlsError) and any(word in str(error.message) for word in _DISTRUST)


_DISTRUST = ("CERTIFICATE", "WRONG_VERSION", "RECORD_LAYER", "ALERT", "UNSUPPORTED", "hostname")


def engine_of(error: BaseException) -> str:
    """Which engine was asked (see es.access): clients of ours mark their errors."""
    return str(vars(error).get("engine") or ("node" if settings().url is None else "given"))


def _is_own_node_gone(error: BaseException) -> bool:
    return engine_of(error) == "node" and node.running(settings()) is None


def is_passing(status: int, body: Any) -> bool:
    """Whether an answer says that the same may go well in a moment: all of it, or a search or a document among many.

    A full disk is told at once: freeing it takes longer.
    """
    if not isinstance(body, dict):
        return status in BUSY
    if status in BUSY:
        return not is_disk_full(body.get("error"))
    if "count" in body and body.get("_shards", {}).get("failed"):  # that of the shards that could answer
        return True
    documents, searches = (body.get(name) for name in ("docs", "responses"))
    if isinstance(documents, list) and any(map(is_unread, documents)):
        return True
    return isinstance(searches, list) and any(search.get("status") in BUSY for search in searches)


def is_unread(document: Any) -> bool:
    """Whether a document of an answer to ``mget`` could not be read, which does not mean that it is not there."""
    cause = document.get("error") if isinstance(document, dict) else None
    return isinstance(cause, dict) and cause.get("type") != "index_not_found_exception"


def is_disk_full(cause: Any) -> bool:
    """Whether an error of Elasticsearch (its type and reason) means the flood-stage block, or a disk that is really full."""
    if not isinstance(cause, dict):
        return False
    kind, reason = str(cause.get("type", "")), str(cause.get("reason", ""))
    return (kind == "cluster_block_exception" and "read-only-allow-delete" in reason) or "no space left" in reason.lower()
