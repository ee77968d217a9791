from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from faces.face import Face, Point
from faces.pipeline import Pipeline
from faces.quality import MEASURES, measure, thumbnail
from faces.recipe import DEFAULT

Pixels = NDArray[np.uint8]


def face(box: tuple[int, int, int, int], eyes: tuple[Point, Point] | None = None, nose: Point | None = None) -> Face:
    return Face(box, (), 1.0, np.ones(128, np.float32), eyes=eyes, nose=nose)


@pytest.fixture
def portrait(portraits: dict[str, Path]) -> Image.Image:
    with Image.open(portraits["obama.jpg"]) as image:
        return image.convert("RGB")


WHERE = face((300, 150, 250, 260))


def test_blur_costs_sharpness_and_darkness_brightness(portrait: Image.Image) -> None:
    plain = measure(np.asarray(portrait), WHERE)
    blurred = measure(np.asarray(portrait.filter(ImageFilter.GaussianBlur(8))), WHERE)
    dark = measure((np.asarray(portrait) // 4).astype(np.uint8), WHERE)
    assert plain.sharpness > 4 * blurred.sharpness
    assert plain.brightness == pytest.approx(4 * dark.brightness, rel=0.05)
    assert plain.size == 250
    assert set(plain.as_dict()) == set(MEASURES)


def test_sharpness_does_not_depend_on_size(portrait: Image.Image) -> None:
    half = portrait.resize((portrait.width // 2, portrait.height // 2), Image.Resampling.LANCZOS)
    large, small = measure(np.asarray(portrait), WHERE), measure(np.asarray(half), face((150, 75, 125, 130)))
    assert small.sharpness == pytest.approx(large.sharpness, rel=0.3)


@pytest.mark.parametrize(
    ("nose", "frontal"), [((50, 60), 1.0), ((15, 60), 0.0), ((85, 60), 0.0), ((0, 60), 0.0), ((32, 60), pytest.approx(0.5, abs=0.03))]
)
def test_a_nose_in_the_middle_is_frontal(nose: tuple[int, int], frontal: float) -> None:
    for eyes in (((15, 30), (85, 30)), ((85, 30), (15, 30))):
        assert measure(np.zeros((100, 100, 3), np.uint8), face((0, 0, 100, 100), eyes, nose)).frontal == frontal


@pytest.mark.parametrize(("eyes", "nose"), [(None, None), (((1, 1), (2, 2)), None), (None, (1, 1))])
def test_without_eyes_and_nose_a_face_counts_as_frontal(eyes: tuple[Point, Point] | None, nose: Point | None) -> None:
    assert measure(np.zeros((9, 9, 3), np.uint8), face((0, 0, 9, 9), eyes, nose)).frontal == 1.0


def test_eyes_in_one_place_do_not_divide_by_zero() -> None:
    assert measure(np.zeros((9, 9, 3), np.uint8), face((0, 0, 9, 9), ((1, 1), (1, 1)), (1, 1))).frontal == 0.0


@pytest.mark.parametrize("size", [90, 901, 5000])
def test_a_thumbnail_of_any_size_is_black_where_the_photo_ends(size: int) -> None:
    white = np.broadcast_to(np.uint8(255), (9000, 9000, 3))  # takes no memory, unless all of it is copied
    with Image.open(io.BytesIO(thumbnail(white, face((0, 0, size, size)), side=120))) as image:
        shown = np.asarray(image.convert("L")) > 128
    assert shown[21:, 21:].all()  # a sixth lies outside
    assert not shown[:19].any() and not shown[:, :19].any()


@pytest.mark.parametrize("eyes", [((150, 80), (50, 120)), ((50, 120), (150, 80))])
def test_two_eyes_are_enough_to_level_a_thumbnail(eyes: tuple[Point, Point]) -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    for x, y in eyes:
        pixels[int(y) - 8 : int(y) + 8, int(x) - 8 : int(x) + 8] = 255
    with Image.open(io.BytesIO(thumbnail(pixels, face((20, 20, 160, 160), eyes), side=240))) as image:
        rows = np.flatnonzero((np.asarray(image.convert("L")) > 128).any(axis=1))
    assert np.ptp(rows) < 30  # both in one row; untouched they are 40 apart


@pytest.mark.parametrize("degrees", [-12, 0, 12])
def test_a_thumbnail_has_its_eyes_level_and_a_few_kilobytes(portrait: Image.Image, degrees: int) -> None:
    tilted = np.asarray(portrait.rotate(degrees, Image.Resampling.BICUBIC))
    pipeline = Pipeline(DEFAULT)
    (found, *_) = pipeline.find(tilted)
    small = thumbnail(tilted, found, side=200)
    assert len(small) < 12_000
    with Image.open(io.BytesIO(small)) as image:
        assert image.size == (200, 200)
        (again, *_) = pipeline.find(np.asarray(image))
    right, left = again.landmarks[2], again.landmarks[0]
    assert abs(left[1] - right[1]) < 0.08 * abs(left[0] - right[0]) + 1
