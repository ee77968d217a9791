"""The faces of an answer as small pictures: of the target kept as JPEGs, of stored photos cut one at a time, when they are drawn."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.addresses import scheme
from core.errors import PhotoError
from core.web import Limits
from photos.sources import place_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from query.answers import Answer, Box, Photo

TARGET_SIDE = 448  # pixels; twice what a page shows on a plain screen
_MARGIN = 0.35  # of the box, on each side: a face alone is hard to recognise
_QUALITY = 82
_BEYOND = "#7d828a"  # where the photo ends; it suits light and dark pages


@dataclass(frozen=True, slots=True)
class Card:
    """One answer to be drawn, with the faces of its target as JPEGs (empty where there are no pixels)."""

    answer: Answer
    faces: tuple[bytes, ...] = field(repr=False)
    max_pixels: int


def card(answer: Answer, data: bytes, max_pixels: int) -> Card:
    """The card of an answer. The target's faces are cut at once, so that no target has to be kept."""
    pixels = _pixels(data, max_pixels) if answer.faces else None
    return Card(answer, tuple(jpeg(crop(pixels, face.box, TARGET_SIDE)) for face in answer.faces), max_pixels)


def stored(photo: Photo, side: int, max_pixels: int) -> Image.Image | None:
    """A square of a stored photo around its face; ``None`` where it can't be read any more."""
    if scheme(photo.image):  # a picture is no reason to ask other machines
        return None
    try:
        data = place_of(photo.image, Limits()).read()
    except PhotoError:  # moved or deleted since it was ingested
        return None
    return crop(_pixels(data, max_pixels), photo.box, side)


def crop(pixels: NDArray[np.uint8] | None, box: Box, side: int) -> Image.Image | None:
    """A square of so many pixels around the box; ``None`` where the photo (another than it was) has nothing there."""
    x, y, width, height = box
    if pixels is None or min(width, height) < 1 or not (-width < x < pixels.shape[1] and -height < y < pixels.shape[0]):
        return None
    from PIL import Image

    around = max(width, height) * (1 + 2 * _MARGIN)
    scale = side / around
    step = max(1, round(around) // (4 * side))  # of a large one every so many pixels, to save memory
    left, top = x + width / 2 - around / 2, y + height / 2 - around / 2
    first_x, first_y = max(0, round(left)), max(0, round(top))
    seen = Image.fromarray(pixels[first_y : round(top + around) : step, first_x : round(left + around) : step])
    drawn = seen.resize((max(1, round(seen.width * step * scale)), max(1, round(seen.height * step * scale))), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), _BEYOND)
    square.paste(drawn, (round((first_x - left) * scale), round((first_y - top) * scale)))
    return square


def jpeg(image: Image.Image | None) -> bytes:
    """A small JPEG; nothing for no picture."""
    if image is None:
        return b""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def _pixels(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    from faces.photo import decode

    try:
        return decode(data, max_pixels=max_pixels).pixels
    except PhotoError:
        return None
