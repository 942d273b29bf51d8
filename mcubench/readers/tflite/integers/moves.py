"""Kernels that move codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import IntegerTensor, Operand
from mcubench.readers.tflite.integers.site import IntegerSite, grid_of, rule
from mcubench.readers.tflite.shapes import sliced

__all__: list[str] = []


@rule("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def _reshape(at: IntegerSite) -> None:
    x, made = at.x(), at.made()
    at.same_grid(x)
    if made.size != x.size:
        raise at.operator.refuse(f"it makes {list(made.shape)} of {list(x.shape)}")
    at.emit(kernels.Reshape(), [x])


@rule("TRANSPOSE")
def _transpose(at: IntegerSite) -> None:
    x, axes = at.x(), tuple(at.numbers(1))
    at.same_grid(x)
    if axes[:1] != (0,):
        raise at.operator.refuse("it moves the batch")
    at.emit(kernels.Transpose(axes), [x])


@rule("CONCATENATION")
def _concatenate(at: IntegerSite) -> None:
    parts = [at.operand(index) for index in range(len(at.operator.inputs))]
    at.same_grid(*parts)
    if at.activation is not None:
        raise at.operator.refuse("it has a fused activation")
    at.emit(kernels.Concatenate(_axis(at, at.option("Axis", 0), len(at.made().shape))), parts)


def _axis(at: IntegerSite, axis: int, rank: int) -> int:
    found = axis + rank if axis < 0 else axis
    if not 0 < found < rank:
        raise at.operator.refuse(f"axis {axis} of {rank} is the batch, or is none")
    return found


@rule("PACK")
def _pack(at: IntegerSite) -> None:
    made = at.made()
    axis = _axis(at, at.option("Axis", 0), len(made.shape))
    shape = (*made.shape[:axis], 1, *made.shape[axis + 1 :])
    parts: list[Operand] = []
    for index in range(len(at.operator.inputs)):
        x = at.x(index)
        at.same_grid(x)
        parts.append(at.emit(kernels.Reshape(), [x], at.part(f"part{index}", shape, x.grid)))
    at.emit(kernels.Concatenate(axis), parts)


@rule("PAD", "PADV2")
def _pad(at: IntegerSite) -> None:
    x, flat = at.x(), at.numbers(1)
    at.same_grid(x)
    code = None
    if at.operator.name == "PADV2":
        around = at.constant(at.tensor(2))
        at.same_grid(around)
        code = int(around.codes.reshape(-1)[0])
    at.emit(kernels.Pad(tuple(zip(flat[::2], flat[1::2], strict=True)), code), [x])


def _taken(at: IntegerSite, slices: Sequence[slice], place: int = 0) -> None:
    """Makes an output of some codes along each axis, one axis after the other."""
    x, target = at.x(1 if at.operator.name == "SPLIT" else 0), at.made(place)
    if x.grid != target.grid:
        at.same_grid(x)
    some = [axis for axis, each in enumerate(slices) if each != slice(0, x.shape[axis], 1)]
    if some[:1] == [0]:
        raise at.operator.refuse("it takes some of the batch")
    for axis in some[:-1]:
        size = len(range(*slices[axis].indices(x.shape[axis])))
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        part = at.part(f"output{place}.axis{axis}", shape, x.grid)
        x = at.emit(_slice(axis, slices[axis]), [x], part)
    if some:
        at.emit(_slice(some[-1], slices[some[-1]]), [x], place=place)
    else:
        at.emit(kernels.Reshape(), [x], place=place)


def _slice(axis: int, taken: slice) -> kernels.StridedSlice:
    return kernels.StridedSlice(axis, taken.start, taken.stop, taken.step or 1)


@rule("STRIDED_SLICE")
def _strided_slice(at: IntegerSite) -> None:
    _taken(at, sliced(at.operator, at.x().shape, at.known)[1])


@rule("SLICE")
def _plain_slice(at: IntegerSite) -> None:
    shape = at.x().shape
    pairs = list(zip(at.numbers(1), at.numbers(2), shape, strict=True))
    _taken(at, [slice(first, whole if size == -1 else first + size, 1) for first, size, whole in pairs])


@rule("SPLIT", "SPLIT_V")
def _split(at: IntegerSite) -> None:
    index, where = (1, 0) if at.operator.name == "SPLIT" else (0, 2)
    shape, first = at.x(index).shape, 0
    axis = _axis(at, at.numbers(where)[0], len(shape))
    for place in range(len(at.operator.outputs)):
        size = at.made(place).shape[axis]
        taken = [slice(0, each, 1) for each in shape]
        taken[axis] = slice(first, first + size, 1)
        _taken(at, taken, place)
        first += size


@rule("UNPACK")
def _unpack(at: IntegerSite) -> None:
    shape = at.x().shape
    axis = _axis(at, at.option("Axis", 0), len(shape))
    for place in range(len(at.operator.outputs)):
        taken = [slice(0, each, 1) for each in shape]
        taken[axis] = slice(place, place + 1, 1)
        _taken(at, taken, place)


@rule("GATHER")
def _gather(at: IntegerSite) -> None:
    table, places, made = at.tensor(0), at.tensor(1), at.made()
    if at.option("BatchDims", 0):
        raise at.operator.refuse("it has batch dims")
    if places.data is None:
        _looked_up(at, made)
        return
    x = at.x()
    at.same_grid(x)
    taken = tuple(at.numbers(1))
    axis = _axis(at, at.option("Axis", 0), len(x.shape))
    if len(places.shape) != 1 or not all(0 <= each < x.shape[axis] for each in taken):
        raise at.operator.refuse(f"its places {places.name} are not places along axis {axis} of {table.name}")
    at.emit(kernels.Gather(axis, taken), [x])


def _looked_up(at: IntegerSite, made: IntegerTensor) -> None:
    """Entries of a constant: results of a function for each code, or vectors."""
    table, places = at.tensor(0), at.x(1)
    if table.data is None or table.kind != "INT8" or at.option("Axis", 0) or grid_of(table) != made.grid:
        raise at.operator.refuse("it looks up what is no constant of int8 on the grid of its output")
    codes = torch.from_numpy(table.data.copy())
    producer = next((node.kernel for node in at.nodes if node.output is places), None)
    if table.shape == (256,) and isinstance(producer, kernels.Places):
        at.emit(kernels.Lookup(codes), [places])
    elif len(table.shape) == 2 and producer is None and places.width > 1:
        at.emit(kernels.Embed(codes), [places])
    else:
        raise at.operator.refuse("it looks up neither codes in a table of 256 nor integers of the input in vectors")


@rule("RESIZE_BILINEAR")
def _resize(at: IntegerSite) -> None:
    x, aligned = at.x(), bool(at.option("AlignCorners"))
    at.same_grid(x)
    if not aligned and not at.option("HalfPixelCenters"):
        raise at.operator.refuse("there is no kernel for one that neither aligns corners nor has centres of pixels")
    at.emit(kernels.ResizeBilinear(aligned), [x])


@rule("RESIZE_NEAREST_NEIGHBOR")
def _nearest(at: IntegerSite) -> None:
    x, made = at.x(), at.made()
    at.same_grid(x)
    aligned, centres = at.option("AlignCorners"), at.option("HalfPixelCenters")
    for axis in (1, 2):
        places = _nearest_places(x.shape[axis], made.shape[axis], aligned, centres)
        shape = (*x.shape[:axis], made.shape[axis], *x.shape[axis + 1 :])
        if axis == 1:
            x = at.emit(kernels.Gather(axis, places), [x], at.part("rows", shape, x.grid))
        else:
            at.emit(kernels.Gather(axis, places), [x])


def _nearest_places(size: int, wanted: int, aligned: bool, centres: bool) -> tuple[int, ...]:
    """Where TFLite looks, in single precision (``GetNearestNeighbor`` of resize_nearest_neighbor.h)."""
    step = (
        np.float32(size - 1) / np.float32(wanted - 1)
        if aligned and wanted > 1
        else np.float32(size) / np.float32(wanted)
    )
    found = (np.arange(wanted, dtype=np.float32) + np.float32(0.5 if centres else 0)) * step
    places = np.floor(found + np.float32(0.5)) if aligned else np.floor(found)  # halves up, as roundf has positive ones
    return tuple(int(each) for each in places.clip(0, size - 1))
