from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from core.errors import EngineError
from core.settings import settings
from es.bulk import Operation, parts, send
from es.client import connect
from tests.storm import between


def operations(*sizes: int) -> list[Operation]:
    return [Operation("create", ("index", str(number)), (b"x" * (size - 1),)) for number, size in enumerate(sizes)]


def test_requests_are_cut_by_bytes_and_keep_the_order() -> None:
    whole = operations(40, 50, 30, 200, 10, 10)
    cut = list(parts(whole, 100))
    assert [[each.size for each in part] for part in cut] == [[40, 50], [30], [200], [10, 10]]
    assert [each for part in cut for each in part] == whole
    assert list(parts([], 100)) == []


def test_an_operation_is_what_the_server_reads() -> None:
    made = Operation.of({"create": {"_index": "i", "_id": "a"}}, {"person": "Zoë"})
    assert made.key == ("i", "a")
    assert made.lines == (b'{"create":{"_index":"i","_id":"a"}}', b'{"person":"Zo\xc3\xab"}')
    half = Operation.of({"create": {"_index": "i", "_id": "a"}}, {"person": "Zo\ud800"})  # no UTF-8 has it
    assert half.lines[1] == b'{"person":"Zo\\ud800"}'
    assert Operation.of({"delete": {"_index": "i", "_id": "a"}}, None).size == len(b'{"delete":{"_index":"i","_id":"a"}}\n')


def person(index: str, id_: str, person: str, kind: str = "index") -> Operation:
    return Operation.of({kind: {"_index": index, "_id": id_}}, {"person": person})


@pytest.fixture
def index(client: Elasticsearch, name: str) -> Iterator[str]:
    client.indices.create(index=name, mappings={"properties": {"person": {"type": "keyword"}}})
    yield name
    client.indices.delete(index=name)


def people(client: Elasticsearch, index: str) -> dict[str, str]:
    client.indices.refresh(index=index)
    return {hit["_id"]: hit["_source"]["person"] for hit in client.search(index=index)["hits"]["hits"]}


def test_what_is_refused_for_lack_of_room_is_sent_again_and_all_ends_in_order(client: Elasticsearch, index: str) -> None:
    sent = 0

    def refused(number: int) -> bool:
        nonlocal sent
        sent += 1
        return sent in {1, 5}  # the first one, and that again

    operations = [
        person(index, "a", "Ada"),
        person(index, "b", "Bo"),
        person(index, "a", "Eve"),  # refused only because what comes before it was
        Operation.of({"delete": {"_index": index, "_id": "none"}}, None),
    ]
    with between(client, refused=refused) as url, connect(settings().model_copy(update={"url": url})) as shaken:
        results = send(shaken, operations)
    assert sent == 4 + 2 + 2
    assert [result["status"] for result in results] == [200, 201, 200, 404]  # the last a came before the first
    assert people(client, index) == {"a": "Eve", "b": "Bo"}


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_keeps_refusing_is_given_up(client: Elasticsearch, index: str) -> None:
    with (
        between(client, refused=lambda number: number == 0) as url,
        connect(settings().model_copy(update={"url": url})) as shaken,
        pytest.raises(EngineError) as caught,
    ):
        send(shaken, [person(index, "a", "Ada"), person(index, "b", "Bo")])
    assert caught.value.code == "overloaded"
    assert people(client, index) == {"b": "Bo"}
