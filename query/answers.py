"""What a search answers: plain values, which renderers turn into JSON, tables and pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the upright photo


@dataclass(frozen=True, slots=True)
class Photo:
    """One stored face: where it is, how far away it is, and its document's id."""

    image: str
    box: Box
    distance: float
    id: str

    @property
    def similarity(self) -> float:
        """The cosine."""
        return 1 - self.distance

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        return {
            "image": self.image,
            "box": list(self.box),
            "distance": round(self.distance, 6),
            "similarity": round(self.similarity, 6),
            "id": self.id,
        }


@dataclass(frozen=True, slots=True)
class Match:
    """A person found (or, for a face without a person, that face).

    Args:
        person: the name, if there is one.
        photos: the nearest ones that were looked at, best first; at least one.
        verified: whether the best is within the threshold.
        matched: how many of the faces looked at are.
        fpir: how often a stranger comes as close as the best, in this gallery; ``None`` where the collection is not calibrated.
    """

    person: str | None
    photos: tuple[Photo, ...]
    verified: bool
    matched: int
    fpir: float | None = None

    @property
    def best(self) -> Photo:
        """The nearest photo."""
        return self.photos[0]

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        return {
            "person": self.person,
            **self.best.as_dict(),
            "verified": self.verified,
            "matched": self.matched,
            "fpir": self.fpir,
            "photos": [photo.as_dict() for photo in self.photos],
        }


@dataclass(frozen=True, slots=True)
class FaceAnswer:
    """One face of the target and who it could be, best first."""

    box: Box
    confidence: float
    matches: list[Match]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered for one target photo. ``error`` is a code and a sentence where it could not be searched."""

    target: str
    collection: str
    faces: list[FaceAnswer] = field(default_factory=list)
    error: tuple[str, str] | None = None
    threshold: float | None = None  # of the matches that are verified
    fpir: float | None = None  # how often a stranger is within it, in this gallery; None where the collection is not calibrated
    filters: tuple[str, ...] = ()  # as they were typed

    @property
    def found(self) -> bool:
        """Whether there is any match."""
        return any(face.matches for face in self.faces)

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of ``facedex search --json``, one line a target."""
        return {
            "target": self.target,
            "collection": self.collection,
            "faces": [
                {"box": list(face.box), "confidence": round(face.confidence, 4), "matches": [match.as_dict() for match in face.matches]}
                for face in self.faces
            ],
            "threshold": self.threshold,
            "fpir": self.fpir,
            "filters": list(self.filters),
            "error": None if self.error is None else {"code": self.error[0], "message": self.error[1]},
        }
