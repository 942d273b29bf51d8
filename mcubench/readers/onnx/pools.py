"""Rules for pooling."""

from __future__ import annotations

import torch

from mcubench.readers.onnx.elementwise import cast
from mcubench.readers.onnx.reading import At, Value, aten, reads
from mcubench.readers.onnx.windows import Windows, padded, windows

__all__: list[str] = []


def _given(at: At, x: Value) -> Windows:
    kernel = at.attributes["kernel_shape"]
    if not 1 <= len(kernel) <= 3:
        at.refuse("its windows have no axes, or more than three")
    found = windows(at, x, kernel)
    counts = found.counts(at.shape(x)[2:], bool(at.attributes.get("ceil_mode")))
    if min(counts) < 1:
        at.refuse("its windows are larger than its input")
    if any(before >= span for before, span in zip(found.before, found.spans, strict=True)):
        at.refuse("a window lies in its pads alone")
    return found


def _is_torch(given: Windows) -> bool:
    """Whether torch's pools put as much around."""
    return given.is_even and all(2 * pad <= size for pad, size in zip(given.before, given.kernel, strict=True))


@reads("MaxPool")
def _max_pool(at: At) -> tuple[Value | None, ...]:
    x = at.value(0)
    given, ceil = _given(at, x), bool(at.attributes.get("ceil_mode"))
    if ceil and (not _is_torch(given) or given.is_even is False):
        given, ceil = given.reaching(at.shape(x)[2:], given.counts(at.shape(x)[2:], True)), False
    if not _is_torch(given):
        if not at.is_float(x):
            at.refuse("it puts nothing around integers on one side only")
        x, given = padded(at, x, given, -float("inf"))
    target = getattr(aten, f"max_pool{given.rank}d").default
    found = at.call(target, x, list(given.kernel), list(given.stride), list(given.before), list(given.dilation), ceil)
    return found, None


@reads("AveragePool")
def _average_pool(at: At) -> Value:
    x, included = at.value(0), bool(at.attributes.get("count_include_pad"))
    sizes = at.shape(x)[2:]
    given, ceil = _given(at, x), bool(at.attributes.get("ceil_mode"))
    if max(given.dilation) > 1 or not at.is_float(x):
        at.refuse("its windows have gaps, or it takes the mean of integers")
    counts = given.counts(sizes, ceil)
    over = any(more > had for more, had in zip(given.reaching(sizes, counts).after, given.after, strict=True))
    if over and included and (any(given.before) or any(given.after)):
        at.refuse("its last windows go over the end, and what is put around counts")
    target = getattr(aten, f"avg_pool{given.rank}d").default
    if _is_torch(given):
        return at.call(target, x, list(given.kernel), list(given.stride), list(given.before), ceil, included)
    reaching = given.reaching(sizes, counts)
    if any(each < 0 for each in reaching.after):
        reaching = given
    around, bare = padded(at, x, reaching)
    found = at.call(target, around, list(bare.kernel), list(bare.stride), [0] * bare.rank, False, True)
    if included:
        return found
    # The mean of all places, zeros among them, times how many there are for each that is no zero.
    ones, _ = padded(at, at.constant(torch.ones(1, 1, *sizes)), reaching)
    shares = at.call(target, ones, list(bare.kernel), list(bare.stride), [0] * bare.rank, False, True)
    return at.call(aten.mul.Tensor, found, at.call(aten.reciprocal.default, shares))


@reads("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(at: At) -> Value:
    x, mean = at.value(0), at.node.operator == "GlobalAveragePool"
    rank = at.rank(x) - 2
    if rank < 1 or not at.is_float(x):
        at.refuse("its input has no spatial axes, or is of integers")
    if rank > 3:
        axes = list(range(2, rank + 2))
        return at.call(aten.mean.dim if mean else aten.amax.default, x, axes, True)
    if mean:
        return at.call(getattr(aten, f"adaptive_avg_pool{rank}d").default, x, [1] * rank)
    return at.call(getattr(aten, f"max_pool{rank}d").default, x, list(at.shape(x)[2:]))


@reads("LpPool", "GlobalLpPool")
def _lp_pool(at: At) -> Value:
    """The p-th root of the sum of p-th powers: of the mean, times how many there are."""
    x, power = at.value(0), at.attributes["p"]
    if power not in (1, 2) or not at.is_float(x) or at.attributes.get("ceil_mode"):
        at.refuse("only norms of order 1 and 2 are read, with whole windows")
    if at.node.operator == "GlobalLpPool":
        axes = list(range(2, at.rank(x)))
        return at.call(aten.linalg_vector_norm.default, x, power, axes, True)
    given = _given(at, x)
    if max(given.dilation) > 1:
        at.refuse("its windows have gaps")
    powers = at.call(aten.abs.default, x) if power == 1 else at.call(aten.mul.Tensor, x, x)
    around, bare = padded(at, powers, given)
    target = getattr(aten, f"avg_pool{bare.rank}d").default
    mean = at.call(target, around, list(bare.kernel), list(bare.stride), [0] * bare.rank, False, True)
    total = at.call(aten.mul.Tensor, mean, torch.Size(bare.kernel).numel())
    return cast(at, total if power == 1 else at.call(aten.sqrt.default, total), at.dtype(x))
