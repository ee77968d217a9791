"""What the tests of moving a collection share: one that is filled, what is stored in it, and whether a migration left something."""

from __future__ import annotations

from typing import Any

import numpy as np
from elasticsearch import Elasticsearch

from es import versions
from es.migration import Shape
from ingest.writer import Writer
from tests.faces_made import work

QUICK = Shape(merge=False)


def fill(client: Elasticsearch, name: str, count: int, *, first: int = 0) -> None:
    writer = Writer(client, name, model="Dlib", run="run-1", detection="min_face=80")
    list(writer.write(work(f"{number}.jpg", number, person=f"person {number % 7}") for number in range(first, first + count)))


Stored = dict[str, dict[str, Any]]


def stored(client: Elasticsearch, index: str) -> Stored:
    client.indices.refresh(index=index)
    hits = client.search(index=index, size=10_000, source={"exclude_vectors": False})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def same(before: Stored, after: Stored) -> None:
    """Ids, all fields, and vectors (to the last bit but one: they are stored as direction and length)."""
    assert before.keys() == after.keys()
    for id_, document in before.items():
        assert np.allclose(document["embedding"], after[id_]["embedding"], rtol=1e-6)
        assert {**document, "embedding": None} == {**after[id_], "embedding": None}


def nothing_left(client: Elasticsearch, name: str) -> None:
    found = versions.versions(client, name)
    assert found.filling is None
    assert found.old == ()
    assert not is_blocked(client, found.current)


def is_blocked(client: Elasticsearch, index: str) -> bool:
    return "blocks" in client.indices.get_settings(index=index)[index]["settings"]["index"]
