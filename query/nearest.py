"""The nearest faces of the labelled photos of a collection: exact, by blocks, in bounded memory.

Only photos that show one face are used, as probes and as gallery. The folder of a photo names its person, whoever else is on it: of a
photo with several faces nobody knows which one is meant, and a bystander under the name of another is at no stranger's distance. (The
faces that are left out are searched all the same: what they add to the number of false positives is extrapolated.)
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.terminal import number_of
from es.scan import scan
from es.vectors import Page, map_slices

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

MOST_PROBES = 20_000
_PROBES = 1_024  # compared with a page of faces at once: their distances take 8 MB
_TELL_SECONDS = 5.0
_SUSPECTS = 20
_SUBJECTS: Mapping[str, Any] = {"bool": {"filter": [{"exists": {"field": "person"}}, {"term": {"image.faces": 1}}]}}

Vectors = NDArray[np.float32]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Faces:
    """Some faces: vectors of length 1, shape (n, dims), their people as numbers, shape (n,), and which documents they are."""

    vectors: Vectors
    person: NDArray[np.intp]
    ids: NDArray[np.str_]


_NOBODY = Faces(np.zeros((0, 1), np.float32), np.zeros(0, np.intp), np.zeros(0, np.str_))


@dataclass(frozen=True, slots=True)
class Nearest:
    """What was found for each of n probes; arrays of the shape (n,).

    Args:
        person: the number of its person.
        other: the cosine distance of the nearest face of anybody else, its whole person being out of the gallery.
        mate: that of the nearest other photo of the same person; infinite where there is none.
        compared: how many faces of others there were.
        other_person: the number of the person whose face is the nearest.
        names: the people, by number.
    """

    person: NDArray[np.intp]
    other: NDArray[np.float64]
    mate: NDArray[np.float64]
    compared: NDArray[np.intp]
    other_person: NDArray[np.intp]
    names: Sequence[str]

    def suspects(self, below: float) -> tuple[tuple[str, str, float], ...]:
        """The nearest pairs of people whose distance is below this, nearest first: perhaps one person under two names."""
        pairs: dict[tuple[int, int], float] = {}
        for at in np.flatnonzero(self.other < below):
            pair = (min(int(self.person[at]), int(self.other_person[at])), max(int(self.person[at]), int(self.other_person[at])))
            pairs[pair] = min(pairs.get(pair, np.inf), float(self.other[at]))
        nearest_first = sorted(pairs.items(), key=lambda each: each[1])[:_SUSPECTS]
        return tuple((self.names[one], self.names[two], round(distance, 6)) for (one, two), distance in nearest_first)


def nearest(client: Elasticsearch, index: str, seed: int, tell: Tell, most: int = MOST_PROBES) -> Nearest:
    """Compares up to ``most`` labelled photos with all of them. The same faces and seed give the same sample.

    Raises:
        EngineError: a shard can't answer, or Elasticsearch is gone.
    """
    people: Counter[str] = Counter()

    def labelled() -> Iterator[str]:
        for hit in scan(client, index, _SUBJECTS, ["person"]):
            people[hit["fields"]["person"][0]] += 1
            yield hit["_id"]

    chosen = heapq.nsmallest(most, labelled(), key=lambda id_: blake2b(f"{seed} {id_}".encode(), digest_size=8).digest())
    numbers = {name: number for number, name in enumerate(sorted(people))}
    # In one slice each: most of the time goes into the products of matrices, which take all cores.
    wanted = {"ids": {"values": chosen}}
    (probes,) = map_slices(client, index, wanted, lambda pages: _together(_blocks(pages, numbers)), fields=["person"], slices=1)

    def compared(pages: Iterator[Page]) -> Nearest:
        return compare(probes, _told(_blocks(pages, numbers), people.total(), tell), sorted(people))

    (found,) = map_slices(client, index, _SUBJECTS, compared, fields=["person"], slices=1)
    return found


def compare(probes: Faces, gallery: Iterable[Faces], names: Sequence[str]) -> Nearest:
    """The nearest distances of each probe in a gallery that comes in blocks of any size."""
    count = len(probes.person)
    # Cosines; -inf is none.
    other, mate = np.full(count, -np.inf, np.float32), np.full(count, -np.inf, np.float32)
    who, compared = np.full(count, -1, np.intp), np.zeros(count, np.intp)
    for block in gallery:
        for begin in range(0, count, _PROBES):
            part = slice(begin, begin + _PROBES)
            cosines = probes.vectors[part] @ block.vectors.T
            rows, columns = _same(probes.person[part], block.person)
            others = probes.ids[part][rows] != block.ids[columns]  # a photo is no mate of itself
            np.maximum.at(mate[part], rows[others], cosines[rows[others], columns[others]])
            cosines[rows, columns] = -np.inf
            best = cosines.argmax(axis=1)
            value = cosines[np.arange(len(best)), best]
            nearer = value > other[part]
            other[part][nearer] = value[nearer]
            who[part][nearer] = block.person[best[nearer]]
            compared[part] += len(block.person) - np.bincount(rows, minlength=len(best))
    return Nearest(probes.person, _distances(other), _distances(mate), compared, who, names)


def _distances(cosines: Vectors) -> NDArray[np.float64]:
    return np.maximum(0.0, 1 - cosines.astype(np.float64))


def _same(probes: NDArray[np.intp], gallery: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of every pair of one person: few, so that no matrix of them is needed."""
    order = np.argsort(gallery, kind="stable")
    ordered = gallery[order]
    begin, end = np.searchsorted(ordered, probes, side="left"), np.searchsorted(ordered, probes, side="right")
    number = end - begin
    rows = np.repeat(np.arange(len(probes)), number)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    return rows, order[np.repeat(begin, number) + within]


def _blocks(pages: Iterator[Page], numbers: Mapping[str, int]) -> Iterator[Faces]:
    """The faces of pages. People who came meanwhile are left out."""
    for page in pages:
        person = np.array([numbers.get(fields.get("person", [None])[0], -1) for fields in page.fields], np.intp)
        known = np.flatnonzero(person >= 0)
        vectors = page.vectors[known] / np.linalg.norm(page.vectors[known], axis=1, keepdims=True)
        yield Faces(vectors, person[known], np.array(page.ids)[known])


def _together(blocks: Iterator[Faces]) -> Faces:
    parts = list(blocks)
    if not parts:
        return _NOBODY
    vectors, person, ids = zip(*((part.vectors, part.person, part.ids) for part in parts), strict=True)
    return Faces(np.concatenate(vectors), np.concatenate(person), np.concatenate(ids))


def _told(blocks: Iterable[Faces], total: int, tell: Tell) -> Iterator[Faces]:
    """The blocks, telling now and then how far it is."""
    done, last = 0, time.monotonic()
    for block in blocks:
        if time.monotonic() - last > _TELL_SECONDS:
            last = time.monotonic()
            tell(f"Compared with {done:,} of {number_of(total, 'face')} ...")
        yield block
        done += len(block.person)
