"""Prints RANGES of faces/dlib_int8.py: what the tensors of the network's blocks reach on the faces of photos.

python bench/int8_ranges.py --photos ../shared/faces/lfw
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a program, from anywhere

from bench.embedding import chips_of  # noqa: E402


def watched(model: Any) -> list[tuple[str, str, str]]:
    """Of each block: the tensor that goes in, that between the convolutions, that which comes out."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"][1:]
    return [(one.input[0], two.input[0], two.output[0]) for one, two in zip(convolutions[::2], convolutions[1::2], strict=True)]


def main(
    photos: Annotated[Path, typer.Option(help="A folder of photos.")] = ROOT.parent / "shared" / "faces" / "lfw",
    every: Annotated[int, typer.Option(min=1, help="Look at every so many of them.")] = 4,
) -> None:
    """Run the float32 network on the faces and print the table."""
    import onnx
    import onnxruntime

    from faces.dlib_model import float_network
    from photos.sources import walk

    model = onnx.load_from_string(float_network())
    blocks = watched(model)
    names = list(dict.fromkeys(name for block in blocks for name in block))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    least, most = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for chip in chips_of(list(walk(str(photos)))[::every]):
        values = session.run(names, {"chips": chip[None]})
        least, most = np.minimum(least, [v.min() for v in values]), np.maximum(most, [v.max() for v in values])
    low, high = dict(zip(names, least, strict=True)), dict(zip(names, most, strict=True))
    for start, between, end in blocks:
        print(f"    ({high[start]:.2f}, {high[between]:.2f}, {low[end]:.2f}, {high[end]:.2f}),")


if __name__ == "__main__":
    typer.run(main)
