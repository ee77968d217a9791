"""Which Elasticsearch is used, and what is refused."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import EngineError, UsageError
from core.settings import Settings
from es.access import access, check_typed, named, without_secrets
from es.client import connect, speaking
from es.security import certificates

KEY = {"ELASTICSEARCH_API_KEY": "s3cret"}
LOGIN = {"ELASTICSEARCH_USERNAME": "ada", "ELASTICSEARCH_PASSWORD": "s3cret"}
ALLOWED = {"allow_insecure": True}


def config(url: str, **more: object) -> Settings:
    return Settings(ELASTICSEARCH_URL=url, **more)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("http://127.0.0.1:9200", {}),
        ("http://localhost:9200", LOGIN),
        ("http://[::1]:9200", KEY),
        ("https://example.org:9200", KEY),
        ("https://ada:s3cret@example.org:9200", {}),
        ("https://one.example.org:9200, https://two.example.org:9200", LOGIN),
        ("http://example.org:9200", ALLOWED),
        ("https://example.org:9200", ALLOWED),
    ],
)
def test_what_is_safe_is_used(url: str, more: dict[str, object]) -> None:
    assert access(config(url, **more)).urls == url.split(", ")


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("http://example.org:9200", {}),
        ("https://example.org:9200", {}),
        ("http://example.org:9200", KEY),
        ("http://example.org:9200", KEY | ALLOWED),
        ("http://ada:s3cret@10.0.0.1:9200", ALLOWED),
        ("http://127.0.0.1:9200,http://example.org:9200", LOGIN),
        ("http://127.0.0.1.example.org:9200", LOGIN),
    ],
)
def test_what_is_not_is_refused_in_one_sentence(url: str, more: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"https://|FACEDEX_ALLOW_INSECURE") as caught:
        access(config(url, **more))
    assert caught.value.code == "insecure"
    assert "s3cret" not in str(caught.value)


def test_secrets_are_for_the_environment() -> None:
    check_typed("https://example.org:9200")
    with pytest.raises(UsageError, match="ELASTICSEARCH_URL") as caught:
        check_typed("https://ada:s3cret@example.org:9200")
    assert caught.value.code == "insecure"
    assert without_secrets("https://a:s3@cret@x:1, http://b:c@y:2") == "https://x:1, http://y:2"
    assert without_secrets("https://a:s3,cr@et@x:1,http://b:c@y:2") == "https://x:1,http://y:2"
    assert "s3cret" not in repr(access(config("https://example.org:9200", **LOGIN)))


def test_what_a_program_names_comes_first() -> None:
    both = named(config("https://one.example.org", **KEY), {"url": "https://two.example.org", "username": "ben", "password": "other"})
    means = access(both)
    assert means.urls == ["https://two.example.org"]
    assert (means.api_key, means.basic_auth) == (None, ("ben", "other"))
    assert access(named(config("https://one.example.org", **LOGIN), {"api_key": "k"})).api_key == "k"


def test_an_error_names_what_was_asked() -> None:
    with connect(named(Settings(), {"url": "http://127.0.0.1:1"})) as client, pytest.raises(EngineError) as caught, speaking():
        client.cluster.health()
    assert "own node is gone" not in str(caught.value)
    assert "the address" in str(caught.value)


class Impostor:
    """A server with a certificate that says that the cluster's authority signed it, which is a lie."""

    def __init__(self, folder: Path, authority: certificates.Pair) -> None:
        self.heard: list[str | None] = []
        stranger = ec.generate_private_key(ec.SECP256R1())
        key = stranger.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        forged = certificates.Pair(authority.certificate, key.decode())  # its name, another's key
        pair = certificates.node_certificate(forged, "es01", ["127.0.0.1"])
        assert x509.load_pem_x509_certificate(pair.certificate.encode())
        (folder / "node.crt").write_text(pair.certificate)
        (folder / "node.key").write_text(pair.key)
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.headers.get("Authorization"))

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "node.crt", folder / "node.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def authority() -> certificates.Pair:
    return certificates.authority("a cluster")


@pytest.fixture
def impostor(tmp_path: Path, authority: certificates.Pair) -> Iterator[Impostor]:
    made = Impostor(tmp_path, authority)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_fingerprint_is_not_fooled_by_showing_the_certificate(impostor: Impostor, authority: certificates.Pair, tmp_path: Path) -> None:
    url, shown = f"https://127.0.0.1:{impostor.server.server_port}", certificates.fingerprint(authority.certificate)
    config_ = config(url, cache_dir=tmp_path, ELASTICSEARCH_CA_FINGERPRINT=shown, **LOGIN)
    with connect(config_) as client, pytest.raises(EngineError, match="not trusted") as caught, speaking():
        client.cluster.health()
    assert caught.value.code == "untrusted"
    assert impostor.heard == []


@pytest.mark.parametrize("fingerprint", ["abc", "0" * 63, "g" * 64])
def test_what_is_no_fingerprint_is_told(fingerprint: str) -> None:
    with pytest.raises(UsageError, match="64"):
        connect(config("https://127.0.0.1:1", ELASTICSEARCH_CA_FINGERPRINT=fingerprint))
