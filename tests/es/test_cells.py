"""Cells: every face has one, and the faces of a person are in few of them."""

import numpy as np
import pytest
from elasticsearch import Elasticsearch, helpers

from bench.population import Population
from core.errors import RecipeMismatch
from core.settings import settings
from es import cells, collections, merging
from es.cells import Book
from es.doctor.cluster import Cluster
from es.doctor.indices import without_cells
from es.documents import WITH_CELLS, alias
from es.local.node import silent
from es.migration import Shape, migrate
from faces.recipe import DEFAULT
from ingest.writer import Writer
from query.knn import AGAIN, Depth, depth, nearest
from tests.faces_made import content, vector, work


@pytest.fixture(scope="module")
def book() -> Book:
    found = cells.book(DEFAULT.model)
    assert found is not None
    return found


def stored(client: Elasticsearch, name: str) -> dict[str, int | None]:
    client.indices.refresh(index=alias(name))
    return {hit["_id"]: hit["_source"].get(cells.FIELD) for hit in helpers.scan(client, index=alias(name))}


def writer(client: Elasticsearch, name: str, model: str = DEFAULT.model) -> Writer:
    return Writer(client, name, model=model, run="r", detection="d")


def older(client: Elasticsearch, name: str) -> None:
    """Makes a collection into one from before there were cells."""
    meta = client.indices.get_mapping(index=alias(name))[f"{alias(name)}-v1"]["mappings"]["_meta"]["facedex"]
    client.indices.put_mapping(index=alias(name), meta={"facedex": meta | {"mapping": WITH_CELLS - 1}})


def test_a_cell_is_that_of_the_nearest_centre(book: Book) -> None:
    assert (book.cells, book.dims) == (1024, DEFAULT.dims)
    assert np.allclose(np.linalg.norm(book.centres, axis=1), 1, atol=1e-3)
    vectors = np.stack([vector(seed) for seed in range(50)])
    own = book.of(vectors)
    assert own.tolist() == [1 + int(np.argmax([centre @ each for centre in book.centres])) for each in vectors]
    assert book.of(7 * vectors).tolist() == own.tolist()


@pytest.mark.parametrize(("share", "many"), [(0.0001, 1), (0.15, 154), (1.0, 1024), (2.0, 1024)])
def test_the_nearest_cells_begin_with_ones_own(book: Book, share: float, many: int) -> None:
    for seed in range(20):
        near = book.nearest(vector(seed), share)
        assert len(set(near)) == many
        assert book.of(vector(seed)[None])[0] in near


def test_two_faces_of_a_person_are_in_cells_near_each_other(book: Book) -> None:
    population = Population.load()
    gallery = next(population.gallery(2000, 1, seed=5)).vectors
    probes = population.probes(2000, seed=5).vectors
    for share, least in ((0.15, 0.98), (0.05, 0.9)):  # 0.987 of all pairs, whether another face is nearer or not
        assert np.mean([own in book.nearest(probe, share) for probe, own in zip(probes, book.of(gallery), strict=True)]) > least
    # Strangers are anywhere: cells are about as large as each other.
    assert np.mean([own in book.nearest(probe, 0.15) for probe, own in zip(probes, book.of(gallery[::-1]), strict=True)]) < 0.3


def test_a_model_without_cells_has_none() -> None:
    assert cells.book("Facenet512") is None
    assert not cells.is_there("Facenet512")


def test_each_face_is_written_with_its_cell(client: Elasticsearch, name: str, book: Book) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    list(writer(client, name).write([work("a.jpg", 1, 2), work("b.jpg", 3)]))
    own = stored(client, name)
    assert own == {id_: book.of(np.array(each)[None])[0] for id_, each in content(client, name)}
    assert client.indices.get_settings(index=alias(name))[f"{alias(name)}-v1"]["settings"]["index"]["sort"]["field"] == ["cell"]


def test_faces_of_other_models_and_of_older_collections_have_none(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    list(writer(client, name, "Another").write([work("a.jpg", 1)]))
    assert depth(collections.get(client, name)).share == 1
    older(client, name)
    list(writer(client, name).write([work("b.jpg", 2)]))
    assert list(stored(client, name).values()) == [None, None]


def test_a_migration_gives_older_faces_their_cells(client: Elasticsearch, name: str, book: Book) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    older(client, name)
    list(writer(client, name).write([work(f"{number}.jpg", number) for number in range(30)]))
    writes_on = writer(client, name)
    migrate(client, name, Shape(merge=False), silent)
    assert collections.get(client, name).mapping >= WITH_CELLS
    assert stored(client, name) == {id_: book.of(np.array(each)[None])[0] for id_, each in content(client, name)}
    # Who began before would write faces without cells, which searches would not find.
    with pytest.raises(RecipeMismatch):
        writes_on._check(client)


def test_a_search_of_some_cells_finds_what_is_in_them_only(client: Elasticsearch, name: str, book: Book) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    list(writer(client, name).write([work(f"{number}.jpg", number, person=f"p{number % 2}") for number in range(300)]))
    own = stored(client, name)
    some = Depth(AGAIN, again=True, share=0.3, model=DEFAULT.model)
    for found, probe in zip(nearest(client, name, [vector(7), vector(8)], 300, depth=some), (vector(7), vector(8)), strict=True):
        inside = {id_ for id_, cell in own.items() if cell in book.nearest(probe, 0.3)}
        assert {hit["_id"] for hit in found} == inside
        assert 0 < len(inside) < 300
        assert found[0]["_score"] == pytest.approx(1)
    (found,) = nearest(client, name, [vector(7)], 300, depth=some, but=[["p0"]])
    ones = {hit["_id"] for hit in helpers.scan(client, index=alias(name), query={"query": {"term": {"person": "p1"}}})}
    assert {hit["_id"] for hit in found} == {id_ for id_ in ones if own[id_] in book.nearest(vector(7), 0.3)}


def test_faces_without_cells_are_told_by_the_doctor(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    list(writer(client, name).write([work("a.jpg", 1)]))
    client.indices.refresh(index=alias(name))

    def told() -> list[tuple[str, str]]:
        return [(each.level, each.remedy) for each in without_cells(Cluster(client, settings(), name))]

    assert told() == [("ok", "")]
    list(writer(client, name, "Another").write([work("b.jpg", 2)]))
    client.indices.refresh(index=alias(name))
    assert told() == [("error", f"facedex collections migrate {name}")]
    migrate(client, name, Shape(merge=False), silent)
    assert told() == [("ok", "")]


def test_only_large_collections_are_searched_in_part(client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    collections.create(client, name, DEFAULT.as_dict())
    list(writer(client, name).write([work("a.jpg", 1)]))
    client.indices.refresh(index=alias(name))
    said: list[str] = []
    merging.build_if_due(client, alias(name), said.append)
    assert collections.get(client, name).faces is None
    monkeypatch.setattr(merging, "_NOTED_FROM", 1)
    merging.build_if_due(client, alias(name), said.append)
    found = collections.get(client, name)
    assert (found.faces, said) == (1, [])
    assert depth(found) == Depth(AGAIN, again=True, share=1.0, model=DEFAULT.model)


@pytest.mark.parametrize(("faces", "share"), [(0, 1), (1_000_000, 1), (1_500_000, 1), (3_000_000, 0.5), (10_000_000, 0.15), (10**9, 0.15)])
def test_the_more_faces_the_fewer_cells(faces: int, share: float) -> None:
    found = collections.Collection("n", "i", DEFAULT.as_dict(), "bbq_flat", 128, "", "", mapping=WITH_CELLS, faces=faces)
    assert depth(found).share == pytest.approx(share)
    older_one = collections.Collection("n", "i", DEFAULT.as_dict(), "bbq_flat", 128, "", "", mapping=WITH_CELLS - 1, faces=faces)
    assert depth(older_one).share == 1
