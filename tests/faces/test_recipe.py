from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from core.errors import ModelError
from faces.recipe import DEFAULT, Recipe, resolve


@pytest.mark.parametrize(("model", "detector"), [("Dlib", "dlib"), ("dlib", "DLIB"), ("DLIB", "Dlib")])
def test_default_whatever_the_case(model: str, detector: str) -> None:
    assert resolve(model, detector) == resolve() == DEFAULT
    assert (DEFAULT.model, DEFAULT.detector, DEFAULT.dims, DEFAULT.metric) == ("Dlib", "dlib", 128, "cosine")


def test_default_pins_the_weights_that_are_loaded() -> None:
    from faces.dlib_model import NETWORK_FILE, PINNED

    assert PINNED[NETWORK_FILE] == DEFAULT.weights_sha256


def test_default_imports_no_model() -> None:
    heavy = ("numpy", "dlib", "deepface", "onnxruntime")
    code = f"import sys; from faces.recipe import resolve; resolve(); print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_json_and_back() -> None:
    assert Recipe.from_dict(json.loads(json.dumps(DEFAULT.as_dict()))) == DEFAULT
    assert Recipe.from_dict({**DEFAULT.as_dict(), "written_by": "a later version"}) == DEFAULT


@pytest.mark.parametrize("broken", [{"dims": None}, {"dims": "128"}, {"dims": True}, {"model": 1}, {"threshold": "low"}])
def test_unreadable_recipe(broken: dict[str, object]) -> None:
    with pytest.raises(ModelError) as caught:
        Recipe.from_dict({**DEFAULT.as_dict(), **broken})
    assert caught.value.code == "recipe"


def test_recipe_without_a_value() -> None:
    with pytest.raises(ModelError, match="'weights_sha256' is missing"):
        Recipe.from_dict({name: value for name, value in DEFAULT.as_dict().items() if name != "weights_sha256"})


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({}, None),
        ({"threshold": 0.2, "search_threshold": 0.1}, None),
        ({"model": "Facenet512", "dims": 512, "weights_sha256": "f" * 64}, "model Facenet512 instead of Dlib"),
        ({"detector": "yunet"}, "detector yunet instead of dlib"),
        ({"model": "Facenet", "detector": "ssd"}, "model Facenet instead of Dlib and detector ssd instead of dlib"),
        ({"weights_sha256": "ab" * 32}, "weights with SHA-256 abababababab... instead of 55533b28a958..."),
        ({"dims": 64, "metric": "euclidean"}, "dims 64 instead of 128 and metric euclidean instead of cosine"),
    ],
)
def test_difference(changes: dict[str, str | int | float], clause: str | None) -> None:
    assert replace(DEFAULT, **changes).difference(DEFAULT) == clause  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "detector", "code", "listed"),
    [
        ("Facenet9000", "dlib", "unknown_model", "Facenet512"),
        ("Dlib", "hawk", "unknown_detector", "retinaface"),
        ("", "dlib", "unknown_model", "ArcFace"),
    ],
)
def test_unknown_names_are_answered_with_the_known(model: str, detector: str, code: str, listed: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(model, detector)
    assert caught.value.code == code
    assert listed in str(caught.value)
    assert "\n" not in str(caught.value)
