"""Answers as one HTML page that works offline: each face of a target beside the faces found, their distances and what they mean."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import PhotoError, StorageError
from core.files import read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from faces.recipe import Recipe
    from query.answers import Answer, Box, Match

_SIDE = 192  # pixels of a cropped face; twice what is shown, for sharp screens
_MARGIN = 0.35  # of the box, on each side: a face alone is hard to recognise


@dataclass(frozen=True, slots=True)
class Found:
    """One match with its picture, as a data address (empty where the photo is gone)."""

    match: Match
    picture: str


@dataclass(frozen=True, slots=True)
class Row:
    """One face of a target with what was found for it."""

    picture: str
    found: list[Found]


@dataclass(frozen=True, slots=True)
class Card:
    """One target photo."""

    answer: Answer
    rows: list[Row]


def card(answer: Answer, data: bytes, max_pixels: int) -> Card:
    """The card of one answer; pictures are cropped at once, so that no photo has to be kept."""
    pixels = _pixels(data, max_pixels)
    rows = [
        Row(_crop(pixels, face.box), [Found(match, _crop(_stored(match.best.image, max_pixels), match.best.box)) for match in face.matches])
        for face in answer.faces
    ]
    return Card(answer, rows)


def write(path: Path, cards: Sequence[Card], recipe: Recipe) -> None:
    """Writes the page.

    Raises:
        StorageError: the file can't be written.
    """
    try:
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(_render(cards, recipe))
    except OSError as error:
        raise StorageError.of(error, f"write the page {path}", "Choose another file with --html.") from None


def _render(cards: Sequence[Card], recipe: Recipe) -> Iterator[str]:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Names of people and photos come from outside: everything is escaped.
    environment = Environment(loader=PackageLoader("query", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").generate(cards=cards, recipe=recipe)


def _stored(image: str, max_pixels: int) -> NDArray[np.uint8] | None:
    try:
        return _pixels(read(image), max_pixels)
    except PhotoError:  # moved or deleted since it was ingested
        return None


def _pixels(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    from faces.photo import decode

    try:
        return decode(data, max_pixels=max_pixels).pixels
    except PhotoError:
        return None


def _crop(pixels: NDArray[np.uint8] | None, box: Box) -> str:
    """A square around the box as a JPEG in a data address; empty without pixels."""
    if pixels is None:
        return ""
    from PIL import Image

    from faces.quality import square

    x, y, width, height = box
    side = max(width, height) * (1 + 2 * _MARGIN)
    face = Image.fromarray(square(pixels, x + width / 2, y + height / 2, side, max(1, round(side) // (4 * _SIDE))))
    face = face.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    face.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
