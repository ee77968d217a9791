from __future__ import annotations

import math

import numpy as np
import pytest

from faces.face import Face, by_size, distance


def face(x: int, y: int, w: int, h: int) -> Face:
    return Face((x, y, w, h), ((x + 1, y + 1),), 1.5, np.full(3, 0.123456, np.float32))


def test_repr_holds_no_embedding() -> None:
    assert "embedding" not in repr(face(1, 2, 3, 4))
    assert "0.12" not in repr([face(1, 2, 3, 4)])
    assert "box=(1, 2, 3, 4)" in repr(face(1, 2, 3, 4))


def test_largest_first_then_from_the_top_left() -> None:
    small, low, high, right = face(0, 0, 5, 5), face(3, 9, 10, 10), face(3, 2, 10, 10), face(7, 2, 10, 10)
    for given in ([small, low, right, high], [right, high, small, low], [low, high, small, right]):
        assert by_size(given) == [high, right, low, small]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((1, 0), (5, 0), 0.0), ((1, 0), (0, 3), 1.0), ((1, 0), (-2, 0), 2.0), ((1, 0), (1, 1), 1 - math.sqrt(0.5)), ((0, 0), (1, 1), 1.0)],
)
def test_cosine_distance(a: tuple[float, float], b: tuple[float, float], expected: float) -> None:
    assert distance(np.array(a, np.float32), np.array(b, np.float32)) == pytest.approx(expected, abs=1e-12)


def test_distance_to_itself_is_never_negative() -> None:
    for seed in range(50):
        vector = np.random.default_rng(seed).normal(size=128).astype(np.float32)
        assert 0 <= distance(vector, vector) < 1e-12
