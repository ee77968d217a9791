"""Who else can get at the faces?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from core.findings import Finding
from es.doctor.cluster import Cluster


def access(cluster: Cluster) -> Iterator[Finding]:
    """Passwords, encryption, and what browsers and strangers may do."""
    found = [finding for node in cluster.nodes.values() for finding in node_concerns(node)]
    settings = cluster.settings
    if settings.url and settings.url.startswith("http://") and (settings.password or settings.api_key):
        host = urlsplit(settings.url).hostname or ""
        if not is_loopback(host):
            found.append(
                Finding(
                    "security",
                    "error",
                    "The password or API key, and all faces, go unencrypted through the network.",
                    "Whoever listens can read them.",
                    "https:// in ELASTICSEARCH_URL, with TLS on the cluster or in front of it",
                )
            )
    yield from found or [Finding("security", "ok", "Nobody gets in without a password, or only from this machine.")]


def node_concerns(node: Mapping[str, Any]) -> Iterator[Finding]:
    """What is to be said of one node, by its settings and the addresses that it listens on."""
    name, settings = node["name"], node.get("settings", {})
    addresses = [address for address in node.get("http", {}).get("bound_address", []) if not is_loopback(host_of(address))]
    security = _get(settings, "xpack.security.enabled") != "false"  # on by default
    if addresses and not security:
        yield Finding(
            "security",
            "error",
            f"{name} listens on {', '.join(addresses)} without a password.",
            "Whoever reaches it can read, change and delete all faces.",
            "xpack.security.enabled: true, or network.host: 127.0.0.1",
        )
    elif addresses and _get(settings, "xpack.security.http.ssl.enabled") != "true":
        yield Finding(
            "security",
            "warning",
            f"{name} listens on {', '.join(addresses)} without TLS.",
            "Passwords and faces go unencrypted, unless something in front of it encrypts them.",
            "xpack.security.http.ssl.enabled: true",
        )
    if security and _get(settings, "xpack.security.authc.anonymous.roles"):
        yield Finding(
            "security",
            "error",
            f"{name} lets anybody in without a password, with roles.",
            "Strangers may read faces.",
            "remove xpack.security.authc.anonymous",
        )
    origin = _get(settings, "http.cors.allow-origin")
    if _get(settings, "http.cors.enabled") == "true" and origin in ("*", "/.*/"):
        yield Finding(
            "security",
            "warning",
            f"{name} answers scripts of every web page (CORS).",
            "A page that you open can ask Elasticsearch in your name.",
            "http.cors.allow-origin: the one address that needs it, or http.cors.enabled: false",
        )


def habits(cluster: Cluster) -> Iterator[Finding]:
    """Settings that turn a slip into a loss."""
    found = []
    if cluster.cluster_settings.get("action.destructive_requires_name") == "false":
        found.append(
            Finding(
                "security",
                "warning",
                "Indices can be deleted by wildcard.",
                "One slip deletes all collections.",
                'PUT _cluster/settings {"persistent": {"action.destructive_requires_name": true}}',
            )
        )
    if cluster.cluster_settings.get("action.auto_create_index", "true") == "true":
        found.append(
            Finding(
                "security",
                "notice",
                "Writing into a name that is not there makes an index.",
                "A mistyped name becomes an index with a mapping that was guessed.",
                'PUT _cluster/settings {"persistent": {"action.auto_create_index": ".*,-facedex-*,*"}}',
            )
        )
    yield from found or [Finding("security", "ok", "No index is made or deleted by a slip.")]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(address: str) -> str:
    """The host of ``127.0.0.1:9200`` or ``[::1]:9200``."""
    return address.rpartition(":")[0].strip("[]")


def _get(settings: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(settings, Mapping) or part not in settings:
            return None
        settings = settings[part]
    return settings
