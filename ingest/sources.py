"""Where photos come from: folders, single files, CSV lists. Lazily, in a stable order, whatever their number."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.errors import UsageError


class PersonFrom(StrEnum):
    """Where a photo's person is read from."""

    none = "none"
    folder = "folder"
    csv = "csv"


@dataclass(frozen=True, slots=True)
class Source:
    """One photo to ingest: its absolute path and, where known, the person it shows."""

    path: Path
    person: str | None


def check(paths: Sequence[Path], person_from: PersonFrom) -> None:
    """Refuses what can't be a source, before anything is started.

    Raises:
        UsageError: a path that is not there, an empty or closed folder, a CSV list without its columns.
    """
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists, false for a name that is too long
            raise UsageError(f"There is no file or folder {str(path)!r}.", code="no_such_source")
        if person_from is PersonFrom.csv:
            _columns(path)
        elif path.is_dir() and not _is_listable(path):
            raise UsageError(f"The folder {str(path)!r} can't be read: check its permissions.", code="unreadable_folder")
        elif path.is_dir() and next(walk(path), None) is None:
            raise UsageError(f"There are no photos in the folder {str(path)!r}.", code="empty_folder")


def photos(paths: Sequence[Path], person_from: PersonFrom) -> Iterator[Source]:
    """All photos of all sources, each folder sorted by name, hidden files and folders left out.

    With ``folder``, the folder that holds a photo names its person. With ``csv``, the sources are CSV files with the columns ``path``
    (relative to the CSV file) and ``person``; an empty person means not known.

    Raises:
        UsageError: a list can't be read.
    """
    for path in paths:
        if person_from is PersonFrom.csv:
            yield from _listed(path)
            continue
        found = walk(path) if path.is_dir() else iter([path])
        for photo in found:
            photo = Path(os.path.abspath(photo))  # noqa: PLW2901, PTH100 - Path.absolute keeps "..", and links stay as they are named
            yield Source(photo, photo.parent.name or None if person_from is PersonFrom.folder else None)


def walk(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """The files below a folder, sorted within each folder. Links to folders are followed, once around a loop.

    A folder that can't be listed is given out in place of its files, so that it becomes a reject instead of a silent gap.
    """
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names alone: a folder can hold a million
    except OSError:
        yield folder
        return
    for name in names:
        if name.startswith("."):
            continue
        path = folder / name
        if os.path.isdir(path):  # noqa: PTH112 - unlike Path.is_dir, false for whatever can't be looked at
            yield from walk(path, (*above, here))
        else:
            yield path


def _is_listable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _columns(path: Path) -> None:
    columns: Sequence[str] = ()
    if path.is_file():  # a named pipe would be waited for
        with suppress(OSError, UnicodeDecodeError, csv.Error), path.open(newline="", encoding="utf-8-sig") as file:
            columns = csv.DictReader(file).fieldnames or ()
    if not {"path", "person"} <= set(columns):
        raise UsageError(
            f"{str(path)!r} is no list of photos: with --person csv, give CSV files with the columns path and person"
            + (f" (its columns are: {', '.join(columns)})." if columns else ".")
        )


def _listed(path: Path) -> Iterator[Source]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            for row in csv.DictReader(file):
                if row["path"]:
                    photo = Path(os.path.abspath(path.parent / row["path"]))  # noqa: PTH100
                    yield Source(photo, row["person"] or None)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"The list {str(path)!r} can't be read ({error}).") from None
