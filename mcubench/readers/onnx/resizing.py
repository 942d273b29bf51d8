"""Rules for what changes the size of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcubench.graph.places import nearest_places
from mcubench.readers.onnx.reading import At, Value, aten, reads
from mcubench.readers.onnx.shapes import taken

__all__: list[str] = []

_LARGEST = 1 << 20  # of an axis


@reads("Upsample")
def _upsample(at: At) -> Value:
    """What was there before Resize: the nearest element to the left."""
    x = at.value(0)
    scales = at.attributes["scales"] if at.opset < 9 else at.numbers(1, "its scales")
    if at.attributes["mode"] != "nearest" or len(scales) != at.rank(x):
        at.refuse(f"its mode is {at.attributes['mode']!r}, or its scales are not for all axes; only nearest is read")
    sizes = [_scaled(at, size, scale) for size, scale in zip(at.shape(x), scales, strict=True)]
    return _nearest(at, x, sizes, scales, "asymmetric", "floor")


@reads("Resize")
def _resize(at: At) -> Value:
    x, given = at.value(0), at.attributes
    shape, rank = at.shape(x), at.rank(x)
    if at.opset < 11:
        coordinates, rounding, where = "asymmetric", "floor", (1, 3)
    else:
        coordinates, rounding, where = given["coordinate_transformation_mode"], given["nearest_mode"], (2, 3)
    if given.get("antialias") or given.get("exclude_outside") or coordinates.startswith("tf_crop"):
        at.refuse("it has antialias or exclude_outside, or it crops")
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        at.refuse("it keeps the aspect ratio")
    axes = [at.axis(x, axis) for axis in given.get("axes") or range(rank)]
    scales, sizes = [1.0] * rank, list(shape)
    wanted = at.numbers(3, "its sizes") if at.opset >= 11 and at.has(3) else []
    factors = [] if wanted else at.numbers(where[0], "its scales") if at.has(where[0]) else []
    if len(wanted or factors) != len(axes) or len(set(axes)) != len(axes):
        at.refuse("it has sizes or scales for another number of axes")
    for index, axis in enumerate(axes):
        if wanted:
            sizes[axis], scales[axis] = int(wanted[index]), wanted[index] / shape[axis]
        else:
            sizes[axis], scales[axis] = _scaled(at, shape[axis], factors[index]), factors[index]
        if not 0 < sizes[axis] <= _LARGEST:
            at.refuse(f"it makes an axis of {sizes[axis]} elements")
    if coordinates == "align_corners" and any(
        out != scale * size for out, scale, size in zip(sizes, scales, shape, strict=True)
    ):
        at.refuse("its scales make no whole sizes, and its corners are aligned: readers differ in what that means")
    if given["mode"] == "nearest":
        return _nearest(at, x, sizes, scales, coordinates, rounding)
    if not at.is_float(x):
        at.refuse("it interpolates integers")
    return _interpolated(at, x, sizes, None if wanted else scales, coordinates)


def _scaled(at: At, size: int, scale: float) -> int:
    if not 0 < scale <= _LARGEST:
        at.refuse(f"it scales by {scale}")
    return math.floor(size * scale)


_ORIGINS: dict[str, Callable[[Any, Any, int, int], Any]] = {
    "half_pixel": lambda place, scale, _, __: (place + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda place, scale, _, out: (place + 0.5) / scale - 0.5 if out > 1 else 0.0,
    "asymmetric": lambda place, scale, _, __: place / scale,
    "align_corners": lambda place, _, size, out: place * (size - 1) / (out - 1) if out > 1 else 0.0,
    "half_pixel_symmetric": lambda place, scale, size, out: (
        size / 2 * (1 - out / (scale * size)) + (place + 0.5) / scale - 0.5
    ),
}

_ROUNDINGS: dict[str, Callable[[Any], int]] = {
    "round_prefer_floor": lambda at: math.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: math.floor(at + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _nearest(at: At, x: Value, sizes: Sequence[int], scales: Sequence[float], coordinates: str, rounding: str) -> Value:
    """By torch's operator where its neighbours are the same, else axis by axis."""
    if coordinates not in _ORIGINS or rounding not in _ROUNDINGS:
        at.refuse(f"its places are {coordinates!r}, rounded by {rounding!r}")
    origin, rounded, shape = _ORIGINS[coordinates], _ROUNDINGS[rounding], at.shape(x)

    def found(number: Callable[[float], Any]) -> list[list[int]]:
        return [
            [min(max(int(rounded(origin(number(place), number(scale), size, out))), 0), size - 1)
             for place in range(out)]
            for size, out, scale in zip(shape, sizes, scales, strict=True)
        ]  # fmt: skip

    places = found(float)
    if places != found(np.float32):
        at.refuse("a place lies between two elements, and which is nearer depends on the precision")
    moved = [axis for axis, found in enumerate(places) if found != list(range(shape[axis]))]
    rank = len(shape) - 2
    if 1 <= rank <= 3 and moved and min(moved) >= 2 and at.is_float(x):
        for mode, prefix in (("nearest", "upsample_nearest"), ("nearest-exact", "_upsample_nearest_exact")):
            if all(nearest_places(mode, shape[axis], sizes[axis]) == places[axis] for axis in range(2, len(shape))):
                target = getattr(aten, f"{prefix}{rank}d").vec
                return at.call(target, x, list(sizes[2:]), None)
    for axis in moved:
        x = taken(at, x, axis, places[axis])
    return x


def _interpolated(at: At, x: Value, sizes: Sequence[int], scales: Sequence[float] | None, coordinates: str) -> Value:
    """Linear and cubic interpolation, where torch has the same."""
    rank, mode, shape = at.rank(x) - 2, at.attributes["mode"], at.shape(x)
    names = {("linear", 1): "linear1d", ("linear", 2): "bilinear2d", ("linear", 3): "trilinear3d",
             ("cubic", 2): "bicubic2d"}  # fmt: skip
    name = names.get((mode, rank))
    if name is None or tuple(sizes[:2]) != shape[:2]:
        at.refuse(f"it interpolates by {mode!r} over batch, channels, or {rank} more axes")
    if mode == "cubic" and at.attributes["cubic_coeff_a"] != -0.75:
        at.refuse("its cubic_coeff_a is not -0.75")
    alone = any(out == 1 for out in sizes[2:])
    same = coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and not alone)
    if not same and (coordinates != "align_corners" or alone):
        at.refuse(f"its places are {coordinates!r}")
    corners = coordinates == "align_corners"
    target = getattr(aten, f"upsample_{name}").vec
    if scales is None or corners:
        return at.call(target, x, list(sizes[2:]), corners, None)
    return at.call(target, x, None, corners, [float(each) for each in scales[2:]])
