"""Whatever fsspec opens: s3://, gs://, sftp:// and others. Photos are read whole, folders are listed one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from core.errors import PhotoError, UsageError
from core.files import MAX_BYTES

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

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
# What wraps another address would get around the limits of core.web, or write to disk.
_WRAPPERS = {
    *("asynclocal", "async_wrapper", "blockcache", "cached", "dir", "filecache", "generic", "libarchive", "reference", "simplecache"),
    *("tar", "zip", "http", "https", "file", "local"),
}


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the address as that names it.

    Raises:
        UsageError: there is none (``no_such_protocol``), its package is missing (``missing_package``), or it can't be set up
            (``unreadable_source``: credentials, for instance).
    """
    from fsspec import available_protocols
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0].lower()
    if "::" in url or protocol in _WRAPPERS or protocol not in available_protocols():
        raise UsageError(f"{protocol!r} is no kind of address that photos are read from.", code="no_such_protocol")
    try:
        # Without its cache of listings, which would grow with the number of photos.
        made: tuple[AbstractFileSystem, str] = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        remedy = f"pip install 'facedex[{extra}]'" if extra else str(error)
        raise UsageError(f"A package is missing to read {protocol}:// addresses: {remedy}", code="missing_package") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise UsageError(f"{protocol}:// addresses can't be read ({_kind(error)}).", code="unreadable_source") from None
    return made


def read(url: str) -> bytes:
    """The bytes of a photo.

    Raises:
        PhotoError: ``unreadable`` or ``too_large``.
    """
    try:
        with open_(url) as file:
            data = file.read(MAX_BYTES + 1)
    except UsageError as error:
        raise PhotoError(str(error), code="unreadable") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise PhotoError(f"The address can't be read ({_kind(error)}).", code="unreadable") from None
    if len(data) > MAX_BYTES:
        raise PhotoError(f"The file has more than {MAX_BYTES >> 20} MB.", code="too_large")
    return data


def open_(url: str) -> IO[bytes]:
    """A file to read and seek in.

    Raises:
        UsageError: see :func:`file_system`.
        Exception: whatever the file system raises.
    """
    files, path = file_system(url)
    return cast(IO[bytes], files.open(path, "rb"))


def is_folder(url: str) -> bool:
    """Whether an address is a folder's, not a file's.

    Raises:
        UsageError: there is neither (``no_such_source``), or it can't be looked at (``unreadable_source``).
    """
    files, path = file_system(url)
    try:
        return bool(files.info(path)["type"] == "directory")
    except FileNotFoundError:
        raise UsageError(f"There is nothing at {url}.", code="no_such_source") from None
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        raise UsageError(f"{url} can't be read ({_kind(error)}).", code="unreadable_source") from None


def walk(url: str) -> Iterator[str]:
    """The addresses of all files below a folder, sorted within each folder, hidden ones left out.

    A folder that can't be listed is given out in place of its files, so that it becomes a reject instead of a silent gap.
    """
    files, root = file_system(url)
    # Not every file system gives back the server's name with a file's: addresses are made of the one that was given.
    base, root = url if url.endswith("://") else url.rstrip("/"), root.rstrip("/")
    yield from (base + path.rstrip("/")[len(root) :] for path in _walk(files, root))


def _walk(files: AbstractFileSystem, folder: str) -> Iterator[str]:
    try:
        entries: list[dict[str, Any]] = files.ls(folder, detail=True)
        found = sorted((entry["name"].rstrip("/"), entry["type"] == "directory") for entry in entries)
    except Exception:  # noqa: BLE001 - each file system has errors of its own
        yield folder
        return
    for path, is_below in found:
        if path == folder or path.rsplit("/", 1)[-1].startswith("."):  # object stores can hold an empty object named like the folder
            continue
        if is_below:
            yield from _walk(files, path)
        else:
            yield path


def _kind(error: Exception) -> str:
    """An error without its words, which can repeat credentials."""
    return (error.strerror or type(error).__name__).lower() if isinstance(error, OSError) and error.errno else type(error).__name__
