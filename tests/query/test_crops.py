from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from query.answers import Photo
from query.crops import TARGET_SIDE, crop, jpeg, stored
from tests.query.cards_made import MAX_PIXELS, cards


def test_the_faces_of_a_target_are_kept_as_small_jpegs(portraits: dict[str, Path]) -> None:
    found, broken = cards(portraits)
    assert broken.faces == ()
    with Image.open(io.BytesIO(found.faces[0])) as face:
        assert (face.format, face.size) == ("JPEG", (TARGET_SIDE, TARGET_SIDE))
    assert len(found.faces[0]) < 60_000


@pytest.mark.parametrize("box", [(10, 10, 0, 0), (500, 10, 20, 20), (-30, 0, 20, 20), (10, 10**6, 20, 20)])
def test_a_box_beside_the_photo_is_no_picture(box: tuple[int, int, int, int]) -> None:
    assert crop(np.zeros((100, 100, 3), np.uint8), box, 64) is None
    assert jpeg(None) == b""


@pytest.mark.parametrize(
    "box", [(-5, -5, 20, 20), (90, 90, 50, 50), (0, 0, 100, 100), (40, 40, 1, 1), (0, 0, 10**6, 10**6), (0, 0, 100, 1)]
)
def test_a_crop_is_a_square_of_the_size_asked_for_wherever_the_face_is(box: tuple[int, int, int, int]) -> None:
    made = crop(np.zeros((100, 100, 3), np.uint8), box, 64)
    assert made is not None
    assert made.size == (64, 64)


def test_the_face_is_in_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[300:340, 20:60] = 255
    Image.fromarray(pixels).save(tmp_path / "1.png")
    made = stored(Photo(str(tmp_path / "1.png"), (20, 300, 40, 40), 0.1, "1"), 68, MAX_PIXELS)
    assert made is not None
    white = np.argwhere(np.asarray(made.convert("L")) > 200)
    assert white.min() == pytest.approx(14, abs=1)
    assert white.max() == pytest.approx(53, abs=1)


def test_photos_that_are_gone_or_broken_are_no_picture(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    for image in (tmp_path / "gone.jpg", tmp_path / "broken.jpg", "photos.zip!/Ada/1.jpg", "s3://bucket/1.jpg", "a\0b"):
        assert stored(Photo(str(image), (0, 0, 9, 9), 0.1, "1"), 64, MAX_PIXELS) is None
