import pytest

from faces.recipe import DEFAULT
from query.verify import verify
from tests.faces_made import face


def test_the_closest_pair_decides() -> None:
    verdict = verify(DEFAULT, [face(1), face(2)], [face(3), face(2)])
    assert verdict.verified
    assert verdict.distance == pytest.approx(0, abs=1e-6)
    assert verdict.boxes == ((2, 2, 30, 40), (2, 2, 30, 40))
    assert verdict.as_dict().keys() >= {"verified", "distance", "threshold", "metric", "model"}


def test_strangers_are_not_verified() -> None:
    verdict = verify(DEFAULT, [face(1)], [face(2)])
    assert not verdict.verified
    assert verdict.distance > DEFAULT.threshold
