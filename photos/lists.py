"""CSV lists: of photos, with a column ``path``, perhaps a column ``person``, and every other column a label; others by their columns.

Blanks after commas don't count. A line that can't be read is told as such, and the list goes on behind it: a quote that is never closed
costs its line, not all that follow.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

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


class BadLine(Exception):
    """A line that can't be read, and why."""


Told = TypeVar("Told")
Cells = dict[str, str]  # of a line, by column; those that are empty are left out


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
            raise BadLine(f"A quote is not closed within {_LINES} lines.")
        line = self._back.popleft() if self._back else self._file.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        self._taken.append(line)
        if len(line) == _LONGEST_LINE:
            while len(line) == _LONGEST_LINE and not line.endswith(("\n", "\r")):
                line = self._file.readline(_LONGEST_LINE)
            raise BadLine("The line is too long.")
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
                _columns(path, _head(_Lines(file)))
        except OSError as error:
            raise UsageError(f"The list {str(path)!r} can't be read ({(error.strerror or 'error').lower()}).") from None
    else:
        raise _no_list(path)


def rows(path: Path) -> Iterator[Row]:
    """The lines of a list. Paths are relative to the list's folder; addresses stay as they are.

    Raises:
        UsageError: the list can't be read.
    """
    return read(path, _columns, lambda cells, number: _row(path, cells, number), lambda number, why: Row(number, wrong=why))


def read(
    path: Path,
    columns: Callable[[Path, list[str]], list[str]],
    told: Callable[[Cells, int], Told | None],
    wrong: Callable[[int, str], Told],
) -> Iterator[Told]:
    """What the lines of a CSV file tell, lazily, in order.

    Args:
        path: the file.
        columns: checks the names of the columns (none of a file that has no such line), and gives them back.
        told: makes something of a line and its number, or ``None`` of one that tells nothing; raises :class:`BadLine`.
        wrong: makes something of the number of a line that can't be read, and a sentence.

    Raises:
        UsageError: the file can't be read.
    """
    try:
        with _opened(path) as file:
            lines = _Lines(file)
            names = columns(path, _head(lines))
            reader = _reader(lines)
            while True:
                lines.keep()
                try:
                    # One that is too long has a rest, which belongs to no column.
                    cells = {name: value for name, value in zip(names, next(reader), strict=False) if name and value}
                    if (each := told(cells, lines.number)) is not None:
                        yield each
                except StopIteration:
                    return
                except (csv.Error, BadLine) as error:
                    yield wrong(lines.number, f"Line {lines.number} of the list can't be read: {str(error)[:200]}")
                    lines.pass_over()
                    reader = _reader(lines)
    except OSError as error:
        raise UsageError(f"The list {str(path)!r} can't be read ({(error.strerror or 'error').lower()}).") from None


def _head(lines: _Lines) -> list[str]:
    try:
        return [name.strip() for name in next(_reader(lines), [])]
    except (csv.Error, BadLine):
        return []


def _opened(path: Path) -> IO[str]:
    # Bytes that are not UTF-8 can be right in a path; elsewhere they are written as escapes.
    return path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")


def _reader(lines: _Lines) -> Iterator[list[str]]:
    return csv.reader(lines, strict=True, skipinitialspace=True)


def _columns(path: Path, columns: list[str]) -> list[str]:
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


def _row(path: Path, cells: Cells, number: int) -> Row | None:
    """A line; ``None`` for an empty one."""
    named = cells.pop("path", "")
    person = _text(cells.pop("person", "").strip())
    if not named and not person and not cells:
        return None
    if not named:
        raise BadLine("It names no photo.")
    if "\n" in named + person or "\r" in named + person:
        raise BadLine("Its path or its person goes over several lines: a quote may be missing.")
    if len(person) > _LONGEST_PERSON:
        raise BadLine("The name of its person is too long.")
    return Row(number, address(path, named), person or None, {name: _text(value) for name, value in cells.items()})


def address(path: Path, named: str) -> str:
    """What a list means by a name: an address as it is, or a path relative to its folder."""
    return named if scheme(named) else absolute(path.parent, named)


def _is_text(text: str) -> bool:
    return _text(text) == text


def _text(text: str) -> str:
    """Text that any JSON can hold: bytes that are not UTF-8 are written as escapes."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
