"""What is sent to Kibana, and what is made of its answers: against a server that takes requests as Kibana documents them."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from email import message_from_bytes
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineError, UsageError
from core.settings import Settings
from es.kibana.install import install
from es.kibana.saved_objects import ndjson
from es.security import certificates
from tests.cli.conftest import Type, type_

__all__ = ["type_"]


class Kibana(HTTPServer):
    """Keeps the last request, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer: dict[str, Any] = {"success": True, "successCount": 3}
        self.path = ""
        self.headers: dict[str, str] = {}
        self.file = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Kibana

    def do_POST(self) -> None:
        self.server.path = self.path
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(self.headers["content-length"]))
        form = message_from_bytes(b"content-type: " + self.headers["content-type"].encode() + b"\n\n" + body)
        parts: Any = form.get_payload()
        (part,) = parts
        assert part.get_param("name", header="content-disposition") == "file"
        assert str(part.get_filename()).endswith(".ndjson")
        self.server.file = part.get_payload(decode=True)
        answer = json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        if self.server.status == 302:
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def kibana() -> Iterator[Kibana]:
    with Kibana() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


PASSWORD = "geheim ü"  # noqa: S105


def config(**values: str) -> Settings:
    return Settings(**{f"ELASTICSEARCH_{name.upper()}": value for name, value in values.items()})  # type: ignore[arg-type]


def test_the_file_comes_as_kibana_wants_it(kibana: Kibana) -> None:
    done = install(config(), kibana.url)
    assert kibana.path == "/api/saved_objects/_import?overwrite=true"
    assert kibana.headers["kbn-xsrf"]
    assert "authorization" not in kibana.headers
    assert kibana.file.decode().replace("\r\n", "\n") == ndjson()
    assert (done.objects, done.dashboard) == (3, f"{kibana.url}/app/dashboards#/view/facedex-dashboard")


def test_a_space_and_credentials(kibana: Kibana) -> None:
    done = install(config(username="Ada", password=PASSWORD), f"{kibana.url}/base/", "people")
    assert kibana.path.startswith("/base/s/people/api/")
    assert base64.b64decode(kibana.headers["authorization"].removeprefix("Basic ")).decode() == f"Ada:{PASSWORD}"
    assert done.dashboard.startswith(f"{kibana.url}/base/s/people/app/")
    install(config(api_key="a2V5"), kibana.url)
    assert kibana.headers["authorization"] == "ApiKey a2V5"


@pytest.mark.parametrize(
    ("status", "answer", "code", "word"),
    [
        (401, {}, "kibana_unauthorized", "credentials"),
        (403, {}, "kibana_forbidden", "privilege"),
        (404, {}, "no_kibana", "--space"),
        (302, {}, "kibana_import", "302"),
        (500, {"message": "Something broke."}, "kibana_import", "Something broke."),
        (
            200,
            {"success": False, "successCount": 2, "errors": [{"type": "search", "id": "facedex-runs", "error": {"type": "conflict"}}]},
            "kibana_import",
            "search facedex-runs: conflict",
        ),
    ],
)
def test_what_kibana_refuses_is_a_sentence(kibana: Kibana, status: int, answer: dict[str, Any], code: str, word: str) -> None:
    kibana.status, kibana.answer = status, answer
    with pytest.raises(EngineError) as refused:
        install(config(username="Ada", password=PASSWORD), kibana.url)
    assert refused.value.code == code
    assert word in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_credentials_don_t_travel_unencrypted() -> None:
    for url in ("http://192.0.2.1:5601", "http://localhost.example:5601", "http://127.0.0.1.example:5601"):
        with pytest.raises(UsageError) as refused:
            install(config(api_key="a2V5"), url)
        assert refused.value.code == "kibana_plain_http"


def test_the_authority_of_a_fingerprint_is_trusted_and_no_other(tmp_path: Path) -> None:
    authority = certificates.authority("tests")
    pair = certificates.node_certificate(authority, "kibana", ["127.0.0.1"])
    for name, text in {"chain": pair.certificate + authority.certificate, "key": pair.key}.items():
        (tmp_path / name).write_text(text)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    fingerprint = sha256(ssl.PEM_cert_to_DER_cert(authority.certificate)).hexdigest()
    with Kibana() as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"https://127.0.0.1:{server.server_port}"
        trusting = config(api_key="a2V5", ca_fingerprint=fingerprint).model_copy(update={"cache_dir": tmp_path})
        try:
            assert install(trusting, url).objects == 3
            server.headers = {}
            for other in (config(api_key="a2V5", ca_fingerprint="0" * 64), config(api_key="a2V5")):
                with pytest.raises(EngineError) as refused:
                    install(other.model_copy(update={"cache_dir": tmp_path}), url)
                assert refused.value.code == "kibana_unreachable"
            assert server.headers == {}
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("url", "space"),
    [
        ("kibana:5601", None),
        ("ftp://x", None),
        ("http://Ada:geheim@x", None),
        ("http://:geheim@x", None),
        ("http://[::1", None),
        ("http://x:y", None),
        (None, "../x"),
        (None, "A"),
    ],
)
def test_addresses_that_can_t_be_used(url: str | None, space: str | None) -> None:
    with pytest.raises(UsageError) as refused:
        install(config(), url, space)
    assert "geheim" not in str(refused.value)


def test_the_commands(kibana: Kibana, type_: Type, tmp_path: Path) -> None:
    assert type_("kibana", "install", "--json", env={"KIBANA_URL": kibana.url}).json["objects"] == 3
    gone = type_("kibana", "install", "--kibana-url", "http://127.0.0.1:1", "--json")
    assert (gone.code, gone.json["error"]["code"]) == (2, "kibana_unreachable")
    file = tmp_path / "facedex.ndjson"
    assert type_("kibana", "export", file, "--json").json["objects"] == len(file.read_text().splitlines())
    assert type_("kibana", "export", tmp_path / "nowhere" / "x", "--json").code == 2


def test_a_preview_is_a_picture(type_: Type, tmp_path: Path) -> None:
    file = tmp_path / "dashboard.png"
    drawn = type_("kibana", "preview", file, "--days", 2)
    assert drawn.code == 0, drawn.err
    assert file.read_bytes().startswith(b"\x89PNG")
    assert type_("kibana", "preview", tmp_path / "dashboard.gif").code == 2
