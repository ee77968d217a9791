import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, FacedexError, StorageError, UsageError
from core.settings import ELASTICSEARCH_VERSION, Settings
from es.client import connect, health, server_version, speaking, version_concern


def _at(url: str) -> Settings:
    return Settings(ELASTICSEARCH_URL=url)  # type: ignore[call-arg]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_server_is_the_version_that_was_promised(client: Elasticsearch) -> None:
    assert server_version(client) == ELASTICSEARCH_VERSION


@pytest.mark.parametrize(("version", "is_sound"), [("9.5.4", True), ("9.10.0-SNAPSHOT", True), ("9.5.2", False), ("8.19.1", False)])
def test_versions_with_a_known_bug_are_told(version: str, is_sound: bool) -> None:
    assert (version_concern(version) is None) == is_sound


def test_nobody_there_is_one_sentence() -> None:
    with (
        connect(_at(f"http://127.0.0.1:{_free_port()}")) as client,
        pytest.raises(EngineError, match="ELASTICSEARCH_URL") as caught,
        speaking(),
    ):
        client.cluster.health()
    assert caught.value.code == "unreachable"
    assert "\n" not in str(caught.value)


def test_something_else_there_is_told() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with connect(_at(f"http://127.0.0.1:{server.server_port}")) as client, pytest.raises(EngineError) as caught, speaking():
            client.cluster.health()
        server.shutdown()
    assert caught.value.code == "not_elasticsearch"


def test_health_that_does_not_come_is_an_answer(client: Elasticsearch) -> None:
    found = health(client, 1, wait_for_nodes=">=9")
    assert found["timed_out"]
    assert found["number_of_nodes"] == 1


@pytest.mark.parametrize("url", ["localhost", "ftp://x:1", "http://", "nonsense"])
def test_a_bad_address_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="address"):
        connect(_at(url))


@pytest.mark.parametrize("url", ["elastic:s3cret@host:9200", "ftp://elastic:s3@cret@host:9200"])
def test_passwords_in_an_address_are_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="host:9200") as caught:
        connect(_at(url))
    assert "cret" not in str(caught.value)


def test_missing_certificates_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="CA_CERTS"):
        connect(Settings(ELASTICSEARCH_URL="https://127.0.0.1:1", ELASTICSEARCH_CA_CERTS=tmp_path / "no.crt"))  # type: ignore[call-arg]


def test_a_user_without_a_password_is_told() -> None:
    with pytest.raises(UsageError, match="PASSWORD"):
        connect(Settings(ELASTICSEARCH_URL="http://127.0.0.1:1", ELASTICSEARCH_USERNAME="elastic"))  # type: ignore[call-arg]


def test_a_missing_index_and_a_full_disk_have_their_own_errors(client: Elasticsearch, name: str) -> None:
    with pytest.raises(CollectionError), speaking():
        client.search(index="facedex-not-there")
    client.indices.create(index=f"{name}-blocked", settings={"blocks.read_only_allow_delete": True})  # what the flood stage sets
    try:
        with pytest.raises(StorageError) as caught, speaking():
            client.index(index=f"{name}-blocked", document={"a": 1})
        assert caught.value.code == "disk_full"
    finally:
        client.indices.delete(index=f"{name}-blocked")


def test_vectors_are_not_quoted_in_errors(client: Elasticsearch, name: str) -> None:
    client.indices.create(index=f"{name}-small", mappings={"properties": {"e": {"type": "dense_vector", "dims": 2}}})
    try:
        with pytest.raises(FacedexError) as caught, speaking():
            client.index(index=f"{name}-small", document={"e": [0.123456, 0.654321, 0.777777]})
        assert "0.1234" not in str(caught.value)
        assert "0.7777" not in str(caught.value)
    finally:
        client.indices.delete(index=f"{name}-small")
