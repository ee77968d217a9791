from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image

from bench.embedding import STAGES, Clock, multiply_adds, stages
from bench.scenes import scenes
from faces.dlib_model import float_network


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_stage_does_not_count_what_another_does() -> None:
    clock = Clock()
    inner = clock.timed("chip", lambda: spin(0.05))

    def both() -> None:
        spin(0.02)
        inner()

    clock.timed("detect", both)()
    assert clock.seconds["chip"] == pytest.approx(0.05, abs=0.01)
    assert clock.seconds["detect"] == pytest.approx(0.02, abs=0.01)
    assert sum(clock.seconds.values()) == pytest.approx(0.07, abs=0.01)


def test_stages_of_a_photo(portraits: dict[str, Path]) -> None:
    spent = stages([str(portraits["biden.jpg"])])
    assert spent["all"] == pytest.approx(sum(spent[stage] for stage in STAGES), abs=0.01)
    assert min(spent[stage] for stage in ("decode", "detect", "landmarks", "chip", "quality", "embed")) > 0
    assert spent["detect"] > spent["embed"]


def test_multiply_adds_are_those_of_the_architecture() -> None:
    # By hand: 7x7 over 72 x 72, six convolutions of 32 channels over 35 x 35, and so on to the projection.
    stem, projection = 32 * 3 * 49 * 72**2, 256 * 128
    blocks = 6 * 32**2 * 35**2 + 7 * 64**2 * 17**2 + 32 * 64 * 17**2 + 5 * 128**2 * 8**2 + 64 * 128 * 8**2
    blocks += 128 * 256 * 3**2 + 256**2 * (3**2 + 4 * 4**2 + 2)
    assert multiply_adds(float_network()) == stem + 9 * blocks + projection


def test_scenes_have_the_size_asked_for_and_are_the_same_again(portraits: dict[str, Path], tmp_path: Path) -> None:
    photos = [str(path) for path in portraits.values()] * 2
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
    [one], [other] = (scenes(photos, 0.5, 1, folder) for folder in (tmp_path / "one", tmp_path / "other"))
    assert Path(one).read_bytes() == Path(other).read_bytes()
    with Image.open(one) as image:
        assert image.width * image.height == pytest.approx(500_000, rel=0.01)
