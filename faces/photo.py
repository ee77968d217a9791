"""From the bytes of a photo to upright RGB pixels. Photos are hostile input.

The format is read off the first bytes and one Pillow plugin is called by name, never ``Image.open``: no other plugin is
imported or reachable, and ``Image.MAX_IMAGE_PIXELS`` of the host program stays as it is. JPEG and PNG are first stripped of
what has no say in the pixels: comments, profiles, previews, animation.

Alpha is composited on white, as a page would show it: what lies hidden under transparency must not be indexed.
Colour profiles are ignored: they shift hues less than the light in a room does.
"""

from __future__ import annotations

import ctypes
import io
import logging
import re
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from core.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from PIL import Image

# ---- Limits

MAX_PIXELS: Final = 100_000_000
MAX_SCANNED_PIXELS: Final = 2_000_000_000  # of a progressive JPEG, over its scans: each scan costs a pass over the photo
MAX_PARTS: Final = 200_000  # segments or chunks; a photo of 100 megapixels has some 10,000
STRIP_PIXELS: Final = 1_000_000  # converted at a time, so that only one whole copy of a photo is made

# ---- What is known of the formats

# Markers of JPEG.
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those with a length, and the end
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_NO_PIXELS: Final = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # APP0 and APP14 tell the colour space

# Tags of TIFF and EXIF, and the number types that hold them.
_ORIENTATION: Final = 0x0112
_STRIPS: Final = (273, 279)  # offsets and sizes
_TILES: Final = (324, 325)
_WHOLE: Final = {3: "H", 4: "I"}

# First bytes, and the module and class that decode what follows.
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
_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"II\0*", "TIFF"),  # seen in the wild, and Pillow reads them
    (b"MM*\0", "TIFF"),
)
_BRANDS: Final = dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC") | dict.fromkeys(
    (b"avif", b"avis"), "AVIF"
)


# ---- Decoding


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo: ``pixels`` is (height, width, 3) uint8, RGB, upright and C-contiguous."""

    pixels: NDArray[np.uint8] = field(repr=False)
    width: int
    height: int


@dataclass(slots=True)
class _File:
    """What goes to the decoder, and what was found on the way there."""

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    scans: int = 0  # of a JPEG


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
    kind = _sniff(data)
    file = _CLEANERS.get(kind, _File)(data)
    module, name = _PLUGINS[kind]
    if kind == "TIFF":
        _hush()
    with getattr(import_module(module), name)(io.BytesIO(file.data)) as image:
        _check_size(image.size, file.scans, max_pixels)
        # pillow_heif turns its photos itself.
        orientation = 1 if kind == "HEIC" else _orientation(file, image)
        if kind == "TIFF":
            _prepare_tiff(image, max_pixels)
        image.load()
        pixels = _upright(image, orientation)
    height, width = pixels.shape[:2]
    return Photo(pixels=pixels, width=width, height=height)


def _prepare_tiff(image: Any, max_pixels: int) -> None:
    tile = int(image.tag_v2.get(322, 1)), int(image.tag_v2.get(323, 1))
    _check_size(tile, 0, max_pixels)  # a tile is decoded whole, however little of it the photo needs
    if len(image.tile) > MAX_PARTS:
        raise _corrupt()
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


# ---- Refusals


def _refusal(error: Exception, data: bytes, max_pixels: int) -> PhotoError:
    text = str(error).lower()
    if type(error).__name__ == "DecompressionBombError":  # by plugins that learn the size late, with a limit of Pillow's own
        count, limit = map(int, re.findall(r"\d+", text)[:2])
        return PhotoError(f"The photo has {count:,} pixels; the limit is {min(limit, max_pixels):,}.", code="too_large")
    if isinstance(error, MemoryError):
        return PhotoError("The photo needs more memory than there is.", code="too_large")
    return _truncated() if "truncated" in text or _ends_early(data) else _corrupt()


def _corrupt() -> PhotoError:
    return PhotoError("The photo is damaged and can't be decoded.", code="corrupt")


def _truncated() -> PhotoError:
    return PhotoError("The photo is cut off: the file ends too early.", code="truncated")


def _check_size(size: tuple[int, int], scans: int, max_pixels: int) -> None:
    count = size[0] * size[1]
    if count > max_pixels:
        message = f"The photo has {count:,} pixels ({size[0]} x {size[1]}); the limit is {max_pixels:,}."
        raise PhotoError(message, code="too_large")
    if scans > 1 and scans * count > MAX_SCANNED_PIXELS:
        message = f"The photo has {count:,} pixels in {scans:,} scans; the limit of both multiplied is {MAX_SCANNED_PIXELS:,}."
        raise PhotoError(message, code="too_large")


# ---- Containers: what is it, is it whole, which way up


def _sniff(data: bytes) -> str:
    """The format by the first bytes; a file that ends within them is truncated."""
    if not data:
        raise PhotoError("The file is empty.", code="not_an_image")
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
        if 1 < len(data) < len(magic) and magic.startswith(data):
            raise _truncated()
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    if data[4:8] == b"ftyp" and data[8:12] in (b"mif1", b"msf1"):  # any codec: the brands that follow tell which
        return "AVIF" if b"avi" in data[16 : int.from_bytes(data[:4], "big")] else "HEIC"
    raise PhotoError("The file is not a photo of a known format: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF.", code="not_an_image")


def _clean_jpeg(data: bytes) -> _File:
    """Up to its end marker, without comments and application segments other than JFIF's and Adobe's.

    A file with no end marker is truncated, though zeros after the cut would decode as a grey rest.
    """
    view, file = memoryview(data), _File(data)
    kept, done = [], 0  # what was kept, and up to where that was decided
    for marker, at, end in _segments(data):
        if marker == _APP1 and data.startswith(b"Exif\0\0", at + 4):
            file.exif = file.exif or data[at + 4 : end]
        elif marker == _APP1 and data.startswith(_XMP, at + 4):
            file.xmp = file.xmp or data[at + 4 : end]
        if marker in _NO_PIXELS:
            kept.append(view[done:at])
            done = end
        file.scans += marker == _SOS
    kept.append(view[done:end])
    file.data = b"".join(kept)
    return file


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; coded pixels and junk in between are passed over. The last is the end marker."""
    at = 2
    for _ in range(MAX_PARTS):
        match = _MARKER.search(data, at)
        if match is None:
            raise _truncated()
        marker, at = match[0][1], match.end()
        if marker != _EOI:
            at += int.from_bytes(data[at : at + 2], "big")
        if at > len(data):
            raise _truncated()
        yield marker, match.start(), at
        if marker == _EOI:
            return
    raise _corrupt()


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk up to IEND, which has to be there."""
    at = 8
    for _ in range(MAX_PARTS):
        if at + 12 > len(data):
            raise _truncated()
        size, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha():
            raise _corrupt()
        end = at + 12 + size
        if end > len(data):
            raise _truncated()
        yield name, at, end
        if name == b"IEND":
            return
        at = end
    raise _corrupt()


def _clean_png(data: bytes) -> _File:
    """Only the chunks that hold pixels: texts and profiles can be bombs, and frames of an animation are not wanted."""
    view, file = memoryview(data), _File(data)
    kept = [view[:8]]
    for name, at, end in _png_chunks(data):
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(view[at:end])
        elif name == b"eXIf":
            file.exif = file.exif or data[at + 8 : end - 4]
        elif name == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0", at + 8):
            file.xmp = file.xmp or data[at + 8 : end - 4]
    file.data = b"".join(kept)
    return file


def _whole_boxes(data: bytes) -> _File:
    """HEIC and AVIF: a row of boxes, each with its size."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:  # the size stands behind the name, in 8 bytes
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # up to the end
            return _File(data)
        at += max(size, 8)
    if at > len(data):
        raise _truncated()
    return _File(data)


_CLEANERS: Final = {
    "JPEG": _clean_jpeg,
    "PNG": _clean_png,
    "HEIC": _whole_boxes,
    "AVIF": _whole_boxes,
}


def _orientation(file: _File, image: Image.Image) -> int:
    """1 to 8 as in EXIF, else as in XMP, else 1. A damaged block counts as none: the photo itself can be good."""
    if (tags := getattr(image, "tag_v2", None)) is not None:  # TIFF
        value = tags.get(_ORIENTATION)
        return value if value in range(1, 9) else 1
    exif = file.exif or image.info.get("exif") or b""
    xmp = file.xmp or image.info.get("xmp") or b""
    try:
        (found,) = _tags(exif.removeprefix(b"Exif\0\0"), (_ORIENTATION,))[_ORIENTATION]
    except (struct.error, KeyError, ValueError):
        match = re.search(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\b", xmp)
        found = int(match[1]) if match else 1
    return found if found in range(1, 9) else 1


def _tags(tiff: bytes, wanted: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Whole numbers of the first directory of a TIFF file or EXIF block.

    Raises:
        struct.error, KeyError: it is damaged, or a BigTIFF.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}[tiff[:4]]
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag in wanted and kind in _WHOLE:
            layout = f"{order}{count}{_WHOLE[kind]}"
            inline = struct.calcsize(layout) <= 4  # noqa: PLR2004 - bytes
            place = entry + 8 if inline else struct.unpack_from(f"{order}I", tiff, entry + 8)[0]
            found[tag] = struct.unpack_from(layout, tiff, place)
    return found


def _ends_early(data: bytes) -> bool:
    """Asked about a file that did not decode: is that because it was cut off?"""
    if data.startswith(b"GIF"):
        return not data.rstrip(b"\0").endswith(b";")
    if data.startswith(b"RIFF"):
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM"):
        return len(data) < 54  # noqa: PLR2004 - the header
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    try:
        tags = _tags(data, (*_STRIPS, *_TILES))
    except struct.error:
        return True
    starts, sizes = (tags.get(strip, ()) or tags.get(tile, ()) for strip, tile in zip(_STRIPS, _TILES, strict=True))
    return any(start + size > len(data) for start, size in zip(starts, sizes, strict=False))


# ---- Pixels


def _upright(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    """RGB pixels, (height, width, 3) uint8: written strip by strip to where they belong after turning."""
    width, height = image.im.size  # as stored; image.size of a TIFF is that of the turned one
    upright = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)  # noqa: PLR2004
    stored = upright.transpose(1, 0, 2) if orientation >= 5 else upright  # noqa: PLR2004
    stored = stored[:: -1 if orientation in (3, 4, 6, 7) else 1, :: -1 if orientation in (2, 3, 7, 8) else 1]
    convert = _converter(image)
    for top, strip in _strips(image):
        stored[top : top + strip.height] = convert(strip)
    return upright


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The top row and the rows of each, from top to bottom."""
    width, height = image.im.size
    rows = max(1, STRIP_PIXELS // width)
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
