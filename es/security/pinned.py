"""Trust in one certificate authority, named by its fingerprint.

The client library has an option for this, too, but it only looks whether the certificate stands in the chain that the server sends. An
authority's certificate is no secret: whoever is in between could send it behind one of his own, and read the password. Here it is fetched
from a server once, compared, and kept; every connection is then verified with it as with a file that somebody gave us.
"""

from __future__ import annotations

import re
import secrets
import socket
import ssl
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import EngineError, StorageError, UsageError

_ANSWER_SECONDS = 5.0


def ca_file(urls: Iterable[str], fingerprint: str, folder: Path) -> Path:
    """A file with the certificate that has this fingerprint, which one of the servers must show.

    Args:
        urls: ``https://`` addresses of one cluster.
        fingerprint: SHA-256 of the authority's certificate, 64 hexadecimal digits, perhaps with colons.
        folder: where it is kept.

    Raises:
        UsageError: that is no fingerprint.
        EngineError: no server can be reached (``unreachable``), or none shows that certificate (``untrusted``).
        StorageError: the file can't be written.
    """
    wanted = fingerprint.replace(":", "").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise UsageError("ELASTICSEARCH_CA_FINGERPRINT is no SHA-256: give its 64 hexadecimal digits.")
    kept = folder / f"{wanted}.crt"
    if not _is(kept, wanted):
        found = _find(urls, wanted)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{secrets.token_hex(8)}")  # another command may do the same now
            part.write_text(ssl.DER_cert_to_PEM_cert(found))
            part.replace(kept)
        except OSError as error:
            raise StorageError.of(error, f"write to {folder}", "Free it, or set FACEDEX_CACHE_DIR to another place.") from None
    return kept


def _is(path: Path, wanted: str) -> bool:
    try:
        return sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest() == wanted
    except (OSError, ValueError):
        return False


def _find(urls: Iterable[str], wanted: str) -> bytes:
    answered = False
    for url in urls:
        for certificate in _shown(url):
            answered = True
            if sha256(certificate).hexdigest() == wanted:
                return certificate
    if not answered:
        raise EngineError("Elasticsearch can't be reached through TLS: check ELASTICSEARCH_URL.", code="unreachable")
    raise EngineError(
        "Elasticsearch shows no certificate with the fingerprint of ELASTICSEARCH_CA_FINGERPRINT: if the cluster's authority was not "
        "changed, somebody is in between; nothing was sent.",
        code="untrusted",
    )


def _shown(url: str) -> list[bytes]:
    """The certificates that a server shows, DER; nothing of ours is said to it. Empty if it can't be reached."""
    at = urlsplit(url)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((at.hostname or "", at.port or 443), timeout=_ANSWER_SECONDS) as plain,
            asking.wrap_socket(plain, server_hostname=at.hostname) as secured,
        ):
            if hasattr(secured, "get_unverified_chain"):  # since Python 3.13
                return list(secured.get_unverified_chain())
            chain = secured._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
            return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain]
    except OSError:
        return []
