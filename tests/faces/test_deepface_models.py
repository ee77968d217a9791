from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from deepface.models.Detector import Detector, FacialAreaRegion
from deepface.models.FacialRecognition import FacialRecognition
from deepface.modules import modeling
from numpy.typing import NDArray

from core.errors import ModelError, PhotoError, RecipeMismatch
from faces import deepface_models
from faces.deepface_models import FALLBACK_THRESHOLD, load
from faces.face import Face
from faces.pipeline import Pipeline, prepare
from faces.quality import measure
from faces.recipe import resolve

RED, GREEN, BLUE = (220, 10, 10), (10, 220, 10), (10, 10, 220)


class Colours(FacialRecognition):  # type: ignore[misc]
    """A model of the tests' own: the mean colour, in the order in which it gets the channels."""

    def __init__(self) -> None:
        self.model_name, self.input_shape, self.output_shape = "Colours", (32, 32), 3
        self.batches: list[int] = []

    def forward(self, img: NDArray[Any]) -> list[float] | list[list[float]]:
        assert img.shape[1:] == (32, 32, 3) and img.max() <= 1
        self.batches.append(len(img))
        means: list[list[float]] = img.mean(axis=(1, 2)).tolist()
        return means[0] if len(means) == 1 else means


class Weighty(Colours):
    """The same with weights in a file."""

    def __init__(self) -> None:
        from deepface.commons import weight_utils

        super().__init__()
        self.path = weight_utils.download_weights_if_necessary(
            "weighty.onnx", ["https://models.example/weighty.onnx", "https://backup.example/w"]
        )


class Squares(Detector):  # type: ignore[misc]
    """A detector of the tests' own: each run of columns that are not black is a face."""

    def detect_faces(self, img: NDArray[Any]) -> list[FacialAreaRegion]:
        print("what a detector prints")  # noqa: T201
        lit = np.flatnonzero(img.any(axis=(0, 2)))
        found = []
        for columns in np.split(lit, np.flatnonzero(np.diff(lit) > 1) + 1) if lit.size else []:
            rows = np.flatnonzero(img[:, columns].any(axis=(1, 2)))
            x, y, w, h = int(columns[0]), int(rows[0]), len(columns), len(rows)
            eyes = {"left_eye": (x + w * 3 // 4, y + h // 4), "right_eye": (x + w // 4, y + h // 4)}
            found.append(FacialAreaRegion(x=x, y=y, w=w, h=h, confidence=0.9, **eyes))
        return found


class Sceptic:
    """Stands for Fasnet: takes whatever is mainly blue for a photo of a photo."""

    def analyze(self, img: NDArray[Any], facial_area: tuple[int, int, int, int]) -> tuple[bool, float]:
        x, y, w, h = facial_area
        return bool(img[y : y + h, x : x + w].mean(axis=(0, 1)).argmax() != 0), 0.9  # BGR


class NeedsPackage(Detector):  # type: ignore[misc]
    def __init__(self) -> None:
        try:
            import a_detector_nobody_has.core  # type: ignore[import-not-found]
        except ModuleNotFoundError as error:
            raise ValueError("You must install it") from error
        self.core = a_detector_nobody_has.core

    def detect_faces(self, img: NDArray[Any]) -> list[FacialAreaRegion]:
        return []


class DownloadsItself(NeedsPackage):
    def __init__(self) -> None:
        import gdown

        gdown.download("https://models.example/own.h5", "/somewhere/own.h5", quiet=False)


class Fragile(NeedsPackage):
    def __init__(self) -> None:
        self.error: Exception = RuntimeError("out of\nmemory")

    def detect_faces(self, img: NDArray[Any]) -> list[FacialAreaRegion]:
        raise self.error


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The tests' own models in DeepFace's registry; gives the folder where DeepFace looks for weights."""
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    own: dict[str, dict[str, type]] = {
        "facial_recognition": {"Colours": Colours, "Weighty": Weighty},
        "face_detector": {"squares": Squares, "needy": NeedsPackage, "loader": DownloadsItself, "fragile": Fragile},
        "spoofing": {"Fasnet": Sceptic},
    }
    for task, classes in own.items():
        for name, kind in classes.items():
            monkeypatch.setitem(modeling.AVAILABLE_MODELS[task], name, {"any": f"{__name__}.{kind.__name__}"})
    yield tmp_path / ".deepface" / "weights"
    for task, classes in own.items():
        for name in classes:
            deepface_models._files.pop((task, name), None)
            getattr(modeling, "cached_models", {}).get(task, {}).pop(name, None)


def squares(*colours: tuple[int, int, int], size: int = 40) -> NDArray[np.uint8]:
    """Squares side by side on black, each a bit smaller than the one before."""
    pixels = np.zeros((size + 20, len(colours) * (size + 10) + 10, 3), np.uint8)
    for at, colour in enumerate(colours):
        left = 10 + at * (size + 10)
        pixels[10 : 10 + size - 2 * at, left : left + size - 2 * at] = colour
    return pixels


def test_recipe_of_any_pair() -> None:
    recipe = resolve("colours", "SQUARES")
    assert (recipe.model, recipe.detector, recipe.dims, recipe.metric) == ("Colours", "squares", 3, "cosine")
    assert recipe.threshold == FALLBACK_THRESHOLD
    assert recipe.weights_sha256 == hashlib.sha256().hexdigest()
    assert recipe.alignment != resolve().alignment


@pytest.mark.parametrize(("model", "expected"), [("Facenet512", 0.30), ("ArcFace", 0.68), ("Dlib", 0.07)])
def test_thresholds_are_deepfaces(model: str, expected: float) -> None:
    assert deepface_models.threshold(model) == expected


def test_faces_boxes_and_colours() -> None:
    faces = Pipeline(resolve("Colours", "squares")).find(squares(RED, GREEN, BLUE))
    assert [face.box for face in faces] == [(10, 10, 40, 40), (60, 10, 38, 38), (110, 10, 36, 36)]
    assert [int(face.embedding.argmax()) for face in faces] == [2, 1, 0]  # the model gets BGR
    np.testing.assert_allclose(faces[0].embedding, np.array(RED[::-1]) / 255, atol=0.01)
    assert faces[0].embedding.dtype == np.float32
    assert faces[0].landmarks == ((40, 20), (20, 20))
    assert faces[0].confidence == 0.9


def test_landmarks_are_known_by_their_names() -> None:
    eyes = {"left_eye": (60, 40), "right_eye": (20, 42)}
    rest = {"nose": (40, 60), "mouth_left": (55, 80), "mouth_right": (25, 80)}
    pixels = np.zeros((100, 100, 3), np.uint8)

    def made(**points: tuple[int, int] | None) -> Face:
        area = {"x": 0, "y": 0, "w": 90, "h": 90, **points}
        return deepface_models._face({"facial_area": area, "confidence": 1}, np.ones(3, np.float32), 1.0, pixels)

    of_retinaface = made(**eyes, **rest)
    assert of_retinaface.landmarks == ((60, 40), (20, 42), (40, 60), (55, 80), (25, 80))
    assert (of_retinaface.eyes, of_retinaface.nose) == (((60, 40), (20, 42)), (40, 60))
    assert measure(pixels, of_retinaface).frontal == pytest.approx(1, abs=0.06)
    others = made(**eyes), made(left_eye=None, right_eye=None), made(left_eye=(60, 40), nose=(40, 60))
    assert [(face.eyes is None, face.nose is None) for face in others] == [(False, True), (True, True), (True, False)]


def test_equals_deepface_represent() -> None:
    from deepface.modules.representation import represent

    pixels = squares(RED, BLUE, (90, 120, 200))
    pixels[15:25] += np.random.default_rng(0).integers(0, 20, pixels[15:25].shape, np.uint8) * (pixels[15:25] > 0)
    faces = Pipeline(resolve("Colours", "squares")).find(pixels)
    theirs = represent(np.ascontiguousarray(pixels[..., ::-1]), model_name="Colours", detector_backend="squares")
    np.testing.assert_allclose([face.embedding for face in faces], [face["embedding"] for face in theirs], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 33])
def test_any_number_of_faces(count: int) -> None:
    shade = [(200, 5 * at, 255 - 5 * at) for at in range(count)]
    pixels = np.concatenate([squares(colour) for colour in shade], axis=1)
    faces = Pipeline(resolve("Colours", "squares")).find(pixels)
    assert len(faces) == count
    np.testing.assert_allclose([face.embedding for face in faces], np.array(shade)[:, ::-1] / 255, atol=0.02)
    assert max(load("facial_recognition", "Colours").batches) <= deepface_models.BATCH


def test_no_face() -> None:
    with pytest.raises(PhotoError) as caught:
        Pipeline(resolve("Colours", "squares")).find(np.zeros((50, 50, 3), np.uint8))
    assert caught.value.code == "no_face"


def test_spoofs_are_left_out_and_others_kept() -> None:
    sceptical = Pipeline(resolve("Colours", "squares"), anti_spoofing=True)
    assert [face.box[0] for face in sceptical.find(squares(BLUE, RED, GREEN))] == [60, 110]
    with pytest.raises(PhotoError) as caught:
        sceptical.find(squares(BLUE, BLUE))
    assert caught.value.code == "spoof"


def test_spoofs_of_the_default_recipe() -> None:
    assert deepface_models.is_real(squares(RED), (10, 10, 40, 40))
    assert not deepface_models.is_real(squares(BLUE), (10, 10, 40, 40))


def test_large_photos_are_searched_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = squares(RED, GREEN, size=400)
    monkeypatch.setattr(deepface_models, "MAX_PIXELS", pixels.shape[0] * pixels.shape[1] // 4)
    faces = Pipeline(resolve("Colours", "squares")).find(pixels)
    np.testing.assert_allclose([face.box for face in faces], [(10, 10, 400, 400), (420, 10, 398, 398)], atol=4)
    np.testing.assert_allclose(faces[0].landmarks, [(310, 110), (110, 110)], atol=4)


def test_wide_photos_leave_the_heap_whole() -> None:
    code = """
import numpy as np
from faces.deepface_models import DeepFaceFinder
finder = DeepFaceFinder("Dlib", "dlib", anti_spoofing=False)
for shape in (100, 100_000), (1, 1_000_000), (1_000_000, 1), (20, 8_000):
    [found] = finder.find_all([np.zeros((*shape, 3), np.uint8)])
    assert found.code == "no_face"
print("whole")
"""
    environment = os.environ | {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}  # glibc's checks, where they are to be had
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def test_model_dlib_with_another_detector() -> None:
    recipe = resolve("Dlib", "squares")
    assert (recipe.dims, recipe.weights_sha256) == (128, resolve().weights_sha256)
    assert recipe.difference(resolve()) == "detector squares instead of dlib and alignment deepface eyes instead of dlib 5 points"
    prepare(recipe)
    [face] = Pipeline(recipe).find(squares(RED))
    assert face.embedding.shape == (128,)


def test_detector_dlib_with_another_model(portraits: dict[str, Path]) -> None:
    from PIL import Image

    with Image.open(portraits["obama2.jpg"]) as image:
        pixels = np.asarray(image.convert("RGB").reduce(3))
    [face] = Pipeline(resolve("Colours", "dlib")).find(pixels)
    assert face.embedding.shape == (3,)
    assert len(face.landmarks) == 2


def test_stdout_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    Pipeline(resolve("Colours", "squares")).find(squares(RED))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "what a detector prints" in captured.err


def test_missing_weights_are_told_in_one_sentence(registry: Path) -> None:
    with pytest.raises(ModelError) as caught:
        resolve("Weighty", "squares")
    assert caught.value.code == "weights_missing"
    assert str(caught.value) == (
        f"The weights weighty.onnx are missing: put the file into {registry}; DeepFace's authors publish it at https://models.example/weighty.onnx."
    )


def test_weights_are_hashed_and_pinned(registry: Path) -> None:
    registry.mkdir(parents=True)
    (registry / "weighty.onnx").write_bytes(b"some weights")
    recipe = resolve("Weighty", "squares")
    assert recipe.weights_sha256 == hashlib.sha256(b"some weights").hexdigest()
    assert Pipeline(recipe).find(squares(RED))
    (registry / "weighty.onnx").write_bytes(b"other weights")
    with pytest.raises(RecipeMismatch, match="weights with SHA-256"):
        Pipeline(recipe)


def test_weights_that_are_read_late_are_missed_at_once() -> None:
    with pytest.raises(ModelError, match=r"The weights centerface\.onnx are missing"):
        resolve("Colours", "centerface")


def test_weights_of_a_model_that_others_built_are_known(registry: Path) -> None:
    registry.mkdir(parents=True)
    (registry / "weighty.onnx").write_bytes(b"some weights")
    deepface_models._configure()
    modeling.build_model(task="facial_recognition", model_name="Weighty")
    assert resolve("Weighty", "squares").weights_sha256 == hashlib.sha256(b"some weights").hexdigest()


@pytest.mark.parametrize(
    ("detector", "code", "sentence"),
    [
        (
            "needy",
            "package_missing",
            "The detector needy needs the package a_detector_nobody_has: run `pip install a_detector_nobody_has`.",
        ),
        (
            "loader",
            "weights_missing",
            "The weights own.h5 are missing: put the file into /somewhere; DeepFace's authors publish it at https://models.example/own.h5.",
        ),
    ],
)
def test_detectors_that_cannot_be_used(detector: str, code: str, sentence: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve("Colours", detector)
    assert (caught.value.code, str(caught.value)) == (code, sentence)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Lets no connection out, and tells which were tried: a library may swallow the error."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    return tried


DETECTORS = sorted(set(modeling.AVAILABLE_MODELS["face_detector"]) - {"dlib"})
MODELS = sorted(set(modeling.AVAILABLE_MODELS["facial_recognition"]) - {"Dlib"})


@pytest.mark.parametrize("detector", DETECTORS)
def test_no_detector_of_deepface_reaches_for_the_network(detector: str, offline: list[object]) -> None:
    try:
        Pipeline(resolve("Colours", detector)).find(squares(RED))
    except (ModelError, PhotoError) as error:
        assert "\n" not in str(error)
        assert error.code in {"weights_missing", "package_missing", "no_face"} or "opencv-python < 5" in str(error)
    assert offline == []


@pytest.mark.parametrize("model", MODELS)
def test_no_model_of_deepface_reaches_for_the_network(model: str, offline: list[object]) -> None:
    with pytest.raises(ModelError, match=r"^The .*(weights|needs the package).*[`.]\.?$") as caught:
        resolve(model, "squares")
    assert caught.value.code in {"weights_missing", "package_missing"}
    assert offline == []


def test_missing_weights_of_anti_spoofing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(modeling.AVAILABLE_MODELS["spoofing"], "Fasnet", {"any": "deepface.models.spoofing.onnx.FasNet.Fasnet"})
    for recipe in (resolve(), resolve("Colours", "squares")):
        with pytest.raises(ModelError, match=r"The weights 2\.7_80x80_MiniFASNetV2\.onnx are missing") as caught:
            Pipeline(recipe, anti_spoofing=True)
        assert caught.value.code == "weights_missing"


def test_a_photo_on_which_the_detector_fails() -> None:
    fragile = Pipeline(resolve("Colours", "fragile"))
    with pytest.raises(PhotoError, match="RuntimeError"):
        fragile.find(squares(RED))
    load("face_detector", "fragile").error = ValueError("install  opencv with haarcascade_eye.xml.")
    with pytest.raises(ModelError, match=r"can't be used: install opencv with haarcascade_eye\.xml\.$"):
        fragile.find(squares(RED))
    load("face_detector", "fragile").error = ValueError("this photo has an odd shape")  # stops no run of millions
    with pytest.raises(PhotoError) as caught:
        fragile.find(squares(RED))
    assert caught.value.code == "failed"


def test_what_is_imported_only_now_and_missing() -> None:
    fragile = Pipeline(resolve("Colours", "fragile"))
    load("face_detector", "fragile").error = ModuleNotFoundError("No module named 'retinaface'", name="retinaface")
    with pytest.raises(ModelError, match="pip install retina-face") as caught:
        fragile.find(squares(RED))
    assert caught.value.code == "package_missing"


def test_a_package_that_is_there_but_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", ModuleType("mediapipe"))  # newer ones lack what DeepFace asks for
    with pytest.raises(ModelError, match="The detector mediapipe can't be used: module 'mediapipe' has no attribute 'solutions'"):
        resolve("Colours", "mediapipe")
