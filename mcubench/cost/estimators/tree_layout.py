"""A decision tree as a device stores it, whichever estimator it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.cost.estimators.stages import Stored, index_bits, kept

__all__ = [
    "LEAF_VALUES",
    "SHARES",
    "SPLITS",
    "THRESHOLDS",
    "Preorder",
    "Tree",
    "TreeLayout",
    "split_arrays",
    "with_thresholds",
]

# What is stored, by name.
THRESHOLDS, SHARES, LEAF_VALUES = "thresholds", "class probabilities", "leaves' values"

SPLITS = (
    "trees: a split is a word of 2 B or 4 B, its feature, whether its right child is a leaf and the number of splits "
    "left of it, as the left child is next; and a threshold at the weights' width, in free bits of 4 B if enough"
)
_WORDS = (16, 32, 64)


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

    @cached_property
    def levels(self) -> list[NDArray[np.int64]]:
        """The splits of each level, from the root down."""
        found, level = [], np.zeros(1, np.int64)
        while (level := level[self.left[level] >= 0]).size:
            found.append(level)
            level = np.concatenate([self.left[level], self.right[level]]).astype(np.int64)
        return found

    @property
    def depth(self) -> int:
        """Tests on the longest way from the root to a leaf."""
        return len(self.levels)

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
    """The trees with other thresholds, given for all splits in their order, as `split_arrays` stores them."""
    changed, start = [], 0
    for tree in trees:
        own = tree.threshold.astype(thresholds.dtype)
        own[tree.left >= 0] = thresholds[start : start + tree.splits]
        changed.append(replace(tree, threshold=own, reads=np.float64))
        start += tree.splits
    return changed


@dataclass(frozen=True)
class Preorder:
    """The splits of a tree and its leaves, each in preorder: a node, what lies left of it, what lies right of it.

    Attributes:
        features: What each split tests, int64, shape (splits,).
        thresholds: What with, shape (splits,).
        left: Splits in its left subtree, int64, shape (splits,).
        right_is_leaf: Whether its right child is one, int64, shape (splits,).
        leaves: Nodes that are leaves, int64, shape (splits + 1,).
    """

    features: NDArray[np.int64]
    thresholds: NDArray[Any]
    left: NDArray[np.int64]
    right_is_leaf: NDArray[np.int64]
    leaves: NDArray[np.int64]

    @classmethod
    def of(cls, tree: Tree) -> Preorder:
        """Those of a tree."""
        splits, leaves = np.zeros(len(tree.left), np.int64), np.ones(len(tree.left), np.int64)  # of each node's subtree
        for level in reversed(tree.levels):
            left, right = tree.left[level], tree.right[level]
            splits[level] = splits[left] + splits[right] + 1
            leaves[level] = leaves[left] + leaves[right]
        split_at, leaf_at = np.zeros_like(splits), np.zeros_like(leaves)  # of a node; of its subtree's first leaf
        for level in tree.levels:
            left, right = tree.left[level], tree.right[level]
            split_at[left] = split_at[level] + 1
            split_at[right] = split_at[left] + splits[left]
            leaf_at[left] = leaf_at[level]
            leaf_at[right] = leaf_at[left] + leaves[left]
        inner = np.concatenate([np.zeros(0, np.int64), *tree.levels])
        reached = np.concatenate([np.zeros(1, np.int64), tree.left[inner], tree.right[inner]]).astype(np.int64)
        ends = reached[tree.left[reached] < 0]
        order = inner[np.argsort(split_at[inner])]
        return cls(
            features=tree.feature[order].astype(np.int64),
            thresholds=tree.threshold[order],
            left=splits[tree.left[order]],
            right_is_leaf=(tree.left[tree.right[order]] < 0).astype(np.int64),
            leaves=ends[np.argsort(leaf_at[ends])],
        )


@dataclass(frozen=True)
class TreeLayout:
    """How the splits of trees are stored: a word each, one tree behind the other.

    A left child is the next split, or a leaf if no split lies left. A split with k splits in its left subtree, so k + 1
    leaves, has its right child k + 1 splits and k + 1 leaves further: leaves are known by how many were passed.

    Attributes:
        trees: Their splits.
        feature_bits: Of a word, from the lowest on; then one bit says whether the right child is a leaf.
        left_bits: Behind them, the number of splits that lie left.
    """

    trees: tuple[Preorder, ...]
    feature_bits: int
    left_bits: int

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> TreeLayout:
        """The layout of trees, whose largest numbers say how many bits there are of each."""
        found = tuple(map(Preorder.of, trees))
        most = (max(int(getattr(each, name).max(initial=0)) for each in found) for name in ("features", "left"))
        feature_bits, left_bits = (max(number.bit_length(), 1) for number in most)
        return cls(found, feature_bits, left_bits)

    @property
    def used(self) -> int:
        """Bits of a word that say something."""
        return self.feature_bits + 1 + self.left_bits

    @property
    def word_bits(self) -> int:
        """Bits of a word."""
        return next(bits for bits in _WORDS if self.used <= bits)

    @property
    def room(self) -> int:
        """Bits at the top of a word in which a threshold may lie; 0 of narrow words, which are read faster alone."""
        return 0 if self.word_bits == _WORDS[0] else self.word_bits - self.used

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where the splits of each tree begin, and behind the last, shape (trees + 1,)."""
        return np.cumsum([0, *(len(each.features) for each in self.trees)])


def split_arrays(trees: Sequence[Tree]) -> tuple[Stored, ...]:
    """What trees store without what leaves give: words of splits, thresholds, and where each of several begins."""
    layout = TreeLayout.of(trees)
    thresholds = kept(
        THRESHOLDS, np.concatenate([tree.threshold[tree.left >= 0] for tree in trees]), rounding="threshold"
    )
    starts = layout.starts
    return (
        Stored("splits", "constant", int(starts[-1]), layout.word_bits),
        replace(thresholds, room=layout.room),
        Stored(
            "first splits", "constant", len(starts) if len(trees) > 1 else 0, max(16, index_bits(int(starts[-1]) + 1))
        ),
    )
