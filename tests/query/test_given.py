from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import PhotoError, UsageError
from core.web import Limits
from faces.photo import decode
from query.given import many, one

PIXELS = np.random.default_rng(0).integers(0, 255, (7, 5, 3), np.uint8)
LIMITS = Limits()


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "photo",
    [
        png(),
        bytearray(png()),
        io.BytesIO(png()),
        np.ascontiguousarray(PIXELS[..., ::-1]),
        PIXELS[..., ::-1],
        f"data:image/png;base64,{base64.b64encode(png()).decode()}",
    ],
    ids=["bytes", "bytearray", "file", "array", "view", "base64"],
)
def test_the_same_photo_in_every_way(photo: object) -> None:
    source = one(photo, LIMITS)  # type: ignore[arg-type]
    assert (decode(source.place.read()).pixels == PIXELS).all()
    (again,) = many([png()], LIMITS)
    assert again.place.read() == png()


def test_paths_and_many(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    assert one(tmp_path / "a.png", LIMITS).path == str(tmp_path / "a.png")
    assert [Path(source.path).name for source in many(tmp_path, LIMITS)] == ["a.png", "b.png"]
    assert len(list(many([str(tmp_path), PIXELS, png()], LIMITS))) == 4
    assert len(list(many(PIXELS, LIMITS))) == 1


@pytest.mark.parametrize("photo", [7, None, PIXELS[0], PIXELS.astype(float), PIXELS[:0], io.StringIO("text")])
def test_what_is_no_photo(photo: object) -> None:
    with pytest.raises(UsageError):
        one(photo, LIMITS)  # type: ignore[arg-type]


def test_broken_base64_is_a_photo_that_cannot_be_read() -> None:
    with pytest.raises(PhotoError, match="base64"):
        one("data:image/png;base64,*", LIMITS).place.read()
