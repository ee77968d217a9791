import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as some

from core.errors import EngineError
from es import collections
from es.documents import alias, rejects_alias
from faces.recipe import DEFAULT
from ingest import glance as module
from ingest.glance import Glimpse, glance
from ingest.known import Known
from ingest.writer import Work, Writer
from photos.sources import Source
from tests.faces_made import lost, rejected, sha, work
from workers.worker import Outcome, Reject


@pytest.fixture
def filled(client: Elasticsearch, name: str) -> str:
    collections.create(client, name, DEFAULT.as_dict())
    writer = Writer(client, name, model="Dlib", run="r", detection="min_face=80")
    unreadable = Work(Source("/photos/e.jpg"), Outcome(reject=Reject("unreadable", "A sentence.")))
    list(writer.write([work("a.jpg", 1, 2), work("b.jpg", 3), rejected("c.jpg"), rejected("d.jpg", "timeout"), unreadable]))
    client.indices.refresh(index=[alias(name), rejects_alias(name)])
    return name


@pytest.mark.parametrize("window", [10_000, 2])
def test_contents_and_paths(client: Elasticsearch, filled: str, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(module, "_WINDOW", window)
    hashes = [sha(f"{letter}.jpg") for letter in "abcd"]
    seen = glance(client, filled, [*hashes, sha("new.jpg")], [f"/photos/{letter}.jpg" for letter in "abcde"])
    assert seen.contents.keys() == set(hashes)
    assert [seen.contents[each].is_settled("min_face=80") for each in hashes] == [True, True, True, False]
    assert not any(seen.contents[each].is_settled("min_face=40") for each in hashes)
    assert [seen.contents[each].faces for each in hashes] == [2, 1, 0, 0]
    assert seen.at["/photos/a.jpg"] == {sha("a.jpg")}
    assert seen.at["/photos/e.jpg"] == {None}


def test_nothing_asked_is_nothing_known(client: Elasticsearch) -> None:
    assert glance(client, "not-there", [], []) == module.Glance()


def test_a_shard_that_can_not_answer_is_an_error(client: Elasticsearch, name: str) -> None:
    lost(client, name)
    with pytest.raises(EngineError):
        glance(client, name, [sha("a.jpg")], [])


hows = some.sampled_from(["min_face=80", "min_face=40"])
stored_faces = some.lists(some.tuples(hows, some.integers(1, 3)), max_size=4)
stored_rejects = some.lists(some.tuples(hows, some.sampled_from(["no_face", "timeout"])), max_size=1)


@effort(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored_faces, stored_rejects)
def test_a_glance_judges_as_a_lookup_does(faces: list[tuple[str, int]], rejects: list[tuple[str, str]]) -> None:
    known = Known(
        {str(number): face for number, face in enumerate(faces)},
        {str(number): (how, Reject(reason, "A sentence.")) for number, (how, reason) in enumerate(rejects)},
    )
    glimpse = Glimpse(
        len(faces), {count for _, count in faces}, {how for how, _ in (*faces, *rejects)}, set(), {reason for _, reason in rejects}
    )
    assert glimpse.is_settled("min_face=80") == known.is_settled("min_face=80")
