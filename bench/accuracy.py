"""Verification accuracy on pairs of photos: Facedex's pipeline beside DeepFace's own, with the same network.

    python bench/accuracy.py                      both, on all pairs (DeepFace takes minutes)
    python bench/accuracy.py --sample 300         both, on 300 pairs drawn with a fixed seed
    python bench/accuracy.py --only facedex --json

The protocol is that of Labeled Faces in the Wild: the pairs are split into 10 folds, and each fold is judged with the threshold that
is best on the other nine. A pair with a photo in which no face was found counts as an error. In a photo with several faces the one
nearest the centre is meant. Same pairs, same folds for both.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, from anywhere

from bench.peers import deepface_home
from core.terminal import show, table

FOLDS = 10
SHARED = Path(__file__).resolve().parents[2] / "shared" / "faces"

Vector = NDArray[np.float32]
Pair = tuple[str, str, bool]  # two photos, and whether they show the same person


@dataclass(frozen=True, slots=True)
class Result:
    """What one pipeline reached. Accuracies are shares of the pairs."""

    pipeline: str
    pairs: int
    photos: int
    accuracy: float  # mean over the folds
    standard_error: float  # of that mean
    threshold: float  # cosine distance, mean over the folds
    accuracy_at_own_threshold: float  # the one that the pipeline would apply
    own_threshold: float
    without_face: int  # photos
    cpu_ms_per_photo: float  # from pixels to vector, models loaded
    seconds: float


def main() -> None:
    """Measure what was asked for and print it."""
    arguments = _arguments()
    if not (arguments.photos / "lfw_pairs.csv").is_file():
        sys.exit(
            f"There is no lfw_pairs.csv in {arguments.photos}: --photos names a folder with lfw/ and lfw_pairs.csv (columns a, b, same)."
        )
    pairs = read_pairs(arguments.photos / "lfw_pairs.csv", arguments.sample, arguments.seed)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="facedex-bench-") as home:
        pipelines: dict[str, tuple[Callable[[], None], float]] = {
            "facedex": (_start_facedex, _facedex_threshold()),
            "deepface": (partial(_start_deepface, home), 0.07),  # deepface/config/threshold.py, Dlib, cosine
        }
        results = [
            measure(name, *pipelines[name], arguments.photos / "lfw", pairs, arguments.processes, console)
            for name in pipelines
            if arguments.only in (None, name)
        ]
    if arguments.json:
        print(json.dumps([asdict(result) for result in results]))
    else:
        show(_table(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--photos", type=Path, default=SHARED, help="folder with lfw/ and lfw_pairs.csv (default: ../shared/faces)")
    parser.add_argument("--sample", type=int, help="so many pairs instead of all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", choices=("facedex", "deepface"), help="one pipeline instead of both")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="worker processes")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


def read_pairs(path: Path, sample: int | None = None, seed: int = 0) -> list[Pair]:
    """The pairs of a list with the columns a, b, same; ``sample`` of them, in the list's order, drawn with ``seed``."""
    with path.open(newline="") as file:
        pairs = [(row["a"], row["b"], row["same"] == "1") for row in csv.DictReader(file)]
    if sample is None or sample >= len(pairs):
        return pairs
    return [pairs[at] for at in sorted(random.Random(seed).sample(range(len(pairs)), sample))]


def measure(
    name: str, start: Callable[[], None], own_threshold: float, folder: Path, pairs: list[Pair], processes: int, console: Console
) -> Result:
    """Embed every photo of the pairs once, in worker processes, and judge the pairs."""
    photos = sorted({photo for a, b, _ in pairs for photo in (a, b)})
    begun = time.perf_counter()
    # Fresh interpreters: the one pipeline must not meet what the other has registered with DeepFace.
    with multiprocessing.get_context("spawn").Pool(processes, initializer=start) as pool:
        embedded = pool.imap(_embed, [str(folder / photo) for photo in photos], chunksize=8)
        results = list(track(embedded, name, total=len(photos), console=console))
    vectors = {photo: vector for photo, (vector, _) in zip(photos, results, strict=True)}
    distances, same = judge(vectors, pairs)
    accuracies, thresholds = cross_validate(distances, same)
    return Result(
        pipeline=name,
        pairs=len(pairs),
        photos=len(photos),
        accuracy=float(np.mean(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        threshold=float(np.mean(thresholds)),
        accuracy_at_own_threshold=accuracy(distances, same, own_threshold),
        own_threshold=own_threshold,
        without_face=sum(vector is None for vector in vectors.values()),
        cpu_ms_per_photo=1000 * float(np.mean([seconds for _, seconds in results])),
        seconds=time.perf_counter() - begun,
    )


def judge(vectors: dict[str, Vector | None], pairs: list[Pair]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The cosine distance of each pair, NaN where a face was missed, and whether it shows one person."""
    from faces.face import distance

    distances = []
    for a, b, _ in pairs:
        first, second = vectors[a], vectors[b]
        distances.append(np.nan if first is None or second is None else distance(first, second))
    return np.array(distances), np.array([same for _, _, same in pairs])


def accuracy(distances: NDArray[np.float64], same: NDArray[np.bool_], threshold: float) -> float:
    """The share of pairs judged right; NaN is always wrong."""
    return float((((distances <= threshold) == same) & ~np.isnan(distances)).mean())


def best_threshold(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The threshold with most pairs right, halfway between two distances; the middle one of several."""
    known = np.unique(distances[~np.isnan(distances)])
    candidates = np.concatenate([[0.0], (known[1:] + known[:-1]) / 2])
    right = np.array([accuracy(distances, same, candidate) for candidate in candidates])
    best = np.flatnonzero(right == right.max())
    return float(candidates[best[len(best) // 2]])


def cross_validate(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Accuracy and threshold of each fold; folds are drawn with a fixed seed, for lists are often sorted by label."""
    accuracies, thresholds = [], []
    for fold in np.array_split(np.random.default_rng(0).permutation(len(distances)), FOLDS):
        rest = np.setdiff1d(np.arange(len(distances)), fold)
        thresholds.append(best_threshold(distances[rest], same[rest]))
        accuracies.append(accuracy(distances[fold], same[fold], thresholds[-1]))
    return accuracies, thresholds


# What runs in the worker processes.

_vector_of: Callable[[NDArray[np.uint8]], Vector | None]


def _embed(path: str) -> tuple[Vector | None, float]:
    """The vector of a photo's subject, and the CPU seconds from pixels to vector."""
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    begun = time.process_time()
    vector = _vector_of(pixels)
    return vector, time.process_time() - begun


def _start_facedex() -> None:
    global _vector_of  # noqa: PLW0603 - one pipeline a process
    from core.errors import PhotoError
    from faces.pipeline import Pipeline
    from faces.recipe import resolve

    pipeline = Pipeline(resolve())

    def vector_of(pixels: NDArray[np.uint8]) -> Vector | None:
        try:
            faces = pipeline.find(pixels)
        except PhotoError:
            return None
        return faces[_nearest([face.box for face in faces], pixels)].embedding

    _vector_of = vector_of


def _start_deepface(home: str) -> None:
    """DeepFace as it comes: its own class for Dlib, its own detection, weights linked to where it looks for them."""
    global _vector_of  # noqa: PLW0603
    os.environ |= {"DEEPFACE_HOME": str(deepface_home(Path(home))), "DEEPFACE_BACKEND_ENGINE": "onnx", "DEEPFACE_LOG_LEVEL": "50"}
    from deepface import DeepFace
    from deepface.modules.exceptions import FaceNotDetected

    def vector_of(pixels: NDArray[np.uint8]) -> Vector | None:
        try:
            faces: list[dict[str, Any]] = DeepFace.represent(
                pixels[..., ::-1], model_name="Dlib", detector_backend="dlib", align=True, enforce_detection=True
            )
        except FaceNotDetected:
            return None
        areas = [face["facial_area"] for face in faces]
        boxes = [(area["x"], area["y"], area["w"], area["h"]) for area in areas]
        return np.asarray(faces[_nearest(boxes, pixels)]["embedding"], np.float32)

    _vector_of = vector_of


def _nearest(boxes: list[tuple[int, int, int, int]], pixels: NDArray[np.uint8]) -> int:
    """Which box has its middle nearest the photo's."""
    height, width = pixels.shape[:2]
    away = [(x + w / 2 - width / 2) ** 2 + (y + h / 2 - height / 2) ** 2 for x, y, w, h in boxes]
    return away.index(min(away))


def _facedex_threshold() -> float:
    from faces.recipe import resolve

    return resolve().threshold


def _table(results: list[Result]) -> Table:
    shown = table(f"{results[0].pairs:,} pairs", *(result.pipeline for result in results))
    rows: dict[str, Callable[[Result], str]] = {
        "accuracy, 10 folds": lambda result: f"{result.accuracy:.2%} ± {result.standard_error:.2%}",
        "at a threshold of": lambda result: f"{result.threshold:.4f}",
        "accuracy at its own threshold": lambda result: f"{result.accuracy_at_own_threshold:.2%} ({result.own_threshold:g})",
        "photos without a face": lambda result: f"{result.without_face} of {result.photos:,}",
        "CPU ms a photo": lambda result: f"{result.cpu_ms_per_photo:.1f}",
        "seconds": lambda result: f"{result.seconds:.0f}",
    }
    for name, value in rows.items():
        shown.add_row(name, *(value(result) for result in results))
    return shown


if __name__ == "__main__":
    main()
