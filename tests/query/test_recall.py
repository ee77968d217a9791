"""What the approximate search loses, measured; and the copies that this makes, which must not stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, UsageError
from es import copies
from es.collections import Collection, all_of, create, get
from es.documents import alias
from faces.recipe import DEFAULT
from ingest.writer import Writer
from query import recall
from query.recall import Level, Measured, draw, measure, truth
from tests.faces_made import vector, work

Fill = Callable[..., Collection]


@pytest.fixture
def fill(client: Elasticsearch, name: str) -> Fill:
    """Makes a collection of people with two photos each: near copies of one vector. Two faces of the first photo are one person's."""

    def make(people: int = 30, index_type: str = "int8_hnsw", shards: int = 1) -> Collection:
        create(client, name, DEFAULT.as_dict(), index_type=index_type, shards=shards)
        works = [work(f"{number}.jpg", number % people, person=f"p{number % people}") for number in range(2 * people)]
        for number, each in enumerate(works):
            moved = vector(number % people) + 0.3 * vector(5000 + number)
            object.__setattr__(each.outcome.faces[0], "embedding", moved.astype(np.float32))
        list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
        client.indices.refresh(index=alias(name))
        return get(client, name)

    return make


def left(client: Elasticsearch) -> list[str]:
    return [index for index in client.indices.get(index="facedex-*", filter_path="*.aliases") if copies._COPY in index]


@pytest.mark.parametrize("shards", [1, 2])
def test_a_search_of_everything_loses_nothing(client: Elasticsearch, fill: Fill, shards: int) -> None:
    collection = fill(shards=shards)
    probes = draw(client, collection, 40)
    assert len(probes) == 40
    assert all(probes.mates)
    known = truth(client, collection, probes, 5)
    assert known.rank1 == 1.0
    assert all(len(ids) == 5 for ids in known.ids)
    levels = measure(client, collection.index, probes, known, 5, faces=60)
    assert [level.num_candidates for level in levels] == [10, 30, 100]
    assert [(level.recall, level.rank1, level.labelled_rank1) for level in levels[1:]] == [(1.0, 1.0, 1.0)] * 2
    assert levels[0].compared >= 60


def test_a_photo_does_not_find_itself_nor_its_other_faces(client: Elasticsearch, name: str) -> None:
    create(client, name, DEFAULT.as_dict())
    works = [work("both.jpg", 1, 2, person="p"), work("other.jpg", 3), work("third.jpg", 4, person="q")]
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))
    collection = get(client, name)
    probes = draw(client, collection, 10)
    assert probes.faces == 2
    assert probes.mates == [False] * 4
    known = truth(client, collection, probes, 10)
    assert known.rank1 is None
    assert sorted(map(len, known.ids)) == [2, 2, 3, 3]
    (level, *_) = measure(client, collection.index, probes, known, 10, faces=4)
    assert (level.recall, level.rank1, level.labelled_rank1) == (1.0, 1.0, None)


def test_what_is_lost_is_seen(client: Elasticsearch, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = fill()
    probes = draw(client, collection, 20)
    known = truth(client, collection, probes, 3)
    honest = recall._search

    def forgetful(*arguments: object) -> object:
        return [hits[1:] if number % 2 else hits for number, hits in enumerate(honest(*arguments))]  # type: ignore[arg-type]

    monkeypatch.setattr(recall, "_search", forgetful)
    level = measure(client, collection.index, probes, known, 3, faces=60)[-1]
    assert level.rank1 == 0.5
    assert level.labelled_rank1 == 0.5
    assert level.recall == pytest.approx(5 / 6)


def test_the_draw_is_the_same_again_and_needs_two_faces(client: Elasticsearch, fill: Fill, name: str) -> None:
    collection = fill(20)
    assert draw(client, collection, 10).photos == draw(client, collection, 10).photos
    empty = f"{name}-empty"
    create(client, empty, DEFAULT.as_dict())
    try:
        with pytest.raises(CollectionError) as refused:
            draw(client, get(client, empty), 10)
        assert refused.value.code == "too_few_faces"
    finally:
        client.indices.delete(index=[f"{alias(empty)}-v1", f"{alias(empty)}-rejects-v1"])


def level(candidates: int, found: float, rank1: float, compared: int = 500) -> Level:
    return Level(candidates, found, rank1, None, 1.0, 2.0, compared)


def test_the_fewest_candidates_that_do_are_recommended() -> None:
    levels = [level(10, 0.8, 0.9), level(30, 1.0, 1.0), level(100, 0.95, 1.0), level(300, 0.995, 0.999), level(1000, 1.0, 1.0)]
    best = Measured("hnsw", False, 1000, levels).recommended
    assert best is not None
    assert (best.num_candidates, best.reached) == (300, ["rank1", "recall"])
    best = Measured("hnsw", False, 1000, levels[:3]).recommended
    assert best is not None
    assert (best.num_candidates, best.reached) == (100, ["rank1"])
    best = Measured("hnsw", False, 1000, [level(10, 0.8, 0.9), level(30, 0.8, 0.9)]).recommended
    assert best is not None
    assert (best.num_candidates, best.reached) == (10, [])


def test_never_fewer_are_recommended_than_are_compared_again_anyway() -> None:
    levels = [level(300, 1.0, 1.0, 300), level(1000, 1.0, 1.0, 1000), level(3000, 1.0, 1.0, 3000)]
    best = Measured("bbq_flat", False, 50_000, levels, least=1000).recommended
    assert best is not None
    assert best.num_candidates == 1000
    assert Measured("bbq_flat", False, 458, [level(300, 1.0, 1.0, 300), level(1000, 1.0, 1.0, 458)], least=1000).recommended is None


def test_nothing_is_recommended_where_all_faces_are_compared_anyway() -> None:
    assert Measured("int8_hnsw", False, 100, [level(10, 1.0, 1.0, 110), level(30, 1.0, 1.0, 130)]).recommended is None


def test_a_copy_holds_the_same_under_another_type_and_goes(client: Elasticsearch, fill: Fill) -> None:
    collection = fill()
    probes = draw(client, collection, 20)
    known = truth(client, collection, probes, 5)
    with copies.copy(client, collection, "hnsw") as index:
        assert left(client) == [index]
        mapping = client.indices.get_mapping(index=index)[index]["mappings"]
        assert mapping["properties"]["embedding"]["index_options"]["type"] == "flat"  # too few for a graph
        assert [found.name for found in all_of(client) if found.name.startswith(collection.name)] == [collection.name]
        levels = measure(client, index, probes, known, 5, faces=60)
        assert (levels[-1].recall, levels[-1].rank1, levels[-1].labelled_rank1) == (1.0, 1.0, 1.0)
    assert left(client) == []


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, CollectionError("no")])
def test_a_copy_goes_whatever_happens(client: Elasticsearch, fill: Fill, trouble: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = fill()

    def broken(*_: object) -> None:
        assert left(client)
        raise trouble

    with pytest.raises((KeyboardInterrupt, CollectionError)), copies.copy(client, collection, "flat"):
        broken()
    assert left(client) == []
    monkeypatch.setattr(copies, "send", broken)  # half way through the faces
    with pytest.raises((KeyboardInterrupt, CollectionError)), copies.copy(client, collection, "flat"):
        pytest.fail("there should be no copy")
    assert left(client) == []
    with pytest.raises(UsageError), copies.copy(client, collection, "steep"):
        pytest.fail("there should be no copy")


def test_what_a_killed_process_left_is_swept_away(client: Elasticsearch, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = fill()
    with copies.copy(client, collection, "flat") as index:
        assert copies.sweep(client, collection) == 0
        assert left(client) == [index]
        monkeypatch.setattr("es.local.processes.same", lambda *_: False)  # as if this process were gone
        assert copies.sweep(client, collection) == 1
        assert left(client) == []
