"""Whether two photos show the same person. Needs no Elasticsearch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from query.answers import Box

if TYPE_CHECKING:
    from faces.face import Face
    from faces.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Verdict:
    """The closest pair of faces, one of each photo, and what its distance means."""

    verified: bool
    distance: float
    threshold: float
    metric: str
    model: str
    boxes: tuple[Box, Box]

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape of ``facedex verify --json``."""
        return {
            "verified": self.verified,
            "distance": round(self.distance, 6),
            "threshold": self.threshold,
            "metric": self.metric,
            "model": self.model,
            "boxes": [list(box) for box in self.boxes],
        }


def verify(recipe: Recipe, first: list[Face], second: list[Face]) -> Verdict:
    """Compares every face of one photo with every face of the other, and judges the closest pair (as ``DeepFace.verify`` does).

    Args:
        recipe: how the vectors were made; gives the metric and its threshold.
        first: the faces of one photo, at least one.
        second: the faces of the other, at least one.
    """
    from faces.face import distance

    measured, a, b = min(((distance(a.embedding, b.embedding), a, b) for a in first for b in second), key=lambda pair: pair[0])
    return Verdict(measured <= recipe.threshold, measured, recipe.threshold, recipe.metric, recipe.model, (a.box, b.box))
