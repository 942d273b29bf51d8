"""A decision tree as a device stores it, whichever estimator it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.cost.estimators.stages import Stored, index_bits, kept

__all__ = ["LEAF_VALUES", "NODES", "SHARES", "THRESHOLDS", "Tree", "node_arrays", "with_thresholds"]

# What is stored, by name.
THRESHOLDS, SHARES, LEAF_VALUES = "thresholds", "class probabilities", "leaves' values"

NODES = (
    "trees: each node has its feature (1 B up to 255 features, else 2 B) or the mark of a leaf; each split a threshold "
    "at the weights' width and the number of splits left of it (2 B, or 4 B above 65,536), as the left child is next"
)


@dataclass(frozen=True)
class Tree:
    """A binary tree of tests ``x[feature] <= threshold``.

    Attributes:
        left: The child where a test holds, int, shape (nodes,); -1 at leaves.
        right: The other one.
        feature: What a split tests.
        threshold: What with.
        values: What leaves give, shape (nodes, K): shares of classes, or numbers to add.
        reads: The type that a sample's values are compared as.
    """

    left: NDArray[Any]
    right: NDArray[Any]
    feature: NDArray[Any]
    threshold: NDArray[Any]
    values: NDArray[Any]
    reads: type[np.floating[Any]]

    @property
    def splits(self) -> int:
        """Nodes that are no leaves."""
        return int(np.count_nonzero(self.left >= 0))

    @property
    def leaf_values(self) -> NDArray[Any]:
        """What the leaves give, shape (leaves, K)."""
        return np.asarray(self.values[self.left < 0])

    @property
    def depth(self) -> int:
        """Tests on the longest way from the root to a leaf."""
        depth, level = 0, np.zeros(1, np.int64)
        while (level := level[self.left[level] >= 0]).size:
            level = np.concatenate([self.left[level], self.right[level]]).astype(np.int64)
            depth += 1
        return depth

    def leaves(self, x: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The leaf of each sample and how many tests lead there, shape (N,) each, for x of shape (N, features)."""
        x = x.astype(self.reads, copy=False)
        node, tests = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
        rows = np.arange(len(x))
        while (rows := rows[self.left[node[rows]] >= 0]).size:
            at = node[rows]
            holds = x[rows, self.feature[at]] <= self.threshold[at]
            node[rows] = np.where(holds, self.left[at], self.right[at])
            tests[rows] += 1
        return node, tests


def with_thresholds(trees: Sequence[Tree], thresholds: NDArray[Any]) -> list[Tree]:
    """The trees with other thresholds, given for all splits in their order, as `node_arrays` stores them."""
    changed, start = [], 0
    for tree in trees:
        own = tree.threshold.astype(thresholds.dtype)
        own[tree.left >= 0] = thresholds[start : start + tree.splits]
        changed.append(replace(tree, threshold=own, reads=np.float64))
        start += tree.splits
    return changed


def node_arrays(trees: Sequence[Tree], features: int) -> tuple[Stored, ...]:
    """What the trees' nodes store without what leaves give.

    Nodes lie in preorder, in one array for features (or the mark of a leaf) and two for thresholds and right children
    of splits. A left child is the next node. A split with k splits in its left subtree, so k + 1 leaves, has its right
    child 2 k + 2 nodes, k + 1 splits and k + 1 leaves further: k says where it lies in each array.
    """
    splits = sum(tree.splits for tree in trees)
    nodes = sum(len(tree.left) for tree in trees)
    most = max(tree.splits for tree in trees)
    return (
        Stored("features", "constant", nodes, index_bits(features + 1)),
        kept(THRESHOLDS, np.concatenate([tree.threshold[tree.left >= 0] for tree in trees]), rounding="threshold"),
        Stored("right children", "constant", splits, max(16, index_bits(most))),
    )
