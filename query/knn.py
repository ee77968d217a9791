"""The nearest faces, by the vector index: approximate, without comparing all of every face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from es import cells
from es.client import failure, speaking
from es.documents import WITH_CELLS, alias
from es.index_types import OVERSAMPLE, is_quantised
from es.vectors import FIELD

if TYPE_CHECKING:
    import numpy as np
    from elasticsearch import Elasticsearch
    from numpy.typing import NDArray

    from es.collections import Collection
    from query.filters import Clause

Hit = Mapping[str, Any]  # _id, _score = (1 + cosine) / 2, and of its _source person, image.path and face.box

MOST_FACES = 10_000  # the most that Elasticsearch answers at once, and looks at
CANDIDATES = 300
AGAIN = 1_000  # faces at least that are compared by their full vectors, after all have been compared by fewer bits
# The more are compared by bits, the more of them look nearer than the right one. Of a million, 1,000 compared again have .986 of the exact
# search's nearest ten, 2,000 .996, 3,000 .998 and all of the right first answers. So have 3,000 of 10 million (1.5 million in 15 % of the
# cells: .979 of the ten; 1,000 have .92, 4,500 .987). A shard that outgrew those compares more again, in proportion.
_AGAIN_SHARE = 0.003
_ENOUGH = 3_000
_SHARE_OF_MORE = 0.002  # 3,000 of 1.5 million
# Faces are a hard case for a graph: who looks like nobody else is linked to by few, and small numbers of candidates lose him. One in a
# hundred keeps 99.8 % of the right first answers of a search that compares every face, among 100,000 as among a million (made faces of
# 128 dimensions, 1,000 probes: 947 of 949, 895 of 897); 300 keep 99.3 and 94.2 %. That takes 3.7 and 26 ms. (bench/growth.py)
_SHARE = 0.01
# Of more faces than this, those in the nearest cells are compared only (see es.cells); but in no fewer cells than the share below: there
# are 99.6 % of the right first answers of real faces, which are compared with 17 % of all (LFW, cells made from the other half of the
# people: python bench/cells.py check), and 99.8 % of those of made ones (200,000, 4,000 probes).
_COMPARED = 1_500_000
_LEAST_SHARE = 0.15
ASKED = 100  # faces that a search, and the measuring of it, asks for; of so many, the type itself compares some times as many again
SOURCE = ("person", "image.path", "face.box")
_SHAPE = "hits.hits._id,hits.hits._score,hits.hits._source"


class Depth(NamedTuple):
    """How far a search looks."""

    candidates: int = CANDIDATES  # looked at in each segment's graph; without one, compared again with the full vectors
    again: bool = False  # there is no graph, and faces are compared by fewer bits first
    share: float = 1.0  # of the cells that are looked into
    model: str = ""  # whose cells these are


def depth(collection: Collection) -> Depth:
    """How far a search of a collection looks: as was measured for it (``facedex bench recall``), or by its size."""
    noted: int | None = collection.notes.get("num_candidates")
    if collection.index_type.endswith("hnsw") and not collection.waits:
        return Depth(noted or advised(collection.graph_faces or 0))
    model = str(collection.recipe.get("model", ""))
    has_cells = collection.mapping >= WITH_CELLS and cells.is_there(model)
    again = is_quantised(collection.index_type)
    share = advised_share(collection.faces or 0) if has_cells else 1.0
    least = compared_again(round(share * (collection.faces or 0)))  # fewer are no quicker
    return Depth(max(noted or 0, least) if again else noted or CANDIDATES, again, share, model)


def advised(faces: int) -> int:
    """How many candidates lose next to nobody in a graph of so many faces."""
    return round(min(MOST_FACES, max(CANDIDATES, _SHARE * faces)))


def compared_again(faces: int) -> int:
    """How many a shard compares by their full vectors, of so many that were compared by fewer bits."""
    return round(min(MOST_FACES, max(AGAIN, min(_ENOUGH, _AGAIN_SHARE * faces), _SHARE_OF_MORE * faces)))


def advised_share(faces: int) -> float:
    """In what share of the cells to look for one of so many faces."""
    return max(_LEAST_SHARE, min(1.0, _COMPARED / max(faces, 1)))


def nearest(
    client: Elasticsearch,
    name: str,
    vectors: Sequence[NDArray[np.float32]],
    k: int,
    *,
    depth: Depth = Depth(),  # noqa: B008 - it can't be changed
    filters: Sequence[Clause] = (),
    but: Sequence[Sequence[str]] = (),
    source: Sequence[str] = SOURCE,
) -> list[list[Hit]]:
    """The k nearest faces of each vector, best first; all are asked for in one request.

    Args:
        client: the connection.
        name: the collection.
        vectors: float32, as long as the collection's; they need no length of 1.
        k: faces, at most :data:`MOST_FACES`.
        depth: how far to look; never at fewer candidates than k.
        filters: what a face has to meet, all of it. Those that do are few, and none of them is left out for its cell.
        but: for each vector, people to leave out; empty for none.
        source: what to bring of each face.

    Raises:
        EngineError: a shard can't answer: it may hold the one who is looked for.
        CollectionError: there is no such collection.
    """
    depth = depth._replace(share=1.0) if filters else depth
    bodies = []
    for number, vector in enumerate(vectors):
        left_out = but[number] if but else ()
        clauses = [*filters, *([{"bool": {"must_not": {"terms": {"person": list(left_out)}}}}] if left_out else [])]
        bodies.append({"knn": clause(vector, k, depth, clauses), "size": k, "_source": list(source)})
    answers = _many(client, name, bodies) if len(bodies) > 1 else [_one(client, name, body) for body in bodies]
    return [sorted(answer.get("hits", {}).get("hits", []), key=_order) for answer in answers]


def clause(vector: NDArray[np.float32], k: int, depth: Depth, filters: Sequence[Clause] = ()) -> dict[str, Any]:
    """The ``knn`` of a request: the k nearest of one vector, (dims,) float32, among the faces that meet the filters."""
    from elasticsearch.helpers import pack_dense_vector

    candidates = min(MOST_FACES, max(depth.candidates, k))
    knn: dict[str, Any] = {"field": FIELD, "query_vector": pack_dense_vector(vector), "k": k, "num_candidates": candidates}
    if depth.again and candidates > OVERSAMPLE * k:
        knn["rescore_vector"] = {"oversample": candidates / k}
    if depth.share < 1 and (book := cells.book(depth.model)):
        filters = [*filters, {"terms": {cells.FIELD: book.nearest(vector, depth.share)}}]
    return knn | ({"filter": list(filters)} if filters else {})


def _one(client: Elasticsearch, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    with speaking():
        answer: Mapping[str, Any] = client.search(
            index=alias(name),
            knn=body["knn"],
            size=body["size"],
            source={"includes": body["_source"]},
            allow_partial_search_results=False,
            filter_path=_SHAPE,
        ).body
    return answer


def _many(client: Elasticsearch, name: str, bodies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    header = {"allow_partial_search_results": False}
    shape = ",".join(f"responses.{part}" for part in ("error", "status", *_SHAPE.split(",")))
    with speaking():
        searches = [part for body in bodies for part in (header, body)]
        answers = client.msearch(index=alias(name), searches=searches, filter_path=shape)["responses"]
    for answer in answers:
        if "error" in answer:
            raise failure(int(answer["status"]), answer)
    return list(answers)


def _order(hit: Hit) -> tuple[float, str]:
    return -hit["_score"], hit["_id"]
