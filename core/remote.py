"""Whatever fsspec opens: s3://, gs://, sftp:// and others. Photos are read whole, folders are listed one at a time.

Of lists that strangers may have written, only what can't lead into private networks is opened: buckets, and machines that ask for a login.
Whatever fsspec does is given up after a time: its file systems have no limits, or limits that start anew with each byte.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from core import addresses
from core.deadline import within
from core.errors import PhotoError, UsageError
from core.files import MAX_BYTES
from core.web import Limits

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from typing_extensions import Buffer

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "sftp": "sftp",
    "ssh": "sftp",
}
_HARMLESS = {*_EXTRAS, "adl", "memory"}
# What wraps another address would get around these limits, or write to disk; some name no file at all.
_WRAPPERS = {
    *("async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir", "filecache", "generic", "libarchive"),
    *("reference", "simplecache", "tar", "zip", "http", "https", "file", "local"),
}
_SECONDS = Limits().seconds
_PIECE = 1 << 20


def check(url: str, limits: Limits) -> None:
    """Refuses kinds of addresses that don't say where they lead, unless private networks are allowed.

    Raises:
        UsageError: it is of such a kind (``forbidden``), or of none (``no_such_protocol``).
    """
    protocol = _protocol(url)
    if protocol not in _HARMLESS and not limits.allow_private:
        raise UsageError(
            f"{protocol}:// addresses may lead into a private network: allow that with --allow-private-addresses, if you trust them.",
            code="forbidden",
        )


def _protocol(url: str) -> str:
    from fsspec import available_protocols

    protocol = addresses.scheme(url)
    if "::" in url or protocol in _WRAPPERS or protocol not in available_protocols():
        raise UsageError(f"{protocol!r} is no kind of address that photos are read from.", code="no_such_protocol")
    return protocol


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the address as that names it.

    Raises:
        UsageError: there is none (``no_such_protocol``), its package is missing (``missing_package``), or it can't be set up
            (``unreadable_source``: credentials, for instance).
    """
    from fsspec.core import url_to_fs

    protocol = _protocol(url)
    try:
        # Without its cache of listings, which would grow with the number of photos.
        made: tuple[AbstractFileSystem, str] = within(_SECONDS, lambda: url_to_fs(url, use_listings_cache=False))
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        remedy = f"pip install 'facedex[{extra}]'" if extra else str(error)
        raise UsageError(f"A package is missing to read {protocol}:// addresses: {remedy}", code="missing_package") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise UsageError(f"{protocol}:// addresses can't be read ({_kind(error)}).", code="unreadable_source") from None
    return made


def read(url: str, seconds: float = _SECONDS) -> bytes:
    """The bytes of a photo.

    Raises:
        PhotoError: ``unreadable``, ``too_large`` or ``timeout``.
    """
    deadline = time.monotonic() + seconds
    try:
        return within(seconds, lambda: _read(url, deadline))
    except PhotoError:
        raise
    except UsageError as error:
        raise PhotoError(str(error), code="unreadable") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        if time.monotonic() >= deadline:
            raise PhotoError(f"The server took more than {seconds:g} seconds.", code="timeout") from None
        raise PhotoError(f"The address can't be read ({_kind(error)}).", code="unreadable") from None


def _read(url: str, deadline: float) -> bytes:
    data = io.BytesIO()
    files, path = file_system(url)
    with files.open(path, "rb") as file:
        while time.monotonic() < deadline and (piece := file.read(min(_PIECE, MAX_BYTES + 1))):
            if data.tell() + len(piece) > MAX_BYTES:
                raise PhotoError(f"The file has more than {MAX_BYTES >> 20} MB.", code="too_large")
            data.write(piece)
    if time.monotonic() >= deadline:
        raise TimeoutError
    return data.getvalue()


def open_(url: str) -> IO[bytes]:
    """A file to read and seek in. Each of its reads has a time limit.

    Raises:
        UsageError: see :func:`file_system`.
        Exception: whatever the file system raises.
    """
    files, path = file_system(url)
    opened: IO[bytes] = within(_SECONDS, lambda: files.open(path, "rb"))
    return cast(IO[bytes], io.BufferedReader(_Limited(opened), _PIECE))


class _Limited(io.RawIOBase):
    """A file whose reads are given up after a time."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        data = within(_SECONDS, lambda: self._file.read(len(view)))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return within(_SECONDS, lambda: self._file.seek(offset, whence))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def is_folder(url: str) -> bool:
    """Whether an address is a folder's, not a file's.

    Raises:
        UsageError: there is neither (``no_such_source``), or it can't be looked at (``unreadable_source``).
    """
    files, path = file_system(url)
    try:
        return bool(within(_SECONDS, lambda: files.info(path))["type"] == "directory")
    except FileNotFoundError:
        raise UsageError(f"There is nothing at {addresses.shown(url)}.", code="no_such_source") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise UsageError(f"{addresses.shown(url)} can't be read ({_kind(error)}).", code="unreadable_source") from None


def walk(url: str) -> Iterator[str]:
    """The addresses of all files below a folder, sorted within each folder, hidden ones left out.

    A folder that can't be listed is given out in place of its files, so that it becomes a reject instead of a silent gap; so is one whose
    name is too long, since a server could go on like that for ever.
    """
    files, root = file_system(url)
    # Not every file system gives back the server's name with a file's: addresses are made of the one that was given.
    base, root = url if url.endswith("://") else url.rstrip("/"), root.rstrip("/")
    yield from (base + path.rstrip("/")[len(root) :] for path in _walk(files, root))


def _walk(files: AbstractFileSystem, root: str) -> Iterator[str]:
    levels = [iter([(root, True)])]
    while levels:
        for path, is_below in levels[-1]:
            found = _below(files, path) if is_below and not addresses.is_too_long(path) else None
            if found is None:
                yield path
            else:
                levels.append(iter(found))
                break
        else:
            levels.pop()


def _below(files: AbstractFileSystem, folder: str) -> list[tuple[str, bool]] | None:
    """What is in a folder, and what of it are folders, or ``None`` if it can't be listed."""
    try:
        entries: list[dict[str, Any]] = within(_SECONDS, lambda: files.ls(folder, detail=True))
        found = sorted((entry["name"].rstrip("/"), entry["type"] == "directory") for entry in entries)
    except Exception:  # noqa: BLE001 - each file system has errors of its own
        return None
    # Object stores can hold an empty object named like the folder.
    return [each for each in found if each[0] != folder and not each[0].rsplit("/", 1)[-1].startswith(".")]


def _kind(error: Exception) -> str:
    """An error without its words, which can repeat credentials."""
    return (error.strerror or type(error).__name__).lower() if isinstance(error, OSError) and error.errno else type(error).__name__
