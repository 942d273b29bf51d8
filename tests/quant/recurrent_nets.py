"""Recurrent layers with random weights, and a GRU in plain Python integers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from mcubench.quant.grid import Grid
from mcubench.quant.integer import IntegerGraph, IntegerNode, IntegerTensor, kernels
from mcubench.quant.integer.ir import Bias, Filter
from mcubench.quant.integer.sigmoid_16 import SIGMOID_16

Generator = np.random.Generator


def gru_graph(
    generator: Generator, steps: int, inputs: int, units: int, *, loud: float = 1.0, biased: bool = True
) -> IntegerGraph:
    """A GRU alone, with weights that are `loud` times as large as usual ones."""
    source = Grid(float(np.float32(0.03)), int(generator.integers(-128, 128)))
    state = Grid(float(np.float32(generator.uniform(1 / 160, 1 / 100))), int(generator.integers(-30, 30)))

    def matrix(name: str, columns: int) -> Filter:
        codes = torch.from_numpy(generator.integers(-127, 128, (units, columns)).astype(np.int8))
        return Filter(name, codes, torch.tensor([generator.uniform(0.001, 0.01) * loud], dtype=torch.float32), 0, 8)

    def bias(name: str, filter_: Filter, grid: Grid) -> Bias | None:
        codes = torch.from_numpy(generator.integers(-20_000, 20_000, units).astype(np.int32))
        return Bias(name, codes, filter_.scales * grid.scale) if biased else None

    gates = []
    for gate in range(3):
        given, recalled = matrix(f"input.{gate}", inputs), matrix(f"state.{gate}", units)
        again = bias(f"again.{gate}", recalled, state) if gate == 2 else None
        gates.append(kernels.Gate(given, recalled, bias(f"bias.{gate}", given, source), again))
    x = IntegerTensor("x", (1, steps, inputs), source)
    y = IntegerTensor("y", (1, steps, units), state)
    return IntegerGraph((IntegerNode("gru", "gru", kernels.Gru(tuple(gates), state), (x,), y),), (x,), (y,), (0,), (0,))


def codes_for(graph: IntegerGraph, generator: Generator, count: int) -> torch.Tensor:
    shape = (count, *graph.inputs[0].shape[1:])
    return torch.from_numpy(generator.integers(-128, 128, shape).astype(np.int8))


# --- the same arithmetic, one number at a time ---


def factor(number: float) -> tuple[int, int]:
    mantissa, exponent = math.frexp(number)
    return math.floor(mantissa * 2**31 + 0.5), exponent


def times(x: int, multiplier: int, exponent: int) -> int:
    """Rounded twice: to the upper half of 64 bits, halves up, and by the shift, halves away from 0."""
    high = ((x << max(exponent, 0)) * multiplier + (1 << 30)) >> 31
    shift = max(-exponent, 0)
    half = (1 << shift) >> 1
    return (high + half) >> shift if high >= 0 else -((-high + half) >> shift)


def in_16(x: int) -> int:
    return max(-(2**15), min(2**15 - 1, x))


def line(argument: int, bits: int) -> tuple[int, int, int]:
    """Of an absolute value: the two entries of the table that it lies between, and how far."""
    place = argument >> bits
    low, high = (int(SIGMOID_16[min(each, 255)]) for each in (place, place + 1))
    return low, high, argument & ((1 << bits) - 1)


def sigmoid(x: int) -> int:
    low, high, between = line(abs(3 * x), 9)
    value = 0x7FFF << 10 if abs(3 * x) >> 9 >= 255 else (low << 9) + between * (high - low)
    return (value + 512) >> 10 if x >= 0 else ((1 << 25) - value + 511) >> 10


def tanh(x: int) -> int:
    low, high, between = line(abs(3 * x), 8)
    value = 0xFFFF << 8 if abs(3 * x) >> 8 >= 255 else (low << 8) + between * (high - low)
    return (value - (1 << 23) + 128) >> 8 if x >= 0 else (-value + (1 << 23) + 127) >> 8


def plain_gru(graph: IntegerGraph, sample: Sequence[Sequence[int]]) -> list[list[int]]:
    """The codes of the hidden state after each step, for the codes of one sample."""
    (node,) = graph.nodes
    kernel, source = node.kernel, node.inputs[0].grid
    assert isinstance(kernel, kernels.Gru)
    state, units = kernel.state, kernel.units

    def brought(codes: Sequence[int], zero: int, scale: float, filter_: Filter, bias: Bias | None, unit: int) -> int:
        total = sum((code - zero) * int(w) for code, w in zip(codes, filter_.codes[unit], strict=True))
        total += 0 if bias is None else int(bias.codes[unit])
        return in_16(times(total, *factor(float(filter_.scales[0]) * scale * 2**12)))

    shown, exact, found = [state.zero_point] * units, [0] * units, []
    share = factor(2.0**-15)
    for codes in sample:
        following = []
        for unit in range(units):
            given = [brought(codes, source.zero_point, source.scale, g.input, g.bias, unit) for g in kernel.gates]
            again = [
                brought(shown, state.zero_point, state.scale, g.recurrent, g.recurrent_bias, unit) for g in kernel.gates
            ]
            reset, kept = (sigmoid(in_16(given[gate] + again[gate])) for gate in (0, 1))
            new = tanh(in_16(given[2] + in_16(times(reset * again[2], *share))))
            rest = in_16(new - in_16(times(kept * new, *share)))
            following.append(in_16(in_16(times(kept * exact[unit], *share)) + rest))
        exact = following
        shown = [max(-128, min(127, times(each, *factor(2.0**-15 / state.scale)) + state.zero_point)) for each in exact]
        found.append(shown)
    return found
