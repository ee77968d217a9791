"""The cells of a model (see :mod:`es.cells`): makes them, and tells how many a search has to look into.

    python bench/cells.py make --out es/books/Dlib.npz
    python bench/cells.py check -c lfw

They are made of a population's covariances (``bench/population.py``), and no face is in them. ``check`` asks with real faces that took no
part: cells are made from half of a collection's people, and the other half is looked for; then the other way round.

Tried, and left: cells in the directions in which people differ and photos don't (Fisher's discriminants). Made faces lose fewer by them
(one in a thousand where 9 % of the faces are compared, instead of 17 %), but real ones that took no part more: in one try with both,
98.2 instead of 99.1 % of the right first answers were kept by 10 % of the cells.
"""

from __future__ import annotations

import json as jsons
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.population import DLIB, Faces, Population, fit, named  # noqa: E402
from core.terminal import say, show, table  # noqa: E402
from es.cells import Book  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

CELLS = 1024  # with 2,048 and 4,096 real faces lose as many, for as many compared
_PEOPLE, _ROUNDS, _SEED = 200_000, 15, 77  # 77: a seed that no other bench draws its faces from
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


def make(population: Population, people: int = _PEOPLE, cells: int = CELLS) -> Book:
    """The cells of a population.

    Args:
        population: what faces are like.
        people: how many are made to learn from, a photo each; the more, the better cells are placed.
        cells: how many.
    """
    return Book(_centres(np.concatenate([block.vectors for block in population.gallery(people, 1, _SEED)]), cells))


def _centres(faces: Vectors, cells: int) -> Vectors:
    """Spherical k-means: (cells, dims), of length 1."""
    random = np.random.default_rng(_SEED)
    centres = faces[random.choice(len(faces), cells, replace=False)]
    for _ in range(_ROUNDS):
        own = np.concatenate([np.argmax(part @ centres.T, axis=1) for part in np.array_split(faces, max(1, len(faces) // 10_000))])
        order = np.argsort(own, kind="stable")
        there, starts = np.unique(own[order], return_index=True)
        centres[there] = np.add.reduceat(faces[order], starts, axis=0)
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return centres


def loses(book: Book, gallery: Vectors, probes: Vectors, truth: NDArray[np.int64], is_right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """By the share of cells: of the faces, how many are compared; of right first answers of a search of all, how many remain; recall.

    Args:
        book: the cells.
        gallery: (n, dims).
        probes: (m, dims).
        truth: (m, k), rows of the gallery nearest to each probe, best first.
        is_right: (m,), whether the first of them is the same person.
    """
    own = np.concatenate([book.of(part) for part in np.array_split(gallery, max(1, len(gallery) // 10_000))])
    sizes = np.bincount(own, minlength=book.cells + 1) / len(gallery)
    told = []
    for share in SHARES:
        near = [np.array(book.nearest(probe, share)) for probe in probes]
        inside = np.array([np.isin(own[rows], cells) for rows, cells in zip(truth, near, strict=True)])
        compared = float(np.mean([sizes[cells].sum() for cells in near]))
        kept = float(inside[is_right, 0].mean())
        told.append({"share": share, "compared": round(compared, 4), "kept": round(kept, 5), "recall": round(float(inside.mean()), 4)})
    return told


def halves(real: Faces) -> list[dict[str, Any]]:
    """Cells of one half of the people, asked with the other half, leave-one-out; the mean of both ways."""
    answers = []
    half = np.random.default_rng(0).random(int(real.people.max()) + 1) < 0.5
    for side in (half, ~half):
        ours = side[real.people]
        book = make(fit(real.vectors[ours], np.unique(real.people[ours], return_inverse=True)[1]))
        vectors, people = real.vectors[~ours], real.people[~ours]
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -2)
        truth = np.argsort(-likeness, axis=1)[:, :10]
        answers.append(loses(book, vectors, vectors, truth, people[truth[:, 0]] == people))
    return [{name: float(np.mean([answer[name] for answer in each])) for name in each[0]} for each in zip(*answers, strict=True)]


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("make")
def make_(
    out: Annotated[Path, typer.Option(help="Where to keep them.")],
    population: Annotated[Path, typer.Option(help="What the model's faces are like.")] = DLIB,
) -> None:
    """Makes the cells of a model."""
    book = make(Population.load(population))
    book.save(out)
    say(f"{out}: {book.cells:,} cells, {out.stat().st_size:,} bytes.")


@app.command()
def check(
    collection: Annotated[str, typer.Option("--collection", "-c", help="A collection of real faces with names.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tells what a search that looks into some cells only loses."""
    told = halves(named(collection))
    if json:
        print(jsons.dumps(told))
        return
    numbers = ("cells", "faces compared", "right first answers kept", "recall@10")
    shown = table("", *numbers, right=numbers)
    for each in told:
        shown.add_row("", *(f"{each[name]:.2%}" for name in ("share", "compared", "kept", "recall")))
    show(shown)


if __name__ == "__main__":
    app()
