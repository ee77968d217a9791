"""The connection: which Elasticsearch, with which credentials, and its errors turned into one sentence each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import CollectionError, EngineError, StorageError, UsageError
from es.access import access, without_secrets
from es.local import node
from es.patience import engine_of, is_disk_full, is_distrust
from es.security.refusals import sentence as forbidden

__all__ = ["allowed", "connect", "failure", "health", "server_version", "speaking", "version_concern", "without_secrets"]

if TYPE_CHECKING:
    from elasticsearch import ApiError, Elasticsearch

    from core.settings import Settings

Answer = TypeVar("Answer")

# 9.5.0 to 9.5.2 can let replicas diverge under indexing pressure (elastic/elasticsearch issue 158212).
OLDEST_SOUND = (9, 5, 3)

DISK_FULL = "Elasticsearch takes no more writes because its disk is full: free space, then run this again; nothing is lost or done twice."

_FORBIDDEN = 403
_HEALTH_SECONDS = 30.0  # beyond those that the cluster itself waits
_PROXIES = {401, 403, 429, 502, 503, 504}  # what something in front of a cluster may say in its place

# These errors preview the rejected value, which can be a face vector: only their type is repeated.
_TALKATIVE = ("document_parsing_exception", "mapper_parsing_exception", "parsing_exception", "x_content_parse_exception")


def connect(config: Settings, say: node.Say = node.silent) -> Elasticsearch:
    """A client for all nodes of the configured Elasticsearch; without one, of Facedex's own cluster or node (see :mod:`es.access`).

    Raises:
        EngineError: the embedded node can't be started, the cluster is stopped, or its authority is not the one that was named.
        UsageError: the address or the credentials don't make sense, or are not safe.
    """
    means = access(config, say)
    from elasticsearch import Elasticsearch

    from es.transport import Transport

    authority, secured = means.ca_certs, [url for url in means.urls if url.startswith("https://")]
    if authority is None and means.ca_fingerprint and secured:
        from es.security import pinned

        authority = pinned.ca_file(secured, means.ca_fingerprint, config.cache_dir / "authorities")
    tls: dict[str, Any] = {"ca_certs": str(authority)} if authority else {}
    try:
        client = Elasticsearch(
            list(means.urls),
            **tls,
            transport_class=Transport,
            api_key=means.api_key,
            basic_auth=means.basic_auth,
            # Our ids come from content, so that repeating a write can't duplicate it.
            retry_on_timeout=True,
            max_retries=3,
        )
    except (ValueError, OSError) as error:
        raise UsageError(
            f"The Elasticsearch address or its certificates can't be used ({error}): give it as http(s)://host:port."
        ) from None
    transport = client.transport
    assert isinstance(transport, Transport)  # noqa: S101 - for mypy
    transport.engine, transport.timeout = means.engine, config.request_timeout
    transport.has_api_key = means.api_key is not None
    if means.basic_auth and means.engine != "cluster":  # of Facedex's own, everybody is the administrator
        transport.username = means.basic_auth[0]
    return client


@contextmanager
def speaking() -> Iterator[None]:
    """Turns the client's exceptions into Facedex's: every call to Elasticsearch is made inside this.

    Raises:
        EngineError: not reachable, not allowed, overloaded, or an answer that was not expected.
        StorageError: the cluster takes no writes because its disks are full.
        CollectionError: an index that is not there.
    """
    from elasticsearch import ApiError, ConnectionTimeout, TransportError, UnsupportedProductError
    from elasticsearch import ConnectionError as ConnectionFailed

    try:
        yield
    except ConnectionTimeout:
        raise EngineError("Elasticsearch did not answer in time: see `facedex status`, then try again.", code="timeout") from None
    except ConnectionFailed as error:
        if is_distrust(error):
            raise _distrust(error) from None
        remedy = _REMEDIES[engine_of(error)]
        raise EngineError(f"Elasticsearch can't be reached ({_brief(error)}): {remedy}", code="unreachable") from None
    except UnsupportedProductError:
        raise _not_elasticsearch() from None
    except ApiError as error:
        raise _meaning(error) from None
    except TransportError as error:
        raise EngineError(f"Elasticsearch can't be talked to ({_brief(error)}).") from None


_REMEDIES = {
    "node": "Facedex's own node is gone: run the command again, which starts it anew.",
    "cluster": "see `facedex cluster status`; `facedex cluster up` starts the nodes that don't run.",
    "given": "check the address (ELASTICSEARCH_URL; https:// where it speaks TLS), or unset it to use a node of Facedex's own.",
}


def _distrust(error: Exception) -> EngineError:
    text = str(getattr(error, "message", error))
    brief = text.partition("certificate verify failed:")[2].partition("(_ssl")[0].strip() or _brief(error)
    if engine_of(error) == "cluster":
        return EngineError(
            f"The certificates of Facedex's own cluster are not trusted ({brief}): `facedex cluster down`, then `facedex cluster up`, puts "
            "those in use that it has now, and makes new ones where they are over.",
            code="untrusted",
        )
    if "WRONG_VERSION" in text or "RECORD_LAYER" in text:
        return EngineError("What answers at the https:// address speaks no TLS: check the port, or give it as http://.", code="untrusted")
    return EngineError(
        f"The certificate of Elasticsearch is not trusted ({brief}): set ELASTICSEARCH_CA_CERTS to the file of its certificate authority, "
        "or ELASTICSEARCH_CA_FINGERPRINT to the authority's SHA-256.",
        code="untrusted",
    )


def health(client: Elasticsearch, seconds: float, **wanted: Any) -> Mapping[str, Any]:
    """The cluster's health once it is as wanted, or when that took too long: Elasticsearch answers it all the same, with status 408."""
    with speaking():
        waiting = client.options(request_timeout=seconds + _HEALTH_SECONDS, ignore_status=408)
        answer: Mapping[str, Any] = waiting.cluster.health(timeout=f"{seconds}s", **wanted).body
        return answer


def allowed(call: Callable[[], Answer]) -> Answer | None:
    """What a call to Elasticsearch answers; ``None`` where the user may not know that."""
    try:
        with speaking():
            return call()
    except EngineError as error:
        if error.code != "forbidden":
            raise
        return None


def _not_elasticsearch() -> EngineError:
    return EngineError("What answers at ELASTICSEARCH_URL is not Elasticsearch.", code="not_elasticsearch")


def _meaning(error: ApiError) -> EngineError | StorageError | CollectionError:
    if error.status_code not in _PROXIES and error.meta.headers.get("x-elastic-product") != "Elasticsearch":
        return _not_elasticsearch()
    return failure(error.status_code, error.body)


def failure(status: int, body: Any) -> EngineError | StorageError | CollectionError:
    """What an answer of Elasticsearch that says no means: of a request, or of one search among many."""
    kind, reason = _cause(body)
    if is_disk_full({"type": kind, "reason": reason}):
        return StorageError(DISK_FULL, code="disk_full")
    if status == _FORBIDDEN:
        return EngineError(forbidden(reason), code="forbidden")
    if status in _MEANINGS:
        kind_of_error, sentence, code = _MEANINGS[status]
        return kind_of_error(sentence.format(reason=reason), code=code)
    return EngineError(f"Elasticsearch refused the request: {kind}{': ' + reason if reason else ''} (status {status}).")


_MEANINGS: dict[int, tuple[type[EngineError | CollectionError], str, str]] = {
    401: (EngineError, "Elasticsearch refuses the credentials: check ELASTICSEARCH_API_KEY or USERNAME and PASSWORD.", "unauthorized"),
    404: (
        CollectionError,
        "The collection is not there (any more): `facedex collections list` names those that are.",
        "no_collection",
    ),
    429: (EngineError, "Elasticsearch is overloaded and kept refusing: wait a little, then run this again.", "overloaded"),
}


def _cause(body: Any) -> tuple[str, str]:
    cause = body.get("error") if isinstance(body, dict) else None
    if not isinstance(cause, dict):
        return "error", ""
    roots = cause.get("root_cause") or [cause]
    kind, reason = str(roots[0].get("type", "error")), str(roots[0].get("reason", ""))
    return kind, "" if kind in _TALKATIVE else reason.partition("Preview")[0][:300]


def _brief(error: Exception) -> str:
    text = str(getattr(error, "message", "") or error)
    return text.partition("Caused by")[0].strip().rstrip(".:")[:200]


def server_version(client: Elasticsearch) -> str:
    """The version of the node that answers. (``GET /`` is absent on some distributions, so it is not asked.)"""
    with speaking():
        nodes = client.nodes.info(node_id="_local", filter_path="nodes.*.version")["nodes"]
    return str(next(iter(nodes.values()))["version"])


def version_concern(version: str) -> str | None:
    """What is to be said about a server of this version, if anything."""
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) >= OLDEST_SOUND:
        return None
    oldest = ".".join(map(str, OLDEST_SOUND))
    return f"Elasticsearch {version} is older than {oldest}: it can let replicas diverge while faces are ingested, so update it."
