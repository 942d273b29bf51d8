"""Rules for layers that hold weights, and for normalisation."""

from __future__ import annotations

from typing import Any

import torch

from mcubench.readers.onnx.elementwise import add, cast
from mcubench.readers.onnx.reading import At, Known, Value, aten, reads
from mcubench.readers.onnx.windows import padded, windows

__all__ = ["convolved", "product"]

_EXACT = 1 << 24  # integers below it are exact in float32


def _as_float(at: At, *given: Value | None) -> tuple[Any, ...]:
    """Integers as floats, in which the sums of their products are exact.

    ONNX has no products of integers but by operators of their own; files have them all the same, meant exactly.

    Raises:
        UserError: If a sum may be too large to be exact.
    """
    return tuple(None if each is None else cast(at, each, torch.float32) for each in given)


def _largest(at: At, value: Value) -> int:
    """The largest absolute value of integers."""
    if isinstance(value, Known):
        return int(value.tensor.to(torch.int64).abs().max()) if value.tensor.numel() else 0
    info = torch.iinfo(at.dtype(value))
    return max(-info.min, info.max)


def _check_exact(at: At, left: Value, right: Value, terms: int) -> None:
    if torch.bool in (at.dtype(left), at.dtype(right)):
        at.refuse("it multiplies booleans")
    if terms * _largest(at, left) * _largest(at, right) >= _EXACT:
        at.refuse(f"its sums of {terms} products of integers may be too large to be exact in float32")


@reads("Conv")
def _conv(at: At) -> Value:
    return convolved(at, at.value(0), at.value(1), at.optional(2))


def convolved(at: At, x: Value, weight: Value, bias: Value | None) -> Value:
    """A convolution of floats, or an exact one of integers, which makes int32."""
    shape, groups = at.shape(weight), at.attributes["group"]
    if len(shape) < 3 or groups < 1 or shape[0] % groups:
        at.refuse(f"its weights are of shape {shape} and in {groups} groups")
    given = windows(at, x, shape[2:])
    if given.rank > 3:
        at.refuse("its windows have more than three axes")
    exact = not at.is_float(x)
    if exact:
        terms = max(1, torch.Size(shape[1:]).numel())
        _check_exact(at, x, weight, terms)
        x, weight, bias = _as_float(at, x, weight, bias)
    if not given.is_even:
        x, given = padded(at, x, given)
    target = getattr(aten, f"conv{given.rank}d").default
    found = at.call(target, x, weight, bias, list(given.stride), list(given.before), list(given.dilation), groups)
    return cast(at, found, torch.int32) if exact else found


@reads("ConvTranspose")
def _conv_transpose(at: At) -> Value:
    x, weight, bias = at.value(0), at.value(1), at.optional(2)
    shape, groups = at.shape(weight), at.attributes["group"]
    if len(shape) < 3 or groups < 1 or shape[0] % groups:
        at.refuse(f"its weights are of shape {shape} and in {groups} groups")
    given = windows(at, x, shape[2:])
    rank, auto = given.rank, at.attributes["auto_pad"]
    extra = list(at.attributes.get("output_padding") or [0] * rank)
    if rank > 3 or len(extra) != rank or min(extra) < 0:
        at.refuse("its windows have more than three axes, or its output_padding is not for them")
    whole = [
        step * (size - 1) + span + more
        for step, size, span, more in zip(given.stride, at.shape(x)[2:], given.spans, extra, strict=True)
    ]
    sizes = at.attributes.get("output_shape")
    if sizes is None and auto.startswith("SAME"):
        sizes = [step * size for step, size in zip(given.stride, at.shape(x)[2:], strict=True)]
    before, after = list(given.before), list(given.after)
    if sizes is not None:
        surplus = [have - want for have, want in zip(whole, list(sizes)[-rank:], strict=True)]
        if min(surplus) < 0:
            at.refuse("its output_shape is larger than what it computes")
        less = [each // 2 for each in surplus]
        more = [each - each // 2 for each in surplus]
        before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
    even = before == after
    target = aten.conv_transpose1d.default if rank == 1 else getattr(aten, f"conv_transpose{rank}d").input
    found = at.call(
        target, x, weight, bias, list(given.stride), before if even else [0] * rank, extra, groups, list(given.dilation)
    )
    if even:
        return found
    for axis in range(rank):
        if before[axis] + after[axis] >= whole[axis]:
            at.refuse("its pads take away all that it computes")
        found = at.call(aten.slice.Tensor, found, axis + 2, before[axis], whole[axis] - after[axis])
    return found


def product(at: At, left: Value, right: Value) -> Value:
    """A product of matrices of floats, or an exact one of integers, which makes int32."""
    exact = not at.is_float(left)
    if at.dtype(left) != at.dtype(right) and not exact:
        at.refuse("its operands are of different types")
    if exact:
        _check_exact(at, left, right, at.shape(left)[-1] if at.rank(left) else 1)
        left, right = _as_float(at, left, right)
    if isinstance(left, torch.fx.Node) and isinstance(right, Known) and at.rank(right) == 2:
        weight = at.call(aten.permute.default, right, [1, 0])
        found = at.call(aten.linear.default, left, weight)
    else:
        found = _matrices(at, left, right)
    return cast(at, found, torch.int32) if exact else found


def _matrices(at: At, left: Value, right: Value) -> Value:
    """A product, in which a vector is a matrix of one row or column."""
    row, column = at.rank(left) == 1, at.rank(right) == 1
    if row:
        left = at.reshaped(left, (1, *at.shape(left)))
    if column:
        right = at.reshaped(right, (*at.shape(right), 1))
    found = at.call(aten.matmul.default, left, right)
    shape = at.shape(found)
    rows = () if row else shape[-2:-1]
    return at.reshaped(found, (*shape[:-2], *rows, *(() if column else shape[-1:])))


@reads("MatMul")
def _matmul(at: At) -> Value:
    return product(at, at.value(0), at.value(1))


@reads("Gemm")
def _gemm(at: At) -> Value:
    left, right, bias = at.value(0), at.value(1), at.optional(2)
    alpha, beta = at.attributes["alpha"], at.attributes["beta"]
    if at.rank(left) != 2 or at.rank(right) != 2 or not at.is_float(left):
        at.refuse("its operands are no matrices of floats")
    if at.attributes["transA"]:
        left = at.call(aten.permute.default, left, [1, 0])
    if bias is not None and beta != 1:
        bias = at.call(aten.mul.Tensor, bias, beta)
    if isinstance(left, Known) or not isinstance(right, Known):
        if at.attributes["transB"]:
            right = at.call(aten.permute.default, right, [1, 0])
        found = at.call(aten.matmul.default, left, right)
        found = found if alpha == 1 else at.call(aten.mul.Tensor, found, alpha)
        return found if bias is None else add(at, found, bias)
    weight = right if at.attributes["transB"] else at.call(aten.permute.default, right, [1, 0])
    if alpha != 1:
        weight = at.call(aten.mul.Tensor, weight, alpha)
    outputs = at.shape(weight)[0]
    if (
        isinstance(bias, Known)
        and bias.tensor.numel() in (1, outputs)
        and at.shape(bias)[-1:] in ((), (1,), (outputs,))
    ):
        flat = at.reshaped(bias, (bias.tensor.numel(),))
        flat = flat if at.shape(flat) == (outputs,) else at.call(aten.expand.default, flat, [outputs])
        return at.call(aten.linear.default, left, weight, flat)
    found = at.call(aten.linear.default, left, weight)
    return found if bias is None else add(at, found, bias)


@reads("Einsum")
def _einsum(at: At) -> Value:
    given = at.given()
    if not all(map(at.is_float, given)):
        at.refuse("it multiplies integers")
    return at.call(aten.einsum.default, at.attributes["equation"], given)


@reads("BatchNormalization")
def _batch_norm(at: At) -> Value:
    given = at.attributes
    if given.get("training_mode") or (at.opset < 7 and not given["is_test"]):
        at.refuse("it normalises with the statistics of the batch, as in training")
    if not given.get("spatial", 1):
        at.refuse("it has statistics for each element (spatial=0)")
    x, weight, bias, mean, variance = (at.value(index) for index in range(5))
    if at.rank(x) < 2:
        at.refuse("its input has no channels")
    return at.call(aten.batch_norm.default, x, weight, bias, mean, variance, False, 0.1, given["epsilon"], False)


@reads("InstanceNormalization")
def _instance_norm(at: At) -> Value:
    x, weight, bias = (at.value(index) for index in range(3))
    if at.rank(x) < 3:
        at.refuse("its input has no axes beside batch and channels")
    return at.call(aten.instance_norm.default, x, weight, bias, None, None, True, 0.1, at.attributes["epsilon"], False)


@reads("LayerNormalization")
def _layer_norm(at: At) -> tuple[Value | None, ...]:
    x, weight, bias, eps = at.value(0), at.value(1), at.optional(2), at.attributes["epsilon"]
    if at.attributes["stash_type"] != 1:
        at.refuse("it does not compute in float32")
    axis = at.axis(x, at.attributes["axis"])
    shape, axes = at.shape(x)[axis:], list(range(axis, at.rank(x)))
    if at.shape(weight) != shape or (bias is not None and at.shape(bias) != shape):
        at.refuse("its weights are not of the shape that is normalised")
    found = at.call(aten.layer_norm.default, x, list(shape), weight, bias, eps)
    wanted = [name for name in at.node.outputs[1:] if name and at.reading.readers[name]]
    if not wanted:
        return found, None, None
    mean = at.call(aten.mean.dim, x, axes, True)
    variance = at.call(aten.var.correction, x, axes, correction=0, keepdim=True)
    return found, mean, at.call(aten.rsqrt.default, at.call(aten.add.Tensor, variance, eps))


@reads("RMSNormalization")
def _rms_norm(at: At) -> Value:
    x, weight = at.value(0), at.value(1)
    axis = at.axis(x, at.attributes["axis"])
    shape = at.shape(x)[axis:]
    if at.attributes["stash_type"] != 1 or at.shape(weight) != shape:
        at.refuse("it does not compute in float32, or its weights are not of the shape that is normalised")
    return at.call(aten.rms_norm.default, x, list(shape), weight, at.attributes["epsilon"])


@reads("GroupNormalization")
def _group_norm(at: At) -> Value:
    x, weight, bias = (at.value(index) for index in range(3))
    groups, channels = at.attributes["num_groups"], at.shape(x)[1] if at.rank(x) > 1 else 0
    if groups < 1 or channels % groups or at.attributes.get("stash_type", 1) != 1:
        at.refuse("its groups do not fit its channels, or it does not compute in float32")
    return at.call(aten.group_norm.default, x, groups, weight, bias, at.attributes["epsilon"])


@reads("LRN")
def _local_response_norm(at: At) -> Value:
    """X / (bias + alpha / size * sum of squares of so many channels around) ** beta."""
    x, given = at.value(0), at.attributes
    size, shape = given["size"], at.shape(x)
    if len(shape) < 3 or not 0 < size <= 1 << 12:
        at.refuse("its input has no axes beside batch and channels, or its size is out of range")
    flat = at.reshaped(at.call(aten.mul.Tensor, x, x), (shape[0], 1, shape[1], torch.Size(shape[2:]).numel()))
    flat = at.call(aten.constant_pad_nd.default, flat, [0, 0, (size - 1) // 2, size - 1 - (size - 1) // 2])
    mean = at.reshaped(at.call(aten.avg_pool2d.default, flat, [size, 1], [1, 1]), shape)
    scaled = at.call(aten.add.Tensor, at.call(aten.mul.Tensor, mean, given["alpha"]), given["bias"])
    return at.call(aten.div.Tensor, x, at.call(aten.pow.Tensor_Scalar, scaled, given["beta"]))
