"""Answers for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.terminal import line, plain, table
from query import words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.table import Table

    from query.answers import Answer, FaceAnswer

_CELLS = 8  # of a match bar
_EIGHTHS = " ▏▎▍▌▋▊▉"
_SHORTEST = 16  # cells of a path below which it is not cut


def tables(answer: Answer, pictures: Sequence[RenderableType | None] = ()) -> Iterator[RenderableType]:
    """A table for each face of a target, or the sentence that says why there is none.

    Args:
        answer: the answer.
        pictures: what is shown above the table of each face (:func:`query.pictures.strips`).
    """
    if answer.error is not None:
        yield f"{answer.target}: {answer.error[1]} ({answer.error[0]})"
    for number, face in enumerate(answer.faces, 1):
        x, y, width, height = face.box
        title = f"{answer.target}, face {number} of {len(answer.faces)} ({width} x {height} pixels at {x}, {y})"
        if not face.matches:
            among = "no face that meets what was asked for" if answer.filters else "no face to compare with"
            yield f"{title}: the collection {answer.collection} holds {among}"
            continue
        yield title
        picture = pictures[number - 1] if number <= len(pictures) else None
        if picture is not None:
            yield picture
        yield _people(face, answer.threshold)


def meaning(answer: Answer) -> str | None:
    """The sentence that says what "yes" means in an answer's tables; none where they have none."""
    if answer.threshold is None or not answer.found:
        return None
    within = (
        words.strangers(answer.fpir, within=True)
        if answer.fpir is not None
        else "Not calibrated: a stranger may come within it, too (facedex collections calibrate)."
    )
    return f"The same person up to a distance of {answer.threshold:g}, half a bar. {within}"


def _people(face: FaceAnswer, threshold: float | None) -> Table:
    calibrated = any(match.fpir is not None for match in face.matches)
    shown = table(
        "person", "the same?", "distance", "matched", *(["strangers"] if calibrated else []), "photo", right=("distance", "matched")
    )
    shown.collapse_padding = True  # seven columns in 80 cells
    for match in face.matches:
        rates = [_often(match.fpir)] if calibrated else []
        same = Bar(words.nearness(match.best.distance, threshold), match.verified)
        path = Tail(line(_short(match.best.image)))
        shown.add_row(plain(words.name(match)), same, f"{match.best.distance:.4f}", f"{match.matched:,}", *rates, path)
    return shown


def _often(fpir: float | None) -> str:
    return "" if fpir is None else words.rate(fpir)


@dataclass(frozen=True, slots=True)
class Bar:
    """A match bar and what it says in a word, so that neither blocks nor colours are needed to read it."""

    nearness: float
    verified: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        # Rounded towards the empty side: what is just beyond the threshold must not look as if it reached half.
        eighths = int(self.nearness * _CELLS * 8)
        if options.ascii_only:
            bar = ("#" * (eighths // 8)).ljust(_CELLS, ".")
        else:
            bar = ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(_CELLS, "·")
        word = "yes" if self.verified else "no "
        yield Text(f"{word} {bar}", "green" if self.verified else "")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(4 + _CELLS, 4 + _CELLS)


@dataclass(frozen=True, slots=True)
class Tail:
    """A path of which the end is shown where the whole does not fit: the end tells photos apart."""

    path: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.cells import cell_len
        from rich.text import Text

        shown, mark = self.path, "..." if options.ascii_only else "…"
        if cell_len(shown) > options.max_width:
            while shown and cell_len(mark + shown) > options.max_width:
                shown = shown[max(1, (cell_len(mark + shown) - options.max_width) // 2) :]
            shown = mark + shown
        yield Text(shown, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.cells import cell_len
        from rich.measure import Measurement

        width = cell_len(self.path)
        return Measurement(min(width, _SHORTEST), width)


def _short(image: str) -> str:
    """A path as a person would type it: from here, or from their home folder, where that is shorter."""
    for folder, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if image.startswith(f"{folder}/"):
            return prefix + image[len(f"{folder}/") :]
    return image
