from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.errors import ModelError
from faces.recipe import DEFAULT
from photos.places import File, Given, Nowhere, Place
from tests.faces_made import small_copies
from workers import worker
from workers.worker import Detection, Outcome, Represent


def jpeg(pixels: np.ndarray) -> Place:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return Given(buffer.getvalue())


@pytest.fixture(scope="module")
def represent() -> Represent:
    return Represent(DEFAULT, Detection(), 100_000_000)


@pytest.fixture
def places(tmp_path: Path, portraits: dict[str, Path]) -> list[Place]:
    faces = [File(str(path)) for name in ("obama", "biden") for path in small_copies(portraits[f"{name}.jpg"], tmp_path / name, 2)]
    nothing = jpeg(np.zeros((90, 90, 3), np.uint8))
    return [faces[0], Given(b"no photo"), faces[2], nothing, Nowhere("It is gone."), File(str(portraits["obama.jpg"])), faces[1], faces[3]]


def told(outcome: Outcome) -> tuple[Any, ...]:
    faces = [(face.box, face.landmarks, face.confidence, face.embedding.tobytes(), face.quality) for face in outcome.faces]
    return outcome.sha256, outcome.width, outcome.height, faces, outcome.reject, outcome.below_quality


@pytest.mark.parametrize("together", [1, 300_000, 6_000_000])
def test_company_makes_no_difference(represent: Represent, places: list[Place], monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr(worker, "TOGETHER_BYTES", together)
    alone = [outcome for place in places for outcome in represent([place])]
    assert [told(outcome) for outcome in represent(places)] == [told(outcome) for outcome in alone]
    rejects = [outcome.reject.reason if outcome.reject else None for outcome in alone]
    assert rejects == [None, "not_an_image", None, "no_face", "unreadable", None, None, None]


def test_no_more_pixels_are_held_than_that(represent: Represent, places: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TOGETHER_BYTES", 500_000)
    held: list[int] = []
    find = represent._pipeline.find_all

    def noted(photos: Any) -> Any:
        held.append(0 if len(photos) == 1 else sum(pixels.nbytes for pixels in photos))
        return find(photos)

    monkeypatch.setattr(represent._pipeline, "find_all", noted)
    represent(places)
    assert 0 in held and 0 < max(held) <= 500_000


def test_a_photo_that_the_model_stumbles_over_costs_nothing_but_itself(
    represent: Represent, places: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = represent._pipeline.find_all

    def stumbling(photos: Any) -> Any:
        if any(pixels.shape == (90, 90, 3) for pixels in photos):
            raise ZeroDivisionError
        return find(photos)

    monkeypatch.setattr(represent._pipeline, "find_all", stumbling)
    outcomes = represent(places)
    assert [outcome.reject.reason if outcome.reject else None for outcome in outcomes[:5]] == [
        None,
        "not_an_image",
        None,
        "failed",
        "unreadable",
    ]
    assert "ZeroDivisionError" in str(outcomes[3].reject)
    assert all(outcome.faces for outcome in outcomes[5:])


def test_what_every_photo_would_meet_is_raised(represent: Represent, places: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Any:
        raise ModelError("The weights are missing.")

    monkeypatch.setattr(represent._pipeline, "find_all", broken)
    with pytest.raises(ModelError, match="weights"):
        represent(places)
