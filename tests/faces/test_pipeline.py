from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core.errors import PhotoError, RecipeMismatch, UsageError
from core.settings import settings
from faces import deepface_models, pipeline
from faces.pipeline import Pipeline, distance, prepare
from faces.recipe import DEFAULT

Pixels = NDArray[np.uint8]


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def finder() -> Pipeline:
    return Pipeline(DEFAULT)


@pytest.fixture(scope="module")
def pixels(portraits: dict[str, Path]) -> dict[str, Pixels]:
    return {name: read(portraits[name]) for name in ("biden.jpg", "obama.jpg", "obama2.jpg")}


def side_by_side(*photos: Pixels) -> Pixels:
    canvas = np.zeros((max(photo.shape[0] for photo in photos), sum(photo.shape[1] for photo in photos), 3), np.uint8)
    at = 0
    for photo in photos:
        canvas[: photo.shape[0], at : at + photo.shape[1]] = photo
        at += photo.shape[1]
    return canvas


def test_people_are_told_apart(finder: Pipeline, pixels: dict[str, Pixels]) -> None:
    [biden], [obama], [obama2] = (finder.find(pixels[name]) for name in ("biden.jpg", "obama.jpg", "obama2.jpg"))
    assert distance(obama.embedding, obama2.embedding) < DEFAULT.threshold
    assert distance(obama.embedding, biden.embedding) > DEFAULT.threshold * 1.5


def test_embedding_as_the_recipe_says(finder: Pipeline, pixels: dict[str, Pixels]) -> None:
    [face] = finder.find(pixels["obama.jpg"])
    assert face.embedding.shape == (DEFAULT.dims,)
    assert face.embedding.dtype == np.float32
    assert np.linalg.norm(face.embedding) > 1.1  # not normalised


def test_largest_first_each_with_its_own_embedding(finder: Pipeline, pixels: dict[str, Pixels]) -> None:
    half = np.asarray(Image.fromarray(pixels["biden.jpg"]).reduce(2))
    faces = finder.find(side_by_side(half, pixels["obama.jpg"]))
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)
    [obama], [biden] = finder.find(pixels["obama.jpg"]), finder.find(half)
    assert [face.box[0] > half.shape[1] for face in faces] == [True, False]
    assert distance(faces[0].embedding, obama.embedding) < 0.01
    assert distance(faces[1].embedding, biden.embedding) < 0.01


def test_the_same_photo_gives_the_same_bits(finder: Pipeline, pixels: dict[str, Pixels]) -> None:
    first, second = finder.find(pixels["obama.jpg"]), Pipeline(DEFAULT).find(np.asfortranarray(pixels["obama.jpg"]))
    assert [(face.box, face.landmarks, face.confidence, face.embedding.tobytes()) for face in first] == [
        (face.box, face.landmarks, face.confidence, face.embedding.tobytes()) for face in second
    ]


def test_no_face(finder: Pipeline) -> None:
    with pytest.raises(PhotoError) as caught:
        finder.find(np.zeros((200, 200, 3), np.uint8))
    assert caught.value.code == "no_face"


@pytest.mark.parametrize("min_face", [0, -40])
def test_min_face_is_a_size(min_face: int) -> None:
    with pytest.raises(UsageError, match=str(min_face)):
        Pipeline(DEFAULT, min_face=min_face)


def test_other_weights_than_the_recipes_are_refused() -> None:
    with pytest.raises(RecipeMismatch, match=r"weights with SHA-256 55533b28a958\.\.\. instead of 000000000000\.\.\."):
        Pipeline(replace(DEFAULT, weights_sha256="0" * 64))


def test_a_calibrated_threshold_is_no_mismatch(pixels: dict[str, Pixels]) -> None:
    assert Pipeline(replace(DEFAULT, threshold=0.5)).find(pixels["obama.jpg"])


def test_spoofs_are_left_out(pixels: dict[str, Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    photo = side_by_side(pixels["obama.jpg"], pixels["obama2.jpg"])
    edge = pixels["obama.jpg"].shape[1]
    monkeypatch.setattr(deepface_models, "load", lambda task, name: None)
    monkeypatch.setattr(deepface_models, "is_real", lambda pixels, box: box[0] > edge)
    checked = Pipeline(DEFAULT, anti_spoofing=True)
    [face] = checked.find(photo)
    assert face.box[0] > edge
    with pytest.raises(PhotoError) as caught:
        checked.find(pixels["obama.jpg"])
    assert caught.value.code == "spoof"
    with pytest.raises(PhotoError) as caught:
        checked.find(np.zeros((100, 100, 3), np.uint8))
    assert caught.value.code == "no_face"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FACEDEX_CACHE_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path / "models"
    settings.cache_clear()


def test_prepare_makes_all_that_a_pipeline_needs(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(DEFAULT)
    made = {path: path.stat().st_mtime_ns for path in models.iterdir()}
    assert len(made) == 4  # network and detector, each with its seal
    from faces import dlib_model

    monkeypatch.setattr(dlib_model, "read_network", lambda _: pytest.fail("converted again"))
    dlib_model.DlibModel()
    pipeline.Pipeline(DEFAULT)
    assert {path: path.stat().st_mtime_ns for path in models.iterdir()} == made


@pytest.mark.photos
def test_lfw_pairs(finder: Pipeline, shared_photos: Path) -> None:
    from bench.accuracy import accuracy, judge, read_pairs

    pairs = read_pairs(shared_photos / "lfw_pairs.csv", 60, seed=1)
    vectors = {}
    for photo in {photo for a, b, _ in pairs for photo in (a, b)}:
        faces = finder.find(read(shared_photos / "lfw" / photo))
        vectors[photo] = min(
            faces, key=lambda face: abs(face.box[0] + face.box[2] / 2 - 125) + abs(face.box[1] + face.box[3] / 2 - 125)
        ).embedding
    assert accuracy(*judge(dict(vectors), pairs), DEFAULT.threshold) > 0.93
