"""Runs a graph in float: the witness that lowering and passes keep what the module computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Input, Op, Operand, Unknown, Value, Weight
from mcubench.graph.places import padded_places

__all__ = ["interpret"]


class _Context:
    """What the kernels need beside the op: the tensors that the node reads, and the layout."""

    def __init__(self, inputs: list[Tensor], output: Value, channels_last: bool) -> None:
        self.inputs = inputs
        self.output = output
        self.channels_last = channels_last

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    def operands(self, operands: tuple[Operand, ...]) -> list[Any]:
        """Operands with the batch in front, and as many axes, so that they broadcast as one sample's do."""
        weights = [each.tensor.ndim for each in operands if isinstance(each, Weight)]
        rank = max([each.ndim - 1 for each in self.inputs] + weights + [0])
        found: list[Any] = []
        for each in operands:
            if isinstance(each, Input):
                tensor = self.inputs[each.index]
                found.append(tensor.reshape(tensor.shape[0], *(1,) * (rank + 1 - tensor.ndim), *tensor.shape[1:]))
            else:
                found.append(each.tensor if isinstance(each, Weight) else each)
        return found

    def spatial(self, kernel: Callable[[Tensor], Tensor], rank: int) -> Tensor:
        """Applies a kernel that wants (N, channels, *spatial)."""
        x = self.x.movedim(-1, -1 - rank) if self.channels_last else self.x
        lead = x.shape[: x.ndim - rank - 1]
        y = kernel(x.reshape(-1, *x.shape[len(lead) :]))
        y = y.reshape(*lead, *y.shape[1:])
        return y.movedim(-1 - rank, -1) if self.channels_last else y


@functools.singledispatch
def _run(op: Op, at: _Context) -> Tensor | tuple[Tensor, ...]:
    raise NotImplementedError(f"{op.label} can't be run")


def interpret(
    graph: Graph,
    *inputs: Tensor,
    every: bool = False,
    settle: Callable[[Value, Tensor], Tensor] = lambda _value, tensor: tensor,
    layers: Mapping[str, Callable[[Tensor], tuple[Tensor, ...]]] | None = None,
) -> Any:
    """Runs a graph on a batch.

    Args:
        graph: A graph without unknown nodes.
        *inputs: For each input of the graph a tensor (N, *shape); the batch is always in front.
        every: Return all values, not only the outputs.
        settle: What becomes of a value before others read it: rounding, say. Inputs are values too.
        layers: What computes some nodes instead, of their first input, by name of the node's first output.

    Returns:
        A tuple of outputs; with `every`, a dict of all values by name.

    Raises:
        NotImplementedError: If a node can't be run.
    """
    if unknown := graph.unknown():
        raise NotImplementedError(f"{unknown[0].op.label} at {unknown[0].path or '(root)'} can't be run")
    with torch.no_grad():
        found = {value: settle(value, x) for value, x in zip(graph.inputs, inputs, strict=True)}
        for node in graph.nodes:
            at = _Context([found[value] for value in node.inputs], node.output, graph.layout == "channels_last")
            other = (layers or {}).get(node.output.name)
            results = _run(node.op, at) if other is None else other(at.x)
            results = results if isinstance(results, tuple) else (results,)
            found.update((value, settle(value, y)) for value, y in zip(node.outputs, results, strict=True))
    if every:
        return {value.name: tensor for value, tensor in found.items()}
    return tuple(found[value] for value in graph.outputs)


def _tensor(weight: Weight | None) -> Tensor | None:
    return None if weight is None else weight.tensor


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "relu_n1_to_1": lambda x: x.clamp(-1, 1),
}


def _activate(x: Tensor, kind: str | None) -> Tensor:
    return x if kind is None else _FUNCTIONS[kind](x)


@_run.register
def _(op: ops.Dense, at: _Context) -> Tensor:
    return _activate(F.linear(at.x, op.weight.tensor, _tensor(op.bias)), op.activation)


@_run.register
def _(op: ops.Conv, at: _Context) -> Tensor:
    rank = len(op.kernel)
    around = [amount for pair in reversed(op.padding) for amount in pair]
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]

    def kernel(x: Tensor) -> Tensor:
        padded = F.pad(x, around)
        return convolve(padded, op.weight.tensor, _tensor(op.bias), op.stride, 0, op.dilation, op.groups)

    return _activate(at.spatial(kernel, rank), op.activation)


@_run.register
def _(op: ops.TransposedConv, at: _Context) -> Tensor:
    rank = op.weight.tensor.ndim - 2
    convolve = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[rank]
    kernel = functools.partial(
        convolve,
        weight=op.weight.tensor,
        bias=_tensor(op.bias),
        stride=op.stride,
        padding=op.padding,
        output_padding=op.output_padding,
        groups=op.groups,
        dilation=op.dilation,
    )
    return _activate(at.spatial(kernel, rank), op.activation)


@_run.register
def _(op: ops.Pool, at: _Context) -> Tensor:
    rank = len(op.kernel)
    padding = tuple(before for before, _ in op.padding)
    if op.kind == "max":
        pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
        return at.spatial(lambda x: pool(x, op.kernel, op.stride, padding, op.dilation, op.ceil_mode), rank)
    average = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    return at.spatial(lambda x: average(x, op.kernel, op.stride, padding, op.ceil_mode, op.count_include_pad), rank)


@_run.register
def _(op: ops.AdaptivePool, at: _Context) -> Tensor:
    name = f"adaptive_{'max' if op.kind == 'max' else 'avg'}_pool{len(op.size)}d"
    return at.spatial(lambda x: getattr(F, name)(x, op.size), len(op.size))


@_run.register
def _(op: ops.BatchNorm, at: _Context) -> Tensor:
    def kernel(x: Tensor) -> Tensor:
        statistics = (op.mean.tensor, op.variance.tensor, _tensor(op.weight), _tensor(op.bias))
        return F.batch_norm(x, *statistics, eps=op.eps)

    return at.spatial(kernel, op.rank)


@_run.register
def _(op: ops.GroupNorm, at: _Context) -> Tensor:
    def kernel(x: Tensor) -> Tensor:
        return F.group_norm(x, op.groups, _tensor(op.weight), _tensor(op.bias), op.eps)

    return at.spatial(kernel, op.rank)


@_run.register
def _(op: ops.PReLU, at: _Context) -> Tensor:
    return at.spatial(lambda x: F.prelu(x, op.weight.tensor), op.rank)


@_run.register
def _(op: ops.RMSNorm, at: _Context) -> Tensor:
    return F.rms_norm(at.x, at.x.shape[at.x.ndim - op.rank :], _tensor(op.weight), op.eps)


@_run.register
def _(op: ops.LayerNorm, at: _Context) -> Tensor:
    return F.layer_norm(at.x, at.x.shape[at.x.ndim - op.rank :], _tensor(op.weight), _tensor(op.bias), op.eps)


@_run.register
def _(_op: ops.RowMean, at: _Context) -> Tensor:
    return at.x.mean(-1, keepdim=True)


@_run.register
def _(op: ops.UnitRow, at: _Context) -> Tensor:
    return at.x / (at.x.square().sum(-1, keepdim=True) + op.floor).sqrt()


@_run.register
def _(op: ops.Activation, at: _Context) -> Tensor:
    if op.kind in _FUNCTIONS:
        return _activate(at.x, op.kind)
    if op.kind == "cast":
        return at.x.to(getattr(torch, str(op.parameters[0])))
    operator = getattr(torch.ops.aten, op.kind).default
    names = [argument.name for argument in operator._schema.arguments if argument.kwarg_only]
    plain = len(op.parameters) - len(names)
    result: Tensor = operator(at.x, *op.parameters[:plain], **dict(zip(names, op.parameters[plain:], strict=True)))
    return result


@_run.register
def _(op: ops.Elementwise, at: _Context) -> Tensor:
    name, _, overload = op.kind.partition(".")
    operator = getattr(getattr(torch.ops.aten, name), overload)
    return _activate(operator(*at.operands(op.operands), **dict(op.keywords)), op.activation)


@_run.register
def _(op: ops.Function, at: _Context) -> Tensor:
    result: Tensor = interpret(op.body, at.x)[0]
    return result


@_run.register
def _(op: ops.Softmax, at: _Context) -> Tensor:
    x = at.x
    if op.causal:
        x = x.masked_fill(torch.ones(x.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
    return (F.log_softmax if op.log else F.softmax)(x, op.axis + 1)


@_run.register
def _(op: ops.MatMul, at: _Context) -> Tensor:
    left, right = at.operands(op.operands)
    return torch.as_tensor(left @ right)


@_run.register
def _(op: ops.Einsum, at: _Context) -> Tensor:
    terms, _, out = op.equation.partition("->")
    batch = next(letter for letter in "ZYXWVU" if letter not in op.equation)
    labels = [
        f"{batch}{label}" if isinstance(each, Input) else label
        for label, each in zip(terms.split(","), op.operands, strict=True)
    ]
    tensors = [
        at.inputs[each.index] if isinstance(each, Input) else each.tensor
        for each in op.operands
        if isinstance(each, (Input, Weight))
    ]
    return torch.einsum(f"{','.join(labels)}->{batch}{out}", *tensors)


@_run.register
def _(op: ops.Embedding, at: _Context) -> Tensor:
    return F.embedding(at.x, op.weight.tensor)


@_run.register
def _(op: ops.Concat, at: _Context) -> Tensor:
    batch = at.x.shape[0]
    parts = [
        each.tensor.expand(batch, *each.tensor.shape) if isinstance(each, Weight) else at.inputs[each.index]
        for each in op.operands
        if isinstance(each, (Input, Weight))
    ]
    return torch.cat(parts, op.axis + 1)


@_run.register
def _(op: ops.Reshape, at: _Context) -> Tensor:
    return at.x.reshape(at.x.shape[0], *op.shape)


@_run.register
def _(op: ops.Permute, at: _Context) -> Tensor:
    return at.x.permute(0, *(axis + 1 for axis in op.axes))


@_run.register
def _(op: ops.Slice, at: _Context) -> Tensor:
    return at.x[(slice(None),) * (op.axis + 1) + (slice(op.start, op.stop, op.step),)]


@_run.register
def _(op: ops.Select, at: _Context) -> Tensor:
    return at.x.select(op.axis + 1, op.index)


@_run.register
def _(op: ops.Take, at: _Context) -> Tensor:
    return at.x.index_select(op.axis + 1, op.indices.tensor)


@_run.register
def _(op: ops.Pad, at: _Context) -> Tensor:
    around = [amount for pair in reversed(op.padding) for amount in pair]
    if op.mode == "constant":
        return F.pad(at.x, around, value=op.value)
    x = at.x
    for axis, (before, after) in enumerate(op.padding, 1):
        x = x.index_select(axis, torch.tensor(padded_places(op.mode, x.shape[axis], before, after)))
    return x


@_run.register
def _(op: ops.Expand, at: _Context) -> Tensor:
    x = at.x
    return x.reshape(x.shape[0], *(1,) * (len(op.shape) + 1 - x.ndim), *x.shape[1:]).expand(x.shape[0], *op.shape)


@_run.register
def _(op: ops.Repeat, at: _Context) -> Tensor:
    return at.x.repeat(1, *op.repeats)


@_run.register
def _(op: ops.Reduce, at: _Context) -> Tensor:
    axes = tuple(axis + 1 for axis in op.axes)
    if op.kind.startswith("norm"):
        norm: Tensor = torch.linalg.vector_norm(at.x, int(op.kind[4:]), axes, op.keepdim)
        return norm
    if op.kind in ("var", "std"):
        spread: Tensor = getattr(torch, op.kind)(at.x, axes, correction=op.correction, keepdim=op.keepdim)
        return spread
    function = getattr(torch, op.kind)
    if op.kind in ("argmax", "argmin", "prod"):
        x = at.x if len(axes) == 1 else at.x.flatten(1)
        one: Tensor = function(x, axes[0] if len(axes) == 1 else 1, op.keepdim)
        return one
    reduced: Tensor = function(at.x, axes, op.keepdim)
    return reduced


@_run.register
def _(op: ops.Resize, at: _Context) -> Tensor:
    def kernel(x: Tensor) -> Tensor:
        x = x.contiguous()  # the nearest neighbour depends on the order in memory (UpSampleKernel.cpp)
        if op.scales:
            return F.interpolate(x, scale_factor=list(op.scales), mode=op.mode, align_corners=op.align_corners)
        return F.interpolate(x, op.size, mode=op.mode, align_corners=op.align_corners)

    return at.spatial(kernel, len(op.size))


@_run.register
def _(op: ops.Recurrent, at: _Context) -> tuple[Tensor, ...]:
    name = f"rnn_{op.nonlinearity}" if isinstance(op, ops.RNN) else type(op).__name__.lower()
    operator = getattr(torch, name)
    weights = [tensor for cell in op.cells for each in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
               if (tensor := _tensor(each)) is not None]  # fmt: skip
    zeros = torch.zeros(len(op.cells), op.hidden)
    state = [
        (each.tensor if isinstance(each, Weight) else zeros)[:, None].expand(-1, len(at.x), -1).contiguous()
        for each in op.state
    ]
    initial = state if isinstance(op, ops.LSTM) else state[0]
    biased = op.cells[0].bias_ih is not None
    sequence, *last = operator(at.x, initial, weights, biased, 1, 0.0, False, len(op.cells) > 1, True)
    return sequence, *(each.transpose(0, 1) for each in last)


@_run.register
def _(op: ops.RecurrentCell, at: _Context) -> tuple[Tensor, ...]:
    operator = getattr(torch, op.kind)
    cell = op.cell
    x, *state = at.operands(op.operands)
    state = [each.expand(len(x), -1) for each in state]
    weights = (cell.weight_ih.tensor, cell.weight_hh.tensor, _tensor(cell.bias_ih), _tensor(cell.bias_hh))
    results = operator(x, state if op.kind == "lstm_cell" else state[0], *weights)
    return results if isinstance(results, tuple) else (results,)


@_run.register
def _(op: ops.FakeQuantize, at: _Context) -> Tensor:
    return at.x if op.grid is None else torch.fake_quantize_per_tensor_affine(at.x, *op.grid)


@_run.register
def _(op: Unknown, at: _Context) -> Tensor:
    raise NotImplementedError(f"{op.label} can't be run")
