"""Where the CPU time of embedding goes, stage by stage, for photos of several sizes; and how near the network comes to the machine's limit.

    python bench/embedding.py --photos ../shared/faces/lfw
    python bench/embedding.py --megapixels 2 --megapixels 12 --json

The limit is counted: the multiply-adds of the network's ONNX graph, divided by the most multiply-adds a second that a large matrix product
reaches on one thread of the same onnxruntime, on float32 and on bytes. bench/ingest.py has the comparison with DeepFace.
"""

from __future__ import annotations

import json as jsons
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.scenes import scenes  # noqa: E402
from core.terminal import show, table  # noqa: E402

STAGES = ("read", "decode", "detect", "landmarks", "chip", "quality", "embed", "rest")
SIDES = (256, 512, 1024)  # of the matrices whose product, whichever is fastest, is the machine's peak
BATCHES = (1, 8)
ROUNDS = 20

Result = TypeVar("Result")


class Clock:
    """CPU seconds by stage. What a timed function calls is its own stage's, not counted twice."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._inner = [0.0]

    def timed(self, stage: str, function: Callable[..., Result]) -> Callable[..., Result]:
        """The function, with its time added to a stage."""

        def call(*args: Any, **kwargs: Any) -> Result:
            self._inner.append(0.0)
            begun = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.process_time() - begun
                self.seconds[stage] += spent - self._inner.pop()
                self._inner[-1] += spent

        return call


class _Timed:
    """An object of which one method is timed."""

    def __init__(self, of: Any, method: str, clock: Clock, stage: str) -> None:
        self._of = of
        setattr(self, method, clock.timed(stage, getattr(of, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


def stages(photos: list[str]) -> dict[str, float]:
    """CPU ms a photo of each stage, and of all: the worker's own function, with clocks around its parts."""
    import dlib

    import faces.quality
    import workers.worker
    from faces.recipe import resolve
    from photos.places import File
    from workers.executors import Processes
    from workers.flow import is_quick

    represent = workers.worker.Represent(resolve(), workers.worker.Detection(), 100_000_000)
    warm = represent([File(photo) for photo in photos[:3]])
    together = Processes.together if all(map(is_quick, warm)) else 1
    clock = Clock()
    finder: Any = represent._pipeline._finder
    detector = finder._detector
    detector.detector = _Timed(detector.detector, "run", clock, "detect")
    detector.predictor = clock.timed("landmarks", detector.predictor)
    finder._model = _Timed(finder._model, "embed", clock, "embed")
    whole = clock.timed("rest", represent)
    patched = ((workers.worker, "decode", "decode"), (faces.quality, "measure", "quality"), (dlib, "get_face_chip", "chip"))
    originals = [(module, name, getattr(module, name)) for module, name, _ in patched]
    for module, name, stage in patched:
        setattr(module, name, clock.timed(stage, getattr(module, name)))
    try:
        for at in range(0, len(photos), together):
            whole([_Timed(File(photo), "read", clock, "read") for photo in photos[at : at + together]])
    finally:
        for module, name, original in originals:
            setattr(module, name, original)
    each = {stage: round(1000 * seconds / len(photos), 3) for stage, seconds in clock.seconds.items()}
    return each | {"all": round(sum(each.values()), 2)}


def chips_of(photos: list[str]) -> Iterator[NDArray[np.uint8]]:
    """The aligned faces of photos, as the network sees them."""
    from faces.dlib_detector import DlibDetector
    from faces.photo import decode

    detector = DlibDetector()
    for photo in photos:
        for face in detector.find(decode(Path(photo).read_bytes()).pixels):
            yield face.chip


def multiply_adds(network: bytes) -> int:
    """Those of one face in an ONNX network: of its convolutions and matrix products."""
    import onnx

    model = onnx.load_from_string(network)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in (*graph.value_info, *graph.output)}
    weights = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += weights[node.input[1]] * math.prod(shapes[node.output[0]][2:])
        elif node.op_type == "MatMul":
            total += weights[node.input[1]]
    return total


def peak(kind: str) -> float:
    """Multiply-adds a CPU-second of a product of two matrices: "float32", or "int8" (uint8 by int8)."""
    return max(side**3 / _fastest(_session(_product(kind, side)), {"left": _values(kind, side)}) for side in SIDES)


def _values(kind: str, side: int) -> NDArray[Any]:
    values = np.random.default_rng(0).integers(0, 127, (side, side), np.uint8)
    return values.astype(np.float32) if kind == "float32" else values


def _product(kind: str, side: int) -> bytes:
    """An ONNX model: a square matrix times a constant one."""
    from onnx import TensorProto, helper, numpy_helper

    constant = _values(kind, side).astype(np.float32 if kind == "float32" else np.int8)
    operator, given, made = {
        "float32": ("MatMul", TensorProto.FLOAT, TensorProto.FLOAT),
        "int8": ("MatMulInteger", TensorProto.UINT8, TensorProto.INT32),
    }[kind]
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", given, constant.shape)],
        [helper.make_tensor_value_info("product", made, constant.shape)],
        [numpy_helper.from_array(constant, "right")],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def reached(network: bytes, chips: NDArray[np.uint8]) -> float:
    """CPU seconds a face of a network, at its best."""
    return _fastest(_session(network), {"chips": chips}) / len(chips)


def _session(network: bytes) -> Any:
    from faces import dlib_model

    return dlib_model._session(network)


def _fastest(session: Any, inputs: dict[str, NDArray[Any]]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        session.run(None, inputs)
        seconds.append(time.process_time() - begun)
    return min(seconds)


def limits(chips: NDArray[np.uint8]) -> list[dict[str, object]]:
    """Each network beside what this machine could do: the counted multiply-adds at its measured peak."""
    from faces.dlib_model import float_network, int7_network, int8_network

    count = multiply_adds(float_network())
    rows: list[dict[str, object]] = []
    for name, kind, network in (
        ("float32", "float32", float_network()),
        ("int8", "int8", int8_network()),
        ("int8, weights of 7 bits", "int8", int7_network()),
    ):
        most = peak(kind)
        for batch in BATCHES:
            seconds = reached(network, chips[:batch])
            rows.append(
                {
                    "network": name,
                    "faces_at_once": batch,
                    "million_multiply_adds": round(count / 1e6, 1),
                    "peak_billion_a_second": round(most / 1e9, 1),
                    "limit_ms": round(1000 * count / most, 2),
                    "ms": round(1000 * seconds, 2),
                    "of_the_limit": round(count / most / seconds, 2),
                }
            )
    return rows


def main(
    photos: Annotated[Path, typer.Option(help="A folder of photos of faces.")] = ROOT.parent / "shared" / "faces" / "lfw",
    count: Annotated[int, typer.Option(min=10, help="How many of them.")] = 300,
    megapixels: Annotated[list[float] | None, typer.Option(help="Sizes of scenes made of them; again for more (2, 6, 12).")] = None,
    count_large: Annotated[int, typer.Option("--scenes", min=1, help="How many of each size.")] = 4,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell where the time goes and what the limit is."""
    from photos.sources import walk

    found = list(walk(str(photos)))
    chosen = found[:: max(1, len(found) // count)][:count]
    spent = {"as they are": stages(chosen)}
    with tempfile.TemporaryDirectory(prefix="facedex-bench-") as folder:
        for size in megapixels or (2, 6, 12):
            spent[f"{size:g} MP"] = stages(scenes(found, size, count_large, Path(folder)))
    limit = limits(np.stack(list(chips_of(chosen[:20]))))
    if json:
        print(jsons.dumps({"cpu_ms_a_photo": spent, "network": limit}))
        return
    shown = table("CPU ms a photo", *spent, right=tuple(spent))
    for stage in (*STAGES, "all"):
        shown.add_row(stage, *(f"{each[stage]:.2f}" for each in spent.values()))
    columns = [name.replace("_", " ") for name in limit[0]]
    network = table(*columns, right=tuple(columns[1:]))
    for row in limit:
        network.add_row(*map(str, row.values()))
    show(shown, network)


if __name__ == "__main__":
    typer.run(main)
