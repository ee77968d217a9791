"""Photos as a program has them: paths and addresses, bytes, open files, arrays, base64."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, TypedDict

from core.errors import UsageError
from core.files import MAX_BYTES
from photos.places import Given, Nowhere, Place
from photos.sources import Source, is_many
from query import targets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.web import Limits

    # An array is (height, width, 3) uint8 in BGR, as OpenCV and DeepFace have it. A text that begins with data:image/ is base64.
    PhotoLike = str | os.PathLike[str] | bytes | IO[bytes] | NDArray[np.uint8]

_BASE64 = "data:image/"


def one(photo: PhotoLike, limits: Limits) -> Source:
    """The one photo that is meant.

    Raises:
        UsageError: it is not there (``no_such_photo``), is none, or a folder, an archive or a list of them.
    """
    if isinstance(photo, str | os.PathLike) and not _is_base64(photo):
        name = os.fspath(photo)
        targets.check([name], limits)
        if is_many(name):
            raise UsageError(f"{name!r} holds many photos: search_many() goes through them.")
        (source,) = targets.named([name], limits)
        return source
    return _held(photo)


def many(photos: PhotoLike | Iterable[PhotoLike], limits: Limits) -> Iterator[Source]:
    """All photos that are meant, in order, lazily: of folders, archives and CSV lists each one.

    Raises:
        UsageError: something is no photo and holds none. (A file that is not there is a photo that can't be read.)
    """
    for photo in [photos] if isinstance(photos, str | os.PathLike | bytes) or _is_one(photos) else photos:
        if isinstance(photo, str | os.PathLike) and not _is_base64(photo):
            yield from targets.named([os.fspath(photo)], limits)
        else:
            yield _held(photo)


def _is_one(photos: object) -> bool:
    return hasattr(photos, "read") or hasattr(photos, "ndim")


def _is_base64(photo: str | os.PathLike[str]) -> bool:
    return isinstance(photo, str) and photo.startswith(_BASE64)


def _held(photo: Any) -> Source:
    if isinstance(photo, str):
        return Source("base64", kept_in=_decoded(photo))
    if isinstance(photo, bytes | bytearray | memoryview):
        return Source("bytes", kept_in=Given(bytes(photo)))
    if hasattr(photo, "read"):
        return Source(str(getattr(photo, "name", "file")), kept_in=_read(photo))
    if hasattr(photo, "ndim"):
        return Source("array", kept_in=Given(_written(photo)))
    raise UsageError(f"A photo is a path, an address, bytes, an open file, an array or base64, not {type(photo).__name__}.")


def _decoded(text: str) -> Place:
    try:
        return Given(base64.b64decode(text.partition(",")[2], validate=True))
    except (binascii.Error, ValueError):
        return Nowhere("The text is not base64.")


def _read(file: IO[bytes]) -> Place:
    data = file.read(MAX_BYTES + 1)
    if not isinstance(data, bytes):
        raise UsageError("Open photo files in binary mode.")
    return Given(data) if len(data) <= MAX_BYTES else Nowhere(f"The file has more than {MAX_BYTES >> 20} MB.", "too_large")


def _written(pixels: NDArray[np.uint8]) -> bytes:
    """The array as a BMP file, which loses nothing and is written as quickly as copied: photos are looked at by their bytes."""
    import numpy as np
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:  # noqa: PLR2004 - height, width, colours
        raise UsageError(f"An array has to be (height, width, 3) uint8 in BGR, not {pixels.shape} {pixels.dtype}.")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])).save(file, "BMP")
    return file.getvalue()


class SearchOptions(TypedDict, total=False):
    """How to search."""

    top: int  # people to name for each face; 5 by default
    where: Sequence[str]  # texts like person=Ada, labels.camera=north, image=/photos/2026/* or person!=Ada
    since: datetime | None  # search among faces stored from then on
    min_quality: Sequence[str]  # search among faces with at least this, such as sharpness=30
    exact: bool  # compare with every face, instead of asking the vector index
