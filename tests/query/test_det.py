from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import StorageError, UsageError
from query import det
from query.calibration import Calibration, of_distances
from tests.query.test_calibration import found


@pytest.fixture
def calibration() -> Calibration:
    draw = np.random.default_rng(0)
    other, mate = draw.uniform(0.04, 0.4, 1000), draw.uniform(0, 0.2, 1000)
    return of_distances("c", found(list(other), list(mate)), 1000, 0.05, 0.02)


def test_scales_are_those_of_the_normal_distribution() -> None:
    assert det.deviate(0.5) == 0
    assert det.deviate(0.01) == pytest.approx(-2.326, abs=0.001)
    assert det.deviate(0.0) == pytest.approx(-det.deviate(1.0))


@pytest.mark.parametrize(
    ("rate", "text"), [(0.01, "1 %"), (0.0106, "1.1 %"), (0.414, "41 %"), (1, "100 %"), (0, "0 %"), (0.00001, "0.001 %")]
)
def test_rates_are_said_in_per_cent(rate: float, text: str) -> None:
    assert det.percent(rate) == text


def test_a_png_has_something_on_it(calibration: Calibration, tmp_path: Path) -> None:
    det.draw(calibration, "x" * 100, 0.07, tmp_path / "curve.PNG")
    with Image.open(tmp_path / "curve.PNG") as image:
        assert image.format == "PNG"
        assert image.width > 1000
        assert len(set(image.convert("L").get_flattened_data())) > 50


def test_an_svg_says_what_it_shows(calibration: Calibration, tmp_path: Path) -> None:
    det.draw(calibration, "staff & friends", 0.07, tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    for words in ("FPIR", "FNIR", "staff &amp; friends: 1,000 faces", "calibrated: distance", "fall-back: distance 0.07", "10 %"):
        assert words in text


@pytest.mark.parametrize("other", [[0.1] * 400, [0.03, *[1.9] * 399]])
def test_odd_curves_are_drawn_too(other: list[float], tmp_path: Path) -> None:
    for mate in ([0.0] * 400, [1.0] * 400, [0.01, *[0.3] * 399]):
        det.draw(of_distances("c", found(other, mate), 400, 0.1, 0.02), "c", 0.07, tmp_path / "curve.png")


def test_what_can_not_be_drawn_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        det.check(tmp_path / "curve.pdf")
    with pytest.raises(UsageError, match="not there"):
        det.check(tmp_path / "no" / "curve.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"facedex\[chart\]") as caught:
        det.check(tmp_path / "curve.png")
    assert caught.value.code == "package_missing"


def test_a_disk_that_refuses(calibration: Calibration, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="--chart"):
        det.draw(calibration, "c", 0.07, tmp_path / "no" / "curve.png")
