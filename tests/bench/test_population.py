import numpy as np
import pytest

from bench.population import Population, distances, fit


@pytest.fixture(scope="module")
def population() -> Population:
    return Population.load()


def test_any_part_of_a_population_can_be_made_without_the_rest(population: Population) -> None:
    few = next(population.gallery(3, 2, seed=5))
    more = list(population.gallery(10_003, 2, seed=5))
    assert [len(block.people) for block in more] == [20_000, 6]
    np.testing.assert_allclose(more[0].vectors[:6], few.vectors, atol=1e-6)
    np.testing.assert_allclose(next(population.gallery(3, 2, seed=5, first=10_000)).vectors, more[1].vectors, atol=1e-6)
    assert more[1].people.tolist() == [10_000, 10_000, 10_001, 10_001, 10_002, 10_002]
    assert np.abs(next(population.gallery(3, 2, seed=6)).vectors - few.vectors).max() > 0.01


def test_probes_are_other_photos_of_the_same_people(population: Population) -> None:
    gallery, probes = next(population.gallery(500, 3)), population.probes(500)
    assert probes.people.tolist() == list(range(500))
    likeness = probes.vectors @ gallery.vectors.T
    assert likeness.max() < 0.9999
    assert (gallery.people[likeness.argmax(1)] == probes.people).mean() > 0.97
    np.testing.assert_allclose(np.linalg.norm(gallery.vectors, axis=1), 1, atol=1e-5)


def test_a_population_is_found_again_in_its_own_faces(population: Population) -> None:
    faces = next(population.gallery(300, 5, seed=1))
    again = fit(faces.vectors, faces.people).like(faces.people, seed=3)
    real, made = distances(faces.vectors, faces.people), distances(again, faces.people)
    for name, value in real.items():
        assert made[name] == pytest.approx(value, rel=0.2), name
