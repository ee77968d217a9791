"""Finds faces with dlib's HOG detector and cuts them out aligned.

The detector sees faces of about 80 pixels and more, upright or nearly so, in grey. Photos are scaled so that this means ``min_face``.
Where that finds nothing, and only there, it looks again: doubled, and then turned to both sides.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlib
import numpy as np

from core.errors import ModelError
from faces.cache import cached
from faces.dlib_model import LANDMARKS_FILE, read_pinned, weight_file
from faces.dlib_weights import CHIP_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from faces.face import Point

DETECTOR_FACE = 80  # pixels, the side of the detector's window
MAX_PIXELS = 24_000_000  # of an image given to the detector: bounds its memory to some 250 MB
# dlib's bilinear resize_image, by which its detector also makes its pyramid, counts columns in 32-bit floats; what they lose adds up
# until it writes past the row's end. One pyramid step is sound up to 14,189 * 6/5 = 17,026 columns, for the sum of all that can be lost.
MAX_WIDTH = 16_000
STRIP_PIXELS = 1_000_000  # scaled at a time: Pillow needs a copy
PADDING = 0.25  # of get_face_chip: what the network was trained with (dlib's face_recognition.py)
# In grey, as dlib trained it, the detector takes three quarters of its time in colour, and scores are lower. With this threshold it
# takes as much for a face that is none as with 0 in colour (483 and 482 times in 3,500 LFW photos upside down), and finds 7,343 faces in
# the 7,001 of LFW instead of 7,319.
THRESHOLD = -0.1
# Second looks, each chosen on the LFW photos where nothing was found; see find().
DOUBLED_THRESHOLD, DOUBLED_AGAIN = -0.2, -0.1  # of the face itself, and when it is looked at again in its aligned crop
TILT = 20.0  # degrees
TILTED_THRESHOLD, TILTED_AGAIN = 0.0, 0.2
AGAIN_SIZE, AGAIN_PADDING = 200, 1.0  # pixels; room on all sides, and the face large enough for the detector
TILTED_PIXELS = 4_000_000  # the last look is two searches more: not in full size
WORTH_ANOTHER_LOOK = 1.2  # times larger, at least


@dataclass(frozen=True, slots=True)
class Found:
    """A face found in a photo, cut out and aligned."""

    box: tuple[int, int, int, int]  # x, y, w, h, clipped to the photo
    landmarks: tuple[tuple[int, int], ...]  # 5 points: left eye outer, inner; right eye outer, inner; nose base
    confidence: float  # the detector's score
    chip: NDArray[np.uint8]  # (150, 150, 3) RGB

    @property
    def eyes(self) -> tuple[Point, Point]:
        """The middle of each, between its corners."""
        a, b, c, d, _ = self.landmarks
        return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2), ((c[0] + d[0]) / 2, (c[1] + d[1]) / 2)

    @property
    def nose(self) -> Point:
        """Its base."""
        return self.landmarks[4]


class DlibDetector:
    """dlib's frontal face detector and 5-point landmarks, both loaded from files."""

    def __init__(self, min_face: int = DETECTOR_FACE) -> None:
        """Faces of ``min_face`` pixels and more are looked for at first."""
        self.scale = DETECTOR_FACE / min_face
        self.detector = load_detector()
        self.predictor = load_predictor()

    def find(self, pixels: NDArray[np.uint8]) -> list[Found]:
        """The faces in (h, w, 3) uint8 RGB, in the detector's order; none is an empty list.

        Never is an image of more than MAX_PIXELS or MAX_WIDTH searched: larger photos are scaled down, so that their smallest
        findable face grows (in one of 100 megapixels to 160 pixels), and the second look is limited likewise.

        A photo without a face so far is searched again at twice the resolution, then turned by 20 degrees to both sides. What is
        found there must be found again in its aligned crop, where a face stands upright and anything else does not look like one.
        Of 7,001 LFW photos 26 have no face at first, 15 after mere doubling, 14 after all of it. Of 872 such photos upside down,
        where there is none to be found, mere doubling invents one in 55, this in 35.
        """
        return self.find_all([pixels])[0]

    def find_all(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Found]]:
        """The faces of each of several photos, as :meth:`find` has them.

        Stage by stage: what a stage reads of its model (9 MB for landmarks) is still near the processor for the next photo.
        """
        searched = [self._search(pixels, _fit(pixels, self.scale, MAX_PIXELS), THRESHOLD) for pixels in photos]
        shapes = [[self.predictor(pixels, box) for box, _ in boxes] for pixels, boxes in zip(photos, searched, strict=True)]
        return [
            [self._cut(pixels, box, score, shape) for (box, score), shape in zip(boxes, shape_of, strict=True)] or self._look_again(pixels)
            for pixels, boxes, shape_of in zip(photos, searched, shapes, strict=True)
        ]

    def _look_again(self, pixels: NDArray[np.uint8]) -> list[Found]:
        native = _fit(pixels, self.scale, MAX_PIXELS)
        doubled = _fit(pixels, max(self.scale, min(2.0, 2 * self.scale)), MAX_PIXELS)
        if doubled >= native * WORTH_ANOTHER_LOOK and (found := list(self._weak(pixels, doubled))):
            return found
        return self._tilted(pixels, _fit(pixels, native, TILTED_PIXELS))

    def _search(self, pixels: NDArray[np.uint8], scale: float, threshold: float) -> list[tuple[Any, float]]:
        """Boxes (dlib.rectangle, in the photo's own pixels) and scores."""
        boxes, scores, _ = self.detector.run(_searched(pixels, scale), 0, threshold)
        return [(_unscaled(box, scale), float(score)) for box, score in zip(boxes, scores, strict=True)]

    def _weak(self, pixels: NDArray[np.uint8], scale: float) -> Iterator[Found]:
        """Faces found with a low threshold and found again."""
        for box, score in self._search(pixels, scale, DOUBLED_THRESHOLD):
            shape = self.predictor(pixels, box)
            if self._again(pixels, shape, DOUBLED_AGAIN):
                yield self._cut(pixels, box, score, shape)

    def _tilted(self, pixels: NDArray[np.uint8], scale: float) -> list[Found]:
        """Faces found in the photo turned by TILT, and found again; of the two sides the one with the best score."""
        small = _searched(pixels, scale)
        sides = [list(self._turned(pixels, small, degrees, scale)) for degrees in (TILT, -TILT)]
        return max(sides, key=lambda found: max((face.confidence for face in found), default=0.0))

    def _turned(self, pixels: NDArray[np.uint8], small: NDArray[np.uint8], degrees: float, scale: float) -> Iterator[Found]:
        turned = _turned(small, degrees)
        boxes, scores, _ = self.detector.run(turned, 0, TILTED_THRESHOLD)
        for box, score in zip(boxes, scores, strict=True):
            # Landmarks are found in the turned image and turned back: the predictor knows upright faces best.
            shape = self.predictor(turned, box)
            if not self._again(turned, shape, TILTED_AGAIN):
                continue
            parts = [_turned_back(part.x, part.y, degrees, small.shape, scale) for part in shape.parts()]
            middle = _turned_back(box.center().x, box.center().y, degrees, small.shape, scale)
            upright = dlib.centered_rect(middle, round(box.width() / scale), round(box.height() / scale))
            yield self._cut(pixels, upright, float(score), dlib.full_object_detection(upright, parts))

    def _again(self, pixels: NDArray[np.uint8], shape: Any, threshold: float) -> bool:
        """Whether the detector finds the face in the middle of its own aligned crop."""
        crop = dlib.get_face_chip(pixels, shape, size=AGAIN_SIZE, padding=AGAIN_PADDING)
        boxes, _, _ = self.detector.run(_searched(crop, 1), 0, threshold)
        middle = dlib.point(AGAIN_SIZE // 2, AGAIN_SIZE // 2)
        return any(box.contains(middle) for box in boxes)

    def _cut(self, pixels: NDArray[np.uint8], box: Any, score: float, shape: Any) -> Found:
        chip = dlib.get_face_chip(pixels, shape, size=CHIP_SIZE, padding=PADDING)
        return Found(_clipped(box, pixels), tuple((part.x, part.y) for part in shape.parts()), score, chip)


def load_detector() -> Any:
    """dlib.get_frontal_face_detector(), which costs 0.3 s of CPU to unpack, from a file that costs 1 ms."""
    kept = cached(f"dlib_frontal_face_detector-{dlib.__version__}.svm", _saved_detector)
    return dlib.fhog_object_detector(str(kept.path))


def load_predictor() -> Any:
    """dlib's 5-point landmark predictor (50 ms of CPU).

    Raises:
        ModelError: its file is missing or damaged.
    """
    try:
        return dlib.shape_predictor(str(weight_file(LANDMARKS_FILE)))
    except RuntimeError as error:
        read_pinned(LANDMARKS_FILE)  # says that it is damaged
        raise ModelError(f"dlib can't load {LANDMARKS_FILE}: {error}.", code="weights_damaged") from None


def _saved_detector() -> bytes:
    with tempfile.TemporaryDirectory(prefix="facedex-") as folder:
        path = Path(folder) / "detector.svm"
        dlib.get_frontal_face_detector().save(str(path))
        return path.read_bytes()


def _fit(pixels: NDArray[np.uint8], scale: float, limit: int) -> float:
    """The scale, or the largest one that keeps the image within the limit and MAX_WIDTH."""
    height, width = pixels.shape[:2]
    return float(min(scale, math.sqrt(limit / (height * width)), MAX_WIDTH / width))


def _searched(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The photo as the detector sees it: (h, w) grey, scaled bilinearly. Strip by strip, and never by dlib: see MAX_WIDTH."""
    from PIL import Image

    height, width = pixels.shape[:2]
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    searched = np.empty((rows, columns), np.uint8)
    down = height / rows
    around = 0 if scale == 1 else math.ceil(max(down, 1)) + 1  # rows that have a say in those at a strip's edge
    step = max(1, int(STRIP_PIXELS / max(columns, width * down)))
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        first, last = max(0, math.floor(top * down) - around), min(height, math.ceil(bottom * down) + around)
        box = (0, top * down - first, width, min(bottom * down, last) - first)
        grey = Image.fromarray(pixels[first:last]).convert("L")
        searched[top:bottom] = grey.resize((columns, bottom - top), Image.Resampling.BILINEAR, box)
    return searched


def _unscaled(box: Any, scale: float) -> Any:
    if scale == 1:
        return box
    return dlib.rectangle(*(round(edge / scale) for edge in (box.left(), box.top(), box.right(), box.bottom())))


def _turned(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Turned counter-clockwise about the middle, corners cut off, black where nothing is."""
    from PIL import Image

    return np.ascontiguousarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR))


def _turned_back(x: float, y: float, degrees: float, shape: tuple[int, ...], scale: float) -> Any:
    """A point of an image turned by _turned, in pixels of the photo (dlib.point)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_x, middle_y = shape[1] / 2, shape[0] / 2
    dx, dy = x - middle_x, y - middle_y
    return dlib.point(round((middle_x + dx * cos - dy * sin) / scale), round((middle_y + dx * sin + dy * cos) / scale))


def _clipped(box: Any, pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    height, width = pixels.shape[:2]
    left, top = min(max(0, box.left()), width - 1), min(max(0, box.top()), height - 1)
    return left, top, max(1, min(width, box.right() + 1) - left), max(1, min(height, box.bottom() + 1) - top)
