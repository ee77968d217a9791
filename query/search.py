"""From a face to people: one kNN search, its hits folded into distinct people, their distances judged by the recipe's threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import PhotoError
from es.client import speaking
from es.documents import alias
from query.answers import Answer, FaceAnswer, Match, Photo

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from faces.face import Face
    from faces.pipeline import Pipeline
    from faces.recipe import Recipe

DEFAULT_PEOPLE = 5
_FACES = 100  # asked for at once
_PHOTOS = 5  # shown of each person
_MOST_FACES = 10_000  # the most that Elasticsearch answers at once
# Faces are a hard case for a graph: small numbers of candidates lose mates. 300 costs about a millisecond more than 30.
_CANDIDATES = 300


class Searcher:
    """Searches one collection with one recipe."""

    def __init__(
        self,
        client: Elasticsearch,
        name: str,
        recipe: Recipe,
        pipeline: Pipeline,
        *,
        people: int = DEFAULT_PEOPLE,
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._client = client
        self.collection = name
        self._recipe = recipe
        self._pipeline = pipeline
        self._people = people
        self._filters = filters

    def answer(self, target: str, data: bytes, max_pixels: int) -> Answer:
        """Every face of a photo, with the people that it could be. What is wrong with the photo becomes the answer's error.

        Raises:
            EngineError: Elasticsearch can't be reached or refuses.
        """
        from faces.photo import decode

        try:
            faces = self._pipeline.find(decode(data, max_pixels=max_pixels).pixels)
        except PhotoError as error:
            return Answer(target, self.collection, error=(error.code, str(error)))
        found = [FaceAnswer(face.box, face.confidence, self.people(face)) for face in faces]
        return Answer(target, self.collection, found, threshold=self._recipe.search_threshold)

    def people(self, face: Face) -> list[Match]:
        """The nearest distinct people, best first, each with their best photos."""
        found: dict[str, list[Photo]] = {}  # by person, or by face where there is none
        names: list[str] = []
        wanted = max(_FACES, 2 * self._people)
        while len(found) < self._people:
            hits = self._nearest(face, wanted, names)
            for hit in hits:
                person = hit["_source"].get("person")
                if person is None:  # a face whose person is not known stands for itself
                    found[f"face {hit['_id']}"] = [_photo(hit)]
                    continue
                if f"person {person}" not in found:
                    names.append(person)
                found.setdefault(f"person {person}", []).append(_photo(hit))
            if len(hits) < wanted:
                break  # the collection has no other faces
            # One person can fill an answer: the next one is about everybody else.
        matches = [self._match(key, photos) for key, photos in found.items()]
        return sorted(matches, key=lambda match: (match.best.distance, match.best.id))[: self._people]

    def _nearest(self, face: Face, k: int, but: Sequence[str]) -> list[Mapping[str, Any]]:
        """The nearest faces, best first, of anybody but these people."""
        knn: dict[str, Any] = {
            "field": "embedding",
            "query_vector": face.embedding.tolist(),
            "k": k,
            "num_candidates": min(_MOST_FACES, max(_CANDIDATES, k)),
        }
        clauses = {"filter": list(self._filters)} | ({"must_not": {"terms": {"person": list(but)}}} if but else {})
        if self._filters or but:
            knn["filter"] = {"bool": clauses}
        with speaking():
            answer = self._client.search(
                index=alias(self.collection),
                knn=knn,
                size=k,
                allow_partial_search_results=False,  # a shard that can't answer may hold the one who is looked for
                source={"includes": ["person", "image.path", "face.box"]},
                filter_path="hits.hits._id,hits.hits._score,hits.hits._source",
            )
        found: list[Mapping[str, Any]] = answer.get("hits", {}).get("hits", [])
        return sorted(found, key=lambda hit: (-hit["_score"], hit["_id"]))

    def _match(self, key: str, photos: list[Photo]) -> Match:
        threshold = self._recipe.search_threshold
        matched = sum(photo.distance <= threshold for photo in photos)
        person = key.removeprefix("person ") if key.startswith("person ") else None
        return Match(person, tuple(photos[:_PHOTOS]), photos[0].distance <= threshold, matched)


def _photo(hit: Mapping[str, Any]) -> Photo:
    # The server's score of a cosine is (1 + cos) / 2; the distance is 1 - cos.
    box = hit["_source"]["face"]["box"]
    distance = max(0.0, 2 - 2 * float(hit["_score"]))
    return Photo(hit["_source"]["image"]["path"], (box["x"], box["y"], box["w"], box["h"]), distance, hit["_id"])
