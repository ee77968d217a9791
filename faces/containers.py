"""The files that photos come in: which format, whole or cut off, stripped of what has no say in the pixels, which way up.

Everything here reads bytes alone; no decoder is called.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from core.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

MAX_PARTS: Final = 200_000  # segments, chunks, boxes or strips; a photo of 100 megapixels has some 10,000
MAX_ENTRIES: Final = 65_535  # of a directory: what TIFF and EXIF can count; BigTIFF could more

# Markers of JPEG.
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those with a length, and the end
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_NO_PIXELS: Final = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # APP0 and APP14 tell the colour space

# Tags of TIFF and EXIF, and the types of their values: bytes of one, and which are whole numbers or text.
_ORIENTATION: Final = 0x0112
_STRIPS: Final = (273, 279)  # offsets and sizes
_TILES: Final = (324, 325)
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_WHOLE: Final = {3: "H", 4: "I"}
_BYTES: Final = (1, 2, 7)

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


@dataclass(slots=True)
class File:
    """What goes to the decoder, and what was found on the way there."""

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    scans: int = 0  # of a JPEG


def corrupt() -> PhotoError:
    """For a file whose content contradicts itself."""
    return PhotoError("The photo is damaged and can't be decoded.", code="corrupt")


def truncated() -> PhotoError:
    """For a file that ends early."""
    return PhotoError("The photo is cut off: the file ends too early.", code="truncated")


def sniff(data: bytes) -> str:
    """The format by the first bytes; a file that ends within them is truncated."""
    if not data:
        raise PhotoError("The file is empty.", code="not_an_image")
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
        if 1 < len(data) < len(magic) and magic.startswith(data):
            raise truncated()
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    if data[4:8] == b"ftyp" and data[8:12] in (b"mif1", b"msf1"):  # any codec: the brands that follow tell which
        return "AVIF" if b"avi" in data[16 : int.from_bytes(data[:4], "big")] else "HEIC"
    raise PhotoError("The file is not a photo of a known format: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF.", code="not_an_image")


def _clean_jpeg(data: bytes) -> File:
    """Up to its end marker, without comments and application segments other than JFIF's and Adobe's.

    A file with no end marker is truncated, though zeros after the cut would decode as a grey rest.
    """
    view, file = memoryview(data), File(data)
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
            raise truncated()
        marker, at = match[0][1], match.end()
        if marker != _EOI:
            at += int.from_bytes(data[at : at + 2], "big")
        if at > len(data):
            raise truncated()
        yield marker, match.start(), at
        if marker == _EOI:
            return
    raise corrupt()


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk up to IEND, which has to be there."""
    at = 8
    for _ in range(MAX_PARTS):
        if at + 12 > len(data):
            raise truncated()
        size, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha():
            raise corrupt()
        end = at + 12 + size
        if end > len(data):
            raise truncated()
        yield name, at, end
        if name == b"IEND":
            return
        at = end
    raise corrupt()


def _clean_png(data: bytes) -> File:
    """Only the chunks that hold pixels: texts and profiles can be bombs, and frames of an animation are not wanted."""
    view, file = memoryview(data), File(data)
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


def _whole_boxes(data: bytes) -> File:
    """HEIC and AVIF: a row of boxes, each with its size."""
    at = 0
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            break
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:  # the size stands behind the name, in 8 bytes
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # up to the end
            return File(data)
        at += max(size, 8)
    else:
        raise corrupt()
    if at > len(data):
        raise truncated()
    return File(data)


def _tame_tiff(data: bytes) -> File:
    """Refused before Pillow copies values and makes an object for each: tags that share their bytes, and endless lists."""
    total = 0
    with suppress(struct.error, KeyError):  # what Pillow reads of a damaged directory is checked up to there
        for before, entry in enumerate(_entries(data)):
            size = _SIZES.get(entry.kind, 0) * entry.values
            if entry.room < size <= len(data):  # what no file could hold can't be read either
                total += size
            endless = entry.kind not in _BYTES and entry.values > MAX_PARTS and size <= len(data)
            if before >= MAX_ENTRIES or total > len(data) or endless:
                raise corrupt()
    return File(data)


CLEANERS: Final = {
    "JPEG": _clean_jpeg,
    "PNG": _clean_png,
    "HEIC": _whole_boxes,
    "AVIF": _whole_boxes,
    "TIFF": _tame_tiff,
}


def orientation(file: File, image: Image.Image) -> int:
    """1 to 8 as in EXIF, else as in XMP, else 1. A damaged block counts as none: the photo itself can be good."""
    if (tags := getattr(image, "tag_v2", None)) is not None:  # TIFF
        value = tags.get(_ORIENTATION)
        return value if value in range(1, 9) else 1
    exif = file.exif or image.info.get("exif") or b""
    xmp = file.xmp or image.info.get("xmp") or b""
    try:
        (found,) = _tags(exif.removeprefix(b"Exif\0\0"), (_ORIENTATION,), 1)[_ORIENTATION]
    except (struct.error, KeyError, ValueError):
        match = re.search(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\b", xmp)
        found = int(match[1]) if match else 1
    return found if found in range(1, 9) else 1


class _Entry(NamedTuple):
    """Of a directory. ``room``: so many bytes of values fit into the entry itself, at ``at``; of more, their place stands there."""

    tag: int
    kind: int
    values: int  # how many
    at: int
    room: int


def _entries(tiff: bytes) -> Iterator[_Entry]:
    """Those of the first directory of a TIFF file, a BigTIFF or an EXIF block.

    Raises:
        struct.error, KeyError: it is damaged.
    """
    order = {b"II": "<", b"MM": ">"}[tiff[:2]]
    big = tiff[2:3] == b"+"  # as Pillow tells them apart
    (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", tiff, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", tiff, at)
    head, room = struct.Struct(f"{order}HH{'Q' if big else 'I'}"), 8 if big else 4
    at += 8 if big else 2
    for _ in range(entries):
        tag, kind, values = head.unpack_from(tiff, at)
        yield _Entry(tag, kind, values, at + head.size, room)
        at += head.size + room


def _tags(tiff: bytes, wanted: tuple[int, ...], most: int) -> dict[int, tuple[int, ...]]:
    """Whole numbers of the first directory of a TIFF file or EXIF block; tags with more than ``most`` are passed over.

    Raises:
        struct.error, KeyError: it is damaged.
    """
    found: dict[int, tuple[int, ...]] = {}
    for entry in _entries(tiff):
        if entry.tag in wanted and entry.tag not in found and entry.kind in _WHOLE and entry.values <= most:
            layout = f"{'<' if tiff.startswith(b'II') else '>'}{entry.values}{_WHOLE[entry.kind]}"
            inline = struct.calcsize(layout) <= entry.room
            place = entry.at if inline else struct.unpack_from(layout[0] + "I", tiff, entry.at)[0]
            found[entry.tag] = struct.unpack_from(layout, tiff, place)
    return found


def ends_early(data: bytes) -> bool:
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
        tags = _tags(data, (*_STRIPS, *_TILES), MAX_PARTS)
    except struct.error:
        return True
    starts, sizes = (tags.get(strip, ()) or tags.get(tile, ()) for strip, tile in zip(_STRIPS, _TILES, strict=True))
    return any(start + size > len(data) for start, size in zip(starts, sizes, strict=False))
