"""Trees: a loop over nodes that are stored, or nested tests.

Of a node nothing is stored but what a test needs: its feature, its threshold, how many splits lie left of it, and
whether its right child is a leaf. Splits lie in preorder, so that the left child is the next one, or a leaf if none lie
left; and leaves lie in their order, so that one is known by how many were passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.classical.common import pointers, source
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill, float32
from mcubench.codegen.unit import Function, Unit
from mcubench.errors import UserError

if TYPE_CHECKING:
    from mcubench.quant.classical.kernels.trees import Tree

__all__: list[str] = []

NESTED_SPLITS = 1000  # up to which tests are code, which takes twice the flash and a third of the instructions
_NESTED_DEPTH = 100  # of blocks; ISO C promises 127
_WORD = 32
_ORDERED = {"int8_t": "int8_t", "int16_t": "int16_t", "float_bits": "int32_t"}

_WALK = """
/* Which leaf a sample gets to, from 0, in a tree whose first split is given. */
INLINE int32_t $name(const $type *from, const $word *split$parameter)
{
    int32_t leaf = 0;
    for (;;) {
        const uint32_t word = *split;
        const int32_t left = (int32_t)(word >> $left_at & $left_mask);
        if ($value <= $threshold) {
            if (left == 0)
                return leaf;
            split++;$next
        } else {
            leaf += left + 1;
            if (word >> $flag_at & 1u)
                return leaf;
            split += left + 1;$skip
        }
    }
}
"""
_TREE = """
APART int32_t $name(const $type *from)
{
$tests
}
"""
_ONE = """
    to[0] = $found;
"""
_LOOP = """
    int32_t tree;
$start
    for (tree = 0; tree < $trees; tree++) {
        const int32_t leaf = (int32_t)$found;
$add
    }
"""


@EMITTERS.register("TreeClass")
def tree_class(step: Step, unit: Unit) -> Function:
    """A leaf stores its class."""
    kernel: Any = step.kernel
    found = _Trees(step, unit, kernel.leaf_numbers)
    body = pointers(step, found.type) + "\n" + fill(_ONE, found=f"({step.output.ctype}){found.leaf('0')}")
    return Function(body)


@EMITTERS.register("TreeShares")
def tree_shares(step: Step, unit: Unit) -> Function:
    """A leaf stores the number of a row of shares, or its class, which then gets it all."""
    kernel: Any = step.kernel
    classes = kernel.shares.shape[1]
    found = _Trees(step, unit, kernel.leaf_numbers)
    whole = float32(kernel.whole) if step.output.real else str(int(kernel.whole))
    start = f"    int32_t i;\n    for (i = 0; i < {classes}; i++)\n        to[i] = 0;"
    if len(kernel.shares) == classes:
        add = f"        to[leaf] += {whole};"
    else:
        ctype = "float" if step.output.real else _narrowest(kernel.shares, signed=True)
        rows = unit.array(ctype, kernel.shares[classes:], "shares")
        add = (
            f"        if (leaf < {classes})\n            to[leaf] += {whole};\n        else\n"
            f"            for (i = 0; i < {classes}; i++)\n"
            f"                to[i] += {rows}[{classes} * (leaf - {classes}) + i];"
        )
    body = fill(_LOOP, start=start, trees=len(kernel.trees), found=found.leaf("tree"), add=add)
    return Function(pointers(step, found.type) + "\n" + body)


@EMITTERS.register("TreeScores")
def tree_scores(step: Step, unit: Unit) -> Function:
    """A leaf stores what it adds to the score whose turn it is."""
    kernel: Any = step.kernel
    scores, real = len(kernel.bias), step.output.real
    found = _Trees(step, unit, kernel.leaf_numbers)
    values = unit.array("float" if real else _narrowest(kernel.values, signed=True), kernel.values, "values")
    bias = unit.array(step.output.ctype, kernel.bias, "bias")
    start = f"    int32_t i;\n    for (i = 0; i < {scores}; i++)\n        to[i] = {bias}[i];"
    place = "0" if scores == 1 else f"tree % {scores}"
    add = f"        to[{place}] += {values}[leaf];"
    body = fill(_LOOP, start=start, trees=len(kernel.trees), found=found.leaf("tree"), add=add)
    return Function(pointers(step, found.type) + "\n" + body)


class _Trees:
    """The trees of a step in C: nested tests, or nodes and a loop.

    Args:
        step: The step.
        unit: Where they are written.
        numbers: For each tree what its leaves store, shape (nodes,).
    """

    def __init__(self, step: Step, unit: Unit, numbers: Sequence[NDArray[Any]]) -> None:
        kernel: Any = step.kernel
        self.trees: Sequence[Tree] = kernel.trees
        self.numbers, self.unit = numbers, unit
        x = source(step)
        self.real = x.real
        # Floats are compared as integers: no core needs an FPU for it.
        self.type = "float_bits" if self.real else x.ctype
        if self.real:
            unit.use("float_bits")
        few = sum(tree.splits for tree in self.trees) <= NESTED_SPLITS
        self.nested = few and max(tree.depth for tree in self.trees) <= _NESTED_DEPTH

    def leaf(self, tree: str) -> str:
        """An expression for what the leaf of a tree stores, by the tree's number in C."""
        return self._nested(tree) if self.nested else self._walked(tree)

    # --- nested tests ---

    def _nested(self, tree: str) -> str:
        names = [
            self.unit.function(
                fill(_TREE, name="$name", type=self.type, tests="\n".join(self._tests(each, own))), "tree"
            )
            for each, own in zip(self.trees, self.numbers, strict=True)
        ]
        if len(names) == 1:
            return f"{names[0]}(from)"
        table = f"static int32_t (*const $name[{len(names)}])(const {self.type} *) = {{\n    {', '.join(names)}\n}};\n"
        return f"{self.unit.function(table, 'trees')}[{tree}](from)"

    def _tests(self, tree: Tree, numbers: NDArray[Any]) -> list[str]:
        lines = [] if tree.splits else ["(void)from;"]
        waiting: list[int | str] = [0]
        while waiting:
            node = waiting.pop()
            if isinstance(node, str):
                lines.append(node)
            elif tree.left[node] < 0:
                lines.append(f"return {numbers[node]};")
            else:
                lines.append(f"if ({self._test(int(tree.feature[node]), tree.threshold[node])}) {{")
                waiting += ["}", int(tree.right[node]), "} else {", int(tree.left[node])]
        return lines

    def _test(self, feature: int, threshold: Any) -> str:
        if not self.real:
            return f"from[{feature}] <= {int(threshold)}"
        bits = int(_bits(np.array([threshold]))[0])
        if bits >= 0:
            return f"from[{feature}] <= {bits}"
        return f"(uint32_t)from[{feature}] >= 0x{bits & 0xFFFFFFFF:08x}u"

    # --- splits and a loop ---

    def _walked(self, tree: str) -> str:
        found = [_Preorder(each) for each in self.trees]
        leaves = np.concatenate([own[each.leaves] for each, own in zip(found, self.numbers, strict=True)])
        in_order = np.array_equal(leaves, np.arange(len(leaves)))  # as values of boosted trees mostly are
        numbers = "" if in_order else self.unit.array(_narrowest(leaves), leaves, "leaves")
        starts = np.cumsum([0, *(len(each.features) for each in found)])
        walk, splits, thresholds = self._walk(found)
        if len(found) == 1:
            given = ["from", splits, *([thresholds] if thresholds else [])]
            leaf = f"{walk}({', '.join(given)})"
            return leaf if in_order else f"{numbers}[{leaf}]"
        first = self.unit.array("uint16_t" if starts[-1] < 1 << 16 else "int32_t", starts, "starts")
        given = ["from", f"{splits} + {first}[tree]"]
        given += [f"{thresholds} + {first}[tree]"] if thresholds else []
        leaf = f"{walk}({', '.join(given)})"
        if any(not len(each.features) for each in found):  # a tree that is one leaf has no split to begin at
            leaf = f"({first}[tree] == {first}[tree + 1] ? 0 : {leaf})"
        place = f"{first}[{tree}] + {tree} + {leaf}"
        return f"({place})" if in_order else f"{numbers}[{place}]"

    def _walk(self, found: Sequence[_Preorder]) -> tuple[str, str, str]:
        """Names of the function that walks, of the array of splits, and of that of thresholds, if these are apart."""
        features, left, ends, thresholds = (
            np.concatenate([getattr(each, name) for each in found])
            for name in ("features", "left", "right_is_leaf", "thresholds")
        )
        feature_bits = max(int(features.max(initial=0)).bit_length(), 1)
        left_bits = max(int(left.max(initial=0)).bit_length(), 1)
        used = feature_bits + 1 + left_bits
        inside = self.type == "int8_t" and 16 < used <= _WORD - 8
        if used > _WORD:
            raise UserError(
                f"a tree of {len(features):,} splits is too large for C; the largest takes {_WORD} bits a split"
            )
        words = features | ends << feature_bits | left << (feature_bits + 1)
        if inside:
            words |= (thresholds.astype(np.int64) & 0xFF) << (_WORD - 8)
        ctype = "uint16_t" if used <= 16 else "uint32_t"
        apart = "" if inside else self.unit.array(_ORDERED[self.type], self._ordered(thresholds), "thresholds")
        value = f"from[word & {(1 << feature_bits) - 1}u]"
        if self.real:
            self.unit.use("ordered")
        walk = fill(
            _WALK,
            name="$name",
            type=self.type,
            word=ctype,
            value=f"ordered({value})" if self.real else value,
            threshold=f"(int32_t)word >> {_WORD - 8}" if inside else "*threshold",
            parameter="" if inside else f", const {_ORDERED[self.type]} *threshold",
            next="" if inside else "\n            threshold++;",
            skip="" if inside else "\n            threshold += left + 1;",
            left_at=feature_bits + 1,
            left_mask=f"{(1 << left_bits) - 1}u",
            flag_at=feature_bits,
        )
        return self.unit.function(walk, "leaf_of"), self.unit.array(ctype, words, "splits"), apart

    def _ordered(self, thresholds: NDArray[Any]) -> NDArray[Any]:
        """Thresholds as integers in their order."""
        if not self.real:
            return thresholds.astype(np.int64)
        bits = _bits(thresholds)
        return bits ^ (bits >> 31 & 0x7FFFFFFF)


class _Preorder:
    """The splits and the leaves of a tree, each in preorder.

    Attributes:
        features: int64, shape (splits,).
        thresholds: Shape (splits,).
        left: Splits in the left subtree, int64, shape (splits,).
        right_is_leaf: int64, shape (splits,).
        leaves: Their nodes, shape (splits + 1,).
    """

    def __init__(self, tree: Tree) -> None:
        order, leaves, waiting = [], [], [0]
        while waiting:
            node = waiting.pop()
            if tree.left[node] < 0:
                leaves.append(node)
            else:
                order.append(node)
                waiting += [int(tree.right[node]), int(tree.left[node])]
        place = {node: index for index, node in enumerate(order)}
        below = dict.fromkeys(leaves, 0)
        for node in reversed(order):
            below[node] = 1 + below[int(tree.left[node])] + below[int(tree.right[node])]
        self.features = np.array([tree.feature[node] for node in order], np.int64)
        self.thresholds = np.array([tree.threshold[node] for node in order])
        self.left = np.array([below[int(tree.left[node])] for node in order], np.int64)
        self.right_is_leaf = np.array([int(tree.right[node]) not in place for node in order], np.int64)
        self.leaves = np.array(leaves)


def _bits(thresholds: NDArray[Any]) -> NDArray[np.int32]:
    """Floats as integers; 0 for -0, which is as large."""
    return (thresholds.astype(np.float32) + np.float32(0)).view(np.int32)


def _narrowest(numbers: NDArray[Any], signed: bool = False) -> str:
    """The narrowest type that holds integers."""
    kinds = ("int8_t", "int16_t", "int32_t") if signed else ("uint8_t", "uint16_t", "uint32_t")
    limits = (127, 32767) if signed else (255, 65535)
    largest = int(np.abs(numbers).max(initial=0))
    return kinds[sum(largest > limit for limit in limits)]
