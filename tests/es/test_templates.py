"""What administrators add to collections, and that nothing depends on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from es import collections, templates
from es.collections import create
from es.documents import MAPPING_VERSION, PREFIX, alias, face_mapping, rejects_alias
from es.index_types import first_options
from faces.recipe import DEFAULT

CUSTOM = f"{templates.FACES}@custom"


@pytest.fixture(autouse=True)
def templates_as_before(client: Elasticsearch) -> Iterator[None]:
    templates.install(client)
    yield
    clear(client)
    client.options(ignore_status=404).cluster.delete_component_template(name=CUSTOM)
    templates.install(client)


def clear(client: Elasticsearch) -> None:
    for name in (templates.FACES, templates.REJECTS, templates.OTHERS):
        client.options(ignore_status=404).indices.delete_index_template(name=name)
    for name in (templates.FACES, templates.REJECTS):
        client.options(ignore_status=404).cluster.delete_component_template(name=name)


def is_sound(client: Elasticsearch, name: str) -> bool:
    """Whether the mapping is the one of this version."""
    found = client.indices.get_mapping(index=alias(name))[f"{alias(name)}-v1"]["mappings"]
    expected = face_mapping(128, "cosine", first_options("int8_hnsw"), found["_meta"]["facedex"])
    return {**found, "properties": None} == {**expected, "properties": None} and found["properties"].keys() == expected["properties"].keys()


def test_administrators_see_the_fields_and_add_settings(client: Elasticsearch, name: str) -> None:
    component = client.cluster.get_component_template(name=templates.FACES)["component_templates"][0]["component_template"]
    assert component["_meta"] == {"managed_by": "facedex", "managed": True, "mapping": MAPPING_VERSION}
    assert component["template"]["mappings"]["properties"]["person"]["type"] == "keyword"
    client.cluster.put_component_template(name=CUSTOM, template={"settings": {"codec": "best_compression", "number_of_shards": 5}})
    create(client, name, DEFAULT.as_dict(), shards=2)
    settings = client.indices.get_settings(index=alias(name))[f"{alias(name)}-v1"]["settings"]["index"]
    assert (settings["codec"], settings["number_of_shards"]) == ("best_compression", "2")  # what the command says is stronger
    rejects = client.indices.get_settings(index=rejects_alias(name))[f"{rejects_alias(name)}-v1"]["settings"]["index"]
    assert "codec" not in rejects
    assert is_sound(client, name)
    assert collections.get(client, name).mapping == MAPPING_VERSION
    assert collections.annotate(client, name, num_candidates=7).mapping == MAPPING_VERSION
    assert collections.get(client, name).mapping == MAPPING_VERSION


def test_a_stale_template_changes_no_mapping(client: Elasticsearch, name: str) -> None:
    wrong = {"dynamic": "true", "properties": {"person": {"type": "long"}, "face": {"properties": {"confidence": {"type": "keyword"}}}}}
    client.cluster.put_component_template(name=templates.FACES, template={"mappings": wrong})
    create(client, name, DEFAULT.as_dict())
    assert is_sound(client, name)
    found = client.indices.get_mapping(index=alias(name))[f"{alias(name)}-v1"]["mappings"]["properties"]
    assert found["person"] == {"type": "keyword", "ignore_above": 8191}
    assert found["face"]["properties"]["confidence"] == {"type": "float", "index": False}


def test_collections_are_made_where_templates_can_not_be_written(client: Elasticsearch, name: str) -> None:
    clear(client)
    client.indices.put_index_template(name=f"in-the-way-{name}", index_patterns=["facedex-*-v*"], priority=500)  # is refused beside it
    try:
        assert not templates.install(client)
        create(client, name, DEFAULT.as_dict())
        assert is_sound(client, name)
    finally:
        client.indices.delete_index_template(name=f"in-the-way-{name}")


@pytest.mark.parametrize("index", [f"{PREFIX}-{{}}-v1", f"{PREFIX}{{}}-vip--copy-0"])
def test_what_is_no_collection_gets_nothing(client: Elasticsearch, name: str, index: str) -> None:
    made = index.format(name)
    client.indices.create(index=made)
    try:
        assert "properties" not in client.indices.get_mapping(index=made)[made]["mappings"]
    finally:
        client.indices.delete(index=made)
