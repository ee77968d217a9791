"""Every model and detector of DeepFace's other than the default pair, driven through DeepFace.

DeepFace downloads weights at first use and does not verify them. Here nothing is downloaded: a missing file is an error that
names the file, the folder it belongs in and where DeepFace's authors publish it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
from deepface.modules import modeling

from core.errors import ModelError, PhotoError
from faces import dlib_model
from faces.face import Face, none_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

# A model that deepface/config/threshold.py does not know, such as one of your own, gets the cosine distance of Facenet512
# there: in the middle of DeepFace's range (0.015 to 0.68). Calibrate the collection to get its own.
FALLBACK_THRESHOLD: Final = 0.30
# DeepFace puts a black border of half its size around a photo, four times its pixels. Larger ones are scaled down first.
MAX_PIXELS: Final = 12_000_000
# That border and DeepFace's own doubling for dlib make the longer side four times as long. Up to there dlib.resize_image was computed
# to be sound, column by column (see faces.dlib_detector.MAX_WIDTH), and OpenCV turns images of up to 32,767.
MAX_SIDE: Final = 8_000
BATCH: Final = 16  # faces in one run of a model: bounds the memory
LANDMARKS: Final = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
# Packages on PyPI whose name is not that of their module.
PYPI: Final = {"retinaface": "retina-face", "cv2": "opencv-contrib-python-headless", "facenet_pytorch": "facenet-pytorch"}
KINDS: Final = {"facial_recognition": "model", "face_detector": "detector", "spoofing": "anti-spoofing model"}

_files: dict[tuple[str, str], tuple[Path, ...]] = {}  # the weight files each built model asked for
_asked: list[Path] = []  # those asked for since the last build began


def names(task: str) -> list[str]:
    """What DeepFace's registry knows for a task, "facial_recognition" or "face_detector"; a model put there counts too."""
    return list(modeling.AVAILABLE_MODELS[task])


def dims(model: str) -> int:
    """The length of a model's vectors.

    Raises:
        ModelError: it can't be loaded.
    """
    return int(load("facial_recognition", model).output_shape)


def threshold(model: str) -> float:
    """DeepFace's cosine distance up to which two faces count as one person; see FALLBACK_THRESHOLD."""
    from deepface.config.threshold import thresholds

    return float(thresholds.get(model, {}).get("cosine", FALLBACK_THRESHOLD))


def weights_sha256(model: str, detector: str) -> str:
    """SHA-256 over the contents of the weight files of both, in the order of their names; of nothing where there are none.

    Raises:
        ModelError: one of them can't be loaded.
    """
    load("facial_recognition", model)
    load("face_detector", detector)
    digest = hashlib.sha256()
    for path in sorted({*_files["facial_recognition", model], *_files["face_detector", detector]}, key=lambda path: path.name):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def load(task: str, name: str) -> Any:
    """A model of DeepFace's registry, built once in this process, never with a download.

    Raises:
        ModelError: its weights ("weights_missing") or a package of its own ("package_missing") are not there, or it can't be
            used here for another reason; one sentence each.
    """
    if (task, name) not in _files:
        _configure()
        getattr(modeling, "cached_models", {}).get(task, {}).pop(name, None)  # built by others: its files are not known
        _asked.clear()
    with quiet():
        try:
            model = modeling.build_model(task=task, model_name=name)
            if name == "centerface" and (task, name) not in _files:
                model.build_model()  # asks for its weights anew at every photo, and else only then
        except Exception as error:  # noqa: BLE001 - each package has its own ways to say that something is missing
            raise _sentence(error, f"{KINDS[task]} {name}") from None
    _files.setdefault((task, name), (*_asked, *getattr(model, "weight_files", ())))
    return model


def is_real(pixels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> bool:
    """Whether DeepFace's Fasnet takes the face in ``box`` (x, y, w, h) of RGB ``pixels`` for a living one."""
    real, _ = load("spoofing", "Fasnet").analyze(img=pixels[..., ::-1], facial_area=box)
    return bool(real)


class DeepFaceFinder:
    """Faces by any pair of DeepFace's models and detectors, aligned by DeepFace."""

    def __init__(self, model: str, detector: str, *, anti_spoofing: bool) -> None:
        load("facial_recognition", model)
        load("face_detector", detector)
        if anti_spoofing:
            load("spoofing", "Fasnet")
        self.model, self.detector, self.anti_spoofing = model, detector, anti_spoofing

    def find_all(self, photos: Sequence[NDArray[np.uint8]]) -> list[list[Face] | PhotoError]:
        """The faces of each (h, w, 3) uint8 RGB in the detector's order, or why there are none.

        Photos above MAX_PIXELS or MAX_SIDE are searched scaled down.

        Raises:
            ModelError: something the detector needs only now is missing, such as the eye finder of those that give no eyes.
        """
        return [self._find(pixels) for pixels in photos]

    def _find(self, pixels: NDArray[np.uint8]) -> list[Face] | PhotoError:
        bgr, scale = _scaled(pixels)
        with quiet():
            try:
                found = self._extract(bgr)
                real = [face for face in found if face.get("is_real", True)]
                vectors = self._embed([face["face"] for face in real])
            except Exception as error:  # noqa: BLE001 - every detector has its own
                if _is_about_the_model(error):
                    raise _sentence(error, f"detector {self.detector} or the model {self.model}") from None
                return PhotoError(f"DeepFace can't work on this photo ({type(error).__name__}).", code="failed")
        return [_face(face, vector, scale, pixels) for face, vector in zip(real, vectors, strict=True)] or none_found(len(found))

    def _extract(self, bgr: NDArray[np.uint8]) -> list[dict[str, Any]]:
        from deepface.modules.detection import extract_faces
        from deepface.modules.exceptions import FaceNotDetected, ImgNotFound

        try:
            found: list[dict[str, Any]] = extract_faces(
                bgr, detector_backend=self.detector, align=True, enforce_detection=True, anti_spoofing=self.anti_spoofing
            )
        except (FaceNotDetected, ImgNotFound):  # the second: all boxes were empty
            return []
        return found

    def _embed(self, faces: list[NDArray[Any]]) -> NDArray[np.float32]:
        """Vectors (n, dims) of aligned RGB faces. "skip": they are cut out already."""
        from deepface.modules.representation import represent

        vectors: list[list[float]] = []
        for at in range(0, len(faces), BATCH):
            batch = [face[..., ::-1] for face in faces[at : at + BATCH]]
            results = represent(batch, model_name=self.model, detector_backend="skip", enforce_detection=False)
            # a list of one comes back flat
            vectors += [result["embedding"] for result in (results if len(batch) == 1 else [one for many in results for one in many])]
        return np.asarray(vectors, np.float32)


def _face(face: dict[str, Any], vector: NDArray[np.float32], scale: float, pixels: NDArray[np.uint8]) -> Face:
    area = face["facial_area"]
    height, width = pixels.shape[:2]
    left, top = min(round(area["x"] / scale), width - 1), min(round(area["y"] / scale), height - 1)
    box = (left, top, max(1, min(round(area["w"] / scale), width - left)), max(1, min(round(area["h"] / scale), height - top)))
    given = [(name, area[name]) for name in LANDMARKS if area.get(name) is not None]  # eyes alone, by most detectors
    points = {name: (round(point[0] / scale), round(point[1] / scale)) for name, point in given}
    eyes = (points["left_eye"], points["right_eye"]) if {"left_eye", "right_eye"} <= points.keys() else None
    return Face(box, tuple(points.values()), float(face["confidence"]), vector, eyes=eyes, nose=points.get("nose"))


def _scaled(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """BGR, as DeepFace wants it, of at most MAX_PIXELS and MAX_SIDE, and the factor by which it is smaller."""
    import cv2

    height, width = pixels.shape[:2]
    scale = min(1.0, (MAX_PIXELS / (height * width)) ** 0.5, MAX_SIDE / max(height, width))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(pixels[..., ::-1]), scale


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What DeepFace and its detectors print goes to stderr: stdout belongs to the command's result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _configure() -> None:
    """Bend DeepFace to our rules: ONNX, our class for its model "Dlib", no download, its log in Python's logging."""
    os.environ.setdefault("YOLO_OFFLINE", "true")  # ultralytics looks for updates otherwise
    dlib_model.register()
    import gdown
    from deepface.commons import weight_utils
    from deepface.commons.logger import Logger

    # Replaced for the whole process: detectors ask for weights as late as at the first photo.
    weight_utils.download_weights_if_necessary = _local_weights
    with contextlib.suppress(ImportError):  # a package of its own, with a copy of that function
        of_retinaface = importlib.import_module("retinaface.commons.weight_utils")

        setattr(of_retinaface, "download_weights_if_necessary", _local_weights)  # noqa: B010
    setattr(gdown, "download", _refuse_download)  # noqa: B010 - what else calls it by itself
    Logger.dump_log = lambda _, message: log.info("%s", message)


def _local_weights(
    file_name: str, source_url: str | list[str] = "", compress_type: str | None = None, *, source_urls: Sequence[str] = ()
) -> str:
    """In place of download_weights_if_necessary, DeepFace's and retinaface's: the file's path, or a ModelError."""
    from deepface.commons.folder_utils import get_deepface_home

    path = Path(get_deepface_home()) / ".deepface" / "weights" / file_name
    if not path.is_file() and file_name in dlib_model.PINNED:
        path = dlib_model.weight_file(file_name)
    if not path.is_file():
        packed = f" (unpacked from {compress_type})" if compress_type else ""
        urls = [source_url] if isinstance(source_url, str) else source_url
        raise _missing(path, [*source_urls, *urls][0], packed)
    _asked.append(path)
    return str(path)


def _refuse_download(url: str | None = None, output: str | None = None, **_: object) -> NoReturn:
    raise _missing(Path(output or str(url).rsplit("/", 1)[-1]), str(url))


def _missing(path: Path, url: str, packed: str = "") -> ModelError:
    return ModelError(
        f"The weights {path.name} are missing: put the file{packed} into {path.parent}; DeepFace's authors publish it at {url}.",
        code="weights_missing",
    )


def _is_about_the_model(error: BaseException) -> bool:
    """Whether every photo would meet this error: something is missing on this machine. Else it is this photo's own."""

    def missing(link: BaseException) -> bool:
        told = isinstance(link, ValueError) and re.search(r"haarcascade|install|download", str(link))
        return isinstance(link, ModelError | ImportError) or bool(told)

    return any(missing(link) for link in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what caused it."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _sentence(error: BaseException, what: str) -> ModelError:
    """One sentence for whatever DeepFace or a package under it raised."""
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ModelError):
            return link
    for link in reversed(chain):
        if isinstance(link, ModuleNotFoundError) and link.name:
            module = link.name.split(".")[0]
            package = PYPI.get(module, module)
            return ModelError(f"The {what} needs the package {package}: run `pip install {package}`.", code="package_missing")
    why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return ModelError(f"The {what} can't be used: {why}.")
