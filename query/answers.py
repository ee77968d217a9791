"""What a search answers: plain values, which renderers turn into JSON, tables and pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the upright photo


@dataclass(frozen=True, slots=True)
class Match:
    """A person found (or, for a face without a person, that face), by their best photo."""

    person: str | None
    image: str
    box: Box
    distance: float
    similarity: float
    verified: bool
    id: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        return {
            "person": self.person,
            "image": self.image,
            "box": list(self.box),
            "distance": round(self.distance, 6),
            "similarity": round(self.similarity, 6),
            "verified": self.verified,
            "id": self.id,
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
            "error": None if self.error is None else {"code": self.error[0], "message": self.error[1]},
        }
