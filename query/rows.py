"""Answers as CSV: one row for each person named, and one for each target or face for which nobody is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query.answers import Answer

HEAD = ("target", "face", "rank", "person", "verified", "distance", "fpir", "matched", "image", "error")


def head() -> str:
    """The first line, without its end."""
    return line(HEAD)


def lines(answer: Answer) -> Iterator[str]:
    """The lines of one answer, without their ends."""
    if answer.error is not None:
        yield line((answer.target, "", "", "", "", "", "", "", "", answer.error[0]))
    for number, face in enumerate(answer.faces, 1):
        for rank, match in enumerate(face.matches, 1):
            fpir = "" if match.fpir is None else match.fpir
            found = (match.person or "", int(match.verified), round(match.best.distance, 6), fpir, match.matched, match.best.image)
            yield line((answer.target, number, rank, *found, ""))
        if not face.matches:
            yield line((answer.target, number, "", "", "", "", "", "", "", "nothing_found"))


def line(cells: tuple[object, ...]) -> str:
    """One line of CSV, without its end."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().removesuffix("\r\n")  # which has line breaks within a cell quoted, too
