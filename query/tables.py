"""Answers for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.terminal import plain, table

if TYPE_CHECKING:
    from rich.table import Table

    from query.answers import Answer


def tables(answer: Answer) -> Iterator[str | Table]:
    """A table for each face of a target, or the sentence that says why there is none."""
    if answer.error is not None:
        yield f"{answer.target}: {answer.error[1]} ({answer.error[0]})"
    for number, face in enumerate(answer.faces, 1):
        x, y, width, height = face.box
        title = f"{answer.target}, face {number} of {len(answer.faces)} ({width} x {height} pixels at {x}, {y})"
        if not face.matches:
            yield f"{title}: the collection {answer.collection} holds no face to compare with"
            continue
        yield title
        shown = table("person", "the same?", "distance", "photo", right=("distance",))
        for match in face.matches:
            same = "yes" if match.verified else "no"
            shown.add_row(plain(match.person or "(not named)"), same, f"{match.best.distance:.4f}", plain(_short(match.best.image)))
        yield shown
    if answer.threshold is not None and answer.found:
        yield f"The same person up to a distance of {answer.threshold:g}."


def _short(image: str) -> str:
    """A path as a person would type it: from here, or from their home folder, where that is shorter."""
    for folder, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if image.startswith(f"{folder}/"):
            return prefix + image[len(f"{folder}/") :]
    return image
