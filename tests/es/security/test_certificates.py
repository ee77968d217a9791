import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from es.security.certificates import Pair, authority, fingerprint, node_certificate
from es.security.file_realm import private


@pytest.fixture(scope="module")
def known() -> Pair:
    return authority("tests")


@pytest.fixture(scope="module")
def node(known: Pair) -> Pair:
    return node_certificate(known, "es01", ["localhost", "127.0.0.1"])


def _shaken(pair: Pair, trusted: Pair, folder: Path, hostname: str) -> bytes:
    """A handshake as a client that trusts one authority; answers with the certificate shown to it, in DER."""
    private(folder / "node.crt", pair.certificate)
    private(folder / "node.key", pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "node.crt", folder / "node.key")
    context = ssl.create_default_context(cadata=trusted.certificate)
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:  # the client said no
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with context.wrap_socket(ours, server_hostname=hostname) as connection:
            return connection.getpeercert(binary_form=True) or b""
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1"])
def test_who_trusts_the_authority_trusts_the_node(known: Pair, node: Pair, tmp_path: Path, hostname: str) -> None:
    shown = _shaken(node, known, tmp_path, hostname)
    assert hashlib.sha256(shown).hexdigest() == fingerprint(node.certificate)


def test_another_authority_and_another_name_are_refused(known: Pair, node: Pair, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        _shaken(node, authority("tests"), tmp_path, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        _shaken(node, known, tmp_path, "elsewhere")


def test_a_node_shows_its_authority_too(known: Pair, node: Pair) -> None:
    assert node.certificate.endswith(known.certificate)
    assert fingerprint(known.certificate) == hashlib.sha256(ssl.PEM_cert_to_DER_cert(known.certificate)).hexdigest()


def test_openssl_agrees(known: Pair, node: Pair, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (tmp_path / "ca.crt").write_text(known.certificate)
    (tmp_path / "node.crt").write_text(node.certificate)
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.crt", "node.crt"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout == "node.crt: OK\n", done.stderr


def test_keys_are_not_shown(node: Pair) -> None:
    assert "PRIVATE" not in repr(node)
    assert "PRIVATE" not in node.certificate
