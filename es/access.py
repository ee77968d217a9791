"""Which Elasticsearch is used, with which credentials, and what is refused: secrets in the clear, and strangers."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

from core.errors import EngineError, UsageError
from es.cluster import record
from es.cluster.plan import ADMINISTRATOR
from es.local import node

if TYPE_CHECKING:
    from core.settings import Settings

Engine = Literal["node", "cluster", "given"]  # Facedex's own node, a cluster of its own, or what somebody named

_ANSWER_SECONDS = 1.0  # on this machine
STOPPED = (
    "Facedex's cluster is stopped: `facedex cluster up` starts it with its faces, `facedex cluster down --erase` removes it, and Facedex "
    "uses a single node of its own again."
)


class Named(TypedDict, total=False):
    """An Elasticsearch that a program names; what it doesn't name comes from the settings."""

    url: str | None  # or several, with commas in between
    api_key: str
    username: str
    password: str
    ca_certs: Path | str  # a file
    ca_fingerprint: str


@dataclass(frozen=True)
class Access:
    """All that a connection needs."""

    engine: Engine
    urls: Sequence[str]
    ca_certs: Path | None = None
    ca_fingerprint: str | None = None
    api_key: str | None = field(default=None, repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)


def named(config: Settings, access: Named) -> Settings:
    """The settings with what a program names instead."""
    from pydantic import SecretStr

    update: dict[str, Any] = {key: value for key, value in access.items() if value is not None}
    if "api_key" in update or "username" in update:
        update = {"api_key": None, "username": None, "password": None} | update
    for key in ("api_key", "password"):
        if update.get(key) is not None:
            update[key] = SecretStr(update[key])
    if "ca_certs" in update:
        update["ca_certs"] = Path(update["ca_certs"])
    return config.model_copy(update=update)


def access(config: Settings, say: node.Say = node.silent) -> Access:
    """What these settings mean: the named cluster, else Facedex's own cluster, else its node, started where it isn't running.

    Raises:
        UsageError: an address or the credentials don't make sense, or are not safe (``insecure``).
        EngineError: the node can't be started; the cluster is stopped (``cluster_stopped``).
    """
    api_key, basic_auth = _credentials(config)
    if config.url is None:
        found = record.in_use(config)
        if found is None:
            return Access("node", [node.ensure(config, say).url], api_key=api_key, basic_auth=basic_auth)
        if not is_running(found):
            raise EngineError(STOPPED, code="cluster_stopped")
        if api_key is None and basic_auth is None:
            basic_auth = (ADMINISTRATOR, found.password)
        return Access("cluster", found.urls, found.ca, None, api_key, basic_auth)
    urls = [url.strip() for url in config.url.split(",") if url.strip()]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"The Elasticsearch address {without_secrets(url)!r} can't be used: give it as http(s)://host:port.")
        _check_safe(url, allowed=config.allow_insecure, has_credentials=bool(api_key or basic_auth))
    if config.ca_certs is not None and not config.ca_certs.is_file():
        raise UsageError(f"There is no file {str(config.ca_certs)!r}, which ELASTICSEARCH_CA_CERTS names.")
    return Access("given", urls, config.ca_certs, config.ca_fingerprint, api_key, basic_auth)


def is_running(cluster: record.Record) -> bool:
    """Whether any node can be reached. Looks only."""
    return any(map(_reachable, cluster.urls))


def without_secrets(url: str) -> str:
    """The addresses without the names and passwords that can stand in them."""
    parts = re.split(r",(?=\s*\w+://)", url)  # other commas may belong to a password
    return ",".join(re.sub(r"^(\s*\w+://)?.*@", r"\1", each) for each in parts) if "@" in url else url


def check_typed(url: str) -> None:
    """Refuses an address on the command line that holds a password: everybody on the machine can read it there.

    Raises:
        UsageError: ``insecure``.
    """
    if "@" in url:
        raise UsageError(
            "A password on the command line can be read by everybody on this machine: put the address into the environment variable "
            "ELASTICSEARCH_URL, or the password into ELASTICSEARCH_PASSWORD.",
            code="insecure",
        )


def _credentials(config: Settings) -> tuple[str | None, tuple[str, str] | None]:
    if config.api_key is not None:
        return config.api_key.get_secret_value(), None
    if config.username is None:
        return None, None
    if config.password is None:
        raise UsageError("ELASTICSEARCH_USERNAME is set without ELASTICSEARCH_PASSWORD: set both, or ELASTICSEARCH_API_KEY.")
    return None, (config.username, config.password.get_secret_value())


def _check_safe(url: str, *, allowed: bool, has_credentials: bool) -> None:
    try:
        at = urlsplit(url)
        host = at.hostname
    except ValueError:  # the client says what is wrong with it
        return
    if host is None or _is_loopback(host):
        return
    has_credentials = has_credentials or at.password is not None
    if at.scheme == "http" and has_credentials:
        raise UsageError(
            f"The password or key would go to {host} unencrypted, for everybody on the way to read: give the address as https://.",
            code="insecure",
        )
    if not allowed and (at.scheme == "http" or not has_credentials):
        lack = "without encryption" if at.scheme == "http" else "without a password"
        remedy = "as https:// with a password or key" if at.scheme == "http" else "with ELASTICSEARCH_API_KEY, or USERNAME and PASSWORD"
        raise UsageError(
            f"An Elasticsearch on another machine ({host}) is not used {lack}: give it {remedy}, or set FACEDEX_ALLOW_INSECURE=true.",
            code="insecure",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _reachable(url: str) -> bool:
    at = urlsplit(url)
    try:
        with socket.create_connection((at.hostname or "", at.port or 443), timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False
