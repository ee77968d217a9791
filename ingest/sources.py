"""Where photos come from: folders, single files, CSV lists. Lazily, in a stable order, whatever their number."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
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
        UsageError: a path that is not there, an empty folder, a CSV list without its columns.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file or folder {str(path)!r}.", code="no_such_source")
        if person_from is PersonFrom.csv:
            _columns(path)
        elif path.is_dir() and next(walk(path), None) is None:
            raise UsageError(f"There are no photos in the folder {str(path)!r}.", code="empty_folder")


def photos(paths: Sequence[Path], person_from: PersonFrom) -> Iterator[Source]:
    """All photos of all sources, each folder sorted by name, hidden files and folders left out.

    With ``folder``, the folder that holds a photo names its person. With ``csv``, the sources are CSV files with the columns ``path``
    (relative to the CSV file) and ``person``; an empty person means not known.

    Raises:
        UsageError: a folder or list can't be read.
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
    """The files below a folder, sorted within each folder. Links to folders are followed, once around a loop."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(
            f"The folder {str(folder)!r} can't be read ({(error.strerror or 'error').lower()}).", code="unreadable_folder"
        ) from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk(Path(entry.path), (*above, here))
        else:
            yield Path(entry.path)


def _columns(path: Path) -> None:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = csv.DictReader(file).fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error):
        columns = ()
    if not {"path", "person"} <= set(columns):
        raise UsageError(f"{str(path)!r} is no list of photos: with --person csv, give CSV files with the columns path and person.")


def _listed(path: Path) -> Iterator[Source]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            for row in csv.DictReader(file):
                if row["path"]:
                    photo = Path(os.path.abspath(path.parent / row["path"]))  # noqa: PTH100
                    yield Source(photo, row["person"] or None)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"The list {str(path)!r} can't be read ({error}).") from None
