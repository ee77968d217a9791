"""Several photos of one person as one target: the face that they share, by the mean of its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UsageError
from query.targets import Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from faces.face import Face


def combined(targets: Sequence[Target], threshold: float) -> Target:
    """One target out of all those that have a face. Its face is the one on the first photo that all of them show best.

    Each face of the photo with the fewest is tried: with the nearest face of every other photo, the closest group wins. Its mean is
    searched for, and judged by the mean distance of its photos (see :class:`query.targets.Target`).

    Args:
        targets: the photos.
        threshold: of pairs: a photo that is farther than this from all others shows somebody else.

    Raises:
        UsageError: none of the photos has a face, or they do not show one person (``not_the_same_person``).
    """
    shown = [target for target in targets if target.faces]
    if not shown:
        code, message = next((target.error for target in targets if target.error), ("no_face", "There is no photo."))
        raise UsageError(f"None of the photos can be searched: {message}", code=code)
    vectors = [np.stack([_unit(face.embedding) for face in target.faces]) for target in shown]
    fewest = min(range(len(shown)), key=lambda number: len(vectors[number]))
    groups = [_group(vectors, seed) for seed in vectors[fewest]]
    chosen = max(groups, key=lambda group: _closeness(vectors, group))
    together = np.stack([vectors[number][face] for number, face in enumerate(chosen)])
    mean: NDArray[np.float32] = together.mean(axis=0)
    if not _hangs_together(together, threshold):
        odd = shown[int(np.argmin(together @ _unit(mean)))].name
        raise UsageError(f"The photos do not show one person: {odd} is unlike the others.", code="not_the_same_person")
    face: Face = replace(shown[0].faces[chosen[0]], embedding=mean)
    return Target(" + ".join(target.name for target in shown), shown[0].place, (face,), agreement=float(np.linalg.norm(mean)))


def _hangs_together(together: NDArray[np.float32], threshold: float) -> bool:
    """Whether each photo is within the threshold of another one, and through others of all: years lie between photos of one person."""
    near = 1 - together @ together.T <= threshold
    reached = {0}
    while more := {int(b) for a in reached for b in np.flatnonzero(near[a])} - reached:
        reached |= more
    return len(reached) == len(together)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit


def _group(vectors: Sequence[NDArray[np.float32]], seed: NDArray[np.float32]) -> list[int]:
    """Of each photo the face that is nearest to one of them."""
    return [int(np.argmax(faces @ seed)) for faces in vectors]


def _closeness(vectors: Sequence[NDArray[np.float32]], group: Sequence[int]) -> float:
    """The length of the sum: the longer, the more they point the same way."""
    return float(np.linalg.norm(sum(vectors[number][face] for number, face in enumerate(group))))
