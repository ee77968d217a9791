import threading

import pytest
from elasticsearch import Elasticsearch

from core.errors import CollectionError, EngineError, UsageError
from es import collections
from es.documents import alias, rejects_alias
from es.index_types import INDEX_TYPES
from tests.faces_made import lost

RECIPE = {
    "model": "Dlib",
    "detector": "dlib",
    "alignment": "a",
    "dims": 128,
    "metric": "cosine",
    "threshold": 0.093,
    "search_threshold": 0.07,
    "weights_sha256": "0" * 64,
}


def test_a_collection_is_found_as_it_was_made(client: Elasticsearch, name: str) -> None:
    made = collections.create(client, name, RECIPE, index_type="hnsw")
    found = collections.get(client, name)
    assert found == made
    assert found.recipe == RECIPE
    assert found.index == f"{alias(name)}-v1"
    assert [name] == [other.name for other in collections.all_of(client) if other.name == name]


def test_the_vector_index_is_explicit(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, RECIPE)
    mapping = client.indices.get_mapping(index=alias(name))[f"{alias(name)}-v1"]["mappings"]
    options = mapping["properties"]["embedding"]
    assert options["dims"] == 128
    assert options["similarity"] == "cosine"
    assert options["index_options"]["type"] == "bbq_flat"
    assert options["index_options"]["rescore_vector"] == {"oversample": 3.0}
    assert mapping["dynamic"] == "strict"


@pytest.mark.parametrize("index_type", INDEX_TYPES)
def test_every_index_type_is_accepted_by_the_server(client: Elasticsearch, name: str, index_type: str) -> None:
    collections.create(client, name, RECIPE, index_type=index_type)
    assert collections.get(client, name).index_type == index_type


def test_shards_and_replicas_are_as_asked_for(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, RECIPE, shards=3, replicas=1)
    described = collections.describe(client, collections.get(client, name))
    assert (described["shards"], described["replicas"]) == (3, 1)
    assert described["health"] == "yellow"  # one node holds no copies
    assert (described["faces"], described["people"], described["photos"], described["rejects"]) == (0, 0, 0, 0)


def test_without_replicas_asked_for_one_node_is_green(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, RECIPE)
    client.cluster.health(index=alias(name), wait_for_status="green", timeout="10s")
    assert collections.describe(client, collections.get(client, name))["health"] == "green"


def test_unknown_fields_are_refused(client: Elasticsearch, name: str) -> None:
    from elasticsearch import BadRequestError

    collections.create(client, name, RECIPE)
    with pytest.raises(BadRequestError):
        client.index(index=alias(name), document={"surprise": 1})


def test_of_many_who_create_at_once_one_does(client: Elasticsearch, name: str) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            collections.create(client, name, RECIPE)
            outcomes.append("made")
        except CollectionError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["collection_exists"] * 3 + ["made"]


def test_a_creation_that_was_cut_off_leaves_none_and_can_be_done_again(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, RECIPE)
    client.indices.delete(index=f"{alias(name)}-v1")  # only the rejects' index had been made
    assert collections.find(client, name) is None
    collections.create(client, name, RECIPE)
    assert collections.describe(client, collections.get(client, name))["rejected"] == {}


def test_a_shard_that_cannot_answer_is_an_error_not_a_smaller_count(client: Elasticsearch, name: str) -> None:
    lost(client, name)
    with pytest.raises(EngineError):
        collections.count(client, collections.get(client, name))


def test_a_missing_collection_is_told_with_those_there_are(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, RECIPE)
    with pytest.raises(CollectionError, match=name) as caught:
        collections.get(client, "nobody")
    assert caught.value.code == "no_collection"


def test_deleted_is_gone_with_its_rejects(client: Elasticsearch, name: str) -> None:
    collections.create(client, name, RECIPE)
    collections.delete(client, collections.get(client, name))
    assert collections.find(client, name) is None
    assert not client.indices.exists(index=f"{rejects_alias(name)}*", allow_no_indices=False)


@pytest.mark.parametrize("bad", ["", "UPPER", "a b", "-a", "_a", "a--b", "a/b", "a*", "é", "x" * 101, "a-v2", "a-rejects", "..", "a,b"])
def test_bad_names_are_refused(client: Elasticsearch, bad: str) -> None:
    with pytest.raises(UsageError):
        collections.create(client, bad, RECIPE)


def test_a_bad_index_type_is_refused(client: Elasticsearch, name: str) -> None:
    with pytest.raises(UsageError, match="bbq_disk"):
        collections.create(client, name, RECIPE, index_type="bbq_disk")


def test_notes_are_kept_beside_the_recipe_until_they_are_forgotten(client: Elasticsearch, name: str) -> None:
    made = collections.create(client, name, RECIPE)
    collections.annotate(client, name, one={"a": [1, 2.5]}, two="x")
    collections.annotate(client, name, two=None, three=3)
    found = collections.get(client, name)
    assert found.notes == {"one": {"a": [1, 2.5]}, "three": 3}
    assert (found.recipe, found.created, found.index_type) == (made.recipe, made.created, made.index_type)


def test_ensure_makes_what_is_not_there_and_keeps_what_is(client: Elasticsearch, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = collections.ensure(client, name, RECIPE)
    assert collections.ensure(client, name, RECIPE | {"model": "Facenet"}).recipe == made.recipe == RECIPE
    answers = iter([None, None, made])  # not there yet at the first looks: another makes it in between
    monkeypatch.setattr(collections, "find", lambda *_: next(answers))
    assert collections.ensure(client, name, RECIPE | {"model": "Facenet"}) == made
