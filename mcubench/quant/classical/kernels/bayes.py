"""Naive Bayes with normal distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.quant.classical.float32 import nearest
from mcubench.quant.classical.kernels.base import ArrayKernel
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["GaussianScores"]


@dataclass(frozen=True, eq=False)
class GaussianScores(ArrayKernel):
    """For each class the sum over features of (x - m)^2 f, and a constant.

    Attributes:
        means: Codes of the input's grid, int64, or float32, shape (classes, features).
        factors: int64 or float32, of that shape.
        scales: float32, shape (classes,): steps of the output that a step of the sum is; 1 in float32.
        bias: float32, shape (classes,): in steps of the output from code 0 on, or values.
    """

    means: NDArray[Any]
    factors: NDArray[Any]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Scores (N, classes)."""
        if source.real:
            sums = np.zeros((len(x), len(self.bias)), np.float32)
            for column, mean, factor in zip(x.T, self.means.T, self.factors.T, strict=True):
                difference = column[:, None] - mean
                sums += difference * difference * factor
            return sums + self.bias
        found = [(np.square(x.astype(np.int64) - m) * f).sum(1) for m, f in zip(self.means, self.factors, strict=True)]
        return nearest(np.stack(found, 1).astype(np.float32) * self.scales + self.bias, target.grid)
