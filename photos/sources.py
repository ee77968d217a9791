"""Where photos come from: folders, single files, archives, CSV lists, addresses. Lazily, in a stable order, whatever their number.

A photo has an *address*: an absolute path; a member of an archive (``/abs/photos.zip!/Ada/1.jpg``); or a URL that fsspec opens, or http(s).
It is stored and shown, so secrets are taken out of it (``core.addresses.shown``), and it is shortened where no index could hold it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from core import addresses, remote, web
from core.addresses import scheme, shown
from core.errors import UsageError
from photos import archives, lists
from photos.archives import WITHIN, absolute, archive_of, is_archive
from photos.places import Dear, File, Nowhere, Place, Remote, Web

_PUBLIC = web.Limits()


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


def is_many(source: str | Path) -> bool:
    """Whether a source that is here is a folder, an archive or a list of photos."""
    return is_list(source) or is_archive(str(source)) or os.path.isdir(source)  # noqa: PTH112


def is_there(source: str) -> bool:
    """Whether a file, a folder or a member of an archive is here."""
    return os.path.exists(source) or _is_in_archive(source)  # noqa: PTH110 - unlike Path.exists, false for a name that is too long


def check(sources: Sequence[str | Path], person_from: PersonFrom, limits: web.Limits = _PUBLIC) -> None:
    """Refuses what can't be a source, before anything is started.

    Raises:
        UsageError: a source that is not there or can't be read, an empty or closed folder or archive, a CSV list without its columns, an
            address that is misspelled, or without the package that opens it, or that the limits forbid.
    """
    for source in map(str, sources):
        if person_from is PersonFrom.csv and scheme(source):
            raise UsageError(f"A list is read from a file on this machine, not from {shown(source)}.")
        if scheme(source):
            _check_address(source, limits)
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
        UsageError: a list or an archive can't be read, an address is misspelled or forbidden.
    """
    for source in map(str, sources):
        if person_from is PersonFrom.csv:
            yield from _listed(Path(source), limits)
            continue
        for address, name, place in _found(source, limits):
            folder = name.rpartition("/")[0].rpartition("/")[2]
            person = folder if folder and person_from is PersonFrom.folder else None
            yield _bounded(Source(address, person, kept_in=place)) if len(address) > _SHORT else Source(address, person, kept_in=place)


def place_of(address: str, limits: web.Limits) -> Place:
    """Where the bytes of one photo are, by its address as a list has it, or as it is stored. It is neither a folder nor an archive."""
    try:
        kind = scheme(address)
        if kind in {"http", "https"}:
            return Web(address.strip(), limits)
        if kind == "file":
            return place_of(addresses.file_path(address), limits)
        archive = archive_of(address)
        if kind:
            remote.check(address, limits)
        if archive is not None:
            return _member(archive, address[len(archive) + len(WITHIN) :])
        return Remote(address, limits.seconds) if kind else File(address)
    except UsageError as error:
        return Nowhere(str(error), "forbidden" if error.code == "forbidden" else "unreadable")


Found = tuple[str, str, Place | None]  # an address, the path in it whose last folder may name a person, where the bytes are

_SHORT = addresses.LONGEST // 4  # characters, of at most four bytes
_TOO_LONG = f"The address has more than {addresses.LONGEST} bytes: no index could hold it."


def _bounded(source: Source) -> Source:
    if not addresses.is_too_long(source.path):
        return source
    short = addresses.shortened(source.path)
    return Source(short, None, source.labels, Nowhere(_TOO_LONG))


def _found(source: str, limits: web.Limits) -> Iterator[Found]:
    if scheme(source):
        yield from _at_address(source, limits)
    elif _is_in_archive(source):
        yield from _in_archive(absolute("", source))
    else:
        path = absolute("", source)
        for photo in walk(path) if os.path.isdir(path) else (path,):  # noqa: PTH112
            yield photo, photo, None


def _in_archive(source: str) -> Iterator[Found]:
    """The members of an archive, or the one that is named."""
    archive = archive_of(source)
    if archive is not None:
        name = source[len(archive) + len(WITHIN) :]
        place: Place = Nowhere(_NO_MEMBER)
        for member, there in archives.members(archive):  # nothing of an archive is kept for one photo of it
            if member == name:
                place = there
                break
        yield shown(archive) + WITHIN + name, name, place
        return
    for name, place in archives.members(source):
        yield shown(source) + WITHIN + name, name, place


def _at_address(source: str, limits: web.Limits) -> Iterator[Found]:
    kind = scheme(source)
    if kind == "file":
        yield from _found(addresses.file_path(source), limits)
        return
    if kind in {"http", "https"}:
        yield shown(source), addresses.path(source), Web(source, limits)
        return
    remote.check(source, limits)
    if archive_of(source) is not None or is_archive(source):
        yield from _in_archive(source)
    else:
        for url in remote.walk(source) if remote.is_folder(source) else iter([source]):
            yield shown(url), addresses.path(url), Remote(url, limits.seconds)


def _listed(path: Path, limits: web.Limits) -> Iterator[Source]:
    for row in lists.rows(path):
        if row.wrong is not None:
            yield Source(f"{absolute('', str(path))}{WITHIN}line {row.line}", kept_in=Nowhere(row.wrong))
            continue
        address = row.address
        place: Place | None = None
        if scheme(address) == "file":
            try:
                address = addresses.file_path(address)
            except UsageError as error:
                place = Nowhere(str(error))
        if place is None and (scheme(address) or WITHIN in address):
            place = place_of(address, limits)
        source = Source(shown(address), row.person, row.labels, None if isinstance(place, File) else place)
        yield _bounded(source) if len(address) > _SHORT else source


def _is_in_archive(path: str) -> bool:
    return archive_of(path) is not None or (is_archive(path) and os.path.isfile(path))  # noqa: PTH113


_NO_MEMBER = "There is no such photo in the archive."


def _member(archive: str, name: str) -> Place:
    try:
        return _directories.of(archive).get(name) or Nowhere(_NO_MEMBER)
    except UsageError as error:
        return Nowhere(str(error))


class _Directories:
    """What archives hold that lists name photos of: those that were named last, as long as they have few members together."""

    _MOST = 400_000  # members, of less than 200 bytes each

    def __init__(self) -> None:
        self._found: OrderedDict[str, Mapping[str, Place]] = OrderedDict()

    def of(self, archive: str) -> Mapping[str, Place]:
        """The members of an archive by name.

        Raises:
            UsageError: it can't be opened.
        """
        if archive not in self._found:
            self._found[archive] = dict(_cheap(archive))
        self._found.move_to_end(archive)
        while len(self._found) > 1 and sum(map(len, self._found.values())) > self._MOST:
            self._found.popitem(last=False)
        return self._found[archive]


_directories = _Directories()


def _cheap(archive: str) -> Iterator[archives.Member]:
    for name, place in archives.members(archive):
        if isinstance(place, Dear):
            place.drop()  # what is not asked for soon is read again
        yield name, place


def _check_address(source: str, limits: web.Limits) -> None:
    kind = scheme(source)
    if kind in {"http", "https"}:
        addresses.check(source)
        if is_archive(addresses.path(source)) or is_list(addresses.path(source)):
            raise UsageError(f"Archives and lists are not read from the web: bring {shown(source)} here first.")
    elif kind == "file":
        check([addresses.file_path(source)], PersonFrom.none)
    else:
        remote.check(source, limits)
        remote.is_folder(archive_of(source) or source)
        _check_filled(source, "archive" if is_archive(source) else "folder", limits)


def _check_filled(source: str, kind: str, limits: web.Limits = _PUBLIC) -> None:
    if next(_found(source, limits), None) is None:
        raise UsageError(f"There are no photos in the {kind} {shown(source)!r}.", code=f"empty_{kind}")


def walk(folder: str) -> Iterator[str]:
    """The files below a folder, sorted within each folder. Links to folders are followed, each folder once, and none that leads back up.

    A folder that can't be listed is given out in place of its files, so that it becomes a reject instead of a silent gap.
    """
    linked: set[tuple[int, int]] = set()  # folders that were entered through links: else a few that link each other become millions
    levels: list[tuple[str, Iterator[tuple[str, int]]]] = [("", iter([(folder, _FOLDER)]))]
    while levels:
        inside, names = levels[-1]
        for name, kind in names:
            if not kind:
                yield inside + name
                continue
            path = inside + name
            if kind == _LINK and not _is_new(path, [above for above, _ in levels[1:]], linked):
                continue
            try:
                below = _listing(path)
            except OSError:
                yield path
                continue
            levels.append((os.path.join(path, ""), iter(below)))  # noqa: PTH118
            break
        else:
            levels.pop()


_FOLDER, _LINK = 1, 2  # a folder, a link to one; everything else is 0


def _listing(folder: str) -> list[tuple[str, int]]:
    # Names, and which of them are folders: most file systems tell both at once, and a folder can hold a million.
    with os.scandir(folder) as entries:
        return sorted((entry.name, _kind(entry)) for entry in entries if not entry.name.startswith("."))


def _kind(entry: os.DirEntry[str]) -> int:
    try:
        if not entry.is_dir():
            return 0
        return _LINK if entry.is_symlink() else _FOLDER
    except OSError:  # links in a circle, for instance
        return 0


def _is_new(path: str, above: list[str], linked: set[tuple[int, int]]) -> bool:
    """Whether a link leads to a folder that is neither above it nor was entered through a link before."""
    try:
        target = _identity(path)
        if target in linked or target in map(_identity, above):
            return False
    except OSError:
        return True  # it will be given out
    linked.add(target)
    return True


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino
