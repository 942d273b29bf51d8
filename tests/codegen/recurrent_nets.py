"""Recurrent layers with random weights, of any size: integer graphs of one node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mcubench.quant.grid import Grid
from mcubench.quant.integer import IntegerGraph, IntegerNode, IntegerTensor
from mcubench.quant.integer.ir import Bias, Filter
from mcubench.quant.integer.kernels.recurrent import Gate, Gru, Lstm, RecurrentKernel
from tests.codegen.host import Case, case

__all__ = ["Layer", "random_layers"]


@dataclass(frozen=True)
class Layer:
    """A layer.

    Attributes:
        kind: ``lstm`` or ``gru``.
        steps: Of a sample.
        inputs: Of a step.
        units: Of the state.
        bits: Of a weight.
        loud: How much larger weights are than usual: at 30, gates are at their ends, and factors above 1.
        cell_scale: Of an LSTM.
        clip: Of its cell.
        seed: Of weights and zero points.
    """

    kind: str
    steps: int
    inputs: int
    units: int
    bits: int = 8
    loud: float = 1.0
    cell_scale: float = 2.0**-11
    clip: float = 0.0
    seed: int = 0

    @property
    def macs(self) -> int:
        """Of a sample."""
        return self.steps * self.units * (self.inputs + self.units) * (4 if self.kind == "lstm" else 3)

    def graph(self) -> IntegerGraph:
        """It alone."""
        random = np.random.default_rng(self.seed)
        source = Grid(0.03, int(random.integers(-128, 128)))
        state = Grid(1 / 128, int(random.integers(-20, 20)))
        gates = tuple(self._gate(random) for _ in range(4 if self.kind == "lstm" else 3))
        kernel: RecurrentKernel = Gru(gates, state)
        if self.kind == "lstm":
            kernel = Lstm(gates, state, self.cell_scale, self.clip)
        x = IntegerTensor("x", (1, self.steps, self.inputs), source)
        y = IntegerTensor("y", (1, self.steps, self.units), state)
        return IntegerGraph((IntegerNode("n", "layer", kernel, (x,), y),), (x,), (y,), (0,), (0,))

    def case(self, dialect: str, number: int = 0, samples: int = 2) -> Case:
        """It in C, with random codes."""
        graph = self.graph()
        random = torch.Generator().manual_seed(self.seed)
        codes = torch.randint(-128, 128, (samples, self.steps, self.inputs), generator=random)
        return case(f"{self}, {dialect}", graph, graph.inputs[0].grid.values(codes), dialect, number)

    def _gate(self, random: np.random.Generator) -> Gate:
        limit = 2 ** (self.bits - 1) - 1

        def weights(taps: int) -> Filter:
            codes = torch.from_numpy(random.integers(-limit, limit + 1, (self.units, taps))).to(torch.int8)
            scale = random.uniform(0.001, 0.01) * self.loud * 127 / limit
            return Filter("w", codes, torch.tensor([scale], dtype=torch.float32), 0, self.bits)

        def bias() -> Bias:
            codes = random.integers(-30 * limit, 30 * limit, self.units)
            return Bias("b", torch.from_numpy(codes).to(torch.int32), torch.ones(1))

        recurrent_bias = bias() if self.kind == "gru" and random.random() < 0.7 else None
        return Gate(weights(self.inputs), weights(self.units), bias(), recurrent_bias)


def random_layers(kind: str, count: int) -> list[Layer]:
    """So many: odd sizes, each width of weights, quiet and saturating, clipped cells, one step and many."""
    found = []
    for number in range(count):
        random = np.random.default_rng(number)
        found.append(
            Layer(
                kind,
                steps=(3, 1, 9)[number % 3],
                inputs=int(random.integers(1, 10)),
                units=int(random.integers(1, 71)),
                bits=(8, 4, 8, 2)[number % 4],
                loud=(1.0, 0.1, 30.0, 5.0)[number // 3 % 4],
                cell_scale=2.0 ** -int(random.integers(9, 16)),
                clip=(0.0, 0.0, 0.5, 10.0)[number % 4],
                seed=number,
            )
        )
    return [*found, Layer(kind, 128, 3, 5), Layer(kind, 2, 200, 9), Layer(kind, 2, 60, 70, bits=2)]
