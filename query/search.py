"""From faces to people: the nearest faces, folded into distinct people, their distances judged by the collection's threshold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from core.terminal import number_of
from es.client import speaking
from es.documents import alias
from query.answers import Answer, FaceAnswer, Match, Photo

if TYPE_CHECKING:
    import numpy as np
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

    from es.collections import Collection
    from faces.recipe import Recipe
    from query.filters import Clause
    from query.knn import Depth, Hit
    from query.targets import Target

DEFAULT_PEOPLE = 5
_FACES = 100  # asked for at once
_PHOTOS = 5  # shown of each person
_MORE = 8  # times as many faces, where those of somebody fill an exact answer
_TOGETHER = 64  # targets that are answered together
_HITS = 20_000  # in one answer of the server


class Nearest(Protocol):
    """What finds the k nearest faces of each vector, best first, but those of some people (see :func:`query.knn.nearest`)."""

    def __call__(self, vectors: Sequence[NDArray[np.float32]], k: int, but: Sequence[Sequence[str]]) -> Sequence[Sequence[Hit]]:
        """The hits of each vector."""


class Noted(Protocol):
    """What is told of every target that was answered (see :class:`es.operations.Searches`)."""

    def add(self, *, faces: int, results: int, verified: int, seconds: float, error: str | None) -> None:
        """One target, and its share of the seconds that the collection took."""


class Meaning(Protocol):
    """What a distance means in a gallery (see :class:`query.calibration.Calibration`)."""

    @property
    def threshold(self) -> float:
        """The greatest distance at which two faces count as the same person."""

    def fpir(self, distance: float) -> float | None:
        """How often a stranger comes as close as this."""


@dataclass(frozen=True, slots=True)
class PairThreshold:
    """The meaning in a collection that is not calibrated: a threshold that was measured on pairs."""

    threshold: float

    def fpir(self, distance: float) -> float | None:
        """Not known."""
        return None


def meaning_of(client: Elasticsearch, collection: Collection, recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> Meaning:
    """What distances mean in a collection: as it was calibrated, else by the threshold of its recipe.

    Args:
        client: the connection.
        collection: what is searched.
        recipe: its recipe.
        say: told when the collection has another size by now.
    """
    from query.calibration import Calibration

    calibration = Calibration.from_notes(collection.notes)
    if calibration is None:
        return PairThreshold(recipe.search_threshold)
    with speaking():
        faces = client.count(index=alias(collection.name))["count"]
    if calibration.is_outdated(faces):
        say(
            f"facedex: {collection.name} was calibrated with {number_of(calibration.faces, 'face')} and has {faces:,}, "
            "so strangers are accepted at "
            f"another rate: `facedex collections calibrate {collection.name}` measures again."
        )
    return calibration


@dataclass(slots=True)
class _Search:
    """One face on its way to people."""

    vector: NDArray[np.float32]
    agreement: float = 1.0  # see query.targets.Target
    found: dict[str, list[Photo]] = field(default_factory=dict)  # by person, or by face where there is none
    names: list[str] = field(default_factory=list)
    is_done: bool = False

    def take(self, hits: Sequence[Hit], wanted: int, people: int) -> None:
        before = len(self.found)
        for hit in hits:
            person = hit["_source"].get("person")
            if person is None:  # a face whose person is not known stands for itself
                self.found[f"face {hit['_id']}"] = [_photo(hit, self.agreement)]
                continue
            if f"person {person}" not in self.found:
                self.names.append(person)
            self.found.setdefault(f"person {person}", []).append(_photo(hit, self.agreement))
        # Enough, or the collection has no others, or (names too long to be left out) none that can be told apart.
        self.is_done = len(self.found) >= people or len(hits) < wanted or len(self.found) == before


class Searcher:
    """Names people for faces, in one collection.

    Args:
        collection: its name.
        nearest: finds faces.
        meaning: judges distances.
        people: how many to name for each face.
        filters: what was typed to search among some faces only, to be told with the answers.
        noted: told of every target.
    """

    def __init__(
        self,
        collection: str,
        nearest: Nearest,
        meaning: Meaning,
        *,
        people: int = DEFAULT_PEOPLE,
        filters: Sequence[str] = (),
        noted: Noted | None = None,
    ) -> None:
        self.collection = collection
        self._nearest = nearest
        self._meaning = meaning
        self._people = people
        self._filters = tuple(filters)
        self._noted = noted

    def answers(self, targets: Iterable[Target]) -> Iterator[tuple[Target, Answer]]:
        """An answer for each target, in order. The first one comes at once; then they are asked for many at a time.

        Raises:
            EngineError: Elasticsearch can't be reached or refuses.
        """
        size, targets = 1, iter(targets)
        while some := list(islice(targets, size)):
            faces = [(face.embedding, target.agreement) for target in some for face in target.faces]
            begun = time.perf_counter()
            matches = iter(self.people([vector for vector, _ in faces], [agreement for _, agreement in faces]))
            share = (time.perf_counter() - begun) / len(some)
            for target in some:
                named = [FaceAnswer(face.box, face.confidence, next(matches)) for face in target.faces]
                answer = self._answer(target, named)
                self._note(answer, share)
                yield target, answer
            size = min(2 * size, _TOGETHER)

    def _note(self, answer: Answer, seconds: float) -> None:
        if self._noted is not None:
            verified = [match.verified for face in answer.faces for match in face.matches]
            error = answer.error[0] if answer.error else None
            self._noted.add(faces=len(answer.faces), results=len(verified), verified=sum(verified), seconds=seconds, error=error)

    def _answer(self, target: Target, named: list[FaceAnswer]) -> Answer:
        if target.error is not None:
            return Answer(target.name, self.collection, error=target.error, filters=self._filters)
        threshold = self._meaning.threshold
        fpir = _rounded(self._meaning.fpir(threshold))
        return Answer(target.name, self.collection, named, threshold=threshold, fpir=fpir, filters=self._filters)

    def people(self, vectors: Sequence[NDArray[np.float32]], agreements: Sequence[float] = ()) -> list[list[Match]]:
        """For each vector the nearest distinct people, best first, each with their best photos.

        Args:
            vectors: float32, as long as the collection's.
            agreements: of each (see :class:`query.targets.Target`); 1 by default.
        """
        searches = [_Search(*each) for each in zip(vectors, agreements or [1.0] * len(vectors), strict=True)]
        wanted = max(_FACES, 2 * self._people)
        together = max(1, _HITS // wanted)
        while open_ := [search for search in searches if not search.is_done][:together]:
            # One person can fill an answer: the next one is about everybody else.
            found = self._nearest([search.vector for search in open_], wanted, [search.names for search in open_])
            for search, hits in zip(open_, found, strict=True):
                search.take(hits, wanted, self._people)
        return [self._named(search.found) for search in searches]

    def _named(self, found: Mapping[str, list[Photo]]) -> list[Match]:
        ranked = sorted(found.items(), key=lambda entry: (entry[1][0].distance, entry[1][0].id))
        return [self._match(key, photos) for key, photos in ranked[: self._people]]

    def _match(self, key: str, photos: list[Photo]) -> Match:
        threshold, best = self._meaning.threshold, photos[0]
        matched = sum(photo.distance <= threshold for photo in photos)
        person = key.removeprefix("person ") if key.startswith("person ") else None
        return Match(person, tuple(photos[:_PHOTOS]), best.distance <= threshold, matched, _rounded(self._meaning.fpir(best.distance)))


def searcher(
    client: Elasticsearch,
    name: str,
    meaning: Meaning,
    *,
    exact: bool = False,
    depth: Depth | None = None,
    people: int = DEFAULT_PEOPLE,
    filters: Sequence[Clause] = (),
    typed: Sequence[str] = (),
    noted: Noted | None = None,
) -> Searcher:
    """A searcher of a collection.

    Args:
        client: the connection.
        name: the collection.
        meaning: judges distances.
        exact: compares with every face, instead of asking the vector index.
        depth: how far the vector index looks (see :func:`query.knn.depth`).
        people: how many to name for each face.
        filters: which faces to search among.
        typed: the same as a person typed it.
        noted: told of every target.
    """

    def through_index(vectors: Sequence[NDArray[np.float32]], k: int, but: Sequence[Sequence[str]]) -> Sequence[Sequence[Hit]]:
        from query import knn

        return knn.nearest(client, name, vectors, k, depth=depth or knn.Depth(), filters=filters, but=but)

    def through_all(vectors: Sequence[NDArray[np.float32]], k: int, but: Sequence[Sequence[str]]) -> Sequence[Sequence[Hit]]:
        import numpy as np

        from query.exact import exact as compare

        # One pass through the faces is for all: those to be left out, others for each, are dropped here, and more asked for instead.
        probes, many = np.stack(vectors), k * (_MORE if any(but) else 1)
        while True:
            found = compare(client, name, probes, many, filters=filters)
            kept = [
                [hit for hit in hits if hit["_source"].get("person") not in left_out]
                for hits, left_out in zip(found, map(set, but), strict=True)
            ]
            if all(len(mine) >= k or len(hits) < many for mine, hits in zip(kept, found, strict=True)):
                return [mine[:k] for mine in kept]
            many *= _MORE

    return Searcher(name, through_all if exact else through_index, meaning, people=people, filters=typed, noted=noted)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)


def _photo(hit: Mapping[str, Any], agreement: float) -> Photo:
    # The server's score of a cosine is (1 + cos) / 2; the distance is 1 - cos.
    box = hit["_source"]["face"]["box"]
    distance = max(0.0, 1 - agreement * (2 * float(hit["_score"]) - 1))
    return Photo(hit["_source"]["image"]["path"], (box["x"], box["y"], box["w"], box["h"]), distance, hit["_id"])
