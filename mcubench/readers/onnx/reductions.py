"""Rules for reductions, and for what is normalised along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from mcubench.readers.onnx.elementwise import cast
from mcubench.readers.onnx.reading import At, Value, aten, reads
from mcubench.readers.onnx.shapes import taken

__all__: list[str] = []


def _axes(at: At, x: Value) -> list[int] | None:
    """The axes that are reduced; ``None`` if none are, as the operator says."""
    given = at.axes(1)
    if not given:
        return None if at.attributes.get("noop_with_empty_axes") else list(range(at.rank(x)))
    axes = [at.axis(x, axis) for axis in given]
    if len(set(axes)) != len(axes):
        at.refuse(f"it reduces an axis twice: {given}")
    return sorted(axes)


def _summed(at: At, x: Value, axes: list[int], keep: bool) -> Value:
    """A sum in the type of its terms; torch sums integers in int64."""
    return cast(at, at.call(aten.sum.dim_IntList, x, axes, keep), at.dtype(x))


@reads("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
       "ReduceLogSumExp", "ReduceSumSquare")  # fmt: skip
def _reduce(at: At) -> Value:
    x, keep, kind = at.value(0), bool(at.attributes["keepdims"]), at.node.operator.removeprefix("Reduce")
    axes = _axes(at, x) or []
    if not axes and kind in ("Mean", "Sum", "Max", "Min", "Prod"):
        return x
    if not axes:
        x = at.reshaped(x, (*at.shape(x), 1))  # what is done to each element is done to a sum of one
        axes, keep = [at.rank(x) - 1], False
    if any(at.shape(x)[axis] == 0 for axis in axes):
        at.refuse("it reduces nothing")
    if kind in ("Mean", "LogSum", "LogSumExp", "L2") and not at.is_float(x):
        at.refuse("it makes fractions of integers")
    return _REDUCTIONS[kind](at, x, axes, keep)


def _product(at: At, x: Value, axes: list[int], keep: bool) -> Value:
    found = x
    for axis in reversed(axes):
        found = cast(at, at.call(aten.prod.dim_int, found, axis, keep), at.dtype(x))
    return found


_REDUCTIONS: dict[str, Callable[[At, Value, list[int], bool], Value]] = {
    "Mean": lambda at, x, axes, keep: at.call(aten.mean.dim, x, axes, keep),
    "Sum": _summed,
    "Max": lambda at, x, axes, keep: at.call(aten.amax.default, x, axes, keep),
    "Min": lambda at, x, axes, keep: at.call(aten.amin.default, x, axes, keep),
    "Prod": _product,
    "L1": lambda at, x, axes, keep: _summed(at, at.call(aten.abs.default, x), axes, keep),
    "L2": lambda at, x, axes, keep: at.call(aten.linalg_vector_norm.default, x, 2, axes, keep),
    "LogSum": lambda at, x, axes, keep: at.call(aten.log.default, _summed(at, x, axes, keep)),
    "LogSumExp": lambda at, x, axes, keep: at.call(aten.logsumexp.default, x, axes, keep),
    "SumSquare": lambda at, x, axes, keep: _summed(at, at.call(aten.mul.Tensor, x, x), axes, keep),
}


@reads("ArgMax", "ArgMin")
def _arg(at: At) -> Value:
    x, keep = at.value(0), bool(at.attributes["keepdims"])
    axis = at.axis(x, at.attributes["axis"])
    last, size = bool(at.attributes.get("select_last_index")), at.shape(x)[axis]
    if last:  # the first one from behind
        x = taken(at, x, axis, range(size - 1, -1, -1))
    target = aten.argmax.default if at.node.operator == "ArgMax" else aten.argmin.default
    found = at.call(target, x, axis, keep)
    return at.call(aten.rsub.Scalar, found, size - 1) if last else found


@reads("Softmax", "LogSoftmax")
def _softmax(at: At) -> Value:
    x = at.value(0)
    target = aten.softmax.int if at.node.operator == "Softmax" else aten.log_softmax.int
    axis, shape = at.axis(x, at.attributes["axis"]), at.shape(x)
    behind = math.prod(shape[axis + 1 :])
    if at.opset >= 13 or behind == 1:
        return at.call(target, x, axis)
    # All axes from this one on are one, as operator sets before 13 have it.
    flat = at.reshaped(x, (*shape[:axis], shape[axis] * behind))
    return at.reshaped(at.call(target, flat, axis), shape)


@reads("LpNormalization")
def _lp_normalisation(at: At) -> Value:
    x, power = at.value(0), at.attributes["p"]
    axis = at.axis(x, at.attributes["axis"])
    if power not in (1, 2):
        at.refuse("only norms of order 1 and 2 are read")
    norm = at.call(aten.linalg_vector_norm.default, x, power, [axis], True)
    zero, one = at.call(aten.eq.Scalar, norm, 0), at.constant(torch.ones(()))
    # What is all zero stays so.
    return at.call(aten.div.Tensor, x, at.call(aten.where.self, zero, one, norm))


@reads("MeanVarianceNormalization")
def _mean_variance(at: At) -> Value:
    x = at.value(0)
    axes = sorted({at.axis(x, axis) for axis in at.attributes["axes"]})
    centred = at.call(aten.sub.Tensor, x, at.call(aten.mean.dim, x, axes, True))
    variance = at.call(aten.mean.dim, at.call(aten.mul.Tensor, centred, centred), axes, True)
    spread = at.call(aten.add.Tensor, at.call(aten.sqrt.default, variance), 1e-9)
    return at.call(aten.div.Tensor, centred, spread)


@reads("Hardmax")
def _hardmax(at: At) -> Value:
    """1 at the first of the largest along an axis."""
    x = at.value(0)
    axis, shape = at.axis(x, at.attributes["axis"]), at.shape(x)
    if at.opset < 13 and math.prod(shape[axis + 1 :]) != 1:
        at.refuse("it takes several axes as one")
    largest = at.call(aten.argmax.default, x, axis, True)
    places = at.constant(torch.arange(shape[axis]).reshape(-1, *(1,) * (at.rank(x) - axis - 1)))
    return cast(at, at.call(aten.eq.Tensor, largest, places), at.dtype(x))
