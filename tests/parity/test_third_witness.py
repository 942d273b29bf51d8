"""PyTorch and Keras against a third one: NumPy in double precision, written from the definitions.

Two frameworks that agree could both have been asked the wrong thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from mcubench.parity import load_keras, to_keras
from tests.graph.compare import randomised

keras = load_keras()

Array = NDArray[np.float64]

few = settings(max_examples=12, derandomize=True)


# The definitions: one sample, channels first.


def dense(x: Array, weight: Array, bias: Array) -> Array:
    """``y[o] = b[o] + sum over i of w[o, i] x[i]``."""
    y = np.array(bias)
    for output in range(weight.shape[0]):
        for index in range(weight.shape[1]):
            y[output] += weight[output, index] * x[index]
    return y


def places(size: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int = 1) -> Iterator[Any]:
    """Every position of a window, with the rows and columns that it covers."""
    heights, widths = (
        range((length - dilation * (window - 1) - 1) // stride + 1) for length, window in zip(size, kernel, strict=True)
    )
    for i, j in itertools.product(heights, widths):
        rows = [i * stride + dilation * k for k in range(kernel[0])]
        columns = [j * stride + dilation * k for k in range(kernel[1])]
        yield (i, j), np.ix_(rows, columns)


def padded(x: Array, padding: tuple[int, int], value: float = 0.0) -> Array:
    high, wide = padding
    y = np.full((x.shape[0], x.shape[1] + 2 * high, x.shape[2] + 2 * wide), value)
    y[:, high : high + x.shape[1], wide : wide + x.shape[2]] = x
    return y


def filled(channels: int, found: dict[tuple[int, int, int], float]) -> Array:
    height, width = (1 + max(key[axis] for key in found) for axis in (1, 2))
    y = np.full((channels, height, width), np.nan)
    for key, value in found.items():
        y[key] = value
    return y


def convolution(
    x: Array, weight: Array, bias: Array, stride: int, padding: tuple[int, int], dilation: int, groups: int
) -> Array:
    """Each output channel reads the input channels of its group alone."""
    outputs, inputs, *kernel = weight.shape
    x = padded(x, padding)
    found = {}
    for output in range(outputs):
        first = output // (outputs // groups) * inputs
        for (i, j), window in places(x.shape[1:], tuple(kernel), stride, dilation):
            found[output, i, j] = bias[output] + sum(
                float((weight[output, channel] * x[first + channel][window]).sum()) for channel in range(inputs)
            )
    return filled(outputs, found)


def pooling(x: Array, kind: str, kernel: tuple[int, int], stride: int, padding: tuple[int, int], count: bool) -> Array:
    """The mean divides by all elements of a window if ``count``, else by those that are not padding."""
    inside = padded(np.ones_like(x), padding)
    x = padded(x, padding, -np.inf if kind == "max" else 0.0)
    found = {}
    for channel in range(x.shape[0]):
        for (i, j), window in places(x.shape[1:], kernel, stride):
            values = x[channel][window]
            by = values.size if count else inside[channel][window].sum()
            found[channel, i, j] = values.max() if kind == "max" else values.sum() / by
    return filled(x.shape[0], found)


def softmax(x: Array) -> Array:
    """Over the first axis."""
    return np.exp(x) / np.exp(x).sum(0)


def batch_norm(x: Array, layer: Any) -> Array:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, by channel."""
    y = np.empty_like(x)
    for channel in range(x.shape[0]):
        mean, variance, weight, bias = (
            double(each)[channel] for each in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        )
        y[channel] = (x[channel] - mean) / (variance + layer.eps) ** 0.5 * weight + bias
    return y


# Both frameworks.


def double(tensor: Any) -> Array:
    return tensor.detach().double().numpy()


def agree(module: nn.Module, x: Array, witness: list[Array]) -> None:
    """Runs both on a batch, channels first; Keras takes and gives the channels of images last."""
    wanted = np.stack(witness)
    images = x.ndim == 4
    given = torch.tensor(x, dtype=torch.float32)
    assert np.array_equal(given.numpy(), x), "rounding the input is no part of the error"
    with torch.no_grad():
        ours = module(given).numpy()
    model = to_keras(module, given[:1])
    assert tuple(model.inputs[0].shape[1:]) == ((*x.shape[2:], x.shape[1]) if images else x.shape[1:])
    last = given.movedim(1, -1).contiguous() if images else given
    theirs = keras.ops.convert_to_numpy(model(last.numpy(), training=False))
    for found in (ours, np.moveaxis(theirs, -1, 1) if images else theirs):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def drawn(seed: int, *shape: int) -> Array:
    """Two samples that single precision has exactly."""
    torch.manual_seed(seed)
    return torch.randn(2, *shape).double().numpy()


@few
@given(inputs=st.integers(1, 7), outputs=st.integers(1, 6), seed=st.integers(0, 99))
def test_dense(inputs: int, outputs: int, seed: int) -> None:
    x, layer = drawn(seed, inputs), nn.Linear(inputs, outputs)
    agree(layer, x, [dense(each, double(layer.weight), double(layer.bias)) for each in x])


@few
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.sampled_from([1, 2, 4]),
    multiplier=st.integers(1, 2),
    size=st.tuples(st.integers(6, 8), st.integers(6, 8)),
    seed=st.integers(0, 99),
)
def test_convolution(
    kernel: tuple[int, int],
    stride: int,
    dilation: int,
    padding: tuple[int, int],
    groups: int,
    multiplier: int,
    size: tuple[int, int],
    seed: int,
) -> None:
    if stride > 1:
        dilation = 1  # Keras has no convolution with both
    x = drawn(seed, 4, *size)
    layer = nn.Conv2d(4, 4 * multiplier, kernel, stride, padding, dilation, groups)
    weight, bias = double(layer.weight), double(layer.bias)
    agree(layer, x, [convolution(each, weight, bias, stride, padding, dilation, groups) for each in x])


@few
@given(
    kind=st.sampled_from(["max", "mean"]),
    kernel=st.tuples(st.integers(2, 3), st.integers(2, 3)),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    count=st.booleans(),
    size=st.tuples(st.integers(4, 7), st.integers(4, 7)),
    seed=st.integers(0, 99),
)
def test_pooling(
    kind: str,
    kernel: tuple[int, int],
    stride: int,
    padding: tuple[int, int],
    count: bool,
    size: tuple[int, int],
    seed: int,
) -> None:
    x = -np.abs(drawn(seed, 3, *size))  # zeros of the padding would win
    layer = (
        nn.MaxPool2d(kernel, stride, padding)
        if kind == "max"
        else nn.AvgPool2d(kernel, stride, padding, count_include_pad=count)
    )
    # Pooling alone has no layout of its own: a convolution that changes nothing says which axis the channels are.
    same = nn.Conv2d(3, 3, 1, bias=False)
    nn.init.dirac_(same.weight)
    agree(nn.Sequential(same, layer), x, [pooling(each, kind, kernel, stride, padding, count) for each in x])


@few
@given(classes=st.integers(2, 9), seed=st.integers(0, 99))
def test_softmax(classes: int, seed: int) -> None:
    x = 4 * drawn(seed, classes)
    agree(nn.Softmax(1), x, [softmax(each) for each in x])


@few
@given(
    channels=st.integers(1, 4),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    eps=st.sampled_from([1e-5, 1e-3, 0.1]),
    seed=st.integers(0, 99),
)
def test_batch_norm(channels: int, height: int, width: int, eps: float, seed: int) -> None:
    x = drawn(seed, channels, height, width)
    layer = randomised(nn.BatchNorm2d(channels, eps=eps))
    agree(layer, x, [batch_norm(each, layer) for each in x])
