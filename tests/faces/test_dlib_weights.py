from __future__ import annotations

import numpy as np
import pytest

from core.errors import ModelError
from faces.dlib_model import NETWORK_FILE, read_pinned
from faces.dlib_weights import MEAN, SCALE, Convolution, Network, fold_input, read_network


@pytest.fixture(scope="module")
def data() -> bytes:
    return read_pinned(NETWORK_FILE)


@pytest.fixture(scope="module")
def network(data: bytes) -> Network:
    return read_network(data)


def test_architecture(network: Network) -> None:
    shapes = [layer.kernel.shape for layer in network.convolutions]
    assert shapes[0] == (32, 3, 7, 7)
    assert [shape[0] for shape in shapes[1:]] == [32] * 6 + [64] * 8 + [128] * 6 + [256] * 8
    assert all(shape[2:] == (3, 3) for shape in shapes[1:])
    strided = [at for at, layer in enumerate(network.convolutions) if layer.stride == 2]
    assert strided == [0, 7, 15, 21, 27]
    assert all(layer.padding == (0 if at in strided else 1) for at, layer in enumerate(network.convolutions))
    assert network.projection.shape == (256, 128)


def test_every_byte_of_weights_is_read(data: bytes, network: Network) -> None:
    # A convolution has its biases, and an affine layer a factor and a shift for each filter.
    read = sum(layer.kernel.size + 3 * layer.bias.size for layer in network.convolutions) + network.projection.size
    assert 0 < len(data) - 4 * read < 10_000


@pytest.mark.parametrize("cut", [0, 100, 20_000, 10_000_000, 22_400_000])
def test_truncated_weights(data: bytes, cut: int) -> None:
    with pytest.raises(ModelError) as caught:
        read_network(data[:cut])
    assert caught.value.code == "weights_damaged"


def test_the_input_is_folded_exactly() -> None:
    random = np.random.default_rng(3)
    layer = Convolution(random.normal(size=(4, 3, 5, 5)).astype(np.float32), random.normal(size=4).astype(np.float32), 2, 0)
    patch = random.integers(0, 256, (3, 5, 5)).astype(np.float64)
    normalised = (patch - np.array(MEAN)[:, None, None]) / SCALE
    folded = fold_input(layer)
    expected = (layer.kernel * normalised).sum(axis=(1, 2, 3)) + layer.bias
    np.testing.assert_allclose((folded.kernel * patch).sum(axis=(1, 2, 3)) + folded.bias, expected, atol=1e-5)
