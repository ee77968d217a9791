"""Sends the saved objects to Kibana, through the interface that its own import page uses."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from core.errors import EngineError, UsageError
from es.client import without_secrets
from es.kibana.saved_objects import DASHBOARD, ndjson

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings

_SECONDS = 60.0
_SPACE = re.compile(r"[a-z0-9_-]+")
_TOLD = 5  # objects that are named, of those that Kibana refused


@dataclass(frozen=True, slots=True)
class Installed:
    """What Kibana took, and where the dashboard is."""

    objects: int
    dashboard: str


def install(config: Settings, url: str | None = None, space: str | None = None) -> Installed:
    """Imports everything into Kibana; what an earlier installation left is replaced.

    Args:
        config: credentials and certificates, those of Elasticsearch.
        url: Kibana's address, else the setting.
        space: Kibana's space, else its default one.

    Raises:
        UsageError: the address, or the space, can't be used.
        EngineError: Kibana can't be reached (``kibana_unreachable``), refuses the credentials (``kibana_unauthorized``), does not allow it
            (``kibana_forbidden``), or took only a part (``kibana_import``).
    """
    base = _base(url or config.kibana_url, space)
    headers = _credentials(config, base)
    status, body = _post(f"{base}/api/saved_objects/_import?overwrite=true", headers, config)
    if status != 200:  # noqa: PLR2004
        raise _refused(base, status, body)
    if not body.get("success"):
        raise _partly(body)
    return Installed(int(body.get("successCount", 0)), f"{base}/app/dashboards#/view/{DASHBOARD}")


def _base(url: str, space: str | None) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"The Kibana address {without_secrets(url)!r} can't be used: give it as http(s)://host:port.")
    if space is not None and not _SPACE.fullmatch(space):
        raise UsageError(f"{space!r} is no id of a Kibana space: it has lower-case letters, digits, _ and - only.")
    where = url.rstrip("/")
    return where if space in (None, "default") else f"{where}/s/{quote(str(space))}"


def _credentials(config: Settings, base: str) -> dict[str, str]:
    """The header that says who asks.

    Raises:
        UsageError: it would go through a network unencrypted (``kibana_plain_http``).
    """
    if config.api_key is None and config.username is None:
        return {}
    parts = urlsplit(base)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise UsageError("Credentials are not sent to Kibana unencrypted: give its address as https://.", code="kibana_plain_http")
    if config.api_key is not None:
        return {"authorization": f"ApiKey {config.api_key.get_secret_value()}"}
    if config.password is None:
        raise UsageError("ELASTICSEARCH_USERNAME is set without ELASTICSEARCH_PASSWORD: set both, or ELASTICSEARCH_API_KEY.")
    pair = f"{config.username}:{config.password.get_secret_value()}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _post(url: str, headers: dict[str, str], config: Settings) -> tuple[int, dict[str, Any]]:
    import urllib3
    from urllib3.exceptions import HTTPError

    authority = _authority(config, url)
    tls: dict[str, Any] = {"ca_certs": str(authority)} if authority else {}
    file = ("facedex.ndjson", ndjson(), "application/ndjson")
    try:
        with urllib3.PoolManager(retries=False, timeout=_SECONDS, **tls) as pool:
            # A redirection could lead the credentials elsewhere.
            answer = pool.request("POST", url, fields={"file": file}, headers={"kbn-xsrf": "facedex", **headers}, redirect=False)
    except (HTTPError, OSError) as error:
        raise EngineError(
            f"Kibana can't be reached at {urlsplit(url).netloc} ({type(error).__name__}): start it, give its address with --kibana-url "
            "or KIBANA_URL, or import the file of `facedex kibana export` by hand.",
            code="kibana_unreachable",
        ) from None
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = None
    return answer.status, body if isinstance(body, dict) else {}


def _authority(config: Settings, url: str) -> Path | None:
    """The certificate authority that is trusted, as for Elasticsearch; ``None``: those of the system."""
    if config.ca_certs is not None or config.ca_fingerprint is None or not url.startswith("https://"):
        return config.ca_certs
    from es.security import pinned

    try:
        return pinned.ca_file([url], config.ca_fingerprint, config.cache_dir / "authorities")
    except EngineError:
        raise EngineError(
            f"Kibana at {urlsplit(url).netloc} can't be reached, or does not show the authority of ELASTICSEARCH_CA_FINGERPRINT: check its "
            "address, or set ELASTICSEARCH_CA_CERTS to the file of its certificate authority.",
            code="kibana_unreachable",
        ) from None


def _refused(base: str, status: int, body: dict[str, Any]) -> EngineError:
    if status == 401:  # noqa: PLR2004
        return EngineError(
            "Kibana refuses the credentials: check ELASTICSEARCH_API_KEY or USERNAME and PASSWORD.", code="kibana_unauthorized"
        )
    if status == 403:  # noqa: PLR2004
        return EngineError(
            "Kibana does not allow this user to import: it takes the privilege 'Saved Objects Management' in this space.",
            code="kibana_forbidden",
        )
    if status == 404:  # noqa: PLR2004
        return EngineError(f"What answers at {base} is no Kibana, or it has no such space: check KIBANA_URL and --space.", code="no_kibana")
    said = str(body.get("message", ""))[:300]
    return EngineError(f"Kibana refused the import (status {status}{': ' + said if said else ''}).", code="kibana_import")


def _partly(body: dict[str, Any]) -> EngineError:
    errors = [error for error in body.get("errors", []) if isinstance(error, dict)]
    named = "; ".join(
        f"{error.get('type')} {error.get('id')}: {(error.get('error') or {}).get('type', 'error')}" for error in errors[:_TOLD]
    )
    more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
    return EngineError(f"Kibana took {body.get('successCount', 0)} objects and refused {len(errors)}: {named}{more}.", code="kibana_import")
