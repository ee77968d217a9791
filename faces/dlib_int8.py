"""dlib's network with 8-bit convolutions: a third of the time on processors that multiply bytes (VNNI), two thirds on others with AVX2.

The 28 convolutions of the residual blocks take 93 % of the multiplications. Their weights are rounded to int8, each output channel with
a scale of its own; what goes in and comes out of them is rounded to uint8, with scales that are constants here (RANGES). Sums are
integers, so they are the same on every such processor: without VNNI the weights have half the steps, for their sake. The first
convolution, the sums of the blocks and the projection stay float32. docs/embedding.md has what that does to vectors and verdicts.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from faces.dlib_weights import Convolution, Graph, Network

LEVELS: Final = 255  # of uint8, above zero
WEIGHT_LEVELS: Final = 127  # of int8, to both sides
# Without VNNI two products are added in 16 bits, which holds them as long as no weight is larger: 2 * 255 * 64 < 2**15.
NARROW_LEVELS: Final = 64

# What the tensors of the 14 blocks reach on LFW: the input, the first convolution after its ReLU, the least and the most of the second.
# bench/int8_ranges.py makes this table. Beyond it values are clipped.
RANGES: Final = (
    (11.66, 11.34, -11.72, 7.67),
    (12.43, 9.92, -12.71, 11.38),
    (16.04, 9.92, -11.67, 13.95),
    (22.97, 9.29, -6.41, 9.60),
    (15.83, 7.36, -6.22, 9.12),
    (15.88, 6.89, -7.90, 10.32),
    (20.53, 7.05, -6.61, 8.85),
    (20.51, 7.58, -5.15, 9.68),
    (10.47, 4.75, -5.34, 5.56),
    (11.71, 5.64, -6.14, 5.90),
    (12.00, 8.07, -7.54, 20.81),
    (20.81, 6.19, -11.52, 4.37),
    (19.29, 3.50, -3.12, 2.71),
    (18.43, 14.03, -4.42, 3.01),
)


def to_int8_onnx(network: Network, weight_levels: int) -> bytes:
    """The network as a serialised ONNX model with the input and output of :func:`faces.dlib_weights.to_onnx`.

    Args:
        network: dlib's.
        weight_levels: steps from 0 to the largest weight, WEIGHT_LEVELS or NARROW_LEVELS.
    """
    return _Int8Graph(weight_levels).build(network)


class _Int8Graph(Graph):
    """Writes each rounding as a pair of QuantizeLinear and DequantizeLinear, which onnxruntime joins with the convolution in between."""

    def __init__(self, weight_levels: int) -> None:
        super().__init__()
        self.weight_levels = weight_levels
        self.ranges = iter(RANGES)

    def branch(self, x: str, one: Convolution, two: Convolution) -> str:
        most_in, most_between, least_out, most_out = next(self.ranges)
        x = self.convolution8(self.rounded(x, 0, most_in), most_in / LEVELS, one)
        # What is below zero is cut off by rounding to bytes: this is the ReLU, too.
        x = self.convolution8(self.rounded(x, 0, most_between), most_between / LEVELS, two)
        return self.rounded(x, least_out, most_out)

    def rounded(self, x: str, least: float, most: float) -> str:
        """Values brought to 256 steps from ``least`` to ``most``, of which one is 0."""
        step = (most - least) / LEVELS
        scale, zero = self.weight(np.array(step, np.float32)), self.weight(np.array(round(-least / step), np.uint8))
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, scale, zero]), scale, zero])

    def convolution8(self, x: str, step: float, layer: Convolution) -> str:
        """A convolution of bytes, ``step`` apart."""
        steps = (np.abs(layer.kernel).max(axis=(1, 2, 3)) / self.weight_levels).astype(np.float32)
        kernel = np.rint(layer.kernel / steps[:, None, None, None]).astype(np.int8)
        bias = np.rint(layer.bias / (steps * np.float64(step))).astype(np.int32)
        return self.convolved(x, self.unrounded(kernel, steps), self.unrounded(bias, steps * np.float32(step)), layer)

    def unrounded(self, values: NDArray[np.int8] | NDArray[np.int32], steps: NDArray[np.float32]) -> str:
        """Whole numbers that stand for real ones: a step for each output channel."""
        zeros = self.weight(np.zeros(len(steps), values.dtype))
        return self.node("DequantizeLinear", [self.weight(values), self.weight(steps), zeros], axis=0)
