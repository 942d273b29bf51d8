"""Joins arithmetic that depends on one value at a time into one function, and gives well-known ones their names.

However a function is written, as a module, as an operator or as arithmetic, a device computes it once for each code.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mcubench.graph import ops
from mcubench.graph.interpret import interpret
from mcubench.graph.ir import Graph, Input, Node, Op, Value, Weight
from mcubench.graph.passes.rewrite import only_reader, with_nodes

__all__ = ["join_functions"]

_LAYERS = (ops.Dense, ops.Conv, ops.TransposedConv)
_ARITHMETIC = ("add", "sub", "rsub", "mul", "div")

# Functions that are told by their values, the simplest first.
_KNOWN: tuple[ops.Activation, ...] = (
    ops.Activation("relu"),
    ops.Activation("relu6"),
    ops.Activation("sigmoid"),
    ops.Activation("tanh"),
    ops.Activation("abs"),
    ops.Activation("hardswish"),
    ops.Activation("hardsigmoid"),
    ops.Activation("silu"),
    ops.Activation("gelu", ("none",)),
    ops.Activation("gelu", ("tanh",)),
    ops.Activation("mish"),
    ops.Activation("softplus", (1, 20)),
    ops.Activation("elu", (1, 1, 1)),
    ops.Activation("selu"),
)
_WRITTEN = "lifted_tensor_"  # how torch.export begins the name of a tensor that stands in forward itself
_CLAMPS = ("hardtanh", "clamp", "clip", "clamp_min", "clamp_max")
_TOLERANCE = 1e-5  # of single precision, in which two spellings of one function round otherwise


def join_functions(graph: Graph) -> Graph:
    """Joins what follows each other and depends on one value, each element on that at its place.

    So are x * sigmoid(x), a comparison and the cast behind it, or a chain of functions, as long as nobody else reads
    what lies between. A ReLU that a layer can end with stays with the layer.
    """
    while (found := _next(graph)) is not None:
        graph = found
    return with_nodes(graph, [_named(node) for node in graph.nodes])


def _next(graph: Graph) -> Graph | None:
    """The graph with one more function joined; ``None`` if there is none."""
    makers, readers = graph.producers(), only_reader(graph)
    for node in graph.nodes:
        if not _is_pointwise(node):
            continue
        joinable = {
            value: maker
            for value in node.inputs
            if (maker := makers.get(value)) is not None
            and readers.get(maker) is node
            and _is_free(maker, makers, readers)
        }
        if not joinable:
            continue
        roots = {joinable[value].inputs[0] if value in joinable else value for value in node.inputs}
        if len(roots) > 1:
            joinable = _behind_another(node, joinable)
            roots = {joinable[value].inputs[0] if value in joinable else value for value in node.inputs}
        if joinable and len(roots) == 1:
            return _joined(graph, node, list(dict.fromkeys(joinable.values())), roots.pop())
    return None


def _behind_another(node: Node, joinable: Mapping[Value, Node]) -> dict[Value, Node]:
    """Those whose one input the node reads too: x in x * sigmoid(x), where x is made by a function itself."""
    return {value: maker for value, maker in joinable.items() if maker.inputs[0] in node.inputs}


def _is_pointwise(node: Node) -> bool:
    """Whether a node computes each element from those at its place, and constants that are the same everywhere."""
    op = node.op
    if len(node.outputs) != 1 or not node.inputs or any(each.shape != node.output.shape for each in node.inputs):
        return False
    if isinstance(op, (ops.Activation, ops.Function)):
        return True
    alike = (not isinstance(each, Weight) or each.tensor.numel() == 1 for each in getattr(op, "operands", ()))
    return isinstance(op, ops.Elementwise) and all(alike)


def _is_free(maker: Node, makers: Mapping[Value, Node], readers: Mapping[Node, Node]) -> bool:
    """Whether a node that reads one value may become part of another: a ReLU that a layer can end with may not."""
    if not _is_pointwise(maker) or len(set(maker.inputs)) != 1:
        return False
    before = makers.get(maker.inputs[0])
    fusible = isinstance(maker.op, ops.Activation) and maker.op.kind in ops.FUSIBLE
    if not fusible or before is None or readers.get(before) is not maker:
        return True
    return not (isinstance(before.op, _LAYERS) or _combines(before))


def _combines(node: Node) -> bool:
    return isinstance(node.op, ops.Elementwise) and len(set(node.inputs)) > 1


def _joined(graph: Graph, node: Node, makers: list[Node], root: Value) -> Graph:
    """A node with those that make what it reads."""
    body = Graph((*(each for maker in makers for each in _steps(maker)), *_steps(node)), (root,), (node.output,))
    calls = (*(call for maker in makers for call in maker.calls), *node.calls)
    function = replace(node, op=ops.Function(body), inputs=(root,), calls=calls)
    nodes = [function if each is node else each for each in graph.nodes if each not in makers]
    return with_nodes(graph, nodes)


def _steps(node: Node) -> tuple[Node, ...]:
    """What a node computes one after the other, with constants that broadcast with anything."""
    op = node.op
    if isinstance(op, ops.Function):
        return op.body.nodes
    if isinstance(op, ops.Elementwise):
        scalars = (each.derive(each.tensor.reshape(())) if isinstance(each, Weight) else each for each in op.operands)
        op = replace(op, operands=tuple(scalars))
    return (replace(node, op=op, calls=()),)


def _named(node: Node) -> Node:
    """A node whose function has a name, by that; one of a single value that no kernel has, as a function."""
    op = node.op
    if isinstance(op, ops.Activation) and op.kind in _CLAMPS and node.output.dtype.is_floating_point:
        return replace(node, op=_clamp(op))
    if isinstance(op, ops.Elementwise) and _is_pointwise(node) and len(set(node.inputs)) == 1 and not _is_kernels(op):
        op = ops.Function(Graph(_steps(node), (node.inputs[0],), (node.output,)))
        node = replace(node, op=op, inputs=node.inputs[:1])
    if isinstance(op, ops.Function) and node.output.dtype.is_floating_point and node.inputs[0].dtype.is_floating_point:
        return replace(node, op=_known(op) or op)
    return node


def _is_kernels(op: ops.Elementwise) -> bool:
    """Whether a kernel computes it: a sum, a difference or a product with a constant."""
    kind = op.kind.partition(".")[0]
    constants = sum(not isinstance(each, Input) for each in op.operands[:2])
    return kind in _ARITHMETIC and constants == 1 and not (kind == "div" and not isinstance(op.operands[0], Input))


def _clamp(op: ops.Activation) -> ops.Activation:
    given: list[object] = [*op.parameters, None, None]
    low, high = (None, given[0]) if op.kind == "clamp_max" else (given[0], given[1])
    return ops.Activation("clamp", tuple(None if each is None else float(each) for each in (low, high)))  # type: ignore[arg-type]


def _known(op: ops.Function) -> ops.Activation | None:
    """The well-known function that has the same values, or the clamp; not if it has parameters, which change."""
    sources = (each for node in op.body.nodes for _, weight in node.op.weights() for each in weight.sources)
    if not all(each.rpartition(".")[2].startswith(_WRITTEN) for each in sources):
        return None
    x = _samples()
    y = interpret(op.body, x)[0]
    if y.shape != x.shape or not bool(y.isfinite().all()):
        return None
    for known in _KNOWN:
        if torch.allclose(y, _values(known), _TOLERANCE, _TOLERANCE):
            return known
    low, high = float(y.min()), float(y.max())
    if low < high and torch.equal(y, x.clamp(low, high)):
        ends = (None if low == float(x.min()) else low, None if high == float(x.max()) else high)
        return ops.Activation("clamp", ends)
    return None


@functools.cache
def _samples() -> Tensor:
    return torch.cat([torch.linspace(-12, 12, 2401), torch.tensor([-80.0, -30.0, 30.0, 80.0])])


@functools.cache
def _values(op: Op) -> Tensor:
    x = Value("x", (), torch.float32)
    y = Value("y", (), torch.float32)
    found: Tensor = interpret(Graph((Node("y", op, (x,), (y,), ""),), (x,), (y,)), _samples())[0]
    return found
