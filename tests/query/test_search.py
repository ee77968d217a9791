from pathlib import Path

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from numpy.typing import NDArray
from PIL import Image

from core.errors import EngineError
from es import collections
from es.documents import alias
from faces.face import distance
from faces.recipe import DEFAULT
from ingest.writer import Writer
from photos.places import Given
from photos.sources import Source
from query.answers import Answer, Match
from query.calibration import Calibration
from query.search import PairThreshold, meaning_of, searcher
from query.targets import Target, looked_at
from tests.faces_made import face, lost, vector, work


def near(seed: int, how_far: float, other: int) -> NDArray[np.float32]:
    """A vector near that of a seed, moved towards that of another."""
    mixed: NDArray[np.float32] = (vector(seed) + how_far * vector(other)).astype(np.float32)
    return mixed


@pytest.fixture
def fill(client: Elasticsearch, name: str) -> Writer:
    collections.create(client, name, DEFAULT.as_dict())
    return Writer(client, name, model="Dlib", run="r", detection="min_face=80")


def people(client: Elasticsearch, name: str, embedding: NDArray[np.float32], number: int = 5) -> list[Match]:
    (found,) = searcher(client, name, PairThreshold(DEFAULT.search_threshold), people=number).people([embedding])
    return found


def answers(client: Elasticsearch, name: str, *photos: Path) -> list[Answer]:
    seen = looked_at([Source(str(photo)) for photo in photos], DEFAULT)
    return [answer for _, answer in searcher(client, name, PairThreshold(DEFAULT.search_threshold)).answers(seen)]


def test_people_come_best_first_each_once_by_their_best_photo(client: Elasticsearch, name: str, fill: Writer) -> None:
    gallery = [work(f"{seed}.jpg", seed, person=f"person {seed % 3}") for seed in range(30)]
    list(fill.write(gallery))
    client.indices.refresh(index=alias(name))
    target = near(7, 0.1, 99)
    matches = people(client, name, target)
    truth = {number: min((distance(target, vector(seed)), seed) for seed in range(30) if seed % 3 == number) for number in range(3)}
    expected = sorted(truth.items(), key=lambda entry: entry[1])
    assert [match.person for match in matches] == [f"person {number}" for number, _ in expected]
    assert [match.best.image for match in matches] == [f"/photos/{seed}.jpg" for _, (_, seed) in expected]
    assert [match.best.distance for match in matches] == pytest.approx([measured for _, (measured, _) in expected], abs=1e-5)
    assert [match.verified for match in matches] == [True, False, False]
    assert matches[0].best.similarity == pytest.approx(1 - matches[0].best.distance)


def test_someone_with_very_many_photos_does_not_hide_the_others(client: Elasticsearch, name: str, fill: Writer) -> None:
    crowd = near(1, 0.05, 2)
    works = [work(f"many/{number}.jpg", 1, person="Many") for number in range(400)]
    for number, each in enumerate(works):
        object.__setattr__(each.outcome.faces[0], "embedding", near(1, 0.01, 1000 + number))
    list(fill.write([*works, work("other.jpg", 5, person="Other"), work("third.jpg", 6, person="Third")]))
    client.indices.refresh(index=alias(name))
    matches = people(client, name, crowd, 3)
    assert matches[0].person == "Many"
    assert {match.person for match in matches} == {"Many", "Other", "Third"}


def test_faces_without_a_name_stand_for_themselves(client: Elasticsearch, name: str, fill: Writer) -> None:
    list(fill.write([work(f"{seed}.jpg", seed) for seed in range(3)]))
    client.indices.refresh(index=alias(name))
    matches = people(client, name, vector(1))
    assert [match.person for match in matches] == [None, None, None]
    assert matches[0].best.image == "/photos/1.jpg"


def test_an_empty_collection_has_no_match(client: Elasticsearch, name: str, fill: Writer) -> None:
    assert people(client, name, vector(1)) == []


def test_three_shards_answer_as_one(client: Elasticsearch, name: str, fill: Writer) -> None:
    other = f"{name}-three"
    collections.create(client, other, DEFAULT.as_dict(), shards=3)
    try:
        gallery = [work(f"{seed}.jpg", seed, person=f"p{seed}") for seed in range(200)]
        list(fill.write(gallery))
        list(Writer(client, other, model="Dlib", run="r", detection="d").write(gallery))
        client.indices.refresh(index=[alias(name), alias(other)])
        for seed in (3, 50, 120):
            one = people(client, name, near(seed, 0.3, 7))
            three = people(client, other, near(seed, 0.3, 7))
            assert [match.person for match in one] == [match.person for match in three]
            assert [match.best.distance for match in one] == pytest.approx([match.best.distance for match in three], abs=1e-6)
    finally:
        collections.delete(client, collections.get(client, other))


def test_a_shard_that_cannot_answer_is_an_error_not_a_worse_answer(client: Elasticsearch, name: str) -> None:
    lost(client, name)
    with pytest.raises(EngineError):
        people(client, name, vector(1))


def test_a_photo_without_a_face_is_an_answer_with_an_error(client: Elasticsearch, name: str, fill: Writer, tmp_path: Path) -> None:
    (tmp_path / "nonsense.jpg").write_bytes(b"nonsense")
    (answer,) = answers(client, name, tmp_path / "nonsense.jpg")
    assert answer.as_dict()["error"]["code"] == "not_an_image"
    assert answer.as_dict()["faces"] == []
    assert not answer.found


def test_every_face_of_a_target_is_searched(
    client: Elasticsearch, name: str, fill: Writer, portraits: dict[str, Path], tmp_path: Path
) -> None:
    with Image.open(portraits["obama.jpg"]) as left, Image.open(portraits["biden.jpg"]) as right:
        left.thumbnail((700, 700))
        right.thumbnail((700, 700))
        both = Image.new("RGB", (left.width + right.width, 700), "white")
        both.paste(left, (0, 0))
        both.paste(right, (left.width, 0))
    both.save(tmp_path / "both.png")
    (answer,) = answers(client, name, tmp_path / "both.png")
    assert len(answer.faces) == 2
    areas = [face.box[2] * face.box[3] for face in answer.faces]
    assert areas == sorted(areas, reverse=True)


def test_a_calibrated_collection_tells_what_its_distances_mean(client: Elasticsearch, name: str, fill: Writer) -> None:
    list(fill.write([work(f"{seed}.jpg", seed, person=f"p{seed}") for seed in range(10)]))
    client.indices.refresh(index=alias(name))
    curve = ((0.0, 0.0, 1.0), (0.1, 0.1, 0.5), (0.2, 1.0, 0.0))
    made = Calibration(0.05, 0.05, 0.05, 0.75, 10, 1000, 1000, 500, 0, 1.0, curve, "2026-11-24T00:00:00+00:00")
    collection = collections.annotate(client, name, calibration=made.as_dict())
    said: list[str] = []
    meaning = meaning_of(client, collection, DEFAULT, said.append)
    target = Target("who.jpg", Given(b""), (face(1),))
    ((_, answer),) = searcher(client, name, meaning).answers([target])
    assert (answer.threshold, answer.fpir) == (0.05, 0.05)
    matches = answer.faces[0].matches
    assert [match.verified for match in matches] == [True] + [False] * 4
    assert matches[0].fpir == 0.003, "of a thousand people, none came as near"
    assert matches[1].fpir == 1.0
    assert not said
    meaning_of(client, collections.annotate(client, name, calibration=made.as_dict() | {"faces": 100}), DEFAULT, said.append)
    assert "has 10" in said[0]
    assert meaning_of(client, collections.annotate(client, name, calibration=None), DEFAULT) == PairThreshold(DEFAULT.search_threshold)


@pytest.mark.parametrize("exact", [False, True])
def test_people_whose_photos_fill_answer_after_answer(client: Elasticsearch, name: str, fill: Writer, exact: bool) -> None:
    works = []
    for person in range(4):
        for number in range(150):
            works.append(work(f"{person}/{number}.jpg", 1, person=f"p{person}"))
            object.__setattr__(works[-1].outcome.faces[0], "embedding", near(person, 0.05, 1000 + number))
    list(fill.write(works))
    client.indices.refresh(index=alias(name))
    asking = searcher(client, name, PairThreshold(DEFAULT.search_threshold), exact=exact)
    for found in asking.people([vector(person) for person in range(4)] * 20):
        assert len({match.person for match in found}) == 4
    assert [found[0].person for found in asking.people([vector(person) for person in range(4)])] == ["p0", "p1", "p2", "p3"]


def test_people_who_can_not_be_left_out_do_not_make_it_endless(client: Elasticsearch, name: str, fill: Writer) -> None:
    list(fill.write([work(f"{number}.jpg", number, person="x" * 9000) for number in range(130)]))
    client.indices.refresh(index=alias(name))
    assert len(people(client, name, vector(1))) == 1
