"""Dense layers in int16 and float32, and functions behind them; those in int8 are networks' FULLY_CONNECTED."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.quant.classical.float32 import nearest, sigmoid, sums_in_order, tanh
from mcubench.quant.classical.kernels.base import ArrayKernel
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["FUNCTIONS", "DenseFloat", "DenseWide", "Function"]

FUNCTIONS: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {"tanh": tanh, "sigmoid": sigmoid}


@dataclass(frozen=True, eq=False)
class DenseWide(ArrayKernel):
    """Sums of products of int16 in int64; a factor in float32 brings them to the output's grid.

    Attributes:
        weight: int64, shape (outputs, inputs).
        bias: int64, shape (outputs,), in steps of the products.
        factors: float32, shape (outputs,): steps of the output that a step of the products is.
        rectified: Whether what is below 0 becomes 0.
    """

    weight: NDArray[np.int64]
    bias: NDArray[np.int64]
    factors: NDArray[np.float32]
    rectified: bool

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Codes (N, outputs)."""
        # Exact: sums of products of 16 bits have far less than the 53 bits of float64.
        lifted = self.bias - source.grid.zero_point * self.weight.sum(1)
        sums = (x.astype(np.float64) @ self.weight.T.astype(np.float64)).astype(np.int64) + lifted
        steps = sums.astype(np.float32) * self.factors + np.float32(target.grid.zero_point)
        codes = nearest(steps, target.grid)
        return np.maximum(codes, target.grid.zero_point) if self.rectified else codes


@dataclass(frozen=True, eq=False)
class DenseFloat(ArrayKernel):
    """The same in float32.

    Attributes:
        weight: float32, shape (outputs, inputs).
        bias: float32, shape (outputs,).
        rectified: Whether what is below 0 becomes 0.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    rectified: bool

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Values (N, outputs)."""
        sums = sums_in_order(x, self.weight) + self.bias
        return np.where(sums > 0, sums, np.float32(0)) if self.rectified else sums


@dataclass(frozen=True, eq=False)
class Function(ArrayKernel):
    """A function of each element, in int16 or float32; in int8 it is a table.

    Attributes:
        name: A key of `FUNCTIONS`, or ``relu``.
    """

    name: str

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """What it gives (N, elements)."""
        values = x if source.real else (x.astype(np.float32) - np.float32(source.grid.zero_point)) * scale_of(source)
        found = np.where(values > 0, values, np.float32(0)) if self.name == "relu" else FUNCTIONS[self.name](values)
        if target.real:
            return found
        return nearest(found * step_of(target) + np.float32(target.grid.zero_point), target.grid)


def scale_of(tensor: IntegerTensor) -> np.float32:
    """What a step of a tensor is worth."""
    return np.float32(tensor.grid.scale)


def step_of(tensor: IntegerTensor) -> np.float32:
    """How many steps of a tensor 1 is."""
    return np.float32(1 / tensor.grid.scale)
