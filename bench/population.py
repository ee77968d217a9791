"""Made faces, as many as wanted, that are as hard to tell apart as real ones.

A population is what remains of real vectors when every face is forgotten: the means of eight groups that people fall into (k-means), the
covariance between people of a group and within a person, and three spreads (log-normal): how far people stand from the middle of their
group (near it they resemble each other: "lambs" and "wolves"), how much a person varies, how much a photo does. The first is chosen so
that rank-1, leave-one-out, is that of the real faces. One Gaussian is too easy for a search (rank-1 .983 where real faces have .959) and
too hard for a graph (recall@10 .82 where real faces have .87).

    python bench/population.py fit -c lfw --out bench/populations/dlib.npz
    python bench/population.py check -c lfw
"""

from __future__ import annotations

import json as jsons
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from core.terminal import say, show, table  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

DLIB = ROOT / "bench" / "populations" / "dlib.npz"  # fitted to LFW
_BLOCK = 10_000  # people made at once, from a seed of their own: any part of a population can be made without the rest
_OFTEN = 4  # photos from which a person's own spread is measured
_GROUPS, _ROUNDS = 8, 50
_MOST = 10  # photos of a person: one with hundreds would be most of what is seen
_CENTRES = (0.0, 0.5)  # where the spread of people is looked for
_STEPS = 8


class Faces(NamedTuple):
    """Vectors of length 1, (n, dims) float32, and whose they are, (n,) int64."""

    vectors: Vectors
    people: NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """See the top of this module.

    ``between`` and ``within`` are lower triangular, (dims, dims): a normal vector times one of them has that covariance.
    """

    means: Vectors  # (groups, dims)
    shares: NDArray[np.float64]  # (groups,): of the people
    between: Vectors
    within: Vectors
    spread_people: float  # standard deviations of logarithms
    spread_person: float
    spread_photo: float

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return int(self.means.shape[1])

    def save(self, path: Path) -> None:
        """Writes it; half precision is more than the estimate has."""
        lower = np.tril_indices(self.dims)
        spreads = np.array([self.spread_people, self.spread_person, self.spread_photo])
        halves = {name: getattr(self, name)[lower].astype(np.float16) for name in ("between", "within")}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, means=self.means.astype(np.float16), shares=self.shares, spreads=spreads, **halves)

    @classmethod
    def load(cls, path: Path = DLIB) -> Population:
        """Reads one that was saved."""
        with np.load(path, allow_pickle=False) as kept:
            means = kept["means"].astype(np.float32)
            dims = means.shape[1]
            square = np.zeros((2, dims, dims), np.float32)
            for into, name in zip(square, ("between", "within"), strict=True):
                into[np.tril_indices(dims)] = kept[name]
            return cls(means, kept["shares"], square[0], square[1], *map(float, kept["spreads"]))

    def gallery(self, people: int, photos: int, seed: int = 0, first: int = 0) -> Iterator[Faces]:
        """Faces in blocks, each person's photos next to each other.

        Args:
            people: how many.
            photos: of each.
            seed: of the population: the same people, and the same photos, for the same seed.
            first: number of the first person, a multiple of 10,000: to go on, or for strangers of the same seed.
        """
        for start in range(first, first + people, _BLOCK):
            yield self._block(np.arange(start, min(start + _BLOCK, first + people)), photos, seed, 0)

    def probes(self, people: int, seed: int = 0, first: int = 0) -> Faces:
        """One more photo of each of these people, which no gallery has."""
        blocks = [
            self._block(np.arange(start, min(start + _BLOCK, first + people)), 1, seed, 1) for start in range(first, first + people, _BLOCK)
        ]
        return Faces(np.concatenate([block.vectors for block in blocks]), np.concatenate([block.people for block in blocks]))

    def like(self, people: NDArray[np.int64], seed: int = 0) -> Vectors:
        """Faces with the people of another set: as many of each. (len(people), dims)."""
        found, which = np.unique(people, return_inverse=True)
        random = np.random.default_rng((seed, 2))
        centres, scales = self._people(len(found), random)
        return self._photos(centres[which], scales[which], random)

    def _block(self, numbers: NDArray[np.int64], photos: int, seed: int, use: int) -> Faces:
        block = int(numbers[0]) // _BLOCK
        # Always the whole block's people, so that the first are the same however many are asked for.
        centres, scales = self._people(_BLOCK, np.random.default_rng((seed, block, 0)))
        which = np.repeat(numbers % _BLOCK, photos)
        return Faces(self._photos(centres[which], scales[which], np.random.default_rng((seed, block, 1 + use))), np.repeat(numbers, photos))

    def _people(self, count: int, random: np.random.Generator) -> tuple[Vectors, Vectors]:
        """Middles of people, (count, dims), and how much each varies, (count,)."""
        away = self._drawn(count, self.between, random) * _lognormal(self.spread_people, count, random)[:, None]
        group = random.choice(len(self.shares), count, p=self.shares)
        return self.means[group] + away, _lognormal(self.spread_person, count, random)

    def _photos(self, centres: Vectors, scales: Vectors, random: np.random.Generator) -> Vectors:
        first, second = random.spawn(2)  # so that the first photos are the same, however many are asked for
        scales = scales * _lognormal(self.spread_photo, len(centres), second)
        varied = self._drawn(len(centres), self.within, first) * scales[:, None]
        made = centres + varied
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)

    def _drawn(self, count: int, lower: Vectors, random: np.random.Generator) -> Vectors:
        return np.array(random.standard_normal((count, self.dims), np.float32) @ lower.T, np.float32)


def _lognormal(spread: float, count: int, random: np.random.Generator) -> Vectors:
    """Factors whose mean square is 1, so that covariances stay."""
    return np.asarray(np.exp(spread * random.standard_normal(count, np.float32) - spread**2), np.float32)


def fit(vectors: Vectors, people: NDArray[np.int64]) -> Population:
    """The population of real faces.

    Args:
        vectors: (n, dims), of length 1.
        people: (n,) whose they are; some must have four photos or more.
    """
    count = np.bincount(people)
    centres = np.zeros((len(count), vectors.shape[1]))
    np.add.at(centres, people, vectors)
    centres /= count[:, None]
    left = vectors - centres[people]
    within = left.T @ left / (count - 1).sum()
    # The means of few photos vary by what photos vary.
    group, means = _groups(centres)
    apart = centres - means[group]
    between = apart.T @ apart / (len(centres) - _GROUPS) - within * (1 / count).mean()
    often = count >= _OFTEN
    own = np.zeros(len(count))
    np.add.at(own, people, (left**2).sum(1))
    spread_person = float(np.log(np.sqrt(own[often] / (count[often] - 1))).std())
    whole = np.sqrt((left**2).sum(1) * (count[people] / np.maximum(count[people] - 1, 1)) / np.maximum(own / count, 1e-9)[people])
    spread_photo = float(np.log(whole[often[people]]).std())

    def with_spread(spread: float) -> Population:
        lower = [np.linalg.cholesky(_positive(matrix)).astype(np.float32) for matrix in (between, within)]
        shares = np.bincount(group, minlength=_GROUPS) / len(group)
        return Population(means.astype(np.float32), shares, lower[0], lower[1], spread, spread_person, spread_photo)

    wanted = rank1(vectors, people)
    low, high = _CENTRES
    for _ in range(_STEPS):  # the wider people are spread, the more stand near the middle, and the lower rank-1
        middle = (low + high) / 2
        reached = np.mean([rank1(with_spread(middle).like(people, seed), people) for seed in range(3)])
        low, high = (middle, high) if reached > wanted else (low, middle)
    return with_spread((low + high) / 2)


def _groups(centres: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """k-means: the group of each, and the groups' means."""
    means = centres[np.random.default_rng(0).choice(len(centres), _GROUPS, replace=False)]
    for _ in range(_ROUNDS):
        away = (means**2).sum(1) - 2 * centres @ means.T
        group = away.argmin(1)
        means = np.stack([centres[group == number].mean(0) for number in range(_GROUPS)])
    return group, means


def _positive(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest covariance: an estimated difference can have directions of less than nothing."""
    values, directions = np.linalg.eigh(matrix)
    least = float(values.max()) * 1e-6
    return np.asarray((directions * np.clip(values, least, None)) @ directions.T)


def rank1(vectors: Vectors, people: NDArray[np.int64]) -> float:
    """Leave-one-out: of the faces of people with several, how many are nearest to one of the same person."""
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -2)
    several = np.bincount(people)[people] > 1
    return float((people[likeness.argmax(1)] == people)[several].mean())


def distances(vectors: Vectors, people: NDArray[np.int64]) -> dict[str, float]:
    """What is told of a set: rank-1, and where distances (1 - cosine) of pairs stand."""
    likeness = vectors @ vectors.T
    rows, columns = np.triu_indices(len(vectors), 1)
    apart, same = 1 - likeness[rows, columns], people[rows] == people[columns]
    told = {"rank-1, leave-one-out": rank1(vectors, people)}
    told |= {f"same person, {at} %": float(np.percentile(apart[same], at)) for at in (5, 50, 95)}
    return told | {f"strangers, {at} %": float(np.percentile(apart[~same], at)) for at in (0.001, 0.01, 1, 50)}


def recalls(vectors: Vectors, seed: int = 0) -> dict[str, float]:
    """How much of the ten nearest a graph finds (faiss, m 16, built with 100) by how far it looks."""
    import faiss

    random = np.random.default_rng(seed)
    probes = random.choice(len(vectors), min(1000, len(vectors) // 4), replace=False)
    rest = np.delete(vectors, probes, axis=0)
    graph = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 100
    graph.add(rest)
    truth = np.argsort(-(vectors[probes] @ rest.T), axis=1)[:, :10]
    told = {}
    for ef in (10, 30, 100):
        graph.hnsw.efSearch = ef
        _, found = graph.search(vectors[probes], 10)
        told[f"recall@10 of a graph, efSearch {ef}"] = float(
            np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])
        )
    return told


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
CollectionName = Annotated[str, typer.Option("--collection", "-c", help="A collection of real faces with names.")]


def named(collection: str) -> Faces:
    """The named faces of a collection, of length 1: at most 10 photos of each person."""
    from bench.identify import subjects
    from core.settings import settings
    from es.client import connect
    from es.collections import get

    with connect(settings(), say) as client:
        found = subjects(client, get(client, collection))
    number, seen = defaultdict[str, int](int), []
    for each in found:
        number[each.person] += 1
        if number[each.person] <= _MOST:
            seen.append(each)
    vectors = np.stack([each.vector for each in seen]).astype(np.float32)
    people = np.unique([each.person for each in seen], return_inverse=True)[1].astype(np.int64)
    return Faces(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), people)


@app.command("fit")
def fit_(collection: CollectionName, out: Annotated[Path, typer.Option(help="Where to keep it.")] = DLIB) -> None:
    """Fits a population to the named faces of a collection: the face nearest the middle of each photo."""
    real = named(collection)
    made = fit(real.vectors, real.people)
    made.save(out)
    say(f"{out}: spreads {made.spread_people:.3f} of people, {made.spread_person:.3f} of a person, {made.spread_photo:.3f} of a photo.")


@app.command()
def check(
    collection: CollectionName,
    population: Annotated[Path, typer.Option(help="The population.")] = DLIB,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Puts real faces beside made ones, of as many people with as many photos."""
    real = named(collection)
    made = Population.load(population).like(real.people)
    sides: list[dict[str, Any]] = [distances(each, real.people) | recalls(each) for each in (real.vectors, made)]
    if json:
        print(jsons.dumps({"real": sides[0], "made": sides[1]}))
        return
    shown = table("", "real", "made", right=("real", "made"))
    for name in sides[0]:
        shown.add_row(name, *(f"{side[name]:.4f}" for side in sides))
    show(shown)


if __name__ == "__main__":
    app()
