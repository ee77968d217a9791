"""From a decoded image of any mode to upright RGB pixels.

Alpha is composited on white, as a page would show it: what lies hidden under transparency must not be indexed.
Colour profiles are ignored: they shift hues less than the light in a room does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from PIL import Image

STRIP_PIXELS: Final = 1_000_000  # converted at a time, so that only one whole copy of a photo is made


def upright(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """RGB pixels, (height, width, 3) uint8: written strip by strip to where they belong after turning."""
    width, height = image.im.size  # as stored; image.size of a TIFF is that of the turned one
    turned = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)  # noqa: PLR2004
    stored = turned.transpose(1, 0, 2) if orientation >= 5 else turned  # noqa: PLR2004
    stored = stored[:: -1 if orientation in (3, 4, 6, 7) else 1, :: -1 if orientation in (2, 3, 7, 8) else 1]
    convert = _converter(image)
    for top, strip in _strips(image):
        stored[top : top + strip.height] = convert(strip)
    return turned


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The top row and the rows of each, from top to bottom."""
    width, height = image.im.size
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height and image.size == (width, height):
        yield 0, image  # a crop would be one more copy
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _converter(image: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """What turns strips of this image, of whatever mode, into (rows, columns, 3) or (rows, columns, 1) uint8."""
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        low, high = _span(image)
        return lambda strip: _scaled(strip, low, high)
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return lambda strip: np.asarray(lab.apply(strip))
    if image.has_transparency_data and not _all_clear(image):
        return _on_white
    return lambda strip: np.asarray(strip if mode == "RGB" else strip.convert("RGB"))


def _all_clear(image: Image.Image) -> bool:
    """Nothing could be seen at all: a writer that left alpha at 0, as some do, meant the colours."""
    return image.mode in ("RGBA", "LA", "PA") and image.getchannel("A").getextrema()[1] == 0


def _on_white(strip: Image.Image) -> NDArray[np.uint8]:
    from PIL import Image

    strip = strip.convert("LA") if strip.mode == "La" else strip
    strip = strip.convert("RGBA")
    white = Image.new("RGB", strip.size, "white")
    white.paste(strip, mask=strip)
    return np.asarray(white)


def _span(image: Image.Image) -> tuple[float, float]:
    """What is black and what is white in deep pixels: the narrowest usual range that holds them, else their own."""
    lows, highs = [], []
    for _, strip in _strips(image):
        values = np.asarray(strip)
        values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    if not lows:
        return 0.0, 1.0
    low, high = min(lows), max(highs)
    usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0) if image.mode == "I" else (4095.0, 65535.0)
    top = next((top for top in usual if high <= top), None)
    return (low, high) if top is None or low < 0 else (0.0, top)


def _scaled(strip: Image.Image, low: float, high: float) -> NDArray[np.uint8]:
    values = np.nan_to_num(np.asarray(strip, np.float64), nan=low, posinf=high, neginf=low)
    span = high - low or 1.0
    return np.rint((values - low) * (255.0 / span)).astype(np.uint8)[:, :, None]
