"""Counterparts of layers that hold weights. Keras' kernels have the outputs last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.graph import ops
from mcubench.graph.ir import Weight
from mcubench.parity.building.padding import as_same, zero_padding
from mcubench.parity.building.reading import irrelevant
from mcubench.parity.building.site import CannotBuildError, Site, array, build

__all__: list[str] = []


def _biased(kernel: NDArray[Any], bias: Weight | None) -> list[NDArray[Any]]:
    return [kernel] if bias is None else [kernel, array(bias)]


@build.register
def _(op: ops.Dense, at: Site) -> Any:
    kernel = array(op.weight).T
    weights = _biased(kernel, op.bias)
    y = at.layer("Dense", at.x, weights, units=kernel.shape[1], use_bias=op.bias is not None)
    return at.activate(y, op.activation)


@build.register
def _(op: ops.Conv, at: Site) -> Any:
    rank = len(op.kernel)
    dilation = tuple(step if size > 1 else 1 for step, size in zip(op.dilation, op.kernel, strict=True))
    if max(op.stride) > 1 and max(dilation) > 1:
        raise CannotBuildError("Keras has no convolution with a stride and a dilation at once")
    size = at.value.shape[len(at.value.shape) - rank - 1 : -1]
    same = as_same(size, op.kernel, op.stride, dilation, op.padding)
    options: dict[str, Any] = {
        "kernel_size": op.kernel,
        "strides": op.stride,
        "dilation_rate": dilation,
        "padding": "same" if same else "valid",
        "data_format": "channels_last",
        "use_bias": op.bias is not None,
    }
    weight = array(op.weight)  # (outputs, inputs / groups, *kernel)
    kind = f"Conv{rank}D"
    # TensorFlow's depthwise kernel knows one stride for both axes, and there is none in 3D.
    if isinstance(op, ops.DepthwiseConv) and rank < 3 and len(set(op.stride)) == 1:
        kind = f"DepthwiseConv{rank}D"
        multiplier = len(weight) // op.groups
        kernel = np.moveaxis(weight.reshape(op.groups, multiplier, *op.kernel), (0, 1), (-2, -1))
        options["depth_multiplier"] = multiplier
    else:
        kernel = np.moveaxis(weight, (0, 1), (-1, -2))
        options.update(filters=len(weight), groups=op.groups)

    def convolve(x: Any) -> Any:
        padded = x if same else zero_padding(at, x, op.padding)
        return at.layer(kind, padded, _biased(kernel, op.bias), **options)

    return at.activate(at.spatial(convolve, rank), op.activation)


@build.register
def _(op: ops.TransposedConv, at: Site) -> Any:
    weight = array(op.weight)  # (inputs, outputs / groups, *kernel)
    kernel_size = weight.shape[2:]
    rank = len(kernel_size)
    if max(op.dilation) > 1:
        raise CannotBuildError("TensorFlow has no transposed convolution with a dilation on the CPU")
    # Keras has no padding to crop by: all of the output is made, then cut.
    more = tuple(max(0, extra - pad) for extra, pad in zip(op.output_padding, op.padding, strict=True))
    size = at.value.shape[len(at.value.shape) - rank - 1 : -1]
    whole = [
        (length - 1) * stride + kernel + extra
        for length, stride, kernel, extra in zip(size, op.stride, kernel_size, more, strict=True)
    ]
    wanted = at.output.shape[len(at.output.shape) - rank - 1 : -1]
    crop = tuple((pad, full - pad - out) for pad, full, out in zip(op.padding, whole, wanted, strict=True))
    outputs = weight.shape[1]
    options: dict[str, Any] = {
        "filters": outputs,
        "kernel_size": kernel_size,
        "strides": op.stride,
        "padding": "valid",
        "output_padding": more,
        "data_format": "channels_last",
        "use_bias": op.bias is not None,
    }
    if rank == 1:
        options["output_padding"] = more[0]

    def convolve(x: Any) -> Any:
        parts = []
        inputs = len(weight) // op.groups
        for group in range(op.groups):
            of_group = (Ellipsis, slice(group * inputs, (group + 1) * inputs))
            part = x if op.groups == 1 else at.op("get_item", x, of_group)
            kernel = np.moveaxis(weight[group * inputs : (group + 1) * inputs], (0, 1), (-1, -2))
            bias = [] if op.bias is None else [array(op.bias)[group * outputs : (group + 1) * outputs]]
            role = f"{group}" if op.groups > 1 else ""
            parts.append(at.layer(f"Conv{rank}DTranspose", part, [kernel, *bias], role=role, **options))
        y = parts[0] if len(parts) == 1 else at.layer("Concatenate", parts, axis=-1)
        if any(amount for pair in crop for amount in pair):
            layout: dict[str, Any] = {} if rank == 1 else {"data_format": "channels_last"}  # the only one in 1D
            y = at.layer(f"Cropping{rank}D", y, cropping=crop[0] if rank == 1 else crop, **layout)
        return y

    return at.activate(at.spatial(convolve, rank), op.activation)


@build.register
def _(op: ops.BatchNorm, at: Site) -> Any:
    weights = [array(each) for each in (op.weight, op.bias, op.mean, op.variance) if each is not None]
    options: dict[str, Any] = {
        "axis": -1,
        "epsilon": op.eps,
        "momentum": 1 - op.momentum,  # Keras' is what stays, PyTorch's what comes
        "scale": op.weight is not None,
        "center": op.bias is not None,
    }
    return at.spatial(lambda x: at.layer("BatchNormalization", x, weights, **options), op.rank)


@build.register
def _(op: ops.GroupNorm, at: Site) -> Any:
    irrelevant(op, "per_channel")  # a name: as many groups as channels are the same
    weights = [array(each) for each in (op.weight, op.bias) if each is not None]
    options: dict[str, Any] = {
        "groups": op.groups,
        "axis": -1,
        "epsilon": op.eps,
        "scale": op.weight is not None,
        "center": op.bias is not None,
    }
    return at.spatial(lambda x: at.layer("GroupNormalization", x, weights, **options), op.rank)


@build.register
def _(op: ops.LayerNorm, at: Site) -> Any:
    weights = [array(each) for each in (op.weight, op.bias) if each is not None]
    axis = [-1 - each for each in reversed(range(op.rank))]
    options: dict[str, Any] = {"scale": op.weight is not None, "center": op.bias is not None}
    return at.layer("LayerNormalization", at.x, weights, axis=axis, epsilon=op.eps, **options)


@build.register
def _(op: ops.RMSNorm, at: Site) -> Any:
    axes = [-1 - each for each in reversed(range(op.rank))]
    if op.weight is not None:
        return at.layer("RMSNormalization", at.x, [array(op.weight)], axis=axes, epsilon=op.eps)
    mean = at.op("mean", at.op("square", at.x), axis=axes, keepdims=True)
    return at.op("multiply", at.x, at.op("rsqrt", at.op("add", mean, op.eps)))


@build.register
def _(op: ops.PReLU, at: Site) -> Any:
    alpha = array(op.weight).reshape(-1)

    def kernel(x: Any) -> Any:
        rank = len(x.shape) - 1  # one weight stands for all places, or for those of a channel
        shared = list(range(1, rank + 1 if len(alpha) == 1 else rank))
        shape = (*(1,) * (rank - 1), len(alpha))
        return at.layer("PReLU", x, [alpha.reshape(shape)], shared_axes=shared or None)

    return at.spatial(kernel, op.rank)


@build.register
def _(op: ops.Embedding, at: Site) -> Any:
    table = array(op.weight)
    return at.layer("Embedding", at.x, [table], input_dim=table.shape[0], output_dim=table.shape[1])


@build.register
def _(op: ops.MatMul, at: Site) -> Any:
    left, right = op.operands
    if not isinstance(left, Weight) and not isinstance(right, Weight):
        return at.op("matmul", *at.aligned(op.operands))
    axes = "ABCDEFGH"[: max(len(at.value.shape) - 2, 0)]
    weight = left if isinstance(left, Weight) else right
    assert isinstance(weight, Weight)
    if weight is left and weight.tensor.ndim == 1:
        return _weighted_sum(at, f"i,{axes}ij->{axes}j", weight, weight_first=True)
    lead = axes[len(axes) - (weight.tensor.ndim - 2) :] if weight.tensor.ndim > 2 else ""
    if len(at.value.shape) < 2 or weight.tensor.ndim < 2 or len(lead) != weight.tensor.ndim - 2:
        raise CannotBuildError("it broadcasts a weight over more axes than its other factor has")
    if isinstance(left, Weight):
        return _weighted_sum(at, f"{lead}ij,{axes}jk->{axes}ik", weight, weight_first=True)
    return _weighted_sum(at, f"{axes}ij,{lead}jk->{axes}ik", weight, weight_first=False)


@build.register
def _(op: ops.Einsum, at: Site) -> Any:
    terms = op.equation.partition("->")[0].split(",")
    if len(terms) == 2 and isinstance(op.operands[0], Weight) != isinstance(op.operands[1], Weight):
        first = isinstance(op.operands[0], Weight)
        weight = op.operands[0 if first else 1]
        assert isinstance(weight, Weight)
        if set(terms[0 if first else 1]) <= set(terms[1 if first else 0]) | set(op.equation.partition("->")[2]):
            return _weighted_sum(at, op.equation, weight, weight_first=first)
    batch = _free_letter(op.equation)
    out = op.equation.partition("->")[2]
    labels = ",".join(f"{batch}{term}" for term in terms)
    return at.op("einsum", f"{labels}->{batch}{out}", *(at.operand(each) for each in op.operands))


def _free_letter(equation: str) -> str:
    return next(letter for letter in "ZYXWVUT" if letter not in equation)


def _weighted_sum(at: Site, equation: str, weight: Weight, weight_first: bool) -> Any:
    """A product with a weight: Keras has it as a layer, whose kernel is the second factor."""
    terms, _, out = equation.partition("->")
    kernel, x = terms.split(",") if weight_first else reversed(terms.split(","))
    batch = _free_letter(equation)
    return at.layer(
        "EinsumDense",
        at.x,
        [np.ascontiguousarray(array(weight))],
        equation=f"{batch}{x},{kernel}->{batch}{out}",
        output_shape=at.output.shape,
    )
