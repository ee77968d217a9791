"""Servers that tests start besides the run's own: one with users, roles and TLS."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from core.settings import ELASTICSEARCH_VERSION, Settings, settings
from es.client import connect
from es.local import distribution, jdk, node, places, start
from es.local.launch import Job
from es.security import certificates, file_realm

ADMINISTRATOR = "administrator"


@dataclass(frozen=True)
class Secured:
    """A node of one's own that speaks TLS and knows users."""

    url: str
    ca_certs: Path
    passwords: Mapping[str, str]
    home: Path

    def environment(self, user: str) -> dict[str, str]:
        """The settings of a user, as variables."""
        return {
            "ELASTICSEARCH_URL": self.url,
            "ELASTICSEARCH_CA_CERTS": str(self.ca_certs),
            "ELASTICSEARCH_USERNAME": user,
            "ELASTICSEARCH_PASSWORD": self.passwords[user],
        }

    def client(self, user: str = ADMINISTRATOR) -> Elasticsearch:
        """A connection as a user."""
        return connect(Settings(**self.environment(user)))  # type: ignore[arg-type]


@contextmanager
def secured(users: Mapping[str, tuple[str, ...]], roles: Mapping[str, Any]) -> Iterator[Secured]:
    """Starts a node with TLS, users of the file realm (by name, with their roles; an administrator besides) and roles."""
    folder = Path(tempfile.mkdtemp(prefix="facedex-secured-"))
    folder.chmod(0o711)  # started by root, the node runs as another user, who must get in
    config = settings().model_copy(update={"data_dir": folder})
    home, user = places.node_home(config), places.server_user(config)
    node._use(home, config)  # for as long as this process lives, the node does not stop for idleness
    known = [file_realm.User(name, file_realm.new_password(), has) for name, has in {**users, ADMINISTRATOR: ("superuser",)}.items()]
    files = folder / "files"
    _write(files, known, roles)
    job = Job(
        home=str(home.path),
        server=str(distribution.find_server(config, print)),
        java_home=str(jdk.find_java_home(config, print)),
        version=ELASTICSEARCH_VERSION,
        heap="512m",
        port=0,
        idle_seconds=1200,
        start_seconds=config.node_start_seconds,
        user=user,
        node="n1",
        extra=_extra(),
        files=str(files),
    )
    try:
        start.spawn(job)
        yield Secured(start.await_ready(config, home).url, files / "ca.crt", {each.name: each.password for each in known}, home.path)
    finally:
        node.stop(config)
        shutil.rmtree(folder, ignore_errors=True)


def _write(files: Path, users: list[file_realm.User], roles: Mapping[str, Any]) -> None:
    files.mkdir(mode=0o700)
    authority = certificates.authority("tests")
    pair = certificates.node_certificate(authority, "n1", ["localhost", "127.0.0.1"])
    for name, text in {"ca.crt": authority.certificate, "node.crt": pair.certificate, "node.key": pair.key}.items():
        file_realm.private(files / name, text)
    file_realm.write(files, users, roles)


def _extra() -> dict[str, object]:
    extra: dict[str, object] = {
        "xpack.security.enabled": True,
        "xpack.security.autoconfiguration.enabled": False,
        "xpack.security.authc.password_hashing.algorithm": "pbkdf2",
        "xpack.security.transport.ssl.verification_mode": "certificate",
    }
    for layer in ("http", "transport"):
        ssl = f"xpack.security.{layer}.ssl"
        extra |= {f"{ssl}.enabled": True, f"{ssl}.key": "node.key", f"{ssl}.certificate": "node.crt"}
        extra[f"{ssl}.certificate_authorities"] = ["ca.crt"]
    return extra
