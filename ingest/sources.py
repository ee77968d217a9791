"""Where photos come from: folders, single files, archives, CSV lists, addresses. Lazily, in a stable order, whatever their number.

A photo has an *address*: an absolute path; a member of an archive (``/abs/photos.zip!/Ada/1.jpg``); or a URL that fsspec opens, or http(s).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core import remote, web
from core.errors import UsageError
from ingest import archives, lists
from ingest.archives import WITHIN, is_archive
from ingest.places import Dear, File, Nowhere, Place, Remote, Web

_PUBLIC = web.Limits()
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")


class PersonFrom(StrEnum):
    """Where a photo's person is read from."""

    none = "none"
    folder = "folder"
    csv = "csv"


@dataclass(frozen=True, slots=True)
class Source:
    """One photo to ingest: its address; where known, the person it shows; labels; and where its bytes are, unless that is a file."""

    path: str
    person: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    kept_in: Place | None = field(default=None, compare=False)

    @property
    def place(self) -> Place:
        """Where its bytes are."""
        return self.kept_in or File(self.path)


def is_list(source: str | Path) -> bool:
    """Whether a source ends as a CSV list does."""
    return str(source).lower().endswith(".csv")


def check(sources: Sequence[str | Path], person_from: PersonFrom) -> None:
    """Refuses what can't be a source, before anything is started.

    Raises:
        UsageError: a source that is not there or can't be read, an empty or closed folder or archive, a CSV list without its columns, an
            address without the package that opens it.
    """
    for source in map(str, sources):
        if person_from is PersonFrom.csv and "://" in source:
            raise UsageError(f"A list is read from a file on this machine, not from {_shown(source)}.")
        if "://" in source:
            _check_address(source)
        elif person_from is not PersonFrom.csv and _is_in_archive(source):
            _check_filled(source, "archive")
        elif not os.path.exists(source):  # noqa: PTH110 - unlike Path.exists, false for a name that is too long
            raise UsageError(f"There is no file or folder {source!r}.", code="no_such_source")
        elif person_from is PersonFrom.csv:
            lists.check(Path(source))
        elif Path(source).is_dir() and not os.access(source, os.R_OK | os.X_OK):
            raise UsageError(f"The folder {source!r} can't be read: check its permissions.", code="unreadable_folder")
        elif Path(source).is_dir():
            _check_filled(source, "folder")


def photos(sources: Sequence[str | Path], person_from: PersonFrom, limits: web.Limits = _PUBLIC) -> Iterator[Source]:
    """All photos of all sources: each folder sorted by name, archives and lists in their own order, hidden files and folders left out.

    With ``folder``, the folder that holds a photo names its person. With ``csv``, the sources are CSV files with the column ``path``
    (relative to the CSV file, or an address); the column ``person`` names people, where it is not empty; all other columns are labels.

    Raises:
        UsageError: a list or an archive can't be read.
    """
    for source in map(str, sources):
        if person_from is PersonFrom.csv:
            yield from _listed(Path(source), limits)
            continue
        for address, name, place in _found(source, limits):
            folder = name.rpartition("/")[0].rpartition("/")[2]
            yield Source(address, folder or None if person_from is PersonFrom.folder else None, kept_in=place)


Found = tuple[str, str, Place | None]  # an address, the path in it whose last folder may name a person, where the bytes are


def _found(source: str, limits: web.Limits) -> Iterator[Found]:
    if "://" in source:
        yield from _at_address(source, limits)
    elif _is_in_archive(source):
        yield from _in_archive(os.path.abspath(source))  # noqa: PTH100
    else:
        path = os.path.abspath(source)  # noqa: PTH100 - Path.absolute keeps "..", and links stay as they are named
        for photo in walk(path) if os.path.isdir(path) else (path,):  # noqa: PTH112
            yield photo, photo, None


def _in_archive(source: str) -> Iterator[Found]:
    """The members of an archive, or the one that is named."""
    archive = _archive_of(source)
    if archive is not None:
        name = source[len(archive) + len(WITHIN) :]
        yield source, name, _member(archive, name)
        return
    for name, place in archives.members(source):
        yield _shown(source) + WITHIN + name, name, place


def _at_address(source: str, limits: web.Limits) -> Iterator[Found]:
    scheme = source.partition("://")[0].lower()
    if scheme == "file":
        yield from _found(unquote(urlsplit(source).path), limits)
    elif scheme in {"http", "https"}:
        yield _shown(source), unquote(urlsplit(source).path), Web(source, limits)
    elif _archive_of(source) is not None or is_archive(source):
        yield from _in_archive(source)
    else:
        for url in remote.walk(source) if remote.is_folder(source) else iter([source]):
            yield _shown(url), url.partition("://")[2], Remote(url)


def _listed(path: Path, limits: web.Limits) -> Iterator[Source]:
    for row in lists.rows(path):
        address = row.address
        if address.lower().startswith("file://"):
            address = unquote(urlsplit(address).path)
        yield Source(_shown(address), row.person, row.labels, _listed_place(address, limits))


def _listed_place(address: str, limits: web.Limits) -> Place | None:
    """Where the bytes of one photo are; a list names photos, not folders or archives."""
    scheme = address.partition("://")[0].lower() if "://" in address else ""
    if scheme in {"http", "https"}:
        return Web(address, limits)
    archive = _archive_of(address)
    if archive is not None:
        return _member(archive, address[len(archive) + len(WITHIN) :])
    return Remote(address) if scheme else None


def _archive_of(address: str) -> str | None:
    """The archive of an address like ``photos.zip!/Ada/1.jpg``. (A folder may have such a name, too.)"""
    archive, mark, _ = address.partition(WITHIN)
    return archive if mark and is_archive(archive) and ("://" in archive or os.path.isfile(archive)) else None  # noqa: PTH113


def _is_in_archive(path: str) -> bool:
    return _archive_of(path) is not None or (is_archive(path) and os.path.isfile(path))  # noqa: PTH113


def _member(archive: str, name: str) -> Place:
    try:
        return _directory(archive).get(name) or Nowhere("There is no such photo in the archive.")
    except UsageError as error:
        return Nowhere(str(error))


@lru_cache(maxsize=4)  # lists mostly name one archive after the other
def _directory(archive: str) -> Mapping[str, Place]:
    found = {}
    for name, place in archives.members(archive):
        if isinstance(place, Dear):
            place.drop()  # what is not asked for soon is read again
        found[name] = place
    return found


def _check_address(source: str) -> None:
    scheme = source.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        if is_archive(urlsplit(source).path) or is_list(urlsplit(source).path):
            raise UsageError(f"Archives and lists are not read from the web: bring {_shown(source)} here first.")
    elif scheme == "file":
        check([unquote(urlsplit(source).path)], PersonFrom.none)
    else:
        remote.is_folder(_archive_of(source) or source)
        _check_filled(source, "archive" if is_archive(source) else "folder")


def _check_filled(source: str, kind: str) -> None:
    if next(_found(source, _PUBLIC), None) is None:
        raise UsageError(f"There are no photos in the {kind} {_shown(source)!r}.", code=f"empty_{kind}")


def _shown(address: str) -> str:
    """An address without the user and the password in it: it is stored, and shown."""
    return _CREDENTIALS.sub("", address)


def walk(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """The files below a folder, sorted within each folder. Links to folders are followed, once around a loop.

    A folder that can't be listed is given out in place of its files, so that it becomes a reject instead of a silent gap.
    """
    try:
        status = os.stat(folder)  # noqa: PTH116
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        # Names, and which of them are folders: most file systems tell both at once, and a folder can hold a million.
        with os.scandir(folder) as entries:
            names = sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError:
        yield folder
        return
    inside = os.path.join(folder, "")  # noqa: PTH118
    for name, is_folder in names:
        if name.startswith("."):
            continue
        if is_folder:
            yield from walk(inside + name, (*above, here))
        else:
            yield inside + name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle, for instance
        return False
