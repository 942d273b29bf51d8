"""Trees: a comparison a level, as their nodes are stored (`mcubench.cost.estimators.tree_layout`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.cost.estimators.tree_layout import Tree, TreeLayout
from mcubench.quant.classical.kernels.base import ArrayKernel
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["Tree", "TreeClass", "TreeKernel", "TreeLayout", "TreeScores", "TreeShares"]


@dataclass(frozen=True, eq=False)
class TreeKernel(ArrayKernel):
    """Trees whose thresholds are codes of the input, or float32.

    Attributes:
        trees: The trees.
        leaf_numbers: For each tree what its leaves store, int, shape (nodes,).
    """

    trees: tuple[Tree, ...]
    leaf_numbers: tuple[NDArray[Any], ...]

    @property
    def layout(self) -> TreeLayout:
        """How their splits are stored."""
        return TreeLayout.of(self.trees)


@dataclass(frozen=True, eq=False)
class TreeClass(TreeKernel):
    """One tree, whose leaves store classes."""

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Classes (N, 1)."""
        return self.leaf_numbers[0][self.trees[0].leaves(x)[0]][:, None]


@dataclass(frozen=True, eq=False)
class TreeShares(TreeKernel):
    """Trees whose leaves say how classes share them.

    Attributes:
        shares: By the number of a leaf: of a pure one `whole` for its class, then the rows of others, int64 or float32,
            shape (numbers, classes).
        whole: The share of a class that has a leaf to itself.
    """

    shares: NDArray[Any]
    whole: float

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Sums (N, classes), a tree after the other."""
        sums = np.zeros((len(x), self.shares.shape[1]), self.shares.dtype)
        for tree, numbers in zip(self.trees, self.leaf_numbers, strict=True):
            sums += self.shares[numbers[tree.leaves(x)[0]]]
        return sums


@dataclass(frozen=True, eq=False)
class TreeScores(TreeKernel):
    """Trees that add what their leaves store to one score each, in turn.

    Attributes:
        values: By the number of a leaf, int64 or float32, shape (leaves of all trees,).
        bias: What scores begin with, of the same type, shape (scores,).
    """

    values: NDArray[Any]
    bias: NDArray[Any]

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Scores (N, scores), a tree after the other."""
        sums = np.broadcast_to(self.bias, (len(x), len(self.bias))).copy()
        for index, (tree, numbers) in enumerate(zip(self.trees, self.leaf_numbers, strict=True)):
            sums[:, index % len(self.bias)] += self.values[numbers[tree.leaves(x)[0]]]
        return sums
