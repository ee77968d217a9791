"""CSV lists of photos: a column ``path``, perhaps a column ``person``, and every other column a label."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError

_LONGEST_LABEL = 255  # characters of a label's name


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: an address, the person where known, the labels that are not empty."""

    address: str
    person: str | None
    labels: Mapping[str, str]


def check(path: Path) -> None:
    """Refuses what is no list.

    Raises:
        UsageError: the column ``path`` is missing, or a column has a name that no label can have.
    """
    columns: list[str] = []
    if path.is_file():  # a named pipe would be waited for
        with suppress(OSError, UnicodeDecodeError, csv.Error), path.open(newline="", encoding="utf-8-sig") as file:
            columns = list(csv.DictReader(file).fieldnames or ())
    if "path" not in columns:
        raise UsageError(f"{str(path)!r} is no list of photos: with --person csv, give CSV files with the column path, perhaps person.")
    for column in columns:
        if len(column) > _LONGEST_LABEL or "\0" in column:
            raise UsageError(f"The column {column[:40]!r} of {str(path)!r} can't be a label: its name is too long, or holds a NUL.")


def rows(path: Path) -> Iterator[Row]:
    """The lines of a list that name a photo. Paths are relative to the list's folder; addresses stay as they are.

    Raises:
        UsageError: the list can't be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            for row in csv.DictReader(file):
                named = row.pop("path", None)
                person = row.pop("person", None)
                if named:
                    address = named if "://" in named else os.path.abspath(os.path.join(path.parent, named))  # noqa: PTH100, PTH118
                    # A line that is too long has its rest under None; a column without a name is an index that a program left.
                    yield Row(address, person or None, {name: text for name, text in row.items() if name and text})
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"The list {str(path)!r} can't be read ({error}).") from None
