"""From the bytes of a photo to upright RGB pixels. Photos are hostile input.

The format is read off the first bytes and one Pillow plugin is called by name, never ``Image.open``: no other plugin is
imported or reachable, and ``Image.MAX_IMAGE_PIXELS`` of the host program stays as it is. JPEG and PNG are first stripped of
what has no say in the pixels: comments, profiles, previews, animation.
"""

from __future__ import annotations

import ctypes
import io
import logging
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import PhotoError
from faces.containers import CLEANERS, File, corrupt, ends_early, orientation, sniff, truncated
from faces.pixels import upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PIXELS: Final = 100_000_000
MAX_SCANNED_PIXELS: Final = 2_000_000_000  # of a progressive JPEG, over its scans: each scan costs a pass over the photo
MAX_RUN_PIXELS: Final = 10_000_000  # of a run-length BMP, which Pillow decodes in Python: ten million take up to a second

# The module and class that decode each format.
_PLUGINS: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo: ``pixels`` is (height, width, 3) uint8, RGB, upright and C-contiguous."""

    pixels: NDArray[np.uint8] = field(repr=False)
    width: int
    height: int


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a photo (of an animation: its first frame) and turn it upright.

    Raises:
        PhotoError: nothing else, with the code ``not_an_image``, ``truncated``, ``corrupt`` or ``too_large``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata are nobody's business
            return _decode(data, max_pixels)
    except PhotoError:
        raise
    except Exception as error:  # noqa: BLE001 - the trust boundary: a hostile file can raise anything in a decoder
        raise _refusal(error, data, max_pixels) from None


def _decode(data: bytes, max_pixels: int) -> Photo:
    kind = sniff(data)
    file = CLEANERS.get(kind, File)(data)
    module, name = _PLUGINS[kind]
    if kind == "TIFF":
        _hush()
    with getattr(import_module(module), name)(io.BytesIO(file.data)) as image:
        runs = kind == "BMP" and image.tile[0][0] == "bmp_rle"
        _check_size(image.size, file.scans, min(max_pixels, MAX_RUN_PIXELS) if runs else max_pixels)
        # pillow_heif turns its photos itself.
        turn = 1 if kind == "HEIC" else orientation(file, image)
        if kind == "TIFF":
            _prepare_tiff(image, max_pixels)
        image.load()
        pixels = upright(image, turn)
    height, width = pixels.shape[:2]
    return Photo(pixels=pixels, width=width, height=height)


def _prepare_tiff(image: Any, max_pixels: int) -> None:
    tile = int(image.tag_v2.get(322, 1)), int(image.tag_v2.get(323, 1))
    _check_size(tile, 0, max_pixels)  # a tile is decoded whole, however little of it the photo needs
    # After the pixels Pillow would read every EXIF directory, which can fail, and then turn a second copy.
    image.load_end = _nothing


def _nothing() -> None:
    """Stands in for a step of Pillow's that is not wanted."""


@cache
def _hush() -> None:
    """Pillow logs errors of TIFF, and the libtiff in its wheels writes on file descriptor 2; a system's libtiff goes on doing so."""
    import PIL

    logging.getLogger("PIL").addHandler(logging.NullHandler())
    home = Path(PIL.__file__).parent
    for library in (*home.glob("../pillow.libs/libtiff-*"), *home.glob(".dylibs/libtiff*")):
        with suppress(OSError, AttributeError):
            libtiff = ctypes.CDLL(str(library.resolve()))
            libtiff.TIFFSetErrorHandler(None)
            libtiff.TIFFSetWarningHandler(None)


def _refusal(error: Exception, data: bytes, max_pixels: int) -> PhotoError:
    text = str(error).lower()
    if type(error).__name__ == "DecompressionBombError":  # by plugins that learn the size late, with a limit of Pillow's own
        count, limit = map(int, re.findall(r"\d+", text)[:2])
        return PhotoError(f"The photo has {count:,} pixels; the limit is {min(limit, max_pixels):,}.", code="too_large")
    if isinstance(error, MemoryError):
        return PhotoError("The photo needs more memory than there is.", code="too_large")
    return truncated() if "truncated" in text or ends_early(data) else corrupt()


def _check_size(size: tuple[int, int], scans: int, max_pixels: int) -> None:
    count = size[0] * size[1]
    if count > max_pixels:
        message = f"The photo has {count:,} pixels ({size[0]} x {size[1]}); the limit is {max_pixels:,}."
        raise PhotoError(message, code="too_large")
    if scans > 1 and scans * count > MAX_SCANNED_PIXELS:
        message = f"The photo has {count:,} pixels in {scans:,} scans; the limit of both multiplied is {MAX_SCANNED_PIXELS:,}."
        raise PhotoError(message, code="too_large")
