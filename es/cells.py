"""The cells that the faces of a large collection are sorted into, so that a search has to look into some of them only.

A cell is a region of a model's space, around a centre: the inverted file of Sivic and Zisserman (2003). The centres belong to the model and
not to a collection, so that they are the same from the first face on, and are never learnt anew. ``bench/cells.py`` makes them of the
covariances of real faces, and tells what is lost by looking into some of them only.

Facedex has them for its default model. Faces of others have no cell, and each of their searches compares every face or goes by a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIELD = "cell"
_BOOKS = Path(__file__).parent / "books"


@dataclass(frozen=True, repr=False)
class Book:
    """The centres of a model's cells: (cells, dims) float32, of length 1."""

    centres: NDArray[np.float32]

    @property
    def cells(self) -> int:
        """How many there are."""
        return len(self.centres)

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return int(self.centres.shape[1])

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """The cell of each vector, (n,), from 1: that with the nearest centre by cosine. Vectors are (n, dims), of any length."""
        import numpy as np

        return np.asarray(np.argmax(vectors @ self.centres.T, axis=1) + 1, np.int64)

    def nearest(self, vector: NDArray[np.float32], share: float) -> list[int]:
        """The cells nearest to a vector, (dims,), that are such a share of all."""
        import numpy as np

        likeness = self.centres @ vector
        many = max(1, min(self.cells, round(share * self.cells)))
        return sorted((np.argpartition(-likeness, many - 1)[:many] + 1).tolist())

    def save(self, path: Path) -> None:
        """Writes it; half precision moves next to no face into another cell."""
        import numpy as np

        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, centres=self.centres.astype(np.float16))


def is_there(model: str) -> bool:
    """Whether a model has cells, by its name."""
    return _path(model).is_file()


@cache
def book(model: str) -> Book | None:
    """The cells of a model, by its name; ``None`` where it has none."""
    import numpy as np

    if not is_there(model):
        return None
    with np.load(_path(model), allow_pickle=False) as kept:
        return Book(kept["centres"].astype(np.float32))


def _path(model: str) -> Path:
    return _BOOKS / f"{model}.npz"
