"""From a face to people: one kNN search, its hits folded into distinct people, their distances judged by the recipe's threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import PhotoError
from es.client import speaking
from es.documents import alias
from query.answers import Answer, FaceAnswer, Match

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from faces.face import Face
    from faces.pipeline import Pipeline
    from faces.recipe import Recipe

DEFAULT_PEOPLE = 5
_FACES = 100  # faces asked for at first; more when they show too few people
_MOST_FACES = 10_000  # the most that Elasticsearch answers at once
# Faces are a hard case for a graph: small numbers of candidates lose mates. 300 costs about a millisecond more than 30.
_CANDIDATES = 300


class Searcher:
    """Searches one collection with one recipe."""

    def __init__(self, client: Elasticsearch, name: str, recipe: Recipe, pipeline: Pipeline, *, people: int = DEFAULT_PEOPLE) -> None:
        self._client = client
        self.collection = name
        self._recipe = recipe
        self._pipeline = pipeline
        self._people = people

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
        """The nearest distinct people, best first, each with their best photo. Asks for more faces until there are enough people."""
        wanted = max(_FACES, 2 * self._people)
        while True:
            hits = self._nearest(face, wanted)
            matches = self._fold(hits)
            if len(matches) >= self._people or len(hits) < wanted or wanted >= _MOST_FACES:
                return matches[: self._people]
            wanted = min(4 * wanted, _MOST_FACES)

    def _nearest(self, face: Face, k: int) -> list[Mapping[str, Any]]:
        with speaking():
            answer = self._client.search(
                index=alias(self.collection),
                knn={
                    "field": "embedding",
                    "query_vector": face.embedding.tolist(),
                    "k": k,
                    "num_candidates": min(_MOST_FACES, max(_CANDIDATES, k)),
                },
                size=k,
                allow_partial_search_results=False,  # a shard that can't answer may hold the one who is looked for
                source={"includes": ["person", "image.path", "face.box"]},
                filter_path="hits.hits._id,hits.hits._score,hits.hits._source",
            )
        found: list[Mapping[str, Any]] = answer.get("hits", {}).get("hits", [])
        return found

    def _fold(self, hits: list[Mapping[str, Any]]) -> list[Match]:
        best: dict[str, Match] = {}
        for hit in sorted(hits, key=lambda hit: (-hit["_score"], hit["_id"])):
            match = self._match(hit)
            # A face whose person is not known stands for itself.
            best.setdefault(f"person {match.person}" if match.person is not None else f"face {match.id}", match)
        return list(best.values())

    def _match(self, hit: Mapping[str, Any]) -> Match:
        # The server's score of a cosine is (1 + cos) / 2; the distance is 1 - cos.
        similarity = 2 * float(hit["_score"]) - 1
        distance = max(0.0, 1 - similarity)
        source = hit["_source"]
        box = source["face"]["box"]
        return Match(
            person=source.get("person"),
            image=source["image"]["path"],
            box=(box["x"], box["y"], box["w"], box["h"]),
            distance=distance,
            similarity=similarity,
            verified=distance <= self._recipe.search_threshold,
            id=hit["_id"],
        )
