"""Rules for operators that move elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mcubench.graph.places import padded_places
from mcubench.readers.onnx.reading import At, Known, Value, aten, reads

__all__ = ["taken"]

_ENDS = (1 << 63) - 1


def taken(at: At, x: Value, axis: int, places: Sequence[int]) -> Value:
    """What stands along an axis at places."""
    if list(places) == list(range(at.shape(x)[axis])):
        return x
    if len(places) > 1 << 20:
        at.refuse(f"it takes {len(places):,} elements one by one")
    if isinstance(x, torch.fx.Node) and axis == at.batch_axis(x):
        at.refuse("it chooses among the samples of a batch")
    index = at.constant(torch.tensor(list(places), dtype=torch.int64))
    return at.call(aten.index_select.default, x, axis, index)


@reads("Reshape")
def _reshape(at: At) -> Value:
    sizes = at.sizes(1, "its shape")
    x = at.value(0)
    shape = list(at.shape(x))
    if not at.attributes.get("allowzero"):
        if any(size == 0 and axis >= len(shape) for axis, size in enumerate(sizes)):
            at.refuse("it keeps a size of an axis that is not there")
        sizes = [shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        if sizes.count(-1) > 1 or not rest or math.prod(shape) % rest:
            at.refuse(f"it makes {sizes} of {shape}")
        sizes[sizes.index(-1)] = math.prod(shape) // rest
    if any(size < 0 for size in sizes):
        at.refuse(f"it makes {sizes} of {shape}")
    return at.reshaped(x, sizes)


@reads("Flatten")
def _flatten(at: At) -> Value:
    x, axis = at.value(0), at.attributes["axis"]
    rank, shape = at.rank(x), at.shape(x)
    if not -rank <= axis <= rank:
        at.refuse(f"there is no axis {axis} in a tensor of {rank} axes")
    axis = axis + rank if axis < 0 else axis
    return at.reshaped(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))


@reads("Transpose")
def _transpose(at: At) -> Value:
    x = at.value(0)
    axes = at.attributes.get("perm") or list(reversed(range(at.rank(x))))
    if sorted(axes) != list(range(at.rank(x))):
        at.refuse(f"{axes} is no order of {at.rank(x)} axes")
    return at.call(aten.permute.default, x, list(axes))


@reads("Squeeze")
def _squeeze(at: At) -> Value:
    x, given = at.value(0), at.axes(1)
    shape = at.shape(x)
    if given is None:
        axes = {axis for axis, size in enumerate(shape) if size == 1}
    else:
        axes = {at.axis(x, axis) for axis in given}
    if any(shape[axis] != 1 for axis in axes):
        at.refuse(f"it takes axes {sorted(axes)} from {list(shape)}")
    return at.reshaped(x, [size for axis, size in enumerate(shape) if axis not in axes])


@reads("Unsqueeze")
def _unsqueeze(at: At) -> Value:
    x, given = at.value(0), at.axes(1) or []
    rank = at.rank(x) + len(given)
    axes = {axis % rank for axis in given if -rank <= axis < rank}
    if len(axes) != len(given) or rank > 64:
        at.refuse(f"there are no axes {given} in a tensor of {rank} axes")
    sizes = iter(at.shape(x))
    return at.reshaped(x, [1 if axis in axes else next(sizes) for axis in range(rank)])


@reads("Concat")
def _concat(at: At) -> Value:
    given = at.given()
    if len({at.dtype(each) for each in given}) > 1:
        at.refuse("its operands are of different types")
    axis = at.axis(given[0], at.attributes["axis"])
    batch = next((place for each in given if (place := at.batch_axis(each)) is not None), None)
    if batch is not None and batch != axis:  # constants stand beside each sample
        samples = at.reading.samples
        given = [
            at.call(aten.expand.default, each, [*at.shape(each)[:batch], samples, *at.shape(each)[batch + 1 :]])
            if isinstance(each, Known) and at.shape(each)[batch] == 1
            else each
            for each in given
        ]
    if batch is not None and batch == axis:
        at.refuse("it puts samples of a batch one after another")
    return at.call(aten.cat.default, given, axis)


@reads("Split")
def _split(at: At) -> tuple[Value, ...]:
    x, count = at.value(0), len(at.node.outputs)
    axis = at.axis(x, at.attributes["axis"])
    size, sizes = at.shape(x)[axis], at.axes(1, "split")
    if sizes is None:
        most = -(-size // count)
        if at.opset < 18 and size % count:
            at.refuse(f"it splits {size} elements into {count} parts")
        if at.attributes.get("num_outputs", count) != count:
            at.refuse("its num_outputs is not how many outputs it has")
        sizes = [min(most, size - most * index) for index in range(count)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != size:
        at.refuse(f"it splits {size} elements into {sizes}")
    if axis == at.batch_axis(x):
        at.refuse("it splits the samples of a batch")
    return tuple(at.calls(count, aten.split_with_sizes.default, x, sizes, axis))


@reads("Slice")
def _slice(at: At) -> Value:
    if at.opset < 10:
        starts, ends = at.attributes["starts"], at.attributes["ends"]
        axes, steps = at.attributes.get("axes"), None
    else:
        starts, ends = at.numbers(1, "where it starts"), at.numbers(2, "where it ends")
        axes = at.numbers(3, "its axes") if at.has(3) else None
        steps = at.numbers(4, "its steps") if at.has(4) else None
    x = at.value(0)
    axes = list(range(len(starts))) if axes is None else [at.axis(x, axis) for axis in axes]
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(axes)) != len(axes) or 0 in steps:
        at.refuse("its starts, ends, axes and steps do not belong together")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at.axis(x, axis)
        size = at.shape(x)[axis]
        places = range(*slice(start, end, step).indices(size))
        if len(places) == size and step > 0:
            continue
        if axis == at.batch_axis(x):
            at.refuse("it chooses among the samples of a batch")
        if step > 0 and places:
            x = at.call(aten.slice.Tensor, x, axis, places.start, places.stop, step)
        else:
            x = taken(at, x, axis, places)
    return x


@reads("Gather")
def _gather(at: At) -> Value:
    x, indices = at.value(0), at.value(1)
    axis = at.axis(x, at.attributes["axis"])
    if not isinstance(indices, Known):
        if axis == 0 and at.rank(x) == 2 and isinstance(x, Known):
            return at.call(aten.embedding.default, x, indices)
        at.refuse("it takes what computed values say, and not rows of a constant")
    if indices.counts:
        at.refuse("what it takes depends on how many samples there are")
    size, shape = at.shape(x)[axis], at.shape(indices)
    if axis == at.batch_axis(x):
        at.refuse("it chooses among the samples of a batch")
    places = (
        indices.tensor.reshape(-1).tolist() if indices.tensor.numel() <= 1 << 20 else at.refuse("it takes too much")
    )
    if any(not -size <= place < size for place in places):
        at.refuse(f"it takes elements that are not there: {size} are")
    places = [place % size for place in places]
    if shape == ():
        return at.call(aten.select.int, x, axis, places[0])
    before = at.shape(x)
    found = taken(at, x, axis, places)
    return found if len(shape) == 1 else at.reshaped(found, (*before[:axis], *shape, *before[axis + 1 :]))


@reads("Expand")
def _expand(at: At) -> Value:
    sizes = at.sizes(1, "its shape")
    x = at.value(0)
    have = list(at.traced(x))
    rank = max(len(have), len(sizes))
    have = [1] * (rank - len(have)) + have
    wanted = [1] * (rank - len(sizes)) + sizes
    if any(size < 0 for size in wanted):
        at.refuse(f"it makes {sizes}")
    batch = at.batch_axis(x)
    place = None if batch is None else batch + rank - at.rank(x)
    target = [have[axis] if wanted[axis] == 1 or axis == place else wanted[axis] for axis in range(rank)]
    if place is not None and wanted[place] not in (1, have[place] // at.reading.samples):
        at.refuse("it repeats the samples of a batch")
    return at.call(aten.expand.default, x, target)


@reads("Tile")
def _tile(at: At) -> Value:
    x, repeats = at.value(0), at.numbers(1, "how often it repeats")
    if len(repeats) != at.rank(x) or min(repeats, default=1) < 1:
        at.refuse(f"it repeats {at.rank(x)} axes {repeats} times")
    return at.call(aten.repeat.default, x, repeats)


@reads("Pad")
def _pad(at: At) -> Value:
    x, mode = at.value(0), at.attributes["mode"]
    rank = at.rank(x)
    pads = at.attributes["pads"] if at.opset < 11 else at.numbers(1, "its pads")
    value = at.attributes["value"] if at.opset < 11 else at.number(2, "its value") if at.has(2) else 0
    axes = [at.axis(x, axis) for axis in at.numbers(3, "its axes")] if at.has(3) else list(range(rank))
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes) or max(map(abs, pads), default=0) > 1 << 24:
        at.refuse(f"it has {len(pads)} pads for {len(axes)} axes, or too large ones")
    pairs = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    for axis, (before, after) in pairs.items():  # what is negative is cut
        size = at.shape(x)[axis]
        start, stop = max(-before, 0), size - max(-after, 0)
        if stop <= start:
            at.refuse("it cuts all that there is")
        if stop - start < size:
            x = at.call(aten.slice.Tensor, x, axis, start, stop)
    around = [max(each, 0) for axis in reversed(range(rank)) for each in pairs.get(axis, (0, 0))]
    if not any(around):
        return x
    if mode == "constant":
        return at.call(aten.constant_pad_nd.default, x, around, value)
    named = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}.get(mode)
    if named is None:
        at.refuse(f"its mode is {mode!r}")
    spatial, sizes = around[: 2 * (rank - 2)], at.shape(x)[2:]
    inner = all(pad < size for pad, size in zip(around, (size for size in reversed(sizes) for _ in "ab"), strict=False))
    if named != "circular" and 3 <= rank <= 5 and not any(around[len(spatial) :]) and inner and at.is_float(x):
        spelt = "reflection" if named == "reflect" else "replication"
        return at.call(getattr(aten, f"{spelt}_pad{rank - 2}d").default, x, spatial)
    for axis, (before, after) in pairs.items():
        x = taken(at, x, axis, padded_places(named, at.shape(x)[axis], max(before, 0), max(after, 0)))
    return x


@reads("DepthToSpace", "SpaceToDepth")
def _blocks(at: At) -> Value:
    x, block = at.value(0), at.attributes["blocksize"]
    if at.rank(x) != 4 or not 0 < block <= 1 << 12:
        at.refuse("its input is no image, or its blocksize is out of range")
    batch, channels, height, width = at.shape(x)
    mode = at.attributes.get("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        at.refuse(f"its mode is {mode!r}")
    if at.node.operator == "SpaceToDepth":
        if height % block or width % block:
            at.refuse("its input is not made of whole blocks")
        split = (batch, channels, height // block, block, width // block, block)
        order = [0, 1, 3, 5, 2, 4] if mode == "CRD" else [0, 3, 5, 1, 2, 4]
        out = (batch, channels * block**2, height // block, width // block)
    else:
        if channels % block**2:
            at.refuse(f"its {channels} channels do not fit its blocksize {block}")
        if mode == "CRD":
            return at.call(aten.pixel_shuffle.default, x, block)
        split = (batch, block, block, channels // block**2, height, width)
        order, out = [0, 3, 4, 1, 5, 2], (batch, channels // block**2, height * block, width * block)
    found = at.call(aten.permute.default, at.reshaped(x, split), order)
    return at.reshaped(found, out)
