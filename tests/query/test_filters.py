from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from elasticsearch import Elasticsearch

from core.errors import UsageError
from es import collections
from es.documents import alias
from faces.quality import Quality
from faces.recipe import DEFAULT
from ingest.writer import Writer
from query import filters, knn
from tests.faces_made import vector, work


@pytest.fixture(autouse=True)
def gallery(client: Elasticsearch, name: str) -> None:
    """Ten faces: of Ada (even) and Bo (odd), from a camera in the north (below 5) or south, each sharper than the one before."""
    collections.create(client, name, DEFAULT.as_dict())
    works = []
    for seed in range(10):
        made = work(f"{'a' if seed < 3 else 'b'}/{seed}.jpg", seed, person=("Ada", "Bo")[seed % 2])
        source = replace(made.source, labels={"camera": "north" if seed < 5 else "south"})
        faces = tuple(replace(face, quality=Quality(100, seed, 0.5, 1.0)) for face in made.outcome.faces)
        works.append(replace(made, source=source, outcome=replace(made.outcome, faces=faces)))
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))


def seeds(client: Elasticsearch, name: str, *where: str, **more: object) -> set[int]:
    clauses = filters.clauses(client, name, where, **more)  # type: ignore[arg-type]
    (hits,) = knn.nearest(client, name, [vector(0)], 100, filters=clauses)
    return {int(hit["_source"]["image"]["path"].removesuffix(".jpg")[-1]) for hit in hits}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], set(range(10))),
        (["person=Ada"], {0, 2, 4, 6, 8}),
        (["person=Ada", "person=Bo"], set(range(10))),
        (["person!=Ada"], {1, 3, 5, 7, 9}),
        (["person=Ada", "labels.camera=north"], {0, 2, 4}),
        (["labels.camera=sou*"], {5, 6, 7, 8, 9}),
        (["image=/photos/a/*"], {0, 1, 2}),
        (["image=/photos/a/1.jpg"], {1}),
        (["run=r", "person!=Ada", "person!=Bo"], set()),
        (["person=nobody"], set()),
    ],
)
def test_faces_that_match_all_that_is_asked_are_found(client: Elasticsearch, name: str, where: list[str], expected: set[int]) -> None:
    assert seeds(client, name, *where) == expected


def test_quality_and_time(client: Elasticsearch, name: str) -> None:
    assert seeds(client, name, min_quality=[("sharpness", 7.0)]) == {7, 8, 9}
    now = datetime.now(UTC)
    assert seeds(client, name, since=now - timedelta(hours=1)) == set(range(10))
    assert seeds(client, name, since=(now - timedelta(hours=1)).astimezone().replace(tzinfo=None)) == set(range(10))
    assert seeds(client, name, since=now + timedelta(hours=1)) == set()


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("colour=red", "unknown_field"),
        ("labels.colour=red", "unknown_field"),
        ("person", "bad_filter"),
        ("=x", "bad_filter"),
        ("person=", "bad_filter"),
    ],
)
def test_what_is_not_understood_is_refused(client: Elasticsearch, name: str, where: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        filters.clauses(client, name, [where])
    assert caught.value.code == code


def test_many_vectors_are_answered_as_one_by_one(client: Elasticsearch, name: str) -> None:
    vectors = [vector(seed) for seed in range(5)]
    but = [["Ada"], [], ["Bo"], ["Ada", "Bo"], []]
    together = knn.nearest(client, name, vectors, 4, but=but)
    for number, hits in enumerate(together):
        assert [hits] == knn.nearest(client, name, vectors[number : number + 1], 4, but=but[number : number + 1])
        assert not {hit["_source"]["person"] for hit in hits} & set(but[number])
    assert [len(hits) for hits in together] == [4, 4, 4, 0, 4]
