"""Photos from the web, for addresses that strangers may have written: limits of size, time and redirects, and no way into private networks.

A name is resolved once, and the connection goes to the very address that was judged: a name server can't answer with a harmless
address first and with another one then. Each redirect is judged anew. No proxy is used, since it would resolve names by itself.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urljoin

from core.deadline import within
from core.errors import PhotoError
from core.files import MAX_BYTES

if TYPE_CHECKING:
    import ssl

    from urllib3.connection import HTTPConnection
    from urllib3.response import BaseHTTPResponse
    from urllib3.util import Url

_REDIRECTS = 5
_MOVED = {301, 302, 303, 307, 308}
_OK = 200
_PIECE = 1 << 16
_NAT64, _LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48")
# What not every Python's tables have: protocol assignments, documentation; and an address that only machines of one cloud reach.
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "3fff::/20", "168.63.129.16/32")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take, and where it may go."""

    seconds: float = 30.0  # from the first name resolved to the last byte
    allow_private: bool = False


def fetch(url: str, limits: Limits) -> bytes:
    """What a server answers to GET.

    Raises:
        PhotoError: ``forbidden`` (an address inside a private network, a redirect to another scheme), ``too_large``, ``timeout`` or
            ``unreadable`` (no answer, an answer other than 200, too many redirects).
    """
    from http.client import HTTPException

    from urllib3.exceptions import HTTPError

    deadline = time.monotonic() + limits.seconds
    try:
        for _ in range(1 + _REDIRECTS):
            with _answer(_parsed(url), limits, deadline) as response:
                if response.status not in _MOVED:
                    data = _body(response)
                    if time.monotonic() >= deadline:  # cut off: that looks like the end of a body without a length
                        raise _late(limits)
                    return data
                url = urljoin(url, response.headers.get("Location", ""))
        raise PhotoError(f"The server redirects more than {_REDIRECTS} times.", code="unreadable")
    except (HTTPError, HTTPException, OSError, ValueError, PhotoError) as error:
        if time.monotonic() >= deadline:  # what was cut off at the limit can look like anything
            raise _late(limits) from None
        if isinstance(error, PhotoError):
            raise
        # Only the kind of error is told: the words can repeat what the server sent.
        raise PhotoError(f"The server can't be read ({type(error).__name__}).", code="unreadable") from None


def _late(limits: Limits) -> PhotoError:
    return PhotoError(f"The server took more than {limits.seconds:g} seconds.", code="timeout")


def is_private(address: Address) -> bool:
    """Whether an address is not the public internet's: loopback, private, link-local, multicast, reserved, or one that hides such."""
    hidden = _hidden(address)
    if hidden is not None:
        return is_private(hidden)
    return (
        not address.is_global
        or address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or any(address in network for network in _SPECIAL)
        or (isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address in _LOCAL_NAT64))
    )


def _hidden(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that gateways would make of an IPv6 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _parsed(url: str) -> Url:
    from urllib3.util import parse_url

    parsed = parse_url(url)
    if parsed.scheme not in {"http", "https"}:
        raise PhotoError("The server redirects to something else than http or https.", code="forbidden")
    if not parsed.host:
        raise PhotoError("There is no server's name in the address.", code="unreadable")
    return parsed


@contextmanager
def _answer(url: Url, limits: Limits, deadline: float) -> Iterator[BaseHTTPResponse]:
    headers = {"Host": url.netloc or "", "Accept-Encoding": "identity", "User-Agent": "facedex", "Connection": "close"}
    if url.auth:
        name, _, word = url.auth.partition(":")
        headers["Authorization"] = "Basic " + b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(word)).decode("ascii")
    connection = _connected(url, limits, deadline)
    # Time limits of sockets start anew with each byte: a server that sends one now and then would never meet them.
    watch = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, (connection.sock,))
    watch.daemon = True
    watch.start()
    try:
        connection.request("GET", url.request_uri, headers=headers, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as response:
            yield response
    finally:
        watch.cancel()
        connection.close()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        connected.shutdown(socket.SHUT_RDWR)


def _connected(url: Url, limits: Limits, deadline: float) -> HTTPConnection:
    failure: Exception = OSError("no address")
    for address in _addresses(url, limits, deadline):
        connection = _connection(url, address, max(0.001, deadline - time.monotonic()))
        try:
            connection.connect()
        except Exception as error:  # noqa: BLE001 - kept, and raised when no other address answers
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _connection(url: Url, address: str, seconds: float) -> HTTPConnection:
    from urllib3.connection import HTTPConnection, HTTPSConnection

    if url.scheme == "http":
        return HTTPConnection(address, url.port or 80, timeout=seconds)
    name = _bare(url)
    return HTTPSConnection(address, url.port or 443, timeout=seconds, ssl_context=_tls(), server_hostname=name, assert_hostname=name)


@cache
def _tls() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


def _addresses(url: Url, limits: Limits, deadline: float) -> list[str]:
    """The numeric addresses of a server that may be connected to."""
    try:
        found = within(deadline - time.monotonic(), lambda: socket.getaddrinfo(_bare(url), None, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise _late(limits) from None
    except (OSError, UnicodeError):
        raise PhotoError("There is no server of this name.", code="unreadable") from None
    numeric = list(dict.fromkeys(str(place[0]) for *_, place in found))
    allowed = [each for each in numeric if limits.allow_private or not is_private(ipaddress.ip_address(each))]
    if not allowed:
        raise PhotoError(
            "The address is inside a private network: allow that with --allow-private-addresses, if you trust the list.", code="forbidden"
        )
    return allowed


def _bare(url: Url) -> str:
    return (url.host or "").strip("[]")


def _body(response: BaseHTTPResponse) -> bytes:
    if response.status != _OK:
        raise PhotoError(f"The server answers with status {response.status}.", code="unreadable")
    too_large = PhotoError(f"The server sends more than {MAX_BYTES >> 20} MB.", code="too_large")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise too_large
    data = BytesIO()  # gives its bytes away without a copy
    while piece := response.read(_PIECE):
        data.write(piece)
        if data.tell() > MAX_BYTES:
            raise too_large
    if length.isdecimal() and data.tell() < int(length):
        raise PhotoError("The server stopped before the end.", code="unreadable")
    return data.getvalue()
