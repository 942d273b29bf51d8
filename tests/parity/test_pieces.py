"""The same network in other pieces: several layers on one side are one on the other, and are found to be the same.

Reference: PyTorch's outputs, and that each twin with a mistake in it is told. Nothing in a twin comes from a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from mcubench.graph import deploy, trace
from mcubench.parity import ParityReport, compare, load_keras
from tests.graph.compare import Forward, randomised
from tests.parity.test_handwritten import array, behind_flatten, conv1d, conv2d, gru, linear, lstm

keras = load_keras()
layers = keras.layers
Input, Dense, Conv1D, Conv2D = keras.Input, layers.Dense, layers.Conv1D, layers.Conv2D
Twin = Callable[[Any], Any]


@dataclass(frozen=True)
class Pieces:
    """A module, one sample's shape, its twins in other pieces, and twins in which something is wrong, with where."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    twins: dict[str, Twin]
    mistakes: dict[str, tuple[Twin, str | None]] = field(default_factory=dict)


def functional(shape: tuple[int, ...], *weighted: tuple[Any, list[NDArray[Any]]], through: Callable[[Any], Any]) -> Any:
    """A model, its layers with their weights."""
    inputs = Input(shape)
    model = keras.Model(inputs, through(inputs))
    for layer, weights in weighted:
        layer.set_weights(weights)
    return model


def in_a_row(shape: tuple[int, ...], *parts: Any) -> Any:
    """A model of layers, each alone or as a pair with its weights."""
    pairs = [each if isinstance(each, tuple) else (each, None) for each in parts]
    model = keras.Sequential([Input(shape), *(layer for layer, _ in pairs)])
    for layer, weights in pairs:
        if weights is not None:
            layer.set_weights(weights)
    return model


# --- a cut that the other side makes with its padding ---


def chomp(dilation: int = 2, cut: slice = slice(None, -4), before: bool = False) -> nn.Module:
    """A convolution that sees only what came before, as temporal convolutional networks have it: padded, then cut."""

    def forward(conv: nn.Conv1d, x: Tensor) -> Tensor:
        return F.relu(conv(x))[:, :, cut] if before else F.relu(conv(x)[:, :, cut])

    return Forward(forward, nn.Conv1d(3, 5, 3, dilation=dilation, padding=4))


def causal(dilation: int = 2, **options: Any) -> Twin:
    return lambda m: in_a_row(
        (12, 3), (Conv1D(5, 3, dilation_rate=dilation, **{"activation": "relu", **options}), conv1d(m.layers[0]))
    )


def padded(around: tuple[int, int], cropped: tuple[int, int] = (0, 0)) -> Twin:
    return lambda m: in_a_row(
        (12, 3),
        layers.ZeroPadding1D(around),
        (Conv1D(5, 3, dilation_rate=2), conv1d(m.layers[0])),
        *([layers.Cropping1D(cropped)] if any(cropped) else []),
        layers.ReLU(),
    )


CAUSAL = {
    "causal": causal(padding="causal"),
    "causal, activation apart": lambda m: in_a_row(
        (12, 3), (Conv1D(5, 3, dilation_rate=2, padding="causal"), conv1d(m.layers[0])), layers.Activation("relu")
    ),
    "padded before": padded((4, 0)),
    "padded and cropped": padded((4, 4), (0, 4)),
}
NOT_CAUSAL: dict[str, tuple[Twin, str | None]] = {
    "same": (causal(padding="same"), "layers.0"),
    "padded behind": (padded((0, 4)), "layers.0"),
    "cropped at the other end": (padded((4, 4), (4, 0)), None),
    "another dilation": (causal(1, padding="causal"), "layers.0"),
    "another activation": (causal(padding="causal", activation="tanh"), "layers.0"),
    "no activation": (causal(padding="causal", activation=None), None),
}


class Residual(nn.Module):
    """Two such convolutions and a way around them, as in a block of a TCN."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(3, 4, 2, padding=1)
        self.two = nn.Conv1d(4, 4, 2, padding=2, dilation=2)
        self.around = nn.Conv1d(3, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.one(x)[:, :, :-1])
        y = F.relu(self.two(y)[:, :, :-2])
        return self.head(F.relu(y + self.around(x))[:, :, -1])


def residual_twin(merge: str = "Add", dilation: int = 2) -> Twin:
    def make(m: Any) -> Any:
        one = Conv1D(4, 2, padding="causal", activation="relu")
        two = Conv1D(4, 2, padding="causal", dilation_rate=dilation, activation="relu")
        aside, head = Conv1D(4, 1), Dense(3)

        def through(x: Any) -> Any:
            y = getattr(layers, merge)()([two(one(x)), aside(x)])
            return head(layers.Activation("relu")(y)[:, -1])

        pairs = [(one, conv1d(m.one)), (two, conv1d(m.two)), (aside, conv1d(m.around)), (head, linear(m.head))]
        return functional((9, 3), *pairs, through=through)

    return make


# --- at every step ---


class Steps(nn.Module):
    """The network for human activity recognition that many have: a layer at every step, two LSTMs, the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Linear(9, 8)
        self.lstm = nn.LSTM(8, 5, 2, batch_first=True)
        self.head = nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(F.relu(self.each(x)))[0][:, -1])


def second(layer: nn.LSTM) -> list[NDArray[Any]]:
    bias = array(layer.bias_ih_l1) + array(layer.bias_hh_l1)
    return [array(layer.weight_ih_l1).T, array(layer.weight_hh_l1).T, bias]


def steps_twin(first: Any = None, stacked: bool = False) -> Twin:
    def make(m: Any) -> Any:
        each = first() if first else layers.TimeDistributed(Dense(8, activation="relu"))
        if stacked:
            cells = layers.RNN([layers.LSTMCell(5), layers.LSTMCell(5)])
            recurrent = [(cells, lstm(m.lstm) + second(m.lstm))]
        else:
            recurrent = [(layers.LSTM(5, return_sequences=True), lstm(m.lstm)), (layers.LSTM(5), second(m.lstm))]
        weights = linear(m.each)
        if "Conv" in type(each).__name__:
            weights[0] = weights[0][None]
        return in_a_row((16, 9), (each, weights), *recurrent, (Dense(6), linear(m.head)))

    return make


def head_at_every_step() -> nn.Module:
    return Forward(lambda rnn, head, x: head(rnn(x)[0])[:, -1], nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 6))


def head_once(step: int) -> Twin:
    def make(m: Any) -> Any:
        recurrent, head = layers.LSTM(5, return_sequences=True), Dense(6)
        pairs = [(recurrent, lstm(m.layers[0])), (head, linear(m.layers[1]))]
        return functional((7, 8), *pairs, through=lambda x: head(recurrent(x)[:, step]))

    return make


class Frames(nn.Module):
    """A small convolutional network on each frame, then an LSTM: batch and frames are merged and parted again."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 7))
        self.lstm = nn.LSTM(7, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.cnn(x.flatten(0, 1)).unflatten(0, x.shape[:2]))[0][:, -1]


def frames_twin(nested: bool, permuted: bool = True) -> Twin:
    def make(m: Any) -> Any:
        parts = [Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), Dense(7)]
        head = behind_flatten(m.cnn[4], 4, 3, 3) if permuted else linear(m.cnn[4])
        recurrent = layers.LSTM(5)
        if nested:
            model = keras.Sequential([Input((3, 8, 8, 1)), layers.TimeDistributed(keras.Sequential(parts)), recurrent])
        else:
            model = keras.Sequential([Input((3, 8, 8, 1)), *map(layers.TimeDistributed, parts), recurrent])
        for layer, weights in ((parts[0], conv2d(m.cnn[0])), (parts[3], head), (recurrent, lstm(m.lstm))):
            layer.set_weights(weights)
        return model

    return make


def frames_merged(m: Any) -> Any:
    """As PyTorch does it: frames are samples for a while."""
    conv, dense, recurrent = Conv2D(4, 3, activation="relu"), Dense(7), layers.LSTM(5)

    def through(x: Any) -> Any:
        y = layers.MaxPooling2D()(conv(keras.ops.reshape(x, (-1, 8, 8, 1))))
        return recurrent(keras.ops.reshape(dense(layers.Flatten()(y)), (-1, 3, 7)))

    pairs = [(conv, conv2d(m.cnn[0])), (dense, behind_flatten(m.cnn[4], 4, 3, 3)), (recurrent, lstm(m.lstm))]
    return functional((3, 8, 8, 1), *pairs, through=through)


# --- recurrent layers ---


def stepped(cell: nn.LSTMCell, x: Tensor) -> Tensor:
    state = None
    for step in x.unbind(1):
        state = cell(step, state)
    return state[0]


def of_cell(cell: nn.LSTMCell, biases: int = 2) -> list[NDArray[Any]]:
    bias = array(cell.bias_ih) + (array(cell.bias_hh) if biases == 2 else 0)
    return [array(cell.weight_ih).T, array(cell.weight_hh).T, bias]


def both_ways(merge: Callable[[Tensor, Tensor], Tensor], sequences: bool = False) -> nn.Module:
    def forward(rnn: nn.GRU, x: Tensor) -> Tensor:
        sequence, last = rnn(x)
        return merge(sequence[..., :5], sequence[..., 5:]) if sequences else merge(last[0], last[1])

    return Forward(forward, nn.GRU(8, 5, batch_first=True, bidirectional=True))


def bidirectional(merge: str, sequences: bool = False) -> Twin:
    return lambda m: in_a_row(
        (7, 8),
        (
            layers.Bidirectional(layers.GRU(5, return_sequences=sequences), merge_mode=merge),
            gru(m.layers[0]) + gru(m.layers[0], "_reverse"),
        ),
    )


def two_ways_apart(m: Any) -> Any:
    """The way back as a layer of its own, that runs backwards."""
    there, back = layers.GRU(5), layers.GRU(5, go_backwards=True)
    weights = [(there, gru(m.layers[0])), (back, gru(m.layers[0], "_reverse"))]
    return functional((7, 8), *weights, through=lambda x: layers.Concatenate()([there(x), back(x)]))


def one_way_twice(m: Any) -> Any:
    there, back = layers.GRU(5), layers.GRU(5)
    weights = [(there, gru(m.layers[0])), (back, gru(m.layers[0], "_reverse"))]
    return functional((7, 8), *weights, through=lambda x: layers.Concatenate()([there(x), back(x)]))


# --- norms over several axes ---


def chw() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm([4, 5, 6]), nn.ReLU(), nn.Flatten(), nn.Linear(120, 3))


def chw_twin(axes: Any = (1, 2, 3), order: tuple[int, ...] = (1, 2, 0), epsilon: float = 1e-5) -> Twin:
    def make(m: Any) -> Any:
        norm = layers.LayerNormalization(axis=list(axes), epsilon=epsilon)
        shape = (5, 6, 4)
        weights = [array(each).transpose(order).reshape(shape) for each in (m[1].weight, m[1].bias)]
        head = behind_flatten(m[4], 4, 5, 6)
        model = in_a_row(
            (5, 6, 3), (Conv2D(4, 1), conv2d(m[0])), norm, layers.ReLU(), layers.Flatten(), (Dense(3), head)
        )
        norm.set_weights(weights if len(axes) == 3 else [each[0] for each in weights])
        return model

    return make


def rows() -> nn.Module:
    """Of each channel's rows: axes that do not lie last in Keras."""
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm(6), nn.Flatten(), nn.Linear(120, 3))


def rows_twin(axis: int) -> Twin:
    def make(m: Any) -> Any:
        if axis == 2 and keras.backend.backend() == "torch":
            pytest.skip("Keras 3.15's layer norm over an axis in the middle fails on torch by itself")
        norm = layers.LayerNormalization(axis=axis, epsilon=1e-5)
        head = behind_flatten(m[3], 4, 5, 6)
        model = in_a_row((5, 6, 3), (Conv2D(4, 1), conv2d(m[0])), norm, layers.Flatten(), (Dense(3), head))
        if axis == 2:
            norm.set_weights([array(m[1].weight), array(m[1].bias)])
        return model

    return make


# --- activations ---


def activated(what: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Forward(lambda one, two, x: two(what(one(x))), nn.Linear(8, 6), nn.Linear(6, 3))


def with_activation(name: Any) -> Twin:
    return lambda m: in_a_row((8,), (Dense(6, activation=name), linear(m.layers[0])), (Dense(3), linear(m.layers[1])))


def by_hand(what: Callable[[Any], Any]) -> Twin:
    """A function of keras.ops behind the layer."""

    def make(m: Any) -> Any:
        one, two = Dense(6), Dense(3)
        pairs = [(one, linear(m.layers[0])), (two, linear(m.layers[1]))]
        return functional((8,), *pairs, through=lambda x: two(what(one(x))))

    return make


# --- in front, at the end, and in between ---


def scaled(shift: float, by: float) -> nn.Module:
    return Forward(lambda layer, x: layer((x - shift) / by), nn.Linear(8, 3))


def rescaled(scale: float, offset: float) -> Twin:
    return lambda m: in_a_row((8,), layers.Rescaling(scale, offset), (Dense(3), linear(m.layers[0])))


def globally() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1), nn.Flatten()
    )


def globally_twin(keepdims: bool, padding: Any = 1, dense: bool = False) -> Twin:
    def make(m: Any) -> Any:
        kernel, bias = conv2d(m[3])
        last = [(Dense(4), [kernel[0, 0], bias]) if dense else (Conv2D(4, 1), [kernel, bias]), layers.Flatten()]
        return in_a_row(
            (8, 8, 3),
            layers.ZeroPadding2D(padding),
            (Conv2D(6, 3, 2, activation="relu"), conv2d(m[0])),
            layers.GlobalAveragePooling2D(keepdims=keepdims),
            *([] if keepdims or dense else [layers.Reshape((1, 1, 6))]),
            *last,
        )

    return make


def shuffled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(2, 3, 1))


def shuffled_twin(permuted: bool) -> Twin:
    """Keras' depth to space takes the channels in another order, which the kernel before it must have."""

    def make(m: Any) -> Any:
        order = np.arange(8).reshape(2, 2, 2).transpose(1, 2, 0).ravel() if permuted else np.arange(8)
        kernel, bias = conv2d(m[0])
        space = [layers.Reshape((4, 6, 2, 2, 2)), layers.Permute((1, 3, 2, 4, 5)), layers.Reshape((8, 12, 2))]
        first = (Conv2D(8, 3, padding="same"), [kernel[..., order], bias[order]])
        return in_a_row((4, 6, 3), first, *space, layers.ReLU(), (Conv2D(3, 1), conv2d(m[3])))

    return make


def one_channel() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))


def one_channel_twin(m: Any) -> Any:
    """Of one channel, a depthwise convolution with a multiplier is an ordinary one."""
    kernel, bias = conv2d(m[0])
    first = (layers.DepthwiseConv2D(3, depth_multiplier=4, activation="relu"), [kernel, bias])
    return in_a_row((6, 6, 1), first, (Conv2D(3, 1), conv2d(m[2])))


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(8, 5), nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu((self.left(x) + self.right(x)) * 0.5))


def mean_twin(merge: Callable[[Any, Any], Any]) -> Twin:
    def make(m: Any) -> Any:
        left, right, head = Dense(5), Dense(5), Dense(3)
        pairs = [(left, linear(m.left)), (right, linear(m.right)), (head, linear(m.head))]
        return functional((8,), *pairs, through=lambda x: head(layers.Activation("relu")(merge(left(x), right(x)))))

    return make


class Attending(nn.Module):
    """Positions, attention, the mean over steps."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(7, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions
        return self.head((x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


@keras.saving.register_keras_serializable("tests")
class Positions(layers.Layer):
    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=tuple(shape[1:]), initializer="zeros")

    def call(self, x: Any) -> Any:
        return x + self.table


def heads(attention: nn.MultiheadAttention, swapped: bool = False) -> list[NDArray[Any]]:
    """Keras keeps queries, keys and values apart: (inputs, heads, width of a head); here two of four."""
    order = (1, 0, 2) if swapped else (0, 1, 2)
    kernels, biases = (np.split(array(each), 3) for each in (attention.in_proj_weight, attention.in_proj_bias))
    weights = [each for part in order for each in (kernels[part].T.reshape(8, 2, 4), biases[part].reshape(2, 4))]
    out = attention.out_proj
    return [*weights, array(out.weight).T.reshape(2, 4, 8), array(out.bias)]


def affine(norm: nn.LayerNorm) -> list[NDArray[Any]]:
    return [array(norm.weight), array(norm.bias)]


def attending_twin(swapped: bool = False, positions: bool = True) -> Twin:
    def make(m: Any) -> Any:
        place = Positions() if positions else None
        attention, head = layers.MultiHeadAttention(2, 4), Dense(3)

        def through(x: Any) -> Any:
            x = place(x) if place is not None else x + np.asarray(array(m.positions))
            return head(layers.GlobalAveragePooling1D()(layers.Add()([x, attention(x, x)])))

        pairs = [(attention, heads(m.attention, swapped)), (head, linear(m.head))]
        return functional((7, 8), *pairs, *([(place, [array(m.positions)])] if place else []), through=through)

    return make


def attending_by_hand(m: Any) -> Any:
    """Queries, keys and values as three layers, and products of them; one head."""
    *projections, out = (Dense(8) for _ in range(4))
    kernels, biases = (np.split(array(each), 3) for each in (m.layers[0].in_proj_weight, m.layers[0].in_proj_bias))
    last = m.layers[0].out_proj
    pairs = [(layer, [kernel.T, bias]) for layer, kernel, bias in zip(projections, kernels, biases, strict=True)]

    def through(x: Any) -> Any:
        q, k, v = (layer(x) for layer in projections)
        scores = keras.ops.matmul(q, keras.ops.transpose(k, (0, 2, 1))) / math.sqrt(8)
        return out(keras.ops.matmul(keras.ops.softmax(scores), v))

    return functional((7, 8), *pairs, (out, linear(last)), through=through)


def transposed_twin(padding: str, cropped: Any = None) -> Twin:
    def make(m: Any) -> Any:
        weights = [array(m.layers[0].weight).transpose(2, 3, 1, 0), array(m.layers[0].bias)]
        layer = layers.Conv2DTranspose(4, 3, 2, padding=padding, activation="relu")
        return in_a_row((5, 6, 3), (layer, weights), *([layers.Cropping2D(cropped)] if cropped else []))

    return make


def whole_image_twin(order: tuple[int, ...]) -> Twin:
    """A dense layer on all of an image is a convolution whose kernel is as large."""

    def make(m: Any) -> Any:
        kernel = array(m[3].weight).reshape(5, 4, 6, 6).transpose(order)
        first = (Conv2D(4, 3, activation="relu"), conv2d(m[0]))
        return in_a_row((8, 8, 3), first, (Conv2D(5, 6), [kernel, array(m[3].bias)]), layers.Flatten())

    return make


def separable_signal_twin(order: tuple[int, ...]) -> Twin:
    def make(m: Any) -> Any:
        layer = layers.SeparableConv1D(6, 3, padding="same", depth_multiplier=2, activation="gelu")
        return in_a_row(
            (9, 4), (layer, [array(m[0].weight).reshape(4, 2, 3).transpose(order).reshape(3, 4, 2), *conv1d(m[1])])
        )

    return make


def statistics() -> nn.Module:
    norm = nn.BatchNorm1d(8, affine=False)
    return nn.Sequential(norm, nn.Linear(8, 3))


def statistics_twin(shift: float = 0.0) -> Twin:
    """The numbers are in the code, and no weights."""
    return lambda m: in_a_row(
        (8,),
        layers.Normalization(mean=array(m[0].running_mean) + shift, variance=array(m[0].running_var) + 1e-5),
        (Dense(3), linear(m[1])),
    )


def encoder_twin(m: Any) -> Any:
    """Norms behind the additions, as PyTorch has them unless it is told otherwise."""
    inputs = Input((7, 8))
    x, pairs = inputs, []
    for layer in m.layers:
        attention, wide, narrow = layers.MultiHeadAttention(2, 4), Dense(16, activation="relu"), Dense(8)
        norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
        x = norms[0](x + attention(x, x))
        x = norms[1](x + narrow(wide(x)))
        pairs += [(attention, heads(layer.self_attn)), (wide, linear(layer.linear1)), (narrow, linear(layer.linear2))]
        pairs += [(norms[0], affine(layer.norm1)), (norms[1], affine(layer.norm2))]
    model = keras.Model(inputs, x)
    for layer, weights in pairs:
        layer.set_weights(weights)
    return model


PIECES = {
    "chomp": Pieces(chomp, (3, 12), CAUSAL, NOT_CAUSAL),
    "chomp behind the activation": Pieces(lambda: chomp(before=True), (3, 12), CAUSAL, NOT_CAUSAL),
    "chomp at the wrong end": Pieces(
        lambda: chomp(cut=slice(4, None)),
        (3, 12),
        {"padded behind": padded((0, 4))},
        {"causal": (CAUSAL["causal"], "layers.0")},
    ),
    "cut by an index": Pieces(
        lambda: Forward(lambda conv, x: F.relu(conv(x)).index_select(2, torch.arange(12)), chomp().layers[0]),
        (3, 12),
        {"causal": CAUSAL["causal"]},
        {"same": NOT_CAUSAL["same"]},
    ),
    "cut by negative padding": Pieces(
        lambda: Forward(lambda conv, x: F.relu(F.pad(conv(x), (0, -4))), chomp().layers[0]),
        (3, 12),
        {"causal": CAUSAL["causal"]},
        {"same": NOT_CAUSAL["same"]},
    ),
    "transposed and cut": Pieces(
        lambda: Forward(lambda conv, x: conv(x)[:, :, :-1, :-1].relu(), nn.ConvTranspose2d(3, 4, 3, stride=2)),
        (3, 5, 6),
        {"same": transposed_twin("same"), "cropped": transposed_twin("valid", ((0, 1), (0, 1)))},
        {"cropped at the other end": (transposed_twin("valid", ((1, 0), (1, 0))), None)},
    ),
    "dense on an image": Pieces(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)),
        (3, 8, 8),
        {"convolution": whole_image_twin((2, 3, 1, 0))},
        {"rows for columns": (whole_image_twin((3, 2, 1, 0)), None)},
    ),
    "separable with a multiplier": Pieces(
        lambda: nn.Sequential(nn.Conv1d(4, 8, 3, groups=4, padding=1, bias=False), nn.Conv1d(8, 6, 1), nn.GELU()),
        (4, 9),
        {"one layer": separable_signal_twin((2, 0, 1))},
        {"multiplier before channels": (separable_signal_twin((2, 1, 0)), "1")},
    ),
    "statistics alone": Pieces(
        statistics, (8,), {"in the code": statistics_twin()}, {"another mean": (statistics_twin(0.1), "1")}
    ),
    "backwards": Pieces(
        lambda: Forward(
            lambda rnn, x: rnn(x.index_select(1, torch.arange(6, -1, -1)))[0][:, -1], nn.GRU(8, 5, batch_first=True)
        ),
        (7, 8),
        {"layer": lambda m: in_a_row((7, 8), (layers.GRU(5, go_backwards=True), gru(m.layers[0])))},
        {"forwards": (lambda m: in_a_row((7, 8), (layers.GRU(5), gru(m.layers[0]))), "layers.0")},
    ),
    "log-softmax": Pieces(
        activated(lambda x: x.log_softmax(-1)),
        (8,),
        {"inside": with_activation("log_softmax")},
        {"softmax": (with_activation("softmax"), "layers.0")},
    ),
    "encoder": Pieces(
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        ),
        (7, 8),
        {"layers": encoder_twin},
    ),
    "block of a TCN": Pieces(
        Residual,
        (3, 9),
        {"causal": residual_twin()},
        {
            "subtracted": (residual_twin("Subtract"), "relu_2"),
            "another dilation": (residual_twin(dilation=1), "two"),
        },
    ),
    "steps": Pieces(
        Steps,
        (16, 9),
        {
            "TimeDistributed": steps_twin(),
            "dense": steps_twin(lambda: Dense(8, activation="relu")),
            "a convolution of one step": steps_twin(lambda: Conv1D(8, 1, activation="relu")),
            "einsum": steps_twin(
                lambda: layers.EinsumDense("btf,fg->btg", (None, 8), bias_axes="g", activation="relu")
            ),
            "stacked cells": steps_twin(stacked=True),
        },
        {
            "another activation": (steps_twin(lambda: layers.TimeDistributed(Dense(8, activation="tanh"))), "each"),
            "no activation": (steps_twin(lambda: layers.TimeDistributed(Dense(8))), None),
        },
    ),
    "head at every step": Pieces(
        head_at_every_step,
        (7, 8),
        {
            "of the last": lambda m: in_a_row(
                (7, 8), (layers.LSTM(5), lstm(m.layers[0])), (Dense(6), linear(m.layers[1]))
            ),
            "of the last of all": head_once(-1),
        },
        {"of the first": (head_once(0), "layers.1")},
    ),
    "frames": Pieces(
        Frames,
        (3, 1, 8, 8),
        {
            "a model at every step": frames_twin(True),
            "layers at every step": frames_twin(False),
            "merged": frames_merged,
        },
        {
            "not permuted": (frames_twin(False, False), "cnn.4"),
            "not permuted, nested": (frames_twin(True, False), None),
        },
    ),
    "loop of a cell": Pieces(
        lambda: Forward(stepped, nn.LSTMCell(8, 5)),
        (7, 8),
        {"a layer": lambda m: in_a_row((7, 8), (layers.LSTM(5), of_cell(m.layers[0])))},
        {"one of two biases": (lambda m: in_a_row((7, 8), (layers.LSTM(5), of_cell(m.layers[0], 1))), None)},
    ),
    "both ways": Pieces(
        lambda: both_ways(lambda a, b: torch.cat([a, b], -1)),
        (7, 8),
        {"bidirectional": bidirectional("concat"), "apart": two_ways_apart},
        {"one way twice": (one_way_twice, None)},
    ),
    "both ways, sum": Pieces(
        lambda: both_ways(torch.add),
        (7, 8),
        {"merged": bidirectional("sum")},
        {"multiplied": (bidirectional("mul"), "layers.0"), "mean": (bidirectional("ave"), "layers.0")},
    ),
    "both ways, mean of sequences": Pieces(
        lambda: both_ways(lambda a, b: (a + b) / 2, sequences=True),
        (7, 8),
        {"merged": bidirectional("ave", sequences=True)},
        {"sum": (bidirectional("sum", sequences=True), None)},
    ),
    "norm of everything": Pieces(
        chw,
        (3, 5, 6),
        {"moved": chw_twin()},
        {
            "weights as they were": (chw_twin(order=(0, 1, 2)), "1"),
            "epsilon of Keras": (chw_twin(epsilon=1e-3), "1"),
            "another axis": (chw_twin(axes=(2, 3)), "1"),
        },
    ),
    "norm of rows": Pieces(rows, (3, 5, 6), {"its axis": rows_twin(2)}, {"channels": (rows_twin(-1), "1")}),
    "SiLU by hand": Pieces(
        activated(lambda x: x * torch.sigmoid(x)),
        (8,),
        {"inside": with_activation("silu"), "by hand": by_hand(lambda x: x * keras.ops.sigmoid(x))},
        {
            "GELU": (with_activation("gelu"), "layers.0"),
            "twice": (by_hand(lambda x: keras.ops.silu(keras.ops.silu(x))), "layers.1"),
        },
    ),
    "hard swish by hand": Pieces(
        activated(lambda x: x * F.relu6(x + 3) / 6), (8,), {"inside": with_activation("hard_silu")}
    ),
    "GELU, tanh": Pieces(
        activated(lambda x: F.gelu(x, approximate="tanh")),
        (8,),
        {"by hand": by_hand(lambda x: 0.5 * x * (1 + keras.ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))},
        {"exact": (by_hand(lambda x: keras.ops.gelu(x, approximate=False)), "gelu")},
    ),
    "softmax by hand": Pieces(
        activated(lambda x: x.exp() / x.exp().sum(-1, keepdim=True)), (8,), {"inside": with_activation("softmax")}
    ),
    "scaled by a number": Pieces(
        lambda: scaled(0, 255),
        (8,),
        {"rescaling": rescaled(1 / 255, 0)},
        {"of 256": (rescaled(1 / 256, 0), "layers.0")},
    ),
    "shifted and scaled": Pieces(
        lambda: scaled(0.5, 0.5), (8,), {"rescaling": rescaled(2, -1)}, {"no shift": (rescaled(2, 0), "layers.0")}
    ),
    "globally": Pieces(
        globally,
        (3, 8, 8),
        {
            "kept axes": globally_twin(True),
            "reshaped": globally_twin(False),
            "dense": globally_twin(False, dense=True),
            "dense, kept axes": globally_twin(True, dense=True),
        },
        {"padded behind": (globally_twin(True, ((0, 2), (0, 2))), "0")},
    ),
    "pixel shuffle": Pieces(
        shuffled,
        (3, 4, 6),
        {"depth to space": shuffled_twin(True)},
        {"channels as they were": (shuffled_twin(False), "2.relu")},
    ),
    "depthwise of one channel": Pieces(one_channel, (1, 6, 6), {"multiplier": one_channel_twin}),
    "mean of two": Pieces(
        Mean,
        (8,),
        {
            "average": mean_twin(lambda a, b: layers.Average()([a, b])),
            "halves": mean_twin(lambda a, b: layers.Add()([a * 0.5, b * 0.5])),
        },
        {
            "sum": (mean_twin(lambda a, b: layers.Add()([a, b])), "relu"),
            "one half": (mean_twin(lambda a, b: layers.Add()([a * 0.5, b])), None),
        },
    ),
    "attention": Pieces(
        Attending,
        (7, 8),
        {"a layer": attending_twin(), "positions as a constant": attending_twin(positions=False)},
        {"queries for keys": (attending_twin(swapped=True), None)},
    ),
    "attention of one head": Pieces(
        lambda: Forward(
            lambda layer, x: layer(x, x, x, need_weights=False)[0], nn.MultiheadAttention(8, 1, batch_first=True)
        ),
        (7, 8),
        {"by hand": attending_by_hand},
    ),
}


def samples(pieces: Pieces) -> Tensor:
    return torch.randn(5, *pieces.shape, generator=torch.Generator().manual_seed(1))


def checked(pieces: Pieces, twin: Twin) -> ParityReport:
    torch.manual_seed(0)
    module = randomised(pieces.make())
    for weight in module.parameters():  # norms that change nothing would hide where their weights are
        torch.nn.init.normal_(weight, 0.1, 0.5)
    return compare(module, twin(module), samples(pieces), rtol=1e-5)


def each(what: str) -> list[Any]:
    return [
        pytest.param(pieces, made, id=f"{name}: {twin}")
        for name, pieces in PIECES.items()
        for twin, made in getattr(pieces, what).items()
    ]


@pytest.mark.parametrize(("pieces", "twin"), each("twins"))
def test_what_computes_the_same_agrees(pieces: Pieces, twin: Twin) -> None:
    report = checked(pieces, twin)
    assert all(output.agrees for output in report.outputs), "the twin itself"
    assert report.passed, (report.verdict(), report.structure)
    assert report.worst <= 1e-5


@pytest.mark.parametrize(("pieces", "mistake"), each("mistakes"))
def test_what_does_not_is_told(pieces: Pieces, mistake: tuple[Twin, str | None]) -> None:
    report = checked(pieces, mistake[0])
    assert not all(output.agrees for output in report.outputs), "the mistake itself"
    assert not report.passed
    first = report.first_divergence
    assert mistake[1] is None or (first is not None and first.path == mistake[1]), (report.verdict(), report.structure)


def test_what_is_cut_off_is_told_of_the_costs() -> None:
    """16 steps of 3 * 3 * 5 products, of which 12 are kept; Keras computes only these."""
    report = checked(PIECES["chomp"], CAUSAL["causal"])
    assert report.macs == (16 * 45, 12 * 45)
    assert "layers.0: 180 of its 720 MACs in PyTorch are for what is then cut off" in report.notes
    report = checked(PIECES["chomp"], CAUSAL["padded and cropped"])
    assert report.macs == (720, 720)
    assert not any("cut off" in note for note in report.notes)


def test_a_group_has_all_its_weights() -> None:
    report = checked(PIECES["steps"], PIECES["steps"].twins["stacked cells"])
    (group,) = (layer for layer in report.layers if layer.keras_kind == "RNN")
    # One bias for each gate: 4 gates of 5, from 8 and from 5 inputs.
    assert group.op == "LSTM + LSTM"
    assert group.params == (4 * 5 * (8 + 5 + 1) + 4 * 5 * (5 + 5 + 1),) * 2
    loop = checked(PIECES["loop of a cell"], PIECES["loop of a cell"].twins["a layer"])
    assert [layer.params for layer in loop.layers] == [(4 * 5 * (8 + 5 + 1),) * 2]
    assert loop.macs == (7 * 4 * 5 * 13,) * 2


@pytest.mark.parametrize("apart", [True, False])
def test_a_deployed_graph_ends_its_layers_with_activations(apart: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 5, 3)).eval()
    x = torch.randn(4, 3, 6, 7)
    head = (Dense(3), behind_flatten(module[3], 4, 4, 5))

    def twin(activation: str | None, *behind: Any) -> Any:
        first = (Conv2D(4, 3, activation=activation), conv2d(module[0]))
        return in_a_row((6, 7, 3), first, *behind, layers.Flatten(), head)

    graph = deploy(trace(module, x[:1]))
    report = compare(graph, twin(None, layers.ReLU()) if apart else twin("relu"), x, rtol=1e-5)
    assert report.passed, (report.verdict(), report.structure)
    assert [layer.op for layer in report.layers] == ["Conv 3x3 + relu", "Dense"]


@pytest.mark.parametrize("activation", ["tanh", None])
def test_another_activation_than_a_deployed_graph_has_is_told(activation: str | None) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    x = torch.randn(4, 8)
    model = in_a_row((8,), (Dense(5, activation=activation), linear(module[0])), (Dense(3), linear(module[2])))
    report = compare(deploy(trace(module, x[:1])), model, x)
    assert report.first_divergence is not None
    assert report.first_divergence.path == "0"


def test_numbers_that_become_right_again_are_no_mistake_and_are_told() -> None:
    report = checked(PIECES["mean of two"], PIECES["mean of two"].twins["halves"])
    assert any(note.startswith("written otherwise: ") for note in report.notes)


def test_names_of_modules_do_not_make_a_model_one_of_ours() -> None:
    """Somebody who gives the modules' names to layers may have them in other pieces all the same."""
    torch.manual_seed(0)
    chomped = nn.Sequential()
    chomped.add_module("conv", nn.Conv1d(3, 5, 3, padding=2))
    chomped.add_module("cut", Forward(lambda x: x[:, :, :-2]))
    model = in_a_row((12, 3), (Conv1D(5, 3, padding="causal", name="conv"), conv1d(chomped.conv)))
    x = torch.randn(4, 3, 12)
    assert compare(chomped, model, x).passed
    model.layers[-1].set_weights([1.01 * each for each in model.layers[-1].get_weights()])
    wrong = compare(chomped, model, x)
    assert not wrong.passed
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.path == "conv"


# --- what hides a mistake ---


def linear_twin(m: Any, change: float, behind: Callable[[Any], Any], **options: Any) -> Any:
    dense = Dense(5, **options)
    kernel, bias = linear(m.layers[0])
    return functional((8,), (dense, [kernel * change, bias * change]), through=lambda x: behind(dense(x)))


@pytest.mark.parametrize(
    ("what", "theirs"),
    [
        (lambda x: x.argmax(-1), lambda x: keras.ops.argmax(x, -1)),
        (torch.sign, keras.ops.sign),
        (lambda x: (x > 0).float(), lambda x: keras.ops.cast(keras.ops.greater(x, 0), "float32")),
    ],
    ids=["class", "sign", "comparison"],
)
def test_a_layer_is_not_compared_behind_what_hides_its_mistake(what: Any, theirs: Any) -> None:
    torch.manual_seed(0)
    module = Forward(lambda layer, x: what(layer(x)), nn.Linear(8, 5))
    x = torch.randn(4, 8)
    assert compare(module, linear_twin(module, 1, theirs), x).passed
    report = compare(module, linear_twin(module, 3, theirs), x)
    assert all(output.agrees for output in report.outputs), "nothing is seen in the end"
    assert not report.passed
    assert report.first_divergence is not None
    assert report.first_divergence.path == "layers.0"


def test_padding_on_the_wrong_side_is_told_behind_a_maximum_over_time() -> None:
    """Of signals with silence before and behind, the maximum does not tell causal from its opposite."""
    torch.manual_seed(0)
    module = Forward(lambda conv, x: conv(x)[:, :, :-4].amax(2), nn.Conv1d(3, 5, 3, dilation=2, padding=4))
    x = torch.zeros(4, 3, 12)
    x[:, :, 4:8] = torch.randn(4, 3, 4)

    def twin(around: tuple[int, int]) -> Any:
        conv = (Conv1D(5, 3, dilation_rate=2), conv1d(module.layers[0]))
        return in_a_row((12, 3), layers.ZeroPadding1D(around), conv, layers.GlobalMaxPooling1D())

    assert compare(module, twin((4, 0)), x).passed
    report = compare(module, twin((0, 4)), x)
    assert all(output.agrees for output in report.outputs), "nothing is seen in the end"
    assert not report.passed
    assert report.first_divergence is not None
    assert report.first_divergence.path == "layers.0"


def test_an_activation_that_changes_nothing_on_these_samples_is_told() -> None:
    torch.manual_seed(0)
    module = Forward(lambda layer, x: layer(x), nn.Linear(8, 5))
    nn.init.constant_(module.layers[0].bias, 50.0)
    report = compare(module, linear_twin(module, 1, lambda x: x, activation="relu"), torch.randn(4, 8))
    assert all(output.agrees for output in report.outputs)
    assert not report.passed
    assert "with relu, and layers.0 in PyTorch is not followed by it" in report.structure[0]
    with_relu = Forward(lambda layer, x: layer(x).relu(), module.layers[0])
    assert compare(with_relu, linear_twin(module, 1, lambda x: x, activation="relu"), torch.randn(4, 8)).passed


def test_a_slight_error_is_not_lost_behind_an_activation() -> None:
    """Softmax of nearly equal scores makes a relative error of a few percent one of a few thousandths."""
    torch.manual_seed(0)
    module = Forward(lambda layer, x: layer(x).softmax(-1), nn.Linear(8, 5))
    nn.init.normal_(module.layers[0].weight, 0, 1e-2)
    x = torch.randn(4, 8)
    report = compare(module, linear_twin(module, 1.05, layers.Softmax()), x, rtol=2e-2)
    assert all(output.agrees for output in report.outputs)
    assert not report.passed
    assert report.first_divergence is not None
    assert report.first_divergence.path == "layers.0"
