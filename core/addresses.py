"""Addresses (``scheme://...``): taken apart without surprises, and shown without the secrets in them.

Addresses come from lists that others wrote. Python's parsers raise on some of them, so that only :func:`check` uses one.
"""

from __future__ import annotations

import hashlib
import os
import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from core.errors import UsageError

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.:_-]*)://")
# The user and the password. What follows a colon and is no port is a password, also where a "/" in it ends the server's name for parsers.
_CREDENTIALS = re.compile(r"(?<=://)(?:[^/?#]*@|[^/?#@\[]*:(?!\d*(?:[/?#]|$)).*@)", re.DOTALL)
_ASSIGNED = re.compile(r"([?#&;])([^=&;#?]+)=([^&;#]+)")
_SECRET = re.compile(
    "sig$|signature|token|secret|pass|pwd|^pw$|credential|key$|key.?id|accessid|auth(?!or$)|jwt|^sas|session|policy$|hmac|hdn|ticket|^code$",
    re.IGNORECASE,
)
_MARK = "secret-"
_MARKED = re.compile(rf"[?#&;][^=&;#?]+={_MARK}[0-9a-f]{{8}}(?=[&;#]|$)")

LONGEST = 4096  # bytes of an address; Elasticsearch refuses to search for more than 32,766, and no file system has longer ones
_FIRST = 200  # characters that a longer one is shown with


def scheme(address: str) -> str:
    """The scheme of an address, in lower case; empty for a path."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def shown(address: str) -> str:
    """An address as it is stored and told: without user and password, and with a hash in place of each secret of its query."""
    if "://" not in address:
        return address
    return _ASSIGNED.sub(_masked, _CREDENTIALS.sub("", address))


def is_masked(address: str) -> bool:
    """Whether a shown address lost a secret of its query, without which it can't be opened."""
    return "://" in address and _MARKED.search(address) is not None


def _masked(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    if not _SECRET.search(unquote(name)) or _MARKED.fullmatch(found[0]):
        return found[0]
    return f"{mark}{name}={_MARK}{_hash(value)[:8]}"


def is_too_long(address: str) -> bool:
    """Whether an address, as bytes, is longer than :data:`LONGEST`."""
    return 4 * len(address) > LONGEST and len(address.encode("utf-8", "surrogatepass")) > LONGEST


def shortened(address: str) -> str:
    """The beginning of an address that is too long, with a hash of the whole."""
    return f"{address[:_FIRST]}...{_hash(address)[:16]}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def path(address: str) -> str:
    """The path of an address, without the server (or bucket) and without the query of a web address."""
    rest = shown(address).partition("://")[2]
    if scheme(address) in {"http", "https"}:
        rest = unquote(re.split("[?#]", rest, maxsplit=1)[0])
    return "/" + rest.partition("/")[2]


def file_path(address: str) -> str:
    """The path of a ``file://`` address. ``#`` and ``?`` are characters like others in the name of a file.

    Raises:
        UsageError: it names no file of this machine (code ``bad_address``).
    """
    rest = address.partition("://")[2]
    rest = rest[len("localhost") :] if rest.startswith("localhost/") else rest
    if not rest.startswith("/"):
        raise UsageError("An address of a file has three slashes, then its whole path: file:///photos/1.jpg.", code="bad_address")
    return os.fsdecode(unquote_to_bytes(os.fsencode(rest)))


def check(address: str) -> None:
    """Refuses what is no address of the web.

    Raises:
        UsageError: it can't be taken apart (code ``bad_address``).
    """
    try:
        parts = urlsplit(address)
        is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good:
        raise UsageError(f"{shown(address)!r} is no address: something in it is misspelled.", code="bad_address")
