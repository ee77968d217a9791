from __future__ import annotations

import numpy as np

from bench import cells
from bench.population import Population
from bench.search import exact


def test_cells_of_a_population_keep_more_of_the_right_answers_the_more_are_looked_into() -> None:
    population = Population.load()
    book = cells.make(population, people=2_000, cells=64)
    assert (book.cells, book.dims) == (64, population.dims)
    assert np.allclose(np.linalg.norm(book.centres, axis=1), 1, atol=1e-5)
    gallery, probes = next(population.gallery(500, 2)), population.probes(500)
    truth = exact(population.gallery(500, 2), probes.vectors, 5)
    told = cells.loses(book, gallery.vectors, probes.vectors, truth, truth[:, 0] // 2 == probes.people)
    assert [each["share"] for each in told] == list(cells.SHARES)
    for name in ("compared", "kept", "recall"):
        values = [each[name] for each in told]
        assert values == sorted(values)
        assert 0 < values[0] < values[-1] <= 1
    assert all(each["kept"] > 2 * each["compared"] for each in told)  # by chance it would be once


def test_cells_are_the_same_when_they_are_made_again() -> None:
    first, again = (cells.make(Population.load(), people=500, cells=16) for _ in range(2))
    assert np.array_equal(first.centres, again.centres)
