"""Folds batch norm, and everything else that scales and shifts channels, into the layer before it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Input, Node, Op, Weight
from mcubench.graph.passes.rewrite import joined, only_reader, with_nodes

__all__ = ["fold_batch_norm", "scale_and_shift"]

Layer = ops.Dense | ops.Conv | ops.TransposedConv


def fold_batch_norm(graph: Graph) -> Graph:
    """Folds y = scale * layer(x) + shift into the layer's weight and bias, wherever nobody else reads layer(x).

    So it is done for batch norm with its training statistics, and for products and sums with constants by channel,
    which modules prepared for quantisation-aware training have around their convolutions.
    """
    readers = only_reader(graph)
    dropped = set()
    known: dict[tuple[object, ...], tuple[Weight, Weight]] = {}  # a layer and norm that are used twice are stored once
    nodes = []
    for each in graph.nodes:
        if each in dropped:
            continue
        node = each
        following = readers.get(each)
        while following is not None and isinstance(node.op, Layer) and node.op.activation is None:
            affine = _affine(following, _channel_axis(node))
            if affine is None:
                break
            key = (node.op.weight.stored, node.op.bias and node.op.bias.stored, *_contents(following.op))
            if key not in known:
                known[key] = _folded(node.op, *affine, following)
            weight, bias = known[key]
            node = joined(node, following, replace(node.op, weight=weight, bias=bias))
            dropped.add(following)
            following = readers.get(following)
        nodes.append(node)
    return with_nodes(graph, nodes)


def scale_and_shift(op: ops.BatchNorm) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies each channel by, and then adds: shapes (channels,), in double precision."""
    scale = (op.variance.tensor.double() + op.eps).rsqrt()
    if op.weight is not None:
        scale = scale * op.weight.tensor
    shift = -op.mean.tensor * scale
    return scale, shift if op.bias is None else shift + op.bias.tensor


def _contents(op: Op) -> tuple[object, ...]:
    """What tells an operation from others that compute something else."""
    fields = (each for value in vars(op).values() for each in (value if isinstance(value, tuple) else (value,)))
    return type(op), *(each.stored if isinstance(each, Weight) else each for each in fields)


def _channel_axis(node: Node) -> int:
    """Where the layer's output channels stand in its output, channels first, counted from the end."""
    assert isinstance(node.op, Layer)
    return -1 if isinstance(node.op, ops.Dense) else 1 - node.op.weight.tensor.ndim


def _affine(node: Node, channel_axis: int) -> tuple[Tensor, Tensor, tuple[str, ...]] | None:
    """Scale and shift by channel (or of one element) and their sources; ``None`` if the node does something else."""
    op = node.op
    if isinstance(op, ops.BatchNorm) and -1 - op.rank == channel_axis:
        return *scale_and_shift(op), tuple(source for _, weight in op.weights() for source in weight.sources)
    if (
        not isinstance(op, ops.Elementwise)
        or len(op.operands) != 2
        or any(each != ("alpha", 1) for each in op.keywords)
    ):
        return None
    kind = op.kind.partition(".")[0]
    swapped = isinstance(op.operands[1], Input)
    constant = op.operands[0] if swapped else op.operands[1]
    if isinstance(constant, (Input, bool)) or constant is None or (swapped and kind not in ("mul", "add")):
        return None
    by_channel = _by_channel(constant, node.output.shape, channel_axis)
    if by_channel is None or op.activation or node.inputs[0].shape != node.output.shape:
        return None
    sources = constant.sources if isinstance(constant, Weight) else ()
    one, zero = torch.ones(1, dtype=torch.double), torch.zeros(1, dtype=torch.double)
    known = {
        "mul": (by_channel, zero),
        "div": (1 / by_channel, zero),
        "add": (one, by_channel),
        "sub": (one, -by_channel),
    }
    return (*known[kind], sources) if kind in known else None


def _by_channel(constant: Weight | float, shape: tuple[int, ...], channel_axis: int) -> Tensor | None:
    if not isinstance(constant, Weight):
        return torch.tensor([constant], dtype=torch.double)
    tensor = constant.tensor
    if not tensor.is_floating_point() or tensor.ndim > len(shape):
        return None
    axis = len(shape) + channel_axis - (len(shape) - tensor.ndim)
    expected = [1] * tensor.ndim
    if axis >= 0:
        expected[axis] = shape[channel_axis]
    return tensor.double().flatten() if tensor.numel() == 1 or list(tensor.shape) == expected else None


def _folded(op: Layer, scale: Tensor, shift: Tensor, sources: tuple[str, ...], node: Node) -> tuple[Weight, Weight]:
    """Weight and bias with the affine map in them, computed in double precision."""
    weight = op.weight
    kernel = weight.tensor.double()
    if isinstance(op, ops.TransposedConv):  # (inputs, outputs / groups, *kernel)
        grouped = kernel.unflatten(0, (op.groups, -1))
        channels = op.groups * kernel.shape[1]
        factor = scale.expand(channels).reshape(op.groups, 1, -1, *(1,) * (kernel.ndim - 2))
        kernel = (grouped * factor).flatten(0, 1)
    else:
        channels = kernel.shape[0]
        kernel = kernel * scale.expand(channels).reshape(-1, *(1,) * (kernel.ndim - 1))
    offset = shift.expand(channels)
    if op.bias is not None:
        offset = offset + op.bias.tensor * scale
    # A layer that is used twice, with different norms behind it, is two layers after this: the name tells.
    where = node.path or node.name
    dtype = weight.tensor.dtype
    folded = Weight(f"{weight.name} * {where}", kernel.to(dtype), tuple(dict.fromkeys(weight.sources + sources)))
    bias_sources = (op.bias.sources if op.bias else ()) + sources
    bias = Weight(f"{op.bias.name if op.bias else 'bias'} + {where}", offset.to(dtype), bias_sources)
    return folded, bias
