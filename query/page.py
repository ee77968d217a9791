"""Answers as one HTML page that works offline: each face of a target beside the faces found, their distances and what they mean."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StorageError
from query import words
from query.crops import Card, card, jpeg, stored

if TYPE_CHECKING:
    from faces.recipe import Recipe
    from query.answers import Photo

__all__ = ["Card", "card", "write"]

# Pixels of a face found. The best ones are looked at closely; a thousand large ones would make a page of 30 MB.
_LARGE, _SMALL, _TINY = 320, 176, 96
_CLOSELY = 12  # matches of each face that are shown large
_OTHERS = 6  # of them, those whose other photos are shown, too


def write(path: Path, cards: Sequence[Card], recipe: Recipe) -> None:
    """Writes the page, piece by piece: of the stored photos, one is in memory at a time.

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
    environment = Environment(
        loader=PackageLoader("query", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    several = sum(max(1, len(card.answer.faces)) for card in cards) > 1
    helpers: dict[str, Any] = {"words": words, "address": _address, "small": _small, "found": _found, "others": _others}
    return environment.get_template("page.html").generate(cards=cards, recipe=recipe, several=several, **helpers)


def _found(card: Card, photo: Photo, rank: int) -> str:
    return _address(jpeg(stored(photo, _LARGE if rank <= _CLOSELY else _SMALL, card.max_pixels)))


def _others(card: Card, photos: Sequence[Photo], rank: int) -> Iterator[tuple[Photo, str | None]]:
    """The other photos of a person found; with small pictures, if the person is near the top."""
    for photo in photos[1:]:
        yield photo, _address(jpeg(stored(photo, _TINY, card.max_pixels))) if rank <= _OTHERS else None


def _small(face: bytes) -> str:
    """A target's face for the index."""
    if not face:
        return ""
    from PIL import Image

    with Image.open(io.BytesIO(face), formats=["JPEG"]) as image:  # our own JPEG
        return _address(jpeg(image.resize((_TINY, _TINY), Image.Resampling.LANCZOS)))


def _address(data: bytes) -> str:
    """A picture as a data address; empty for none."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii") if data else ""
