"""Photo files made for tests."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from pillow_heif import from_pillow

EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # from upright to stored


def picture(width: int = 40, height: int = 24) -> Image.Image:
    """Smooth colours, no symmetry: each corner has its own."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - (x + y) / 2], axis=2).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file of this kind."""
    buffer = io.BytesIO()
    if kind == "HEIF":
        from_pillow(image).save(buffer, quality=-1, **options)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(tags: list[tuple[int, int, int, int]], tail: bytes) -> bytes:
    """A TIFF of one directory with these (tag, kind, count, value); ``tail`` follows it."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tail


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
