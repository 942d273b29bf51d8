"""Rules for operators that move elements, and for those that do nothing at inference."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mcubench.graph import ops
from mcubench.graph.ir import Value, Weight
from mcubench.graph.lowering.batch import AcrossSamplesError, CannotLowerError
from mcubench.graph.lowering.lowerer import Lowerer, lowers

__all__: list[str] = []


@lowers(
    "aten.contiguous.default", "aten.clone.default", "aten.detach.default", "aten.alias.default",
    "aten.lift_fresh_copy.default", "aten.detach_.default", "aten.copy.default", "aten.resolve_conj.default",
)  # fmt: skip
def _nothing(low: Lowerer) -> Any:
    if "src" in low.args:  # copy: the second argument, in the shape of the first
        (x,) = low.values(low.args["src"])
        return _expanded(low, x)
    return low.args.get("self", low.args.get("input"))


@lowers(
    "aten.dropout.default", "aten.feature_dropout.default", "aten.alpha_dropout.default",
    "aten.feature_alpha_dropout.default",
)  # fmt: skip
def _dropout(low: Lowerer) -> Any:
    if low.args["train"] and low.args["p"]:
        raise CannotLowerError("it drops values at inference too: pass training=self.training to it")
    return low.args["input"]


@lowers("aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default", "aten.type_as.default")
@lowers("aten.to.other")
def _cast(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    if low.result.dtype == x.dtype:
        return x
    return low.emit(ops.Activation("cast", (str(low.result.dtype).removeprefix("torch."),)), [x])


@lowers(
    "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.flatten.using_ints",
    "aten.unflatten.int", "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims", "aten.unsqueeze.default",
    "aten.view_as.default", "aten.reshape_as.default", "aten.ravel.default",
)  # fmt: skip
def _reshape(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    shape = low.sample_shape(low.result)
    if math.prod(shape) != x.size:
        raise AcrossSamplesError("it mixes the samples of a batch")
    return low.emit(ops.Reshape(shape), [x], shape)


@lowers(
    "aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.movedim.int", "aten.movedim.intlist",
    "aten.swapaxes.default", "aten.numpy_T.default", "aten.mT.default", "aten.adjoint.default",
)  # fmt: skip
def _permute(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    # What the operator does to the axes is what it does to a tensor whose sizes number them.
    rank = low.traced_rank(x)
    numbered = torch.empty(tuple(range(2, rank + 2)), device="meta")
    assert callable(low.node.target)
    others = [value for name, value in low.args.items() if name != "self"]
    order = [size - 2 for size in low.node.target(numbered, *others).shape]
    batch = low.batch_axis(x)
    axes = tuple(low.place(x, dim) for dim in order if dim != batch)
    return low.emit(ops.Permute(axes), [x], tuple(x.shape[axis] for axis in axes))


@lowers("aten.expand.default", "aten.expand_as.default", "aten.broadcast_to.default")
def _expand(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    return _expanded(low, x)


def _expanded(low: Lowerer, x: Value) -> Value:
    shape = low.sample_shape(low.result)
    return x if shape == x.shape else low.emit(ops.Expand(shape), [x])


@lowers("aten.broadcast_tensors.default")
def _broadcast(low: Lowerer) -> tuple[Value, ...]:
    values = low.values(*low.args["tensors"])
    shape = low.sample_shape(low.result)
    return tuple(each if each.shape == shape else low.emit(ops.Expand(shape), [each]) for each in values)


@lowers("aten.repeat.default", "aten.tile.default")
def _repeat(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    repeats = list(low.args.get("repeats") or low.args["dims"])
    rank, batch = low.traced_rank(x), low.batch_axis(x)
    repeats = [1] * (rank - len(repeats)) + repeats
    if len(repeats) > rank:
        raise CannotLowerError("it adds axes by repeating")
    if batch is not None and repeats.pop(batch) != 1:
        raise AcrossSamplesError("it repeats the samples of a batch")
    return low.emit(ops.Repeat(tuple(repeats)), [x])


@lowers("aten.flip.default")
def _flip(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    for dim in low.args["dims"]:
        x = _taken(low, x, dim, lambda places: places.flip(0))
    return x


@lowers("aten.roll.default")
def _roll(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    if not low.args["dims"]:
        raise CannotLowerError("it rolls over all elements; it has to say along which dims")
    for shift, dim in zip(low.args["shifts"], low.args["dims"], strict=True):
        x = _taken(low, x, dim, functools.partial(torch.roll, shifts=shift))
    return x


@lowers("aten.repeat_interleave.self_int")
def _repeat_interleave(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    if low.args["dim"] is None:
        raise CannotLowerError("it repeats all elements; it has to say along which dim")
    return _taken(low, x, low.args["dim"], lambda places: places.repeat_interleave(low.args["repeats"]))


def _taken(low: Lowerer, x: Value, dim: int, moved: Callable[[Tensor], Tensor]) -> Value:
    """What stands along an axis at the places that an operator makes of all its places."""
    axis = low.axis(x, dim)
    places = moved(torch.arange(x.shape[axis]))
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    return low.emit(ops.Take(axis, Weight(low.node.name, places)), [x], shape)


@lowers("aten.select.int")
def _select(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    axis = low.axis(x, low.args["dim"])
    return low.emit(ops.Select(axis, low.args["index"] % x.shape[axis]), [x])


@lowers("aten.slice.Tensor", "aten.narrow.default")
def _slice(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    start, step = low.args["start"] or 0, low.args.get("step", 1)
    if "length" in low.args and start < 0:
        start += low.traced_shape(x)[low.args["dim"]]
    stop = start + low.args["length"] if "length" in low.args else low.args["end"]
    if low.result.shape == low.traced_shape(x):  # all of it, as x[:] is
        return x
    axis = low.axis(x, low.args["dim"])
    return _sliced(low, x, axis, *slice(start, stop, step).indices(x.shape[axis]))


def _sliced(low: Lowerer, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    size = len(range(start, stop, step))
    if size == x.shape[axis]:
        return x
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    return low.emit(ops.Slice(axis, start, start + size * step if step > 1 else stop, step), [x], shape)


@lowers("aten.split.Tensor", "aten.split_with_sizes.default", "aten.split.sizes", "aten.chunk.default")
@lowers("aten.tensor_split.sections", "aten.unsafe_chunk.default", "aten.unsafe_split.Tensor")
def _split(low: Lowerer) -> tuple[Value, ...]:
    (x,) = low.values(low.args["self"])
    axis = low.axis(x, low.args["dim"])
    traced = low.args["dim"] % low.traced_rank(x)
    parts, start = [], 0
    for piece in low.node.meta["val"]:
        size = int(piece.shape[traced])
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        parts.append(low.emit(ops.Slice(axis, start, start + size), [x], shape, like=piece))
        start += size
    return tuple(parts)


@lowers("aten.unbind.int")
def _unbind(low: Lowerer) -> tuple[Value, ...]:
    (x,) = low.values(low.args["self"])
    axis = low.axis(x, low.args["dim"])
    return tuple(low.emit(ops.Select(axis, index), [x], like=piece) for index, piece in enumerate(low.node.meta["val"]))


@lowers("aten.cat.default", "aten.concat.default", "aten.concatenate.default")
def _concat(low: Lowerer) -> Value:
    tensors = low.args["tensors"]
    first = next(each for each in tensors if isinstance(each, Value))
    axis = low.axis(first, low.args["dim"])
    operands, values = low.operands(*tensors)
    return low.emit(ops.Concat(axis, operands), values)


@lowers("aten.stack.default")
def _stack(low: Lowerer) -> Value:
    tensors = low.args["tensors"]
    if not all(isinstance(each, Value) for each in tensors):
        raise CannotLowerError("it stacks constants with computed values")
    rank = low.traced_rank(tensors[0]) + 1
    dim, batch = low.args["dim"] % rank, low.batch_axis(tensors[0])
    if batch is None and low.is_batch(low.result.shape, dim):
        raise AcrossSamplesError
    axis = dim - (batch is not None and dim > batch)
    shape = tensors[0].shape
    parts = [low.emit(ops.Reshape((*shape[:axis], 1, *shape[axis:])), [each], (*shape[:axis], 1, *shape[axis:]))
             for each in tensors]  # fmt: skip
    return low.emit(ops.Concat(axis, low.operands(*parts)[0]), parts)


@lowers("aten.index_select.default")
def _index_select(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    return low.emit(ops.Take(low.axis(x, low.args["dim"]), low.required_weight("index")), [x])


@lowers("aten.index.Tensor")
def _index(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    given = [(dim, each) for dim, each in enumerate(low.args["indices"]) if each is not None]
    if len(given) != 1 or not isinstance(given[0][1], Weight) or given[0][1].tensor.ndim != 1:
        raise CannotLowerError("only one list of constant indices is supported")
    dim, indices = given[0]
    if indices.tensor.dtype == torch.bool:
        indices = indices.derive(indices.tensor.nonzero()[:, 0])
    return low.emit(ops.Take(low.axis(x, dim), indices), [x])


@lowers("aten.zeros_like.default", "aten.new_zeros.default", "aten.ones_like.default", "aten.new_ones.default")
@lowers("aten.full_like.default", "aten.new_full.default")
def _constant(low: Lowerer) -> Weight:
    """Known from shapes alone."""
    name = str(low.node.target)
    value = low.args["fill_value"] if "full" in name else int("ones" in name)
    return Weight(low.node.name, torch.full(tuple(low.result.shape), value, dtype=low.result.dtype))


@lowers("aten.channel_shuffle.default", "aten.native_channel_shuffle.default")
def _channel_shuffle(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    axis, groups = low.axis(x, 1), low.args["groups"]
    lead, channels, rest = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    split, joined = (*lead, groups, channels // groups, *rest), (*lead, channels // groups, groups, *rest)
    axes = (*range(axis), axis + 1, axis, *range(axis + 2, len(split)))
    found = low.emit(ops.Reshape(split), [x], split)
    found = low.emit(ops.Permute(axes), [found], joined)
    return low.emit(ops.Reshape(x.shape), [found])


@lowers("aten.pixel_shuffle.default")
def _pixel_shuffle(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    low.check_batch_before(x, 3)
    factor = low.args["upscale_factor"]
    *lead, channels, height, width = x.shape
    rank = len(lead)
    split = (*lead, channels // factor**2, factor, factor, height, width)
    axes = (*range(rank), rank, rank + 3, rank + 1, rank + 4, rank + 2)
    found = low.emit(ops.Reshape(split), [x], split)
    found = low.emit(ops.Permute(axes), [found], tuple(split[axis] for axis in axes))
    return low.emit(ops.Reshape(low.sample_shape(low.result)), [found])


@lowers("aten.pad.default", "aten.constant_pad_nd.default")
@lowers(*(f"aten.{mode}_pad{rank}d.default" for mode in ("reflection", "replication") for rank in (1, 2, 3)))
def _pad(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    amounts = list(low.args.get("pad") or low.args["padding"])
    target = str(low.node.target)
    mode = low.args.get("mode") or next((name for name in ("reflect", "replica") if name in target), "constant")
    mode = {"replica": "replicate"}.get(mode, mode)
    padding = [(0, 0)] * len(x.shape)
    for index in range(len(amounts) // 2):  # given from the last axis backwards
        pair = (amounts[2 * index], amounts[2 * index + 1])
        if pair != (0, 0):
            padding[low.axis(x, -1 - index)] = pair
    return low.emit(ops.Pad(tuple(padding), mode, float(low.args.get("value") or 0.0)), [x])


@lowers(*(f"aten._upsample_nearest_exact{rank}d.{overload}" for rank in (1, 2, 3) for overload in ("default", "vec")))
@lowers(*(f"aten.upsample_{mode}.{overload}"
          for mode in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "bicubic2d", "trilinear3d")
          for overload in ("default", "vec")))  # fmt: skip
def _resize(low: Lowerer) -> Value:
    (x,) = low.values(low.args.get("input", low.args.get("self")))
    mode = str(low.node.target).removeprefix("aten.").removeprefix("_").removeprefix("upsample_").partition(".")[0]
    mode = mode.replace("nearest_exact", "nearest-exact")
    low.check_batch_before(x, low.traced_rank(x) - 1)
    out = tuple(int(size) for size in low.result.shape[2:])
    corners = low.args.get("align_corners")
    scales = low.args.get("scale_factors")
    if scales is None:  # the form that has a size, too, and a scale for each axis
        each = [low.args[name] for name in ("scales", "scales_d", "scales_h", "scales_w") if name in low.args]
        scales = [scale for scale in each if scale is not None]
        if scales and len(scales) < len(out):
            raise CannotLowerError("it gives scales for some axes only")
    return low.emit(ops.Resize(mode.rstrip("123d"), out, corners, tuple(scales) if scales else None), [x])
