"""How good a face is for recognition: each measure is a number of which more is better, so that each can be asked for as a minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from faces.face import Face, Point

SIDE = 112  # pixels to which every face is brought, so that sharpness does not depend on its size


@dataclass(frozen=True, slots=True)
class Quality:
    """The measures of one face.

    ``size``: the shorter side of the box, in pixels. ``sharpness``: the variance of the Laplacian of the grey face at 112 pixels
    (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000); below 30 a face looks blurred.
    ``brightness``: mean luma, 0 to 1. ``frontal``: 1 when the nose is in the middle between the eyes, 0 when it stands below one of
    them; 1 where the detector gives no eyes or no nose to tell by.
    """

    size: int
    sharpness: float
    brightness: float
    frontal: float

    def as_dict(self) -> dict[str, float]:
        """Plain values, rounded to what they mean."""
        return {name: round(getattr(self, name), 3) for name in MEASURES}


MEASURES = tuple(Quality.__dataclass_fields__)


def measure(pixels: NDArray[np.uint8], face: Face) -> Quality:
    """The quality of a face in (h, w, 3) uint8 RGB ``pixels``."""
    from PIL import Image

    x, y, width, height = face.box
    crop = Image.fromarray(pixels[y : y + height, x : x + width])
    # To grey as ITU-R BT.601 has it. Reduced with antialiasing, so that a large face is not sharper than a small one.
    grey = np.asarray(crop.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    return Quality(min(width, height), _sharpness(grey), float(grey.mean()) / 255, _frontal(face.eyes, face.nose))


def _sharpness(grey: NDArray[np.float32]) -> float:
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1]
    laplacian += grey[1:-1, :-2]
    laplacian += grey[1:-1, 2:]
    laplacian -= 4 * grey[1:-1, 1:-1]
    return float(laplacian.var())


def _frontal(eyes: tuple[Point, Point] | None, nose: Point | None) -> float:
    if eyes is None or nose is None:
        return 1.0
    one, other = np.asarray(eyes, np.float64)
    across = other - one
    distance = float(np.hypot(*across))
    if distance == 0:
        return 0.0
    along = float((nose - one) @ across) / distance**2  # 0 below one eye, 1 below the other
    return max(0.0, 1 - abs(2 * along - 1))


def thumbnail(pixels: NDArray[np.uint8], face: Face, side: int = 112) -> bytes:
    """The face with some room around it, eyes level, as a JPEG of a few kB."""
    import io

    from PIL import Image

    x, y, width, height = face.box
    side_now = max(width, height)
    around = _square(pixels, x + width / 2, y + height / 2, 3 * side_now, max(1, side_now // (8 * side)))
    turned = Image.fromarray(around).rotate(_roll(face.eyes), Image.Resampling.BILINEAR)
    # The middle half: the rest was there for its corners when it is turned.
    middle = (turned.width / 4, turned.height / 4, turned.width * 3 / 4, turned.height * 3 / 4)
    buffer = io.BytesIO()
    turned.resize((side, side), Image.Resampling.LANCZOS, middle).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _square(pixels: NDArray[np.uint8], x: float, y: float, side: float, step: int) -> NDArray[np.uint8]:
    """A square about a point, black where the photo ends; of a large one every ``step``th pixel, to save memory."""
    left, top, right, bottom = (round(edge) for edge in (x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    square = np.zeros((-((top - bottom) // step), -((left - right) // step), 3), np.uint8)
    first_row, first_column = -(min(top, 0) // step), -(min(left, 0) // step)
    seen = pixels[top + first_row * step : bottom : step, left + first_column * step : right : step]
    square[first_row : first_row + seen.shape[0], first_column : first_column + seen.shape[1]] = seen
    return square


def _roll(eyes: tuple[Point, Point] | None) -> float:
    """Degrees by which the line of the eyes falls to the right."""
    if eyes is None:
        return 0.0
    (left_x, left_y), (right_x, right_y) = sorted(eyes)
    return math.degrees(math.atan2(right_y - left_y, right_x - left_x))


def gate(asked: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The least of each measure, from texts like ``sharpness=50``.

    Raises:
        UsageError: a text is not understood.
    """
    least: dict[str, float] = {}
    for text in asked:
        name, _, number = text.partition("=")
        try:
            least[name] = float(number)
        except ValueError:
            name = ""
        if name not in MEASURES or not math.isfinite(least[name]):
            raise UsageError(f"--min-quality {text} is not understood: give one of {', '.join(MEASURES)}, then = and a number.")
    return tuple(sorted(least.items()))
