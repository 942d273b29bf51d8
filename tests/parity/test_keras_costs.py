"""Parameters and multiply-accumulates of Keras layers, against counts by hand.

The sizes are small and mostly different, so that a factor in the wrong place shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mcubench.parity import load_keras
from mcubench.parity.comparing.keras_costs import keras_macs, keras_params
from mcubench.parity.comparing.recording import Step, record
from tests.graph.compare import cases

keras = load_keras()
layers, ops = keras.layers, keras.ops

Sizes = tuple[int, ...]


def steps_of(function: Callable[..., Any], *shapes: Sizes, dtype: str = "float32") -> tuple[Any, list[Step]]:
    """A functional model of some inputs, and what it calls on two samples of ones."""
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    model = keras.Model(inputs, function(*inputs))
    steps, _ = record(keras, model, [np.ones((2, *shape), dtype) for shape in shapes])
    return model, [step for step in steps if step.kind != "InputLayer"]


def macs_of(function: Callable[..., Any], *shapes: Sizes, dtype: str = "float32") -> list[int | None]:
    """Of every call, in order."""
    return [keras_macs(step) for step in steps_of(function, *shapes, dtype=dtype)[1]]


@dataclass(frozen=True)
class Count:
    """A layer, the shape of its input, its multiply-accumulates and its weights."""

    make: Callable[[], Any]
    shape: Sizes
    macs: int | None
    params: int


COUNTS = {
    "Dense": Count(lambda: layers.Dense(5), (7,), 7 * 5, 7 * 5 + 5),
    "Dense, no bias": Count(lambda: layers.Dense(5, use_bias=False), (7,), 7 * 5, 7 * 5),
    "Dense, every step": Count(lambda: layers.Dense(5), (3, 7), 3 * 7 * 5, 7 * 5 + 5),
    "Dense, every place": Count(lambda: layers.Dense(5), (2, 3, 7), 2 * 3 * 7 * 5, 7 * 5 + 5),
    "Dense with softmax": Count(lambda: layers.Dense(5, activation="softmax"), (7,), 7 * 5, 7 * 5 + 5),
    # 9 - 3 + 1 = 7 places
    "Conv1D": Count(lambda: layers.Conv1D(5, 3), (9, 2), 7 * 3 * 2 * 5, 3 * 2 * 5 + 5),
    # (9 - 3) // 2 + 1 = 4
    "Conv1D, stride": Count(lambda: layers.Conv1D(5, 3, 2), (9, 2), 4 * 3 * 2 * 5, 3 * 2 * 5 + 5),
    "Conv1D, same": Count(lambda: layers.Conv1D(5, 3, padding="same"), (9, 2), 9 * 3 * 2 * 5, 35),
    "Conv1D, causal": Count(lambda: layers.Conv1D(5, 3, padding="causal"), (9, 2), 9 * 3 * 2 * 5, 35),
    # 9 - 2 * 2 = 5
    "Conv1D, dilation": Count(lambda: layers.Conv1D(5, 3, dilation_rate=2), (9, 2), 5 * 3 * 2 * 5, 35),
    "Conv2D": Count(lambda: layers.Conv2D(5, (3, 2)), (6, 7, 2), 4 * 6 * 3 * 2 * 2 * 5, 3 * 2 * 2 * 5 + 5),
    "Conv2D, stride": Count(lambda: layers.Conv2D(5, 3, (2, 2)), (6, 7, 2), 2 * 3 * 9 * 2 * 5, 9 * 2 * 5 + 5),
    # Each output channel reads 6 / 3 input channels.
    "Conv2D, groups": Count(lambda: layers.Conv2D(9, 3, groups=3), (5, 4, 6), 3 * 2 * 9 * 2 * 9, 9 * 2 * 9 + 9),
    # 3 x 3 with holes covers 5 x 5.
    "Conv2D, dilation": Count(lambda: layers.Conv2D(4, 3, dilation_rate=2), (6, 7, 2), 2 * 3 * 9 * 2 * 4, 76),
    "Conv3D": Count(lambda: layers.Conv3D(3, 2), (4, 3, 5, 2), 3 * 2 * 4 * 8 * 2 * 3, 8 * 2 * 3 + 3),
    "DepthwiseConv1D": Count(lambda: layers.DepthwiseConv1D(3), (9, 4), 7 * 3 * 4, 3 * 4 + 4),
    "DepthwiseConv2D": Count(lambda: layers.DepthwiseConv2D(3), (6, 5, 4), 4 * 3 * 9 * 4, 9 * 4 + 4),
    "DepthwiseConv2D, multiplier and stride": Count(
        lambda: layers.DepthwiseConv2D(3, 2, depth_multiplier=2), (7, 5, 4), 3 * 2 * 9 * 4 * 2, 9 * 4 * 2 + 8
    ),
    # 3 * 4 weights for each place, then 4 * 5.
    "SeparableConv1D": Count(lambda: layers.SeparableConv1D(5, 3), (9, 4), 7 * (3 * 4 + 4 * 5), 12 + 20 + 5),
    "SeparableConv2D": Count(lambda: layers.SeparableConv2D(5, 3), (6, 5, 4), 12 * (9 * 4 + 4 * 5), 36 + 20 + 5),
    "SeparableConv2D, multiplier and stride": Count(
        lambda: layers.SeparableConv2D(5, 3, 2, depth_multiplier=2), (7, 5, 4), 6 * (9 * 8 + 8 * 5), 72 + 40 + 5
    ),
    # Every input is multiplied with the whole kernel.
    "Conv1DTranspose": Count(lambda: layers.Conv1DTranspose(5, 3, 2), (6, 4), 6 * 4 * 3 * 5, 60 + 5),
    "Conv2DTranspose": Count(lambda: layers.Conv2DTranspose(5, 3, 2), (4, 3, 2), 12 * 2 * 9 * 5, 90 + 5),
    "Conv3DTranspose": Count(lambda: layers.Conv3DTranspose(3, 2), (2, 3, 2, 4), 12 * 4 * 8 * 3, 96 + 3),
    # At each of 7 steps: gates * hidden * (inputs + hidden).
    "LSTM": Count(lambda: layers.LSTM(5), (7, 3), 7 * 4 * 5 * (3 + 5), 4 * 5 * (3 + 5 + 1)),
    "LSTM, whole sequence": Count(
        lambda: layers.LSTM(5, return_sequences=True), (7, 3), 7 * 4 * 5 * (3 + 5), 4 * 5 * (3 + 5 + 1)
    ),
    "GRU": Count(lambda: layers.GRU(5), (7, 3), 7 * 3 * 5 * (3 + 5), 3 * 5 * (3 + 5 + 2)),
    "GRU, reset before": Count(
        lambda: layers.GRU(5, reset_after=False), (7, 3), 7 * 3 * 5 * (3 + 5), 3 * 5 * (3 + 5 + 1)
    ),
    "SimpleRNN": Count(lambda: layers.SimpleRNN(5), (7, 3), 7 * 5 * (3 + 5), 5 * (3 + 5 + 1)),
    "Bidirectional LSTM": Count(lambda: layers.Bidirectional(layers.LSTM(5)), (7, 3), 2 * 7 * 4 * 5 * 8, 2 * 4 * 5 * 9),
    "Bidirectional, two kinds": Count(
        lambda: layers.Bidirectional(layers.LSTM(5), backward_layer=layers.GRU(5, go_backwards=True)),
        (7, 3),
        7 * (4 + 3) * 5 * 8,
        4 * 5 * 9 + 3 * 5 * 10,
    ),
    "EinsumDense": Count(
        lambda: layers.EinsumDense("abc,cd->abd", (3, 5), bias_axes="d"), (3, 7), 3 * 7 * 5, 7 * 5 + 5
    ),
    "EinsumDense, heads": Count(
        lambda: layers.EinsumDense("abc,cde->abde", (3, 2, 4)), (3, 7), 3 * 7 * 2 * 4, 7 * 2 * 4
    ),
    # One matrix for each of the two groups.
    "EinsumDense, groups": Count(lambda: layers.EinsumDense("abc,bcd->abd", (2, 5)), (2, 7), 2 * 7 * 5, 2 * 7 * 5),
    "BatchNormalization": Count(layers.BatchNormalization, (4, 6), 0, 4 * 6),
    "BatchNormalization, no scale": Count(lambda: layers.BatchNormalization(scale=False), (4, 6), 0, 3 * 6),
    "LayerNormalization": Count(layers.LayerNormalization, (4, 6), 0, 2 * 6),
    "GroupNormalization": Count(lambda: layers.GroupNormalization(2), (4, 6), 0, 2 * 6),
    "PReLU": Count(lambda: layers.PReLU(shared_axes=[1]), (4, 6), 0, 6),
    "Dropout": Count(lambda: layers.Dropout(0.5), (6,), 0, 0),  # its seed is no weight
    "GaussianNoise": Count(lambda: layers.GaussianNoise(0.5), (6,), 0, 0),
    "MaxPooling2D": Count(layers.MaxPooling2D, (4, 6, 2), 0, 0),
    "AveragePooling1D": Count(lambda: layers.AveragePooling1D(2), (4, 6), 0, 0),
    "GlobalAveragePooling2D": Count(layers.GlobalAveragePooling2D, (4, 6, 2), 0, 0),
    "Activation": Count(lambda: layers.Activation("gelu"), (6,), 0, 0),
    "Softmax": Count(layers.Softmax, (6,), 0, 0),
    "LeakyReLU": Count(layers.LeakyReLU, (6,), 0, 0),
    "Flatten": Count(layers.Flatten, (4, 6), 0, 0),
    "Reshape": Count(lambda: layers.Reshape((8, 3)), (4, 6), 0, 0),
    "UpSampling2D": Count(layers.UpSampling2D, (4, 6, 2), 0, 0),
    "ZeroPadding2D": Count(layers.ZeroPadding2D, (4, 6, 2), 0, 0),
    "Rescaling": Count(lambda: layers.Rescaling(1 / 255), (4, 6, 2), 0, 0),
    # Right or unknown, never 0: nothing here counts what happens inside of them.
    "TimeDistributed": Count(lambda: layers.TimeDistributed(layers.Dense(5)), (3, 7), 3 * 7 * 5, 7 * 5 + 5),
    "ConvLSTM2D": Count(lambda: layers.ConvLSTM2D(2, 3), (3, 5, 5, 1), None, 9 * (1 + 2) * 8 + 8),
    "RNN of a cell": Count(lambda: layers.RNN(layers.LSTMCell(5)), (7, 3), 7 * 4 * 5 * (3 + 5), 4 * 5 * 9),
    "EinsumDense, dots": Count(lambda: layers.EinsumDense("...c,cd->...d", 5), (3, 7), None, 7 * 5),
    "Lambda": Count(lambda: layers.Lambda(lambda x: x @ ops.ones((7, 5))), (3, 7), None, 0),
}


@pytest.mark.parametrize("count", cases(COUNTS))
def test_layer_costs_what_was_counted_by_hand(count: Count) -> None:
    layer = count.make()
    model, steps = steps_of(layer, count.shape)
    assert [step.operation for step in steps] == [layer]
    assert keras_macs(steps[0]) == count.macs
    assert keras_params(layer) == keras_params(model) == count.params


def test_embedding_costs_nothing_but_its_table() -> None:
    layer = layers.Embedding(11, 5)
    assert macs_of(layer, (7,), dtype="int32") == [0]
    assert keras_params(layer) == 11 * 5


@pytest.mark.parametrize(
    ("make", "gates", "states"),
    [(layers.LSTMCell, 4, 2), (layers.GRUCell, 3, 1), (layers.SimpleRNNCell, 1, 1)],
    ids=["LSTMCell", "GRUCell", "SimpleRNNCell"],
)
def test_one_step_of_a_cell(make: Callable[[int], Any], gates: int, states: int) -> None:
    cell = make(5)
    assert macs_of(lambda x, *state: cell(x, list(state))[0], (3,), *[(5,)] * states) == [gates * 5 * (3 + 5)]


def test_layer_that_is_called_twice_costs_twice() -> None:
    shared = layers.Dense(5)
    model, steps = steps_of(lambda x: shared(shared(x)), (5,))
    assert [keras_macs(step) for step in steps] == [25, 25]
    assert keras_params(model) == 30


PRODUCTS = {
    "matmul": (ops.matmul, [(3, 4), (4, 5)], [3 * 4 * 5]),
    "matmul of heads": (ops.matmul, [(2, 3, 4), (2, 4, 5)], [2 * 3 * 4 * 5]),
    "operator": (lambda x, y: x @ y, [(3, 4), (4, 5)], [3 * 4 * 5]),
    "einsum": (lambda x, y: ops.einsum("bij,bjk->bik", x, y), [(3, 4), (4, 5)], [3 * 4 * 5]),
    "einsum, transposed": (lambda x, y: ops.einsum("bij,bkj->bki", x, y), [(3, 4), (5, 4)], [3 * 4 * 5]),
    "einsum of heads": (
        lambda x, y: ops.einsum("bqhd,bkhd->bhqk", x, y),
        [(3, 2, 4), (5, 2, 4)],
        [2 * 3 * 4 * 5],
    ),
    "attention": (
        lambda q, k, v: ops.softmax(q @ ops.transpose(k, (0, 2, 1))) @ v,
        [(3, 4), (6, 4), (6, 5)],
        [0, 3 * 4 * 6, 0, 3 * 6 * 5],
    ),
    "sum and product of elements": (lambda x, y: ops.exp(x + y * 2), [(3, 4), (3, 4)], [0, 0, 0]),
    "mean": (lambda x: ops.mean(x, axis=1), [(3, 4)], [0]),
    "einsum of three": (lambda x, y, z: ops.einsum("bi,bi,bi->b", x, y, z), [(3,), (3,), (3,)], [3 + 3]),
    # Unknown, never 0.
    "tensordot": (lambda x, y: ops.tensordot(x, y, axes=[[2], [1]]), [(3, 4), (4, 5)], [None]),
    "convolution": (lambda x, y: ops.conv(x, np.ones((3, 3, 2, 4), "float32")) + ops.sum(y), [(5, 5, 2), (1,)],
                    [None, 0, 0]),
    "Dot": (lambda x, y: layers.Dot(axes=1)([x, y]), [(4,), (4,)], [None]),
    "Attention": (lambda x, y: layers.Attention()([x, y]), [(3, 4), (5, 4)], [None]),
    "MultiHeadAttention": (lambda x: layers.MultiHeadAttention(2, 3)(x, x), [(5, 4)], [None]),
    "dot_product_attention": (lambda x: ops.dot_product_attention(x, x, x), [(5, 2, 4)], [None]),
}  # fmt: skip


@pytest.mark.parametrize(("function", "shapes", "macs"), cases(PRODUCTS))
def test_functions_in_a_functional_model(function: Any, shapes: list[Sizes], macs: list[int | None]) -> None:
    assert macs_of(function, *shapes) == macs


def product(row: Any) -> Any:
    return ops.matmul(row, ops.ones((4, 5)))


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: ops.map(product, x), id="map"),
        pytest.param(lambda x: ops.vectorized_map(product, x), id="vectorized_map"),
        pytest.param(layers.STFTSpectrogram(frame_length=3, frame_step=1, fft_length=4), id="STFTSpectrogram"),
    ],
)
def test_what_hides_products_is_not_free(function: Any) -> None:
    assert None in macs_of(function, (3, 4))


class Scaled(layers.Layer):
    """A layer of somebody's: it may do anything."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1], shape[-1]))

    def call(self, x: Any) -> Any:
        return x @ self.scale


class Renormalization(layers.BatchNormalization):
    """Somebody's subclass of a layer that is free."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.mix = self.add_weight(shape=(shape[-1], shape[-1]))

    def call(self, x: Any, training: bool = False) -> Any:
        return super().call(x, training=training) @ self.mix


@pytest.mark.parametrize(("make", "params"), [(Scaled, 36), (Renormalization, 36 + 24)])
def test_layer_of_somebody_is_unknown_not_free(make: Callable[[], Any], params: int) -> None:
    layer = make()
    assert macs_of(layer, (6,)) == [None]
    assert keras_params(layer) == params


def test_subclass_of_a_layer_that_counts_is_unknown() -> None:
    """It has the name of its own; what it does beside is not known."""

    class Twice(layers.Dense):
        def call(self, x: Any, training: bool = False) -> Any:
            return super().call(super().call(x))

    assert macs_of(Twice(6), (6,)) == [None]


class Conv2D(layers.Layer):
    """Somebody's own, which has the name of Keras' and no kernel."""

    def call(self, x: Any) -> Any:
        return ops.concatenate([x, x], -1)


def test_class_of_somebody_with_the_name_of_a_layer_is_unknown() -> None:
    assert macs_of(Conv2D(), (6, 6, 1)) == [None]


def test_channels_first_count_all_places() -> None:
    """TensorFlow has no such convolution on the CPU, so the call is made up: 4 x 3 places, not 5 x 4."""
    layer = layers.Conv2D(5, 3, data_format="channels_first")
    layer.build((None, 2, 6, 5))
    step = Step(layer, ((2, 6, 5),), np.zeros((1, 5, 4, 3), np.float32))
    assert keras_macs(step) == 4 * 3 * 9 * 2 * 5


def test_metrics_and_optimisers_are_no_parameters() -> None:
    """The model that somebody trained has more variables than it has parameters."""
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(3)])
    assert keras_params(model) == 15
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((2, 4), "float32"), np.ones((2, 3), "float32"), verbose=0)
    assert keras_params(model) == 15


def test_weights_that_are_not_trained_are_parameters() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    model.layers[0].trainable = False
    assert keras_params(model) == 15 + 12


def test_function_without_variables_has_no_parameters() -> None:
    _, steps = steps_of(ops.relu, (4,))
    assert [keras_params(step.operation) for step in steps] == [0]
