"""The LSTM in integers: TFLite Micro's bytes for any shape, and its table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.export.interpreters import run_tflm
from mcubench.graph import deploy, trace
from mcubench.quant.calibration import calibrate
from mcubench.quant.integer import plan_arena, predict
from mcubench.quant.integer.sigmoid_16 import SIGMOID_16, sigmoid_16, tanh_16
from mcubench.quant.sharing import cell_of
from mcubench.readers.tflite import read_tflite
from tests.quant import witness
from tests.readers.tflite_builder import Builder

CODES = np.arange(-(2**15), 2**15).astype(np.int16)


def function_file(name: str, scale: float) -> bytes:
    """A function of an int16, computed by the kernel that the gates use."""
    builder = Builder()
    x, y = builder.tensor((1, 256), np.int16, scale), builder.tensor((1, 256), np.int16, 2.0**-15)
    builder.operator(name, [x], [y])
    return builder.file([x], [y])


def test_sigmoid_is_that_of_tflite_micros_int16_kernel() -> None:
    """For all 65,536 arguments; the kernel takes a power of 2, with 12 bits behind the point, as it is."""
    (theirs,) = run_tflm(function_file("LOGISTIC", 2.0**-12), CODES.reshape(256, 256))
    assert np.array_equal(sigmoid_16(torch.from_numpy(CODES).long()).numpy(), theirs.ravel())
    assert len(SIGMOID_16) == 256


@pytest.mark.parametrize("shift", [0, -2])
def test_tanh_is_that_of_tflite_micros_int16_kernel(shift: int) -> None:
    (theirs,) = run_tflm(function_file("TANH", 2.0 ** (shift - 12)), CODES.reshape(256, 256))
    assert np.array_equal(tanh_16(torch.from_numpy(CODES).long(), shift).numpy(), theirs.ravel())


def lstm_file(
    generator: np.random.Generator, steps: int, inputs: int, units: int, clip: float, cell: float, loud: float
) -> bytes:
    """A layer with random weights."""
    builder = Builder()
    x = builder.tensor((1, steps, inputs), np.int8, 0.03, int(generator.integers(-128, 128)))
    state = (1 / 128, int(generator.integers(-20, 20)))

    def weights(columns: int) -> int:
        codes = generator.integers(-127, 128, (units, columns))
        return builder.tensor((units, columns), np.int8, float(generator.uniform(0.001, 0.01)) * loud, data=codes)

    given = [x, *(weights(inputs) for _ in range(4)), *(weights(units) for _ in range(4)), -1, -1, -1]
    for _ in range(4):
        biases = generator.integers(-30_000, 30_000, units)
        given.append(builder.tensor((units,), np.int32, 1e-4, data=biases))
    hidden = builder.tensor((1, units), np.int8, *state, variable=True)
    given += [-1, -1, hidden, builder.tensor((1, units), np.int16, cell, variable=True), -1, -1, -1, -1]
    out = builder.tensor((1, steps, units), np.int8, *state)
    options = {"fusedActivationFunction": 4, "cellClip": clip}
    builder.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", given, [out], "UnidirectionalSequenceLSTMOptions", **options)
    return builder.file([x], [out])


def check(file: bytes, codes: np.ndarray) -> None:
    graph = read_tflite(file).integer
    assert graph is not None
    (theirs,) = run_tflm(file, codes)
    assert (predict(graph, torch.from_numpy(codes))[0].numpy() != theirs).sum() == 0


@settings(max_examples=200)
@given(
    st.integers(0, 2**16),
    st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([0.0, 0.5, 10.0]),
    st.sampled_from([2.0**-11, 2.0**-12, 2.0**-15]),
    st.sampled_from([0.1, 1.0, 30.0]),
)
def test_random_layers(seed: int, sizes: tuple[int, int, int], clip: float, cell: float, loud: float) -> None:
    generator = np.random.default_rng(seed)
    file = lstm_file(generator, *sizes, clip, cell, loud)
    check(file, generator.integers(-128, 128, (4, *sizes[:2])).astype(np.int8))


@pytest.mark.parametrize("code", [-128, 127])
def test_a_cell_that_is_full(code: int) -> None:
    """The same largest or smallest input for 200 steps, weights so large that gates are at their ends."""
    file = lstm_file(np.random.default_rng(1), 200, 3, 5, 0.0, 2.0**-15, 30.0)
    check(file, np.full((1, 200, 3), code, np.int8))


def test_the_arena_has_four_gates_in_16_bits() -> None:
    file = lstm_file(np.random.default_rng(1), 4, 3, 5, 0.0, 2.0**-12, 1.0)
    graph = read_tflite(file).integer
    assert graph is not None
    from mcubench.export.interpreters import recorded_arena

    assert plan_arena(graph).peak == recorded_arena(file).head


class Net(nn.Module):
    """What is read of recurrent layers, and a linear layer."""

    def __init__(self, layers: nn.RNNBase, read: Callable[[Tensor, Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.layers, self.read, self.head = layers, read, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        sequence, state = self.layers(x)
        out: Tensor = self.head(self.read(sequence, state[0] if isinstance(state, tuple) else state))
        return out


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    ("options", "read", "width"),
    [
        ({}, lambda sequence, _: sequence[:, -1], 5),
        ({"bias": False}, lambda sequence, _: sequence[:, -1], 5),
        ({"num_layers": 2}, lambda _, state: state[-1], 5),
        ({"bidirectional": True, "num_layers": 2}, lambda _, state: torch.cat([state[-2], state[-1]], -1), 10),
        ({"bidirectional": True}, lambda sequence, _: sequence.mean(1), 10),
        ({}, lambda sequence, state: sequence[:, 2] + state[0], 5),
        ({"bidirectional": True}, lambda sequence, _: sequence[:, 3], 10),
    ],
    ids=["last", "without-biases", "two-layers", "both-ways-twice", "mean", "sequence-and-state", "both-ways"],
)
def test_whole_nets(
    kind: type[nn.RNNBase], options: dict[str, Any], read: Callable[[Tensor, Tensor], Tensor], width: int, bits: int
) -> None:
    """Bytes and arena are TFLite Micro's, outputs those of the float graph with rounded values."""
    torch.manual_seed(0)
    witness.check(Net(kind(3, 5, batch_first=True, **options), read, width), witness.seeded(12, 7, 3), bits)


def test_cells_are_not_clipped_for_the_least_error_of_8_bits() -> None:
    """The largest cell of all steps, from torch's own cell, is held whichever way ranges are observed."""
    torch.manual_seed(0)
    layer, x = nn.LSTM(3, 5, batch_first=True), 3 * witness.seeded(64, 9, 3)
    with torch.no_grad():
        layer.weight_ih_l0.mul_(4)
    net = Net(layer, lambda sequence, _: sequence[:, -1], 5).eval()
    state, largest = None, 0.0
    with torch.no_grad():
        for step in x.split(1, 1):
            _, state = layer(step, state)
            largest = max(largest, float(state[1].abs().max()))
    graph = deploy(trace(net, x[:1]))
    for observer in ("minmax", "mse"):
        ranges = calibrate(graph, x, observer=observer)  # type: ignore[arg-type]
        (cell,) = (cell_of(node) for node in graph.nodes if cell_of(node) is not None)
        assert max(map(abs, ranges[cell])) == pytest.approx(largest, rel=1e-5)  # type: ignore[index]
