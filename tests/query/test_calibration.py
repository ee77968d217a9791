from __future__ import annotations

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import CollectionError
from es import collections
from es.documents import alias
from faces.recipe import DEFAULT
from ingest.writer import Work, Writer
from query.calibration import LEAST_PEOPLE, Calibration, measure, of_distances
from query.nearest import Nearest, nearest
from tests.faces_made import vector, work

PEOPLE = 400


def photo(name: str, person: str | None, *vectors: NDArray[np.float32]) -> Work:
    """A photo whose faces have these vectors."""
    made = work(name, *range(len(vectors)), person=person)
    for face, wanted in zip(made.outcome.faces, vectors, strict=True):
        object.__setattr__(face, "embedding", wanted)
    return made


def away(start: NDArray[np.float32], distance: float, towards: int) -> NDArray[np.float32]:
    """A vector at exactly this cosine distance of another."""
    unit = start / np.linalg.norm(start)
    other = vector(towards)
    other -= (other @ unit) * unit
    other /= np.linalg.norm(other)
    turned: NDArray[np.float32] = ((1 - distance) * unit + np.sqrt(1 - (1 - distance) ** 2) * other).astype(np.float32)
    return turned


def found(other: list[float], mate: list[float] | None = None, person: list[int] | None = None) -> Nearest:
    """Distances as they come out of a comparison with a gallery of 1,000."""
    count = len(other)
    mates = np.array(mate if mate is not None else [np.inf] * count)
    who = np.array(person if person is not None else range(count))
    names = [f"p{number}" for number in range(count)]
    return Nearest(who, np.array(other), mates, np.full(count, 1000), np.zeros(count, np.intp), names)


def fill(client: Elasticsearch, name: str, works: list[Work]) -> collections.Collection:
    made = collections.create(client, name, DEFAULT.as_dict())
    list(Writer(client, name, model="Dlib", run="r", detection="d").write(works))
    client.indices.refresh(index=alias(name))
    return made


def crowd() -> list[Work]:
    """400 people with two photos each: half of them at a distance of 0.05, half at 0.2 of each other. The first 100 have a double (the
    next 100) at 0.3 of their first photo; everybody else is far away (random directions of 128 dimensions: 0.5 and more).
    """
    works = []
    for number in range(PEOPLE):
        first = away(vector(number - 100), 0.3, 9_000 + number) if 100 <= number < 200 else vector(number)
        second = away(first, 0.05 if number % 2 else 0.2, 5_000 + number)
        works += [photo(f"{number}/1.jpg", f"p{number}", first), photo(f"{number}/2.jpg", f"p{number}", second)]
    return works


def test_rates_of_a_gallery_whose_truth_is_known(client: Elasticsearch, name: str) -> None:
    made = fill(client, name, crowd())
    measured = measure(client, made, wished=0.26)
    assert (measured.faces, measured.people, measured.probes, measured.mated) == (800, 400, 800, 800)
    assert measured.suspicious == 0
    # A half of people are at 0.05, a half at 0.2; one double in four people, by one photo each.
    assert measured.fnir(0.04) == pytest.approx(1.0)
    assert measured.fnir(0.051) == pytest.approx(0.5, abs=0.01)
    assert measured.fnir(0.21) == pytest.approx(0.0, abs=1e-6)
    assert measured.fpir(0.29) == pytest.approx(3 / 400)  # none was seen: the rule of three
    assert measured.fpir(0.301) == pytest.approx(0.25, abs=0.02)
    assert 0.3 < measured.threshold < 0.6
    assert measured.promised == pytest.approx(0.26, abs=0.01)
    assert measured.missed == 0.0


def test_it_is_stored_beside_the_recipe_and_read_back(client: Elasticsearch, name: str) -> None:
    made = fill(client, name, crowd())
    measured = measure(client, made)
    collections.annotate(client, name, calibration=measured.as_dict())
    assert Calibration.from_notes(collections.get(client, name).notes) == measured
    assert measure(client, made).as_dict() | {"made": measured.made} == measured.as_dict()


def test_bystanders_and_the_nameless_are_no_subjects_but_are_reckoned_with(client: Elasticsearch, name: str) -> None:
    works = crowd()
    # 0 stands on a photo of 7, under the name of 7; and a nameless one looks just like 1.
    works += [photo("group.jpg", "p7", vector(7), vector(0)), photo("nameless.jpg", None, vector(1))]
    works += [photo(f"nameless/{number}.jpg", None, vector(20_000 + number)) for number in range(797)]
    measured = measure(client, fill(client, name, works))
    assert (measured.people, measured.probes, measured.faces) == (400, 800, 1600)
    assert measured.suspicious == 0
    assert measured.extrapolated == pytest.approx(1600 / 798, abs=0.01)


def test_one_person_under_two_names_is_told_and_left_out(client: Elasticsearch, name: str) -> None:
    works = crowd()
    works += [photo("x.jpg", "Ada", vector(30_000)), photo("y.jpg", "A. Lovelace", away(vector(30_000), 0.004, 1))]
    measured = measure(client, fill(client, name, works))
    assert measured.suspicious == 2
    ((one, other, distance),) = measured.suspects
    assert {one, other} == {"Ada", "A. Lovelace"}
    assert distance == pytest.approx(0.004, abs=1e-4)
    assert "suspects" not in measured.as_dict()
    assert measured.people == PEOPLE


def test_too_few_people_say_how_many_are_needed(client: Elasticsearch, name: str) -> None:
    made = fill(client, name, crowd()[:20])
    with pytest.raises(CollectionError, match=rf"{LEAST_PEOPLE} people or more.*of 10\.") as caught:
        measure(client, made)
    assert caught.value.code == "too_few_people"


def test_an_empty_collection_has_too_few(client: Elasticsearch, name: str) -> None:
    with pytest.raises(CollectionError, match=r"of 0\."):
        measure(client, collections.create(client, name, DEFAULT.as_dict()))


def test_a_sample_is_the_same_for_the_same_seed(client: Elasticsearch, name: str) -> None:
    made = fill(client, name, crowd())
    whole, some, again, another = (
        nearest(client, made.index, seed, lambda _: None, most) for seed, most in ((0, 10_000), (0, 50), (0, 50), (1, 50))
    )
    assert len(some.person) == 50
    assert np.array_equal(np.sort(some.other), np.sort(again.other))
    assert not np.array_equal(np.sort(some.other), np.sort(another.other))
    assert np.isin(some.other.round(5), whole.other.round(5)).all()  # compared with all of them
    assert (some.compared == 798).all()


def test_what_so_few_people_can_not_measure_is_not_promised() -> None:
    calibration = of_distances("c", found(list(np.linspace(0.1, 0.4, 600))), 1000, 0.001, 0.02)
    assert calibration.resolution == 0.05
    assert calibration.promised == pytest.approx(0.05, abs=0.002)
    assert calibration.wished == 0.001


def test_without_second_photos_the_threshold_stands_and_fnir_is_not_known() -> None:
    calibration = of_distances("c", found(list(np.linspace(0.1, 0.4, 1000))), 1000, 0.1, 0.02)
    assert calibration.threshold == pytest.approx(0.13, abs=0.001)
    assert calibration.missed is None
    assert calibration.fnir(0.2) is None
    assert Calibration.from_notes({"calibration": calibration.as_dict()}) == calibration


def test_someone_with_very_many_photos_does_not_speak_for_all() -> None:
    person = list(range(1000)) + [0] * 4000
    near = [0.05] + [0.2] * 999 + [0.05] * 4000
    calibration = of_distances("c", found(near, person=person), 1000, 0.05, 0.02)
    assert calibration.fpir(0.1) == 0.003  # one in a thousand, or the rule of three
    assert 0.1 < calibration.threshold < 0.2


def test_whoever_has_somebody_else_before_them_is_missed() -> None:
    calibration = of_distances("c", found([0.1] * 250 + [0.5] * 750, mate=[0.2] * 1000), 1000, 0.3, 0.02)
    assert calibration.fnir(0.3) == 0.25


@pytest.mark.parametrize("notes", [{}, {"calibration": None}, {"calibration": {"curve": []}}, {"calibration": {"threshold": 1}}, {"x": 1}])
def test_notes_that_hold_no_calibration(notes: dict[str, object]) -> None:
    assert Calibration.from_notes(notes) is None


@pytest.mark.parametrize(("now", "outdated"), [(1000, False), (1500, False), (1501, True), (500, False), (499, True), (0, True)])
def test_it_is_outdated_when_the_gallery_has_another_size(now: int, outdated: bool) -> None:
    assert of_distances("c", found([0.1] * 400), 1000, 0.1, 0.02).is_outdated(now) is outdated


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(LEAST_PEOPLE, 1000), st.integers(1, 6), st.floats(0.001, 0.5), st.integers(1, 5000))
def test_the_curve_is_monotone_and_the_threshold_keeps_its_promise(seed: int, count: int, digits: int, wished: float, faces: int) -> None:
    draw = np.random.default_rng(seed)
    other = draw.uniform(0.06, draw.uniform(0.1, 2), count).round(digits)  # few digits: many are equal
    mate = draw.uniform(0, 1, count).round(digits)
    calibration = of_distances("c", found(list(other), list(mate)), faces, wished, 0.01)
    at, fpir, fnir = (np.array(column) for column in zip(*calibration.curve, strict=True))
    assert (np.diff(at) > 0).all()
    assert (np.diff(fpir) >= 0).all()
    assert (np.diff(fnir) <= 0).all()
    assert len(at) <= 210
    assert calibration.promised <= max(wished, calibration.resolution) + 1e-6
    assert calibration.promised == pytest.approx(calibration.fpir(calibration.threshold), abs=1e-6)
    assert np.mean(other <= calibration.threshold) <= calibration.promised + 1e-6
    rates = [calibration.fpir(float(distance)) for distance in np.linspace(0, 2, 50)]
    assert rates == sorted(rates)
    assert all(0 < rate <= 1 for rate in rates)
