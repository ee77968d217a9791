import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core import web
from core.errors import PhotoError
from core.web import Limits, fetch, is_private

HERE = Limits(seconds=5, allow_private=True)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with suppress(OSError):  # the client goes away
            getattr(self, "_" + self.path.strip("/").split("/")[0])()

    def _photo(self, body: bytes = b"bytes") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hop(self) -> None:
        left = int(self.path.rsplit("/", 1)[1])
        self._to(f"/hop/{left - 1}" if left > 1 else "/photo")

    def _to(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def _elsewhere(self) -> None:
        self._to("file:///etc/passwd")

    def _loopback(self) -> None:
        self._to(f"http://127.0.0.1:{self.server.server_port}/photo")  # type: ignore[attr-defined]

    def _missing(self) -> None:
        self.send_error(404)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 65536)

    def _boasting(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()

    def _short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x")

    def _slow(self) -> None:
        self.send_response(200)
        self.end_headers()
        self._drip()

    def _slowhead(self) -> None:
        self._drip()

    def _drip(self) -> None:
        for _ in range(100):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def _secret(self) -> None:
        self._photo((self.headers["Authorization"] or "").encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def _code(url: str, limits: Limits = HERE) -> str:
    with pytest.raises(PhotoError) as refused:
        fetch(url, limits)
    return refused.value.code


def test_a_photo_comes_whole_and_redirects_are_followed(server: str) -> None:
    assert fetch(f"{server}/photo", HERE) == b"bytes"
    assert fetch(f"{server}/hop/5", HERE) == b"bytes"
    assert fetch(f"{server.replace('//', '//ada:secret@')}/secret", HERE) == b"Basic YWRhOnNlY3JldA=="


def test_a_password_may_hold_any_character(server: str) -> None:
    assert b64decode(fetch(f"{server.replace('//', '//ad%61:p%40%3Ass@')}/secret", HERE).split()[1]) == b"ada:p@:ss"


def test_a_name_server_that_does_not_answer_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(20) and [])
    begun = time.monotonic()
    assert _code(f"{server}/photo", Limits(seconds=0.3, allow_private=True)) == "timeout"
    asked.set()
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("path", ["hop/6", "missing", "short"])
def test_what_does_not_come_is_unreadable(server: str, path: str) -> None:
    assert _code(f"{server}/{path}") == "unreadable"


@pytest.mark.parametrize("url", ["http://", "http://no.such.host.invalid/1.jpg", "http://127.0.0.1:1/", "http://[::1", "http://a:b:c/"])
def test_addresses_that_lead_nowhere_are_unreadable(url: str) -> None:
    assert _code(url) == "unreadable"


def test_an_endless_body_and_a_promised_one_are_too_large(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_BYTES", 1 << 20)
    assert _code(f"{server}/endless") == "too_large"
    assert _code(f"{server}/boasting") == "too_large"


@pytest.mark.parametrize("path", ["slow", "slowhead"])
def test_one_byte_now_and_then_is_given_up(server: str, path: str) -> None:
    begun = time.monotonic()
    assert _code(f"{server}/{path}", Limits(seconds=0.5, allow_private=True)) == "timeout"
    assert time.monotonic() - begun < 3


def test_private_addresses_are_forbidden_however_they_are_written(server: str) -> None:
    port = server.rsplit(":", 1)[1]
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"):  # noqa: S104
        assert _code(f"http://{host}:{port}/photo", Limits()) == "forbidden", host
    assert _code(f"{server}/elsewhere") == "forbidden"


def test_a_redirect_into_the_machine_is_forbidden(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first address is taken for a public one; where it leads to is judged anew.
    judged: list[str] = []

    def judge(address: web.Address) -> bool:
        judged.append(str(address))
        return len(judged) > 1

    monkeypatch.setattr(web, "is_private", judge)
    assert _code(f"{server}/loopback", Limits()) == "forbidden"
    assert judged == ["127.0.0.1", "127.0.0.1"]


def test_a_name_is_resolved_once_and_the_judged_address_is_connected_to(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *args: object, **more: object) -> object:
        if host != "rebinding.test":
            assert ipaddress.ip_address(host)
            return real(host, *args, **more)  # type: ignore[arg-type]
        asked.append(host)
        return real("127.0.0.1" if len(asked) > 1 else "93.184.215.14", *args, **more)  # type: ignore[arg-type]

    connected: list[object] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    assert _code(f"http://rebinding.test:{server.rsplit(':', 1)[1]}/photo", Limits()) == "unreadable"
    assert (asked, connected) == (["rebinding.test"], ["93.184.215.14"])


def test_certificates_are_for_the_name_while_the_address_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-subj", "/CN=pinned.test", "-addext", "subjectAltName=DNS:pinned.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *made], check=True, capture_output=True)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    monkeypatch.setattr(web, "_tls", lambda: ssl.create_default_context(cafile=str(certificate)))
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **more: real("127.0.0.1", *args, **more))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as serving:
        serving.socket = theirs.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        assert fetch(f"https://pinned.test:{serving.server_port}/photo", HERE) == b"bytes"
        assert _code(f"https://other.test:{serving.server_port}/photo") == "unreadable"
        serving.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "127.9.9.9", "169.254.0.1", "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("0.0.0.0", "::", "::1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),  # noqa: S104
        *("2002:7f00:1::1", "::127.0.0.1", "2001:db8::1", "192.0.0.192", "192.0.0.9", "168.63.129.16", "3fff::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert is_private(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert not is_private(ipaddress.ip_address(address))
