"""What is known of one face in a photo, and how far apart two faces are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.errors import PhotoError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from faces.quality import Quality


Point = tuple[float, float]  # x, y


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face. ``repr`` leaves the embedding out: logs and tracebacks must not hold what identifies a person."""

    box: tuple[int, int, int, int]  # x, y, w, h in pixels of the upright photo, clipped to it
    landmarks: tuple[tuple[int, int], ...]  # (x, y), as many as the detector gives and in its own order: as they are stored
    confidence: float  # as the detector gives it; dlib's has no upper bound; see faces.dlib_detector.THRESHOLD
    embedding: NDArray[np.float32] = field(repr=False)  # (dims,), as the model gives it
    eyes: tuple[Point, Point] | None = None  # their middles, in any order, where the detector gives them
    nose: Point | None = None
    quality: Quality | None = None  # where it was measured
    thumbnail: bytes | None = field(default=None, repr=False)  # a JPEG, where it was asked for

    @property
    def area(self) -> int:
        """Pixels inside the box."""
        return self.box[2] * self.box[3]


def none_found(spoofs: int) -> PhotoError:
    """Why a photo has no face, when anti-spoofing refused so many: code ``spoof`` or ``no_face``."""
    if spoofs:
        return PhotoError("Every face in the photo looks like a picture of a picture.", code="spoof")
    return PhotoError("No face was found in the photo.", code="no_face")


def by_size(faces: list[Face]) -> list[Face]:
    """Largest face first; equals from top to bottom, then from left to right, so that an order is stable."""
    return sorted(faces, key=lambda face: (-face.area, face.box[1], face.box[0], face.box[2], face.box[3]))


def distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The cosine distance of two embeddings: 1 - cos(a, b), from 0 (same direction) to 2 (opposite).

    An embedding of zeros has no direction: its distance to anything is 1.
    """
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    norms = float(np.linalg.norm(a64) * np.linalg.norm(b64))
    if norms == 0:
        return 1.0
    return 1.0 - min(1.0, max(-1.0, float(a64 @ b64) / norms))
