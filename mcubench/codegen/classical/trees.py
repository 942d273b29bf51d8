"""Trees: a loop over nodes that are stored, or nested tests.

`mcubench.cost.estimators.tree_layout.TreeLayout` says what is stored of a split, and where its children lie.
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
from mcubench.codegen.unit import Function, TreeForm, Unit
from mcubench.errors import UserError

if TYPE_CHECKING:
    from mcubench.quant.classical.kernels.trees import Tree, TreeLayout

__all__: list[str] = []

_NESTED_SPLITS = 200  # up to which tests are code, which takes twice the flash and a third of the instructions
_NESTED_DEPTH = 100  # of blocks; ISO C promises 127
_WORD, _BYTE = 32, 8
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

    Raises:
        UserError: If tests are to be nested and are too deep for it.
    """

    def __init__(self, step: Step, unit: Unit, numbers: Sequence[NDArray[Any]]) -> None:
        kernel: Any = step.kernel
        self.layout: TreeLayout = kernel.layout
        self.trees: Sequence[Tree] = kernel.trees
        self.numbers, self.unit = numbers, unit
        x = source(step)
        self.real = x.real
        # Floats are compared as integers: no core needs an FPU for it.
        self.type = "float_bits" if self.real else x.ctype
        if self.real:
            unit.use("float_bits")
        self.nested = self._is_nested(unit.trees)

    def _is_nested(self, form: TreeForm | None) -> bool:
        depth = max(tree.depth for tree in self.trees)
        if form == "nested" and depth > _NESTED_DEPTH:
            raise UserError(
                f"tests are nested {_NESTED_DEPTH} deep at most, which compilers promise, and a tree has a depth of "
                f"{depth}: store its splits"
            )
        if form is not None:
            return form == "nested"
        return sum(tree.splits for tree in self.trees) <= _NESTED_SPLITS and depth <= _NESTED_DEPTH

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
        layout = self.layout
        leaves = np.concatenate([own[each.leaves] for each, own in zip(layout.trees, self.numbers, strict=True)])
        in_order = np.array_equal(leaves, np.arange(len(leaves)))  # as values of boosted trees mostly are
        numbers = "" if in_order else self.unit.array(_narrowest(leaves), leaves, "leaves")
        walk, splits, thresholds = self._walk(layout)
        if len(layout.trees) == 1:
            given = ["from", splits, *([thresholds] if thresholds else [])]
            leaf = f"{walk}({', '.join(given)})"
            return leaf if in_order else f"{numbers}[{leaf}]"
        starts = layout.starts
        first = self.unit.array("uint16_t" if starts[-1] < 1 << 16 else "int32_t", starts, "starts")
        given = ["from", f"{splits} + {first}[tree]"]
        given += [f"{thresholds} + {first}[tree]"] if thresholds else []
        leaf = f"{walk}({', '.join(given)})"
        if any(not len(each.features) for each in layout.trees):  # a tree that is one leaf has no split to begin at
            leaf = f"({first}[tree] == {first}[tree + 1] ? 0 : {leaf})"
        place = f"{first}[{tree}] + {tree} + {leaf}"
        return f"({place})" if in_order else f"{numbers}[{place}]"

    def _walk(self, layout: TreeLayout) -> tuple[str, str, str]:
        """Names of the function that walks, of the array of splits, and of that of thresholds, if these are apart."""
        features, left, ends, thresholds = (
            np.concatenate([getattr(each, name) for each in layout.trees])
            for name in ("features", "left", "right_is_leaf", "thresholds")
        )
        if layout.used > _WORD:
            raise UserError(
                f"a tree of {len(features):,} splits is too large for C; the largest takes {_WORD} bits a split"
            )
        inside = self.type == "int8_t" and layout.room >= _BYTE
        words = features | ends << layout.feature_bits | left << (layout.feature_bits + 1)
        if inside:
            words |= (thresholds.astype(np.int64) & 0xFF) << (_WORD - _BYTE)
        ctype = f"uint{layout.word_bits}_t"
        apart = "" if inside else self.unit.array(_ORDERED[self.type], self._ordered(thresholds), "thresholds")
        value = f"from[word & {(1 << layout.feature_bits) - 1}u]"
        if self.real:
            self.unit.use("ordered")
        walk = fill(
            _WALK,
            name="$name",
            type=self.type,
            word=ctype,
            value=f"ordered({value})" if self.real else value,
            threshold=f"(int32_t)word >> {_WORD - _BYTE}" if inside else "*threshold",
            parameter="" if inside else f", const {_ORDERED[self.type]} *threshold",
            next="" if inside else "\n            threshold++;",
            skip="" if inside else "\n            threshold += left + 1;",
            left_at=layout.feature_bits + 1,
            left_mask=f"{(1 << layout.left_bits) - 1}u",
            flag_at=layout.feature_bits,
        )
        return self.unit.function(walk, "leaf_of"), self.unit.array(ctype, words, "splits"), apart

    def _ordered(self, thresholds: NDArray[Any]) -> NDArray[Any]:
        """Thresholds as integers in their order."""
        if not self.real:
            return thresholds.astype(np.int64)
        bits = _bits(thresholds)
        return bits ^ (bits >> 31 & 0x7FFFFFFF)


def _bits(thresholds: NDArray[Any]) -> NDArray[np.int32]:
    """Floats as integers; 0 for -0, which is as large."""
    return (thresholds.astype(np.float32) + np.float32(0)).view(np.int32)


def _narrowest(numbers: NDArray[Any], signed: bool = False) -> str:
    """The narrowest type that holds integers."""
    kinds = ("int8_t", "int16_t", "int32_t") if signed else ("uint8_t", "uint16_t", "uint32_t")
    limits = (127, 32767) if signed else (255, 65535)
    largest = int(np.abs(numbers).max(initial=0))
    return kinds[sum(largest > limit for limit in limits)]
