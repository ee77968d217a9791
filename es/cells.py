"""The cells that the faces of a large collection are sorted into, so that a search has to look into some of them only.

A cell is a region of a model's space, around a centre. The centres belong to the model and not to a collection: they are the same from the
first face on, and are never learnt anew. Two photos of a person are near each other in the directions in which people differ, and far in
those in which photos do; so cells are made in the first of these directions only (linear discriminant analysis, Fisher 1936), after which
the inverted file of Sivic and Zisserman (2003) is what remains. ``bench/cells.py`` makes them, and tells what they lose.

Facedex has them for its default model. Faces of others have no cell, and each of their searches compares every face or goes by a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD = "cell"
NONE = 0  # has no cell: its model has no centres. Cells are numbered from 1
_BOOKS = Path(__file__).parent / "books"


@dataclass(frozen=True, repr=False)
class Book:
    """The centres of a model's cells.

    ``mean`` is (dims,), ``axes`` (dims, directions), ``centres`` (cells, directions) of length 1; all float32.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    centres: NDArray[np.float32]

    @property
    def cells(self) -> int:
        """How many there are."""
        return len(self.centres)

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """The cell of each vector, (n,), from 1. Vectors are (n, dims), as the model gives them or of length 1."""
        return np.asarray(np.argmax(self._likeness(vectors), axis=1) + 1, np.int64)

    def nearest(self, vector: NDArray[np.float32], share: float) -> list[int]:
        """The cells nearest to a vector, (dims,), that are such a share of all."""
        likeness = self._likeness(vector[None])[0]
        many = max(1, min(self.cells, round(share * self.cells)))
        return sorted((np.argpartition(-likeness, many - 1)[:many] + 1).tolist())

    def _likeness(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        placed = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny) - self.mean) @ self.axes
        likeness: NDArray[np.float32] = placed @ self.centres.T  # of cosine only the order counts
        return likeness

    def save(self, path: Path) -> None:
        """Writes it; half precision moves next to no face into another cell."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{name: getattr(self, name).astype(np.float16) for name in ("mean", "axes", "centres")})


def is_there(model: str) -> bool:
    """Whether a model has cells, by its name."""
    return _path(model).is_file()


@cache
def book(model: str) -> Book | None:
    """The cells of a model, by its name; ``None`` where it has none."""
    if not is_there(model):
        return None
    with np.load(_path(model), allow_pickle=False) as kept:
        return Book(*(kept[name].astype(np.float32) for name in ("mean", "axes", "centres")))


def _path(model: str) -> Path:
    return _BOOKS / f"{model}.npz"
