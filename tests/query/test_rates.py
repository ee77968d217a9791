from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.pairs import Judged, Pair
from query.rates import Rate, Rates
from query.verify import Verdict

BOX = (0, 0, 1, 1)


def counted(*pairs: tuple[float | None, bool | None], threshold: float = 0.1) -> Rates:
    """Rates of pairs by their distances (none: an error) and whether they show one person."""
    rates = Rates(threshold)
    for line, (distance, same) in enumerate(pairs, 2):
        verdict = None if distance is None else Verdict(distance <= threshold, distance, threshold, "cosine", "Dlib", (BOX, BOX))
        rates.add(Judged(Pair(line, "a", "b", same), verdict, ("no_face", "None.") if distance is None else None))
    return rates


def test_errors_are_wrong_whatever_the_photos_show() -> None:
    rates = counted((0.05, True), (0.2, True), (None, True), (0.05, False), (0.2, False), (None, False), (0.01, None))
    assert (rates.pairs, rates.verified, rates.errors, rates.labelled) == (7, 3, 2, 6)
    assert rates.accuracy() == Rate(2, 6)
    assert rates.false_matches == Rate(1, 3)
    assert rates.false_non_matches == Rate(2, 3)


def test_without_labels_there_is_nothing_to_be_right_about() -> None:
    rates = counted((0.05, None), (None, None))
    assert rates.as_dict() == {"pairs": 2, "verified": 1, "errors": 1, "threshold": 0.1, "labelled": 0}
    assert len(rates.rows()) == 3


def test_labels_and_no_face_at_all() -> None:
    summary = counted((None, True), (None, False)).as_dict()
    assert summary["best_threshold"] is None
    assert summary["accuracy"]["rate"] == 0


@pytest.mark.parametrize(
    ("rate", "low", "high"),  # as in Newcombe 1998, table I, method 3
    [(Rate(81, 263), 0.2553, 0.3662), (Rate(15, 148), 0.0624, 0.1605), (Rate(0, 20), 0.0, 0.1611), (Rate(1, 29), 0.0061, 0.1718)],
)
def test_the_intervals_are_those_of_wilson(rate: Rate, low: float, high: float) -> None:
    assert rate.interval == pytest.approx((low, high), abs=1e-4)


@given(st.lists(st.tuples(st.none() | st.sampled_from([0.02, 0.05, 0.1, 0.15, 0.3, 0.7]), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_best(pairs: list[tuple[float | None, bool]]) -> None:
    rates = counted(*pairs)
    best = rates.best_threshold()
    if best is None:
        assert all(distance is None for distance, _ in pairs)
        return
    assert rates.accuracy(best).number == max(rates.accuracy(each).number for each in [-1.0, *np.arange(0, 1, 0.01)])
