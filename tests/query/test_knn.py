"""What is asked of the vector index."""

import pytest
from elasticsearch import Elasticsearch

from es import cells, collections
from es.documents import WITH_CELLS, alias
from faces.recipe import DEFAULT
from ingest.writer import Writer
from query.knn import AGAIN, CANDIDATES, MOST_FACES, Depth, clause, depth, nearest
from tests.faces_made import vector, work


@pytest.mark.parametrize(
    ("depth_", "k", "candidates", "oversample"),
    [
        (Depth(), 10, 300, None),  # a graph
        (Depth(20), 100, 100, None),
        (Depth(AGAIN, again=True), 100, 1000, 10),
        (Depth(AGAIN, again=True), 1, 1000, 1000),
        (Depth(AGAIN, again=True), 400, 1000, None),  # the type itself compares 1,200 again
        (Depth(50_000, again=True), 10, 10_000, 1000),
    ],
)
def test_how_many_are_compared_again(depth_: Depth, k: int, candidates: int, oversample: float | None) -> None:
    asked = clause(vector(1), k, depth_)
    assert (asked["k"], asked["num_candidates"]) == (k, candidates)
    assert asked.get("rescore_vector") == (None if oversample is None else {"oversample": oversample})
    assert "filter" not in asked


def of(index_type: str, **more: object) -> Depth:
    return depth(collections.Collection("n", "i", DEFAULT.as_dict(), index_type, 128, "", "", mapping=WITH_CELLS, **more))  # type: ignore[arg-type]


def test_how_far_a_search_looks_follows_from_the_index() -> None:
    assert of("flat") == Depth(CANDIDATES, again=False, model="Dlib")
    assert of("bbq_flat") == Depth(AGAIN, again=True, model="Dlib")
    assert of("bbq_flat", notes={"num_candidates": 3000}).candidates == 3000
    # What was noted while there were few faces leaves no search more short-sighted than those of a new collection.
    assert of("bbq_flat", notes={"num_candidates": 100}).candidates == AGAIN
    assert of("bbq_flat", faces=1_000_000).candidates == 3000
    large = of("bbq_flat", faces=10_000_000)
    assert (large.share, large.candidates) == (0.15, 3000)
    assert of("bbq_flat", faces=20_000_000).candidates == 6000  # they may be in one shard, that was not planned for so many
    assert of("bbq_flat", faces=10**9).candidates == MOST_FACES
    assert of("int8_hnsw", waits=True) == Depth(AGAIN, again=True, model="Dlib")
    assert of("int8_hnsw", graph_faces=200_000, faces=200_000) == Depth(2000)


@pytest.mark.parametrize("shards", [1, 2])
def test_who_is_asked_for_by_name_is_found_in_any_cell(client: Elasticsearch, name: str, shards: int) -> None:
    collections.create(client, name, DEFAULT.as_dict(), shards=shards)
    works = [work(f"{number}.jpg", number, person=f"p{number}") for number in range(60)]
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))
    some = Depth(AGAIN, again=True, share=0.15, model=DEFAULT.model)
    book = cells.book(DEFAULT.model)
    assert book is not None
    (without,) = nearest(client, name, [vector(500)], 60, depth=some)
    inside = {f"p{number}" for number in range(60) if book.of(vector(number)[None])[0] in book.nearest(vector(500), 0.15)}
    assert {hit["_source"]["person"] for hit in without} == inside
    for number in range(0, 60, 10):
        (found,) = nearest(client, name, [vector(500)], 5, depth=some, filters=[{"term": {"person": f"p{number}"}}])
        assert [hit["_source"]["person"] for hit in found] == [f"p{number}"]
