"""What bench/identify.py takes for the subjects of photos."""

from __future__ import annotations

import numpy as np
from elasticsearch import Elasticsearch

from bench.identify import drawn, of_many, probes_of, subjects
from es.collections import create, get
from es.documents import alias
from faces.recipe import DEFAULT
from ingest.writer import Writer
from query.recall import truth
from tests.faces_made import vector, work


def test_the_subject_is_the_face_nearest_the_middle(client: Elasticsearch, name: str) -> None:
    create(client, name, DEFAULT.as_dict())
    # The boxes made for tests begin at the seed, 2 and measure 30 x 40; the photos 640 x 480.
    works = [work("a/1.jpg", 300, 10, person="a"), work("a/2.jpg", 310, person="a"), work("b/1.jpg", 5, person="b"), work("c.jpg", 6)]
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))
    found = subjects(client, get(client, name))
    assert [each.path for each in found] == ["/photos/a/1.jpg", "/photos/a/2.jpg", "/photos/b/1.jpg"]
    assert np.allclose(found[0].vector, vector(300))
    chosen = of_many(found)
    assert [each.path for each in chosen] == ["/photos/a/1.jpg", "/photos/a/2.jpg"]
    assert {each.path for each in drawn(chosen, 500, 0)[0]} == {"/photos/a/1.jpg", "/photos/a/2.jpg"}
    known = truth(client, get(client, name), probes_of(chosen), 3)
    assert [len(ids) for ids in known.ids] == [3, 3]
