from __future__ import annotations

import sys

import numpy as np
import pytest

from faces import huge_pages, pipeline
from faces.recipe import DEFAULT


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_heap_keeps_its_content() -> None:
    held = [bytes([number % 256]) * 400 for number in range(50_000)]  # small enough for the heap
    assert huge_pages._heap()
    huge_pages.gather()
    assert all(piece == bytes([number % 256]) * 400 for number, piece in enumerate(held))


def test_only_a_process_that_sees_many_photos_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(huge_pages, "gather", lambda: calls.append(True))
    monkeypatch.setattr(pipeline, "MANY_PHOTOS", 3)
    finder = pipeline.Pipeline(DEFAULT)._finder
    for photos, expected in ((1, 0), (1, 0), (2, 1), (1, 1)):
        finder.find_all([np.zeros((20, 20, 3), np.uint8)] * photos)
        assert len(calls) == expected
