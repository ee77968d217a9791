"""The arithmetic of bench/accuracy.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import accuracy, best_threshold, cross_validate, judge, read_pairs


def test_a_missed_face_is_an_error_whatever_the_label() -> None:
    distances = np.array([0.01, np.nan, np.nan, 0.5])
    assert accuracy(distances, np.array([True, True, False, False]), 0.1) == 0.5


def test_best_threshold_lies_between_the_two() -> None:
    distances, same = np.array([0.1, 0.2, 0.4, 0.5, np.nan]), np.array([True, True, False, False, True])
    assert best_threshold(distances, same) == pytest.approx(0.3)
    # 0.15, 0.35 and 0.55 are as good as one another
    assert best_threshold(np.arange(1, 7) / 10, np.array([True, False] * 3)) == pytest.approx(0.35)


def test_a_fold_is_judged_by_the_others() -> None:
    same = np.arange(200) % 2 == 0
    accuracies, thresholds = cross_validate(np.where(same, 0.05, 0.15), same)
    assert accuracies == [1.0] * 10
    assert thresholds == pytest.approx([0.1] * 10)
    # Labels that say nothing can't be learned: what a fold's own pairs say must not count.
    noise = np.random.default_rng(1).random(2000)
    accuracies, _ = cross_validate(noise, np.random.default_rng(2).random(2000) < 0.5)
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.04)


def test_pairs_and_samples(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same\n" + "".join(f"x{at},y{at},{at % 2}\n" for at in range(50)))
    pairs = read_pairs(path)
    assert pairs[:2] == [("x0", "y0", False), ("x1", "y1", True)]
    assert read_pairs(path, 7, seed=3) == read_pairs(path, 7, seed=3) != read_pairs(path, 7, seed=4)
    assert len(read_pairs(path, 7)) == 7 and set(read_pairs(path, 7)) <= set(pairs)
    assert read_pairs(path, 99) == pairs


def test_judging_vectors() -> None:
    east, north = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    distances, same = judge({"a": east, "b": north, "c": None}, [("a", "a", True), ("a", "b", False), ("b", "c", True)])
    np.testing.assert_allclose(distances, [0.0, 1.0, np.nan])
    assert same.tolist() == [True, False, True]
