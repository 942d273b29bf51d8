"""Where kernels round otherwise than floats between QuantizeLinear and DequantizeLinear do, and what makes them agree.

A code that is one off is nothing by itself, but a mean keeps the grid of what it reads, as do the parts of a
concatenation, and what comes after them may stretch their few codes over many of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mcubench.export.amplification import amplification
from mcubench.graph import Graph, Node, Op, Value, Weight, ops
from mcubench.graph.ir import Input
from mcubench.quant.composition import composed
from mcubench.quant.fixed_point import multiplier_of
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import Constant, IntegerGraph, IntegerNode

__all__ = ["as_kernels_round"]

_ARITHMETIC = {kernels.Add: "add.Tensor", kernels.Subtract: "sub.Tensor", kernels.Multiply: "mul.Tensor"}
_LAYERS = (ops.Dense, ops.Conv, ops.TransposedConv)
_ALLOWED = 2  # steps that an output may be off
_LOOKED_UP = (kernels.HardSwish, kernels.LeakyRelu)  # functions whose kernels do not round to the nearest code


def as_kernels_round(graph: Graph, integer: IntegerGraph) -> Graph:
    """A float graph that comes to the kernels' codes when its values and weights are rounded to the grids.

    - Biases and constants are those that int32 and int8 hold.
    - AVERAGE_POOL_2D rounds halves away from code 0, floats to even. Means are of codes, less their zero point: sums of
      whole numbers are exact, so that a half stays one.
    - Rescaling rounds twice, first to a fraction of a code and then to a code, which takes some that are just below a
      half away from 0. A layer that ends with a ReLU has that in its bias. Others have it, and functions that round
      still otherwise are tables, only where a step may become more than two of an output: elsewhere such operators
      would hide the usual pattern from those who look for it.

    Args:
        graph: The deployed graph that the integer graph was made from.
        integer: The integer graph.
    """
    made = _by_name(integer)
    amplified = {name for name, steps in amplification(integer).items() if steps > _ALLOWED}
    nodes: list[Node] = []
    for node in composed(graph).nodes:
        ours = made.get(node.name)
        if ours is None:
            nodes += _concatenation(node, integer) if isinstance(node.op, ops.Concat) else [node]
        else:
            nodes += _rounded(node, ours, ours.output.name in amplified)
    return replace(graph, nodes=tuple(nodes))


def _by_name(integer: IntegerGraph) -> dict[str, IntegerNode]:
    """What computes each node whose kernel rounds in a way of its own; of several kernels of a layer, the layer."""
    kinds = (*_ARITHMETIC, *_LOOKED_UP, kernels.AveragePool)
    found = {node.name: node for node in integer.nodes if isinstance(node.kernel, kinds)}
    return found | {node.name: node for node in integer.nodes if any(node.kernel.filters())}


def _rounded(node: Node, made: IntegerNode, amplified: bool) -> list[Node]:
    op, kernel = node.op, made.kernel
    if isinstance(kernel, kernels.AveragePool):
        return _mean(node, made.output.grid, math.prod(kernel.window))
    if isinstance(kernel, _LOOKED_UP):
        return _looked_up(node, made, kernel) if amplified else [node]
    if isinstance(op, ops.Elementwise):
        return _arithmetic(node, op, made, amplified)
    return _layer(node, made, amplified)


class _Steps:
    """Nodes that stand for one."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.nodes: list[Node] = []

    def emit(
        self,
        op: Op,
        *inputs: Value,
        target: Value | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Value:
        """Adds a node; by default its value is like the first input."""
        name, like = f"{self.node.name}.rounding{len(self.nodes)}", inputs[0]
        made = target or Value(name, like.shape if shape is None else shape, dtype or like.dtype)
        self.nodes.append(Node(name, op, inputs, (made,), self.node.path))
        return made

    def arithmetic(self, kind: str, x: Value, other: Value | Weight | float, target: Value | None = None) -> Value:
        """Adds a sum, difference, product or quotient."""
        if isinstance(other, Value):
            return self.emit(ops.Elementwise(f"{kind}.Tensor", (Input(0), Input(1))), x, other, target=target)
        return self.emit(ops.Elementwise(f"{kind}.Tensor", (Input(0), other)), x, target=target)

    def function(self, kind: str, x: Value) -> Value:
        """Adds a function of elements."""
        return self.emit(ops.Activation(kind), x)

    def codes(self, x: Value, grid: Grid) -> Value:
        """Adds what brings values of a grid to codes, less the zero point, as floats."""
        return self.function("round", self.arithmetic("div", x, grid.scale))

    def away_from_zero(self, x: Value, amount: Tensor, target: Value | None = None) -> Value:
        """Adds what moves values away from 0, by an amount for each channel."""
        step = self.arithmetic("mul", self.function("sign", x), Weight(f"{self.node.name}.amount", amount))
        return self.arithmetic("add", x, step, target)

    def itself(self, op: Op | None = None, inputs: Sequence[Value] | None = None) -> Value:
        """Adds the node, whose result is not yet what others read."""
        node, old = self.node, self.node.output
        raw = Value(f"{old.name}.raw", old.shape, old.dtype)
        read = node.inputs if inputs is None else tuple(inputs)
        self.nodes.append(replace(node, op=op or node.op, inputs=read, outputs=(raw, *node.outputs[1:])))
        return raw


def _mean(node: Node, grid: Grid, count: int) -> list[Node]:
    """A mean of codes, halves away from code 0."""
    steps = _Steps(node)
    mean = steps.itself(inputs=[steps.codes(node.inputs[0], grid)])
    code = steps.arithmetic("add", mean, float(grid.zero_point))
    # Other means are farther below a half than twice this, and floats are nearer to theirs.
    nudge = 1 / (4 * count)
    size = steps.function("floor", steps.arithmetic("add", steps.function("abs", code), 0.5 + nudge))
    whole = steps.arithmetic("mul", size, steps.function("sign", code))
    steps.arithmetic("mul", steps.arithmetic("sub", whole, float(grid.zero_point)), grid.scale, node.output)
    return steps.nodes


def _layer(node: Node, made: IntegerNode, amplified: bool) -> list[Node]:
    """A layer with the bias that its kernel adds, and with double rounding."""
    op, bias = node.op, getattr(made.kernel, "bias", None)
    (filter_,) = made.kernel.filters()
    amount = _second_rounding(filter_.scales.double() * made.inputs[0].grid.scale, made.output.grid)
    held = (bias.codes.double() * bias.scales.double()).float() if bias else torch.zeros(len(amount))
    if isinstance(op, ops.BatchNorm):
        node = replace(node, op=_plain(op, filter_.name, filter_.codes.flatten() * filter_.scales, held))
    elif isinstance(op, _LAYERS) and op.activation in ("relu", "relu6"):
        name = bias.name if bias else f"{op.weight.name}.bias"
        return [replace(node, op=replace(op, bias=Weight(name, held + amount)))]
    elif isinstance(op, _LAYERS) and bias is not None:
        node = replace(node, op=replace(op, bias=Weight(bias.name, held)))
    return _moved(node, amount) if amplified else [node]


def _plain(op: ops.BatchNorm, name: str, scale: Tensor, shift: Tensor) -> ops.BatchNorm:
    """A batch norm that multiplies and adds what the kernel does."""
    named = functools.partial(Weight, f"{name}.folded")
    return replace(
        op,
        weight=named(scale),
        bias=named(shift),
        mean=named(torch.zeros_like(scale)),
        variance=named(torch.full_like(scale, 1 - op.eps)),
    )


def _arithmetic(node: Node, op: ops.Elementwise, made: IntegerNode, amplified: bool) -> list[Node]:
    """Arithmetic as its kernel does it: a constant on its grid, a division as the product with the inverse."""
    if any(isinstance(each, Constant) for each in made.inputs):
        given = op.operands[1::-1] if op.kind.startswith("rsub") else op.operands
        pairs = zip(given, made.inputs, strict=True)
        operands = tuple(_held(read, each) if isinstance(read, Constant) else each for each, read in pairs)
        node = replace(node, op=ops.Elementwise(_ARITHMETIC[type(made.kernel)], operands, (), op.activation))
    if not (amplified and isinstance(made.kernel, kernels.Multiply)):  # sums have bits to spare
        return [node]
    scale = math.prod(each.grid.scale for each in made.inputs)
    return _moved(node, _second_rounding(torch.tensor([scale], dtype=torch.float64), made.output.grid))


def _held(constant: Constant, given: object) -> Weight:
    """What int8 holds of an operand, in its shape."""
    shape = given.tensor.shape if isinstance(given, Weight) else ()
    return Weight(constant.name, constant.grid.values(constant.codes).reshape(shape))


def _looked_up(node: Node, made: IntegerNode, kernel: kernels.HardSwish | kernels.LeakyRelu) -> list[Node]:
    """A function as a table of what its kernel gives for each code."""
    steps, (source,) = _Steps(node), node.inputs
    read, written = made.inputs[0].grid, made.output.grid
    results = written.values(kernel.table(torch.arange(ACTIVATION_MIN, ACTIVATION_MAX + 1), read, written))
    row = steps.arithmetic("add", steps.codes(source, read), float(read.zero_point - ACTIVATION_MIN))
    index = steps.emit(ops.Activation("cast", ("int64",)), row, dtype=torch.int64)
    table = ops.Embedding(Weight(f"{node.name}.table", results[:, None]))
    found = steps.emit(table, index, shape=(*source.shape, 1), dtype=source.dtype)
    steps.emit(ops.Reshape(node.output.shape), found, target=node.output)
    return steps.nodes


def _concatenation(node: Node, integer: IntegerGraph) -> list[Node]:
    """A concatenation whose parts are rescaled to its grid, one by one."""
    rescaled = {each.output.name: each for each in integer.nodes if isinstance(each.kernel, kernels.Requantize)}
    steps, inputs = _Steps(node), list(node.inputs)
    for place, part in enumerate(node.inputs):
        if (made := rescaled.get(f"{part.name}.{node.name}")) is not None:
            scale = torch.tensor([made.inputs[0].grid.scale], dtype=torch.float64)
            inputs[place] = steps.away_from_zero(part, _second_rounding(scale, made.output.grid))
    return [*steps.nodes, replace(node, inputs=tuple(inputs))]


def _moved(node: Node, amount: Tensor) -> list[Node]:
    """The node, its results moved away from 0."""
    steps = _Steps(node)
    steps.away_from_zero(steps.itself(), amount, node.output)
    return steps.nodes


def _second_rounding(scales: Tensor, target: Grid) -> Tensor:
    """How far below a half rescaling from scales to a grid still rounds away from 0, float32, by channel."""
    exponents = [multiplier_of(float(scale) / target.scale)[1] for scale in scales]
    return torch.tensor([target.scale * 2.0 ** (each - 1) if each < 0 else 0.0 for each in exponents])
