"""Pixels of every mode become RGB as they are meant to be seen."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from faces.photo import decode
from tests.faces.photos_made import EXIF_ORIENTATION, TURNS, picture, saved, tiff


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *((mode, "TIFF") for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "RGBX")),
        *((mode, "JPEG") for mode in ("L", "RGB", "CMYK", "YCbCr")),
        *((mode, "WEBP") for mode in ("RGB", "RGBA")),
        *((mode, "HEIF") for mode in ("L", "RGB", "RGBA")),
    ],
)
def test_every_mode_becomes_rgb(mode: str, kind: str) -> None:
    colour = (200, 100, 50)
    image = Image.new("RGB", (16, 8), colour)
    if mode == "LAB":
        lab, grey = Image.new("LAB", (16, 8), (255, 128, 128)), False
        got = decode(saved(lab, kind)).pixels
        assert got.min() > 245  # white
        return
    image = image.convert("RGBA").convert(mode) if mode in ("PA", "LA") else image.convert(mode)
    grey = mode in ("1", "L", "LA")
    got = decode(saved(image, kind)).pixels.astype(int)
    assert got.shape == (8, 16, 3)
    if mode == "1":
        assert set(np.unique(got)) <= {0, 255}
    else:
        expected = [124] * 3 if grey else colour
        assert np.abs(got.mean(axis=(0, 1)) - expected).max() < 12


def test_premultiplied_alpha() -> None:
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 4, 0), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 0), (277, 3, 1, 4), (279, 4, 1, 4)]
    tags.append((338, 3, 1, 1))
    tail = 8 + 2 + 12 * len(tags) + 4
    tags[2], tags[5] = (258, 3, 4, tail), (273, 4, 1, tail + 8)
    got = decode(tiff(tags, struct.pack("<4H", 8, 8, 8, 8) + bytes([128, 0, 0, 128]))).pixels[0, 0].astype(int)
    assert np.abs(got - [255, 127, 127]).max() <= 2


def test_transparency_shows_white_and_hides_what_is_under_it() -> None:
    hidden = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    hidden.putpixel((0, 0), (9, 9, 9, 255))
    for kind in ("PNG", "WEBP", "TIFF"):
        pixels = decode(saved(hidden, kind, **({"lossless": True} if kind == "WEBP" else {}))).pixels
        assert pixels[0, 0].tolist() == [9, 9, 9]
        assert pixels[3, 3].tolist() == [255, 255, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        assert decode(saved(palette, kind, transparency=1)).pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_alpha_that_is_zero_everywhere_is_a_mistake_of_the_writer() -> None:
    assert decode(saved(Image.new("RGBA", (2, 2), (10, 20, 30, 0)), "PNG")).pixels[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    deep = Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16))
    assert decode(saved(deep, kind)).pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 2048, 4095]], np.uint16), [0, 128, 255]),  # 12 bits in 16
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 32896, 65535]], np.int32), [0, 128, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[-(2**31), 0, 2**31 - 1]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 128, 255]], np.float32), [0, 128, 255]),
        (np.array([[-1e30, 0, 1e30]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.inf, 1]], np.float32), [0, 255, 255]),
        (np.array([[np.nan, np.nan, np.nan]], np.float32), [0, 0, 0]),
    ],
)
def test_deep_pixels_are_scaled_by_their_range(values: np.ndarray, expected: list[int]) -> None:
    assert np.abs(decode(saved(Image.fromarray(values), "TIFF")).pixels[0, :, 0].astype(int) - expected).max() <= 1


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faces.pixels.STRIP_PIXELS", 100)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        stored = picture().transpose(TURNS[orientation]) if orientation in TURNS else picture()
        assert np.array_equal(decode(saved(stored, "PNG", exif=exif)).pixels, np.asarray(picture()))
