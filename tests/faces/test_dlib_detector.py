from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import dlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core.errors import ModelError
from faces import dlib_detector
from faces.dlib_detector import DlibDetector, Found, load_detector

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def resized(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((round(width * factor), round(height * factor))))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def raw(detector: object, pixels: Pixels, threshold: float) -> list[tuple[int, int, int, int, float, int]]:
    boxes, scores, kinds = detector.run(pixels, 0, threshold)  # type: ignore[attr-defined]
    return [(b.left(), b.top(), b.right(), b.bottom(), s, k) for b, s, k in zip(boxes, scores, kinds, strict=True)]


@pytest.fixture(scope="module")
def detector() -> DlibDetector:
    return DlibDetector()


@pytest.fixture(scope="module")
def obama(portraits: dict[str, Path]) -> Pixels:
    return read(portraits["obama.jpg"])


@pytest.fixture(scope="module")
def face(detector: DlibDetector, obama: Pixels) -> Found:
    [face] = detector.find(obama)
    return face


def test_the_saved_detector_is_dlibs(obama: Pixels) -> None:
    ours, theirs = load_detector(), dlib.get_frontal_face_detector()
    assert ours.num_detectors == theirs.num_detectors == 5
    # Turned and mirrored, and far below the threshold, so that each of the five has its say.
    image = Image.fromarray(resized(obama, 0.5))
    looks = [np.asarray(side.rotate(degrees)) for side in (image, ImageOps.mirror(image)) for degrees in (15, -15)]
    found = [raw(ours, look, -1.0) for look in looks]
    assert found == [raw(theirs, look, -1.0) for look in looks]
    assert {kind for look in found for *_, kind in look} == {0, 1, 2, 3, 4}


def test_box_landmarks_and_chip(face: Found, obama: Pixels) -> None:
    x, y, w, h = face.box
    assert 200 < w < 320 and w == h
    left_outer, left_inner, right_inner_or_outer, _, nose = face.landmarks
    assert left_outer[0] > left_inner[0] > right_inner_or_outer[0]  # the person's left eye is on the photo's right
    assert all(x < px < x + w and y < py < y + h for px, py in face.landmarks)
    assert nose[1] > left_outer[1]
    assert face.nose == nose
    assert left_inner[0] < face.eyes[0][0] < left_outer[0]
    assert right_inner_or_outer[0] < face.eyes[1][0] < left_inner[0]
    assert face.chip.shape == (150, 150, 3)
    assert face.chip.dtype == np.uint8
    assert face.confidence > 1


def test_colours_have_no_say_in_where_faces_are(detector: DlibDetector, obama: Pixels, face: Found) -> None:
    grey = np.asarray(Image.fromarray(obama).convert("L").convert("RGB"))
    [found] = detector.find(grey)
    assert (found.box, found.confidence) == (face.box, face.confidence)


def test_a_face_over_the_edge_is_clipped(detector: DlibDetector, portraits: dict[str, Path]) -> None:
    pixels = read(portraits["obama_partial_face.jpg"])
    [face] = detector.find(pixels)
    x, y, w, h = face.box
    assert x == 0 and y >= 0 and w < h
    assert x + w <= pixels.shape[1] and y + h <= pixels.shape[0]


def test_small_faces_are_found_when_nothing_else_is(detector: DlibDetector, obama: Pixels, face: Found) -> None:
    factor = 50 / face.box[2]
    small = resized(obama, factor)
    assert not raw(detector.detector, small, 0.0)
    [found] = detector.find(small)
    scaled = tuple(round(edge * factor) for edge in face.box)
    assert overlap(found.box, (scaled[0], scaled[1], scaled[2], scaled[3])) > 0.7


def test_small_faces_beside_a_large_one_need_min_face(detector: DlibDetector, obama: Pixels, face: Found) -> None:
    canvas = np.zeros((obama.shape[0], obama.shape[1] + 300, 3), np.uint8)
    canvas[:, : obama.shape[1]] = obama
    small = resized(obama, 50 / face.box[2])
    canvas[: small.shape[0], obama.shape[1] + 20 : obama.shape[1] + 20 + small.shape[1]] = small
    assert len(detector.find(canvas)) == 1
    found = DlibDetector(40).find(canvas)
    assert sorted(face.box[2] > 100 for face in found) == [False, True]


def test_large_min_face_searches_less(obama: Pixels, face: Found) -> None:
    [found] = DlibDetector(200).find(obama)
    assert overlap(found.box, face.box) > 0.7
    assert DlibDetector(2000).find(resized(obama, 0.5)) == []


@pytest.mark.parametrize("degrees", [56, -56])
def test_tilted_heads_are_found_at_last(detector: DlibDetector, obama: Pixels, face: Found, degrees: int) -> None:
    half = Image.fromarray(resized(obama, 0.5))
    tilted = np.asarray(half.rotate(degrees))
    assert not raw(detector.detector, tilted, 0.0)
    found = max(detector.find(tilted), key=lambda found: found.confidence)
    # where the turn puts the nose
    angle, (middle_x, middle_y) = np.radians(degrees), (half.width / 2, half.height / 2)
    dx, dy = face.landmarks[4][0] / 2 - middle_x, face.landmarks[4][1] / 2 - middle_y
    nose = middle_x + dx * np.cos(angle) + dy * np.sin(angle), middle_y - dx * np.sin(angle) + dy * np.cos(angle)
    assert np.hypot(found.landmarks[4][0] - nose[0], found.landmarks[4][1] - nose[1]) < 8
    # and the chip is upright again
    assert np.corrcoef(found.chip.mean(2).ravel(), face.chip.mean(2).ravel())[0, 1] > 0.8


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (3, 5), (79, 81), (300, 300)])
def test_no_face_in_noise(detector: DlibDetector, shape: tuple[int, int]) -> None:
    assert detector.find(np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)) == []


def test_no_image_above_the_limit_is_searched(detector: DlibDetector, obama: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    class Spy:
        def run(self, pixels: Pixels, upsample: int, threshold: float) -> object:
            assert upsample == 0
            searched.append(pixels.shape[0] * pixels.shape[1])
            return detector.detector.run(pixels, upsample, threshold)

    monkeypatch.setattr(dlib_detector, "MAX_PIXELS", 200_000)
    monkeypatch.setattr(dlib_detector, "TILTED_PIXELS", 50_000)
    spied = DlibDetector()
    spied.detector = Spy()
    [face] = spied.find(obama)  # 1 megapixel
    assert overlap(face.box, detector.find(obama)[0].box) > 0.7
    assert spied.find(np.zeros((300, 400, 3), np.uint8)) == []
    assert max(searched) <= 201_000
    first, native, doubled, *tilted = searched
    assert [first, doubled] == pytest.approx([200_000] * 2, rel=0.01)
    assert native == 120_000
    assert tilted == pytest.approx([50_000] * 2, rel=0.01)


def test_photos_of_any_shape_leave_the_heap_whole() -> None:
    code = """
import numpy as np
from faces import dlib_detector as d
detector = d.DlibDetector()
for shape in (100, 100_000), (1, 20_000_000), (20_000_000, 1), (3, 3), (90, 16_000):
    assert detector.find(np.zeros((*shape, 3), np.uint8)) == []
for shape, scale in ((634, 10_993), 2.0), ((2, 16_000), 0.9), ((700, 30_000), 1.0):
    pixels = np.zeros((*shape, 3), np.uint8)
    d._searched(pixels, d._fit(pixels, scale, d.MAX_PIXELS))
print("whole")
"""
    # glibc's checks, where they are to be had: without them a small overrun is not seen.
    environment = os.environ | {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


@pytest.mark.parametrize("scale", [0.13, 0.5, 0.8, 1.0, 1.5, 2.0])
def test_scaled_strips_join_without_a_seam(obama: Pixels, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    height, width = round(obama.shape[0] * scale), round(obama.shape[1] * scale)
    whole = np.asarray(Image.fromarray(obama).convert("L").resize((width, height), Image.Resampling.BILINEAR), int)
    monkeypatch.setattr(dlib_detector, "STRIP_PIXELS", 20_000)
    assert np.abs(dlib_detector._searched(obama, scale) - whole).max() <= 1


def test_damaged_landmarks_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "landmarks.dat"
    damaged.write_bytes(b"not a predictor")
    monkeypatch.setattr(dlib_detector, "weight_file", lambda _: damaged)
    monkeypatch.setattr("faces.dlib_model.weight_file", lambda _: damaged)
    with pytest.raises(ModelError) as caught:
        dlib_detector.load_predictor()
    assert caught.value.code == "weights_damaged"


@pytest.mark.photos
def test_annotated_group_photos(shared_photos: Path) -> None:
    boxes = defaultdict(list)
    with (shared_photos / "inputs" / "multi_face_boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            boxes[row["file"]].append((int(row["left"]), int(row["top"]), int(row["width"]), int(row["height"])))
    detector = DlibDetector(40)
    for name, annotated in boxes.items():
        found = [face.box for face in detector.find(read(shared_photos / "inputs" / "multi_face" / name))]
        assert all(any(overlap(box, face) > 0.5 for face in found) for box in annotated), name
        assert len(found) == len(annotated), name


@pytest.mark.photos
@pytest.mark.parametrize("name", ["dlib_dogs.jpg", "exif_landscape_3.jpg", "exif_portrait_8.jpg"])
def test_no_face_is_invented(detector: DlibDetector, shared_photos: Path, name: str) -> None:
    assert detector.find(read(shared_photos / "inputs" / "no_face" / name)) == []
