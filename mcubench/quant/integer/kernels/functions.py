"""Functions of one code: 256 results, so each is a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mcubench.quant.fixed_point import (
    high_product_16,
    multiplier_of,
    rescaled,
    shifted_right,
)
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid
from mcubench.quant.integer.gemmlowp import logistic, tanh
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped
from mcubench.quant.integer.sigmoid_16 import sigmoid_16, tanh_16

__all__ = [
    "Absolute",
    "Embed",
    "HardSwish",
    "LeakyRelu",
    "Logistic",
    "Lookup",
    "Places",
    "Relu",
    "Relu6",
    "Requantize",
    "TableKernel",
    "Tanh",
]

_INTEGER_BITS = 4  # of the argument of sigmoid and tanh: beyond +-16 they are constant


class TableKernel(Kernel):
    """A function of one code."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the results."""
        source, target = node.inputs[0].grid, node.output.grid
        if source.bits > 8:  # as many results as there are codes in any tensor
            return self.table(inputs[0].long(), source, target)
        codes = torch.arange(ACTIVATION_MIN, ACTIVATION_MAX + 1)
        return self.table(codes, source, target)[inputs[0].long() - ACTIVATION_MIN]

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """The result for each of the codes."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Requantize(TableKernel):
    """QUANTIZE: the same values on another grid."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """Rounded twice, as all rescaling is."""
        factor = multiplier_of(source.scale / target.scale)
        return clamped(rescaled(centred(codes, source), *factor) + target.zero_point, target)


@dataclass(frozen=True, eq=False)
class Relu(TableKernel):
    """RELU, with a grid of its own for the result."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """Nothing below 0."""
        factor = multiplier_of(source.scale / target.scale)
        return clamped(rescaled(centred(codes, source), *factor) + target.zero_point, target, "relu")


@dataclass(frozen=True, eq=False)
class Relu6(TableKernel):
    """RELU6 on the grid of its input."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """Nothing below 0 nor above 6."""
        return clamped(codes, source, "relu6")


@dataclass(frozen=True, eq=False)
class LeakyRelu(TableKernel):
    """LEAKY_RELU: values below 0 times `slope`."""

    slope: float

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """Two factors, one for each side."""
        x = centred(codes, source)
        slope = float(np.float32(self.slope))
        above = rescaled(x, *multiplier_of(source.scale / target.scale))
        below = rescaled(x, *multiplier_of(source.scale * slope / target.scale))
        return clamped(torch.where(x >= 0, above, below) + target.zero_point, target)


@dataclass(frozen=True, eq=False)
class Absolute(TableKernel):
    """ABS."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """The factor is a quotient in single precision (``SetAbsOutputMultiplier``)."""
        factor = multiplier_of(float(np.float32(source.scale) / np.float32(target.scale)))
        return clamped(rescaled(centred(codes, source).abs(), *factor) + target.zero_point, target)


@dataclass(frozen=True, eq=False)
class Places(Kernel):
    """QUANTIZE to int32: where the result of each code stands in a table of 256."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Places, int32."""
        return inputs[0].int() - ACTIVATION_MIN


@dataclass(frozen=True, eq=False)
class Lookup(TableKernel):
    """GATHER from a table: any function, its results rounded once.

    Attributes:
        results: int8, for codes from -128 on.
    """

    results: Tensor

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """What stands at the places that `Places` has found."""
        return self.results[inputs[0].long()]

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """The results."""
        return self.results[codes - ACTIVATION_MIN]


@dataclass(frozen=True, eq=False)
class Embed(Kernel):
    """GATHER from a table of vectors, by int32.

    Attributes:
        codes: int8, shape (entries, width), on the grid of the output.
    """

    codes: Tensor

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """The vectors that stand at the integers."""
        return nn.functional.embedding(inputs[0].long(), self.codes)  # which takes no negative ones


@dataclass(frozen=True, eq=False)
class Logistic(TableKernel):
    """LOGISTIC, on the grid that TFLite prescribes for it."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """Sigmoid in fixed point with 8 bits of result; in 16 bits, of arguments with 12 behind the point."""
        if source.bits > 8:
            return sigmoid_16(codes).short()
        result = shifted_right(logistic(_argument(codes, source)), 23) + target.zero_point
        return _beyond(codes, source, clamped(result, target))


@dataclass(frozen=True, eq=False)
class Tanh(TableKernel):
    """TANH, on the grid that TFLite prescribes for it."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """Hyperbolic tangent in fixed point with 7 bits behind the point; in 16 bits, of a power of 2."""
        if source.bits > 8:
            return tanh_16(codes, 12 + round(math.log2(source.scale))).short()
        return _beyond(codes, source, clamped(shifted_right(tanh(_argument(codes, source)), 24), target))


def _factor(source: Grid) -> tuple[int, int]:
    return multiplier_of(source.scale * 2 ** (31 - _INTEGER_BITS))


def _argument(codes: Tensor, source: Grid) -> Tensor:
    """Values with 4 bits before the point, in int32."""
    return rescaled(centred(codes, source), *_factor(source))


def _beyond(codes: Tensor, source: Grid, result: Tensor) -> Tensor:
    """The ends for arguments that the fixed point does not hold (``CalculateInputRadius``)."""
    exponent = _factor(source)[1]
    radius = math.floor(((1 << _INTEGER_BITS) - 1) * (1 << (31 - _INTEGER_BITS)) / 2.0**exponent)
    x = centred(codes, source)
    result = torch.where(x <= -radius, torch.tensor(ACTIVATION_MIN, dtype=torch.int8), result)
    return torch.where(x >= radius, torch.tensor(ACTIVATION_MAX, dtype=torch.int8), result)


@dataclass(frozen=True, eq=False)
class HardSwish(TableKernel):
    """HARD_SWISH: x * relu6(x + 3) / 6, in 16 bits."""

    def table(self, codes: Tensor, source: Grid, target: Grid) -> Tensor:
        """As ``reference_ops::HardSwish`` has it."""
        fine = np.float32(1 / 128) * np.float32(source.scale)  # the input's scale with 7 more bits
        x = centred(codes, source) << 7
        multiplier, exponent = _in_16_bits(float(fine / np.float32(target.scale)))
        scaled = high_product_16(x, multiplier)
        multiplier, ramp_exponent = _in_16_bits(float(fine / np.float32(3 / 32768)))
        ramp = x
        if ramp_exponent > 0:
            ramp = _saturated(ramp << (ramp_exponent - 1))
        ramp = high_product_16(ramp, multiplier)
        if ramp_exponent > 0:
            ramp = _saturated(ramp << 1)
        if ramp_exponent < 0:
            ramp = shifted_right(ramp, -ramp_exponent)
        ramp = (ramp + (1 << 15)) >> 1
        product = high_product_16(ramp, scaled, rounded=False)
        result = shifted_right(product, -exponent) + target.zero_point
        return clamped(result, target)


def _in_16_bits(number: float) -> tuple[int, int]:
    """A factor as `multiplier_of` has it, its multiplier rounded to 15 bits."""
    multiplier, exponent = multiplier_of(number)
    top = 2**31 - 1 - (1 << 15)
    return (2**15 - 1 if multiplier >= top else (multiplier + (1 << 15)) >> 16), exponent


def _saturated(x: Tensor) -> Tensor:
    return x.clamp(-(2**15), 2**15 - 1)
