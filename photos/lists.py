"""CSV lists of photos: a column ``path``, perhaps a column ``person``, and every other column a label.

Blanks after commas don't count. A line that can't be read is told as such, and the list goes on behind it: a quote that is never closed
costs its line, not all that follow.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from core.addresses import scheme
from core.errors import UsageError
from photos.archives import absolute

_LONGEST_LABEL = 255  # characters of a label's name
_LONGEST_PERSON = 1000  # characters
_LONGEST_LINE = 1 << 20  # characters
_LINES = 100  # that a quoted text may go over


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list: an address, the person where known, the labels that are not empty. Or what is wrong with it."""

    line: int
    address: str = ""
    person: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    wrong: str | None = None


class _Bad(Exception):
    """A line that can't be read, and why."""


class _Lines:
    """The lines of a file, of which the last ones that were taken can be given back."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._back: deque[str] = deque()
        self._taken: list[str] = []
        self.number = 1  # of the first line taken

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= _LINES:
            raise _Bad(f"A quote is not closed within {_LINES} lines.")
        line = self._back.popleft() if self._back else self._file.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        self._taken.append(line)
        if len(line) == _LONGEST_LINE:
            while len(line) == _LONGEST_LINE and not line.endswith(("\n", "\r")):
                line = self._file.readline(_LONGEST_LINE)
            raise _Bad("The line is too long.")
        return line

    def keep(self) -> None:
        """Goes on behind what was taken."""
        self.number += len(self._taken)
        self._taken.clear()

    def pass_over(self) -> None:
        """Gives back all that was taken but its first line, which is left behind."""
        self._back.extendleft(reversed(self._taken[1:]))
        self._taken.clear()
        self.number += 1


def check(path: Path) -> None:
    """Refuses what is no list.

    Raises:
        UsageError: it can't be read, the column ``path`` is missing, a column is there twice, or has a name that no label can have.
    """
    if path.is_file():  # a named pipe would be waited for
        try:
            with _opened(path) as file:
                _columns(path, _Lines(file))
        except OSError as error:
            raise UsageError(f"The list {str(path)!r} can't be read ({(error.strerror or 'error').lower()}).") from None
    else:
        raise _no_list(path)


def rows(path: Path) -> Iterator[Row]:
    """The lines of a list. Paths are relative to the list's folder; addresses stay as they are.

    Raises:
        UsageError: the list can't be read.
    """
    try:
        with _opened(path) as file:
            lines = _Lines(file)
            columns = _columns(path, lines)
            reader = _reader(lines)
            while True:
                lines.keep()
                try:
                    if (row := _row(path, columns, next(reader), lines.number)) is not None:
                        yield row
                except StopIteration:
                    return
                except (csv.Error, _Bad) as error:
                    yield Row(lines.number, wrong=f"Line {lines.number} of the list can't be read: {str(error)[:200]}")
                    lines.pass_over()
                    reader = _reader(lines)
    except OSError as error:
        raise UsageError(f"The list {str(path)!r} can't be read ({(error.strerror or 'error').lower()}).") from None


def _opened(path: Path) -> IO[str]:
    # Bytes that are not UTF-8 can be right in a path; elsewhere they are written as escapes.
    return path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")


def _reader(lines: _Lines) -> Iterator[list[str]]:
    return csv.reader(lines, strict=True, skipinitialspace=True)


def _columns(path: Path, lines: _Lines) -> list[str]:
    try:
        columns = [name.strip() for name in next(_reader(lines), [])]
    except (csv.Error, _Bad):
        raise _no_list(path) from None
    if "path" not in columns:
        raise _no_list(path, "" if _is_text("".join(columns)) else " This one is not UTF-8.")
    for column in filter(None, columns):
        if columns.count(column) > 1:
            raise UsageError(f"The column {column[:40]!r} of {str(path)!r} is there twice: which one counts?")
        if len(column) > _LONGEST_LABEL or "\0" in column or not _is_text(column):
            raise UsageError(
                f"The column {column[:40]!r} of {str(path)!r} can't be a label: its name is too long, or holds a NUL or no text."
            )
    return columns


def _no_list(path: Path, why: str = "") -> UsageError:
    return UsageError(f"{str(path)!r} is no list of photos: with --person csv, give CSV files with the column path, perhaps person.{why}")


def _row(path: Path, columns: list[str], values: list[str], number: int) -> Row | None:
    """A line by its columns; ``None`` for an empty one. (One that is too long has a rest, which belongs to no column.)"""
    cells = {name: value for name, value in zip(columns, values, strict=False) if name and value}
    named = cells.pop("path", "")
    person = _text(cells.pop("person", "").strip())
    if not named and not person and not cells:
        return None
    if not named:
        raise _Bad("It names no photo.")
    if "\n" in named + person or "\r" in named + person:
        raise _Bad("Its path or its person goes over several lines: a quote may be missing.")
    if len(person) > _LONGEST_PERSON:
        raise _Bad("The name of its person is too long.")
    address = named if scheme(named) else absolute(path.parent, named)
    return Row(number, address, person or None, {name: _text(value) for name, value in cells.items()})


def _is_text(text: str) -> bool:
    return _text(text) == text


def _text(text: str) -> str:
    """Text that any JSON can hold: bytes that are not UTF-8 are written as escapes."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
