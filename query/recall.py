"""What the approximate search loses against the exact one, measured on a collection with probes drawn from itself.

Each probe is the stored vector of a face, and the photo that it comes from is left out of both searches. Its neighbours by the exact
search are the truth; the approximate search is then asked with more and more candidates. It asks for as many faces as ``facedex search``
does, for of quantised vectors the best of three times so many are compared again in full, and then the first k count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import CollectionError, EngineError
from es.client import speaking
from es.index_types import OVERSAMPLE
from es.vectors import FIELD, unpacked
from query.exact import SOURCE, exact
from query.knn import ASKED, Depth, clause

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

    from es.collections import Collection

LEVELS = (10, 30, 100, 300, 1_000, 3_000, 10_000)  # numbers of candidates
RANK1, RECALL = 0.999, 0.99  # what a recommended number reaches
_SEED = 0  # of the draw: the same collection gives the same probes
_TOGETHER = 50  # probes of one msearch
_TIMED = 200  # probes: each is one more request
_WARM = 10
_PROFILED = 5
_EQUAL = 1e-6  # scores that differ by less are the same: copies of one face take each other's place
_FACES_ARE_THERE = {"exists": {"field": FIELD}}


@dataclass(frozen=True, slots=True, repr=False)
class Probes:
    """Faces drawn from a collection. ``faces`` is the most that a photo of theirs holds."""

    vectors: NDArray[np.float32]  # (n, dims)
    photos: list[str]  # the SHA-256 of each one's photo
    people: list[str | None]
    mates: list[bool]  # whether another photo has the same person
    faces: int

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact neighbours of each probe, best first: their ids and scores, and whether the first is the same person."""

    ids: list[list[str]]
    scores: list[list[float]]
    rank1: float | None  # the share of probes with mates whose first neighbour is one; None: there are no such probes
    seconds: float


@dataclass(frozen=True, slots=True)
class Level:
    """What one number of candidates finds. Shares of the probes, milliseconds of one search."""

    num_candidates: int
    recall: float  # of the k exact neighbours, those found
    rank1: float  # how often the first is the exact first
    labelled_rank1: float | None  # how often the first is the same person, of the probes with mates
    median_ms: float
    p95_ms: float
    compared: int  # faces that one search looks at, the median of some

    @property
    def reached(self) -> list[str]:
        """Which of the two aims: ``rank1``, ``recall``."""
        return [aim for aim, is_reached in (("rank1", self.rank1 >= RANK1), ("recall", self.recall >= RECALL)) if is_reached]

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        return {key: value if value is None else round(value, 5) for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Measured:
    """One index: the collection's own, or a copy under another type."""

    index_type: str
    is_copy: bool
    faces: int
    levels: list[Level]
    least: int = ASKED  # candidates that its searches have in any case

    @property
    def recommended(self) -> Level | None:
        """The fewest candidates that reach both aims; where none does, of those that come nearest the fewest.

        Fewer than a search has in any case are not considered: it can't look at fewer, and with so few a probe, which is part of the graph,
        is found more easily than a new face.

        ``None``: every face is compared (again in full, without a graph) anyway; that says nothing of when there are more.
        """
        levels = [level for level in self.levels if level.num_candidates >= self.least] or self.levels
        if all(level.compared >= self.faces for level in levels):
            return None
        return max(levels, key=lambda level: (len(level.reached), _below(level.rank1, RANK1), _below(level.recall, RECALL)))

    def as_dict(self) -> dict[str, Any]:
        """The JSON shape."""
        best = self.recommended
        return {
            "index_type": self.index_type,
            "copy": self.is_copy,
            "levels": [level.as_dict() for level in self.levels],
            "recommended": best and {"num_candidates": best.num_candidates, "reached": best.reached},
        }


def _below(value: float, aim: float) -> float:
    return min(value, aim)


def draw(client: Elasticsearch, collection: Collection, count: int) -> Probes:
    """Draws so many faces, or all that there are.

    Raises:
        CollectionError: fewer than two faces (code ``too_few_faces``).
    """
    by_chance = {"random_score": {"seed": _SEED, "field": "_seq_no"}}
    with speaking():
        answer = client.search(
            index=collection.index,
            query={"function_score": {"query": {"bool": {"filter": [_FACES_ARE_THERE]}}, **by_chance, "boost_mode": "replace"}},
            size=count,
            source=False,
            docvalue_fields=[
                {"field": FIELD, "format": "binary"},
                *({"field": name} for name in ("person", "image.sha256", "image.faces")),
            ],
            allow_partial_search_results=False,
        )
    found = [hit["fields"] for hit in answer["hits"]["hits"]]
    if len(found) < 2:  # noqa: PLR2004 - a probe and something to find
        raise CollectionError(
            f"The collection {collection.name!r} has too few faces to measure: ingest photos first.", code="too_few_faces"
        )
    people = [fields.get("person", [None])[0] for fields in found]
    photos = _photos_by_person(client, collection.index, {person for person in people if person is not None})
    return Probes(
        unpacked([fields[FIELD][0] for fields in found]),
        [fields["image.sha256"][0] for fields in found],
        people,
        [photos.get(person, 0) > 1 for person in people],
        max(int(fields.get("image.faces", [1])[0]) for fields in found),
    )


def _photos_by_person(client: Elasticsearch, index: str, people: set[str]) -> Mapping[str | None, int]:
    """How many photos there are of each of these people: exact up to some, which does to tell one from several."""
    if not people:
        return {}
    photos = {"photos": {"cardinality": {"field": "image.sha256", "precision_threshold": 10}}}
    with speaking():
        answer = client.search(
            index=index,
            size=0,
            query={"terms": {"person": sorted(people)}},
            aggregations={"people": {"terms": {"field": "person", "size": len(people)}, "aggregations": photos}},
            allow_partial_search_results=False,
        )
    return {bucket["key"]: bucket["photos"]["value"] for bucket in answer["aggregations"]["people"]["buckets"]}


def truth(client: Elasticsearch, collection: Collection, probes: Probes, k: int) -> Truth:
    """The k exact neighbours of each probe on other photos."""
    begun = time.perf_counter()
    # So many more that the probe's own photo can be left out afterwards: all probes share one pass over the faces.
    found = exact(client, collection.name, probes.vectors, k + probes.faces, source=("person", "image.sha256"))
    seconds = time.perf_counter() - begun
    others = [
        [hit for hit in hits if hit["_source"]["image"]["sha256"] != photo][:k] for hits, photo in zip(found, probes.photos, strict=True)
    ]
    return Truth(
        [[hit["_id"] for hit in hits] for hits in others],
        [[hit["_score"] for hit in hits] for hits in others],
        _labelled(probes, [hits[0]["_source"].get("person") if hits else None for hits in others]),
        seconds,
    )


def measure(
    client: Elasticsearch,
    index: str,
    probes: Probes,
    known: Truth,
    k: int,
    *,
    faces: int,
    depth: Depth = Depth(),  # noqa: B008 - it can't be changed
    levels: Sequence[int] = LEVELS,
    seen: Callable[[Level], None] = lambda _: None,
) -> list[Level]:
    """What the approximate search finds in an index with each number of candidates, up to the first after which none can find more.

    Args:
        client: the connection.
        index: a collection's, or a copy of it.
        probes: what is searched for.
        known: their exact neighbours.
        k: how many neighbours.
        faces: how many there are.
        depth: how far its searches look; all but the candidates.
        levels: numbers of candidates, from few to many; those below k don't make sense and are left out, and those that make no difference.
        seen: is told each level when it is measured.
    """
    found = []
    least = OVERSAMPLE * max(k, ASKED) if depth.again else k  # so many are compared again in any case
    for candidates in levels:
        if candidates < least:
            continue
        level = _level(client, index, probes, known, k, depth._replace(candidates=candidates), faces)
        found.append(level)
        seen(level)
        if candidates >= min(faces, max(k, ASKED)) and level.compared >= faces:
            break  # no number finds more
    return found


def _level(client: Elasticsearch, index: str, probes: Probes, known: Truth, k: int, depth: Depth, faces: int) -> Level:
    recalls, firsts, people = [], [], []
    for hits, ids, scores in zip(_search(client, index, probes, k, depth), known.ids, known.scores, strict=True):
        people.append(hits[0].get("fields", {}).get("person", [None])[0] if hits else None)
        if not ids:  # there is no other photo
            continue
        right = sum(hit["_id"] in ids or hit["_score"] >= scores[-1] - _EQUAL for hit in hits)
        recalls.append(min(1.0, right / len(ids)))
        firsts.append(bool(hits) and (hits[0]["_id"] == ids[0] or hits[0]["_score"] >= scores[0] - _EQUAL))
    times = 1000 * np.array(_times(client, index, probes, k, depth))
    return Level(
        depth.candidates,
        float(np.mean(recalls)) if recalls else 1.0,
        float(np.mean(firsts)) if firsts else 1.0,
        _labelled(probes, people),
        float(np.median(times)),
        float(np.percentile(times, 95)),
        _compared(client, index, probes, k, depth, faces),
    )


def _labelled(probes: Probes, first: Sequence[str | None]) -> float | None:
    right = [mine == other for mine, other, has_mates in zip(probes.people, first, probes.mates, strict=True) if has_mates]
    return float(np.mean(right)) if right else None


def _search(client: Elasticsearch, index: str, probes: Probes, k: int, depth: Depth) -> Iterator[list[Mapping[str, Any]]]:
    """The hits of each probe, best first, without its own photo."""
    each = zip(probes.vectors, probes.photos, strict=True)
    while some := list(islice(each, _TOGETHER)):
        searches: list[Mapping[str, Any]] = []
        for vector, photo in some:
            knn = _knn(vector, k, depth, [{"bool": {"must_not": {"term": {"image.sha256": photo}}}}])
            searches += [{}, {"knn": knn, "size": knn["k"], "_source": False, "docvalue_fields": ["person"]}]
        with speaking():
            answers = client.msearch(index=index, searches=searches, max_concurrent_searches=2)["responses"]
        for answer in answers:
            yield sorted(_whole(answer), key=lambda hit: (-hit["_score"], hit["_id"]))[:k]


def _whole(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "error" in answer or answer["_shards"]["failed"]:
        raise EngineError("A part of the collection can't answer: see `facedex status`, then try again.", code="incomplete")
    hits: list[Mapping[str, Any]] = answer["hits"]["hits"]
    return hits


def _times(client: Elasticsearch, index: str, probes: Probes, k: int, depth: Depth) -> list[float]:
    """Seconds of single searches as a person makes them, one after another: leaving a photo out costs time of its own."""
    times = []
    for vector in [*probes.vectors[:_WARM], *probes.vectors[:_TIMED]]:
        knn = _knn(vector, k, depth)
        begun = time.perf_counter()
        with speaking():
            client.search(index=index, knn=knn, size=knn["k"], source={"includes": list(SOURCE)})
        times.append(time.perf_counter() - begun)
    return times[min(_WARM, len(probes)) :]


def _compared(client: Elasticsearch, index: str, probes: Probes, k: int, depth: Depth, faces: int) -> int:
    """How many faces a search looks at, on all shards; in an index without a graph: how many by their full vectors."""
    if depth.again:
        return min(faces, max(depth.candidates, OVERSAMPLE * _wanted(k, depth)))
    counts = []
    for vector in probes.vectors[:_PROFILED]:
        with speaking():
            knn = _knn(vector, k, depth)
            answer = client.search(index=index, knn=knn, size=1, source=False, profile=True, filter_path="profile.shards.dfs.knn")
        searches = [search for shard in answer["profile"]["shards"] for search in shard["dfs"]["knn"]]
        counts.append(sum(int(search["vector_operations_count"]) for search in searches))
    return int(np.median(counts)) or faces  # where every face is compared, the server counts nothing


def _knn(vector: NDArray[np.float32], k: int, depth: Depth, filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    return clause(vector, _wanted(k, depth), depth, filters)


def _wanted(k: int, depth: Depth) -> int:
    return max(k, min(ASKED, depth.candidates))
