"""Counterparts of pooling and of resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.graph import ops
from mcubench.parity.building.padding import zero_padding
from mcubench.parity.building.reading import irrelevant
from mcubench.parity.building.site import CannotBuildError, Site, build

__all__: list[str] = []

_LOWEST = float(np.finfo(np.float32).min)  # a maximum never takes it; infinity would not be valid JSON when saved


@build.register
def _(op: ops.Pool, at: Site) -> Any:
    rank = len(op.kernel)
    if max(op.dilation) > 1:
        raise CannotBuildError("Keras has no pooling with a dilation")
    irrelevant(op, "ceil_mode")  # the size of the output, which the windows are cut from, has it
    size = at.value.shape[len(at.value.shape) - rank - 1 : -1]
    outputs = at.output.shape[len(at.output.shape) - rank - 1 : -1]
    padding = tuple(
        (before, max((out - 1) * stride + kernel - before - length, 0))
        for (before, _), out, stride, kernel, length in zip(
            op.padding, outputs, op.stride, op.kernel, size, strict=True
        )
    )
    if op.kind == "max":
        irrelevant(op, "count_include_pad")
    if op.kernel == size and set(outputs) == {1} and not any(map(any, padding)):
        irrelevant(op, "count_include_pad")  # there is none
        name = f"Global{'Max' if op.kind == 'max' else 'Average'}Pooling{rank}D"
        return at.spatial(lambda x: at.layer(name, x, keepdims=True, data_format="channels_last"), rank)
    options: dict[str, Any] = {
        "pool_size": op.kernel if rank > 1 else op.kernel[0],
        "strides": op.stride if rank > 1 else op.stride[0],
        "padding": "valid",
        "data_format": "channels_last",
    }

    def maximum(x: Any) -> Any:
        if any(map(any, padding)):
            x = at.op("pad", x, ((0, 0), *padding, (0, 0)), constant_values=_LOWEST)
        return at.layer(f"MaxPooling{rank}D", x, **options)

    def average(x: Any) -> Any:
        y = at.layer(f"AveragePooling{rank}D", zero_padding(at, x, padding), **options)
        correction = _correction(op, size, outputs)
        return y if correction is None else at.op("multiply", y, correction)

    return at.spatial(maximum if op.kind == "max" else average, rank)


def _correction(op: ops.Pool, size: tuple[int, ...], outputs: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Keras divides by the whole window; PyTorch by the part of it that it counts. Shape (*outputs, 1)."""
    factors = np.ones((1,) * (len(size) + 1))
    for axis, length in enumerate(size):
        before, after = op.padding[axis]
        kernel = op.kernel[axis]
        start = np.arange(outputs[axis]) * op.stride[axis] - before
        end = np.minimum(start + kernel, length + after)  # beyond that, ceil_mode has windows hang out
        counted = end - start if op.count_include_pad else np.minimum(end, length) - np.maximum(start, 0)
        shape = [1] * (len(size) + 1)
        shape[axis] = -1
        factors = factors * (kernel / counted).reshape(shape)
    return None if np.all(factors == 1) else factors.astype(np.float32)


@build.register
def _(op: ops.AdaptivePool, at: Site) -> Any:
    kind = "Max" if op.kind == "max" else "Average"
    rank = len(op.size)
    size: Any = op.size if rank > 1 else op.size[0]
    name = f"Adaptive{kind}Pooling{rank}D"
    return at.spatial(lambda x: at.layer(name, x, output_size=size, data_format="channels_last"), rank)


# Up to this height and width together torch takes a kernel of its own to resize images to the nearest neighbour.
# Source: ATen/native/cpu/UpSampleKernel.cpp, _use_vectorized_kernel_cond_2d (for channels that are not last).
_SMALL_IMAGE = 128


@build.register
def _(op: ops.Resize, at: Site) -> Any:
    rank = len(op.size)
    size = at.value.shape[len(at.value.shape) - rank - 1 : -1]
    if op.mode not in ("nearest", "nearest-exact", "linear", "bilinear", "trilinear"):
        raise CannotBuildError(f"Keras' {op.mode} interpolation has another kernel than PyTorch's")
    if op.mode.startswith("nearest"):
        irrelevant(op, "align_corners")  # torch refuses it there
        places = [_nearest(op, *axis) for axis in zip(size, op.size, op.scales or (None,) * rank, strict=True)]
    else:
        places = [_between(op, *axis) for axis in zip(size, op.size, op.scales or (None,) * rank, strict=True)]

    def resize(x: Any) -> Any:
        factors = tuple(out // length for out, length in zip(op.size, size, strict=True))
        if rank < 3 and set(factors) != {1} and all(map(_is_repeated, size, factors, places)):
            if rank == 1:
                return at.layer("UpSampling1D", x, size=factors[0])
            return at.layer("UpSampling2D", x, size=factors, data_format="channels_last", interpolation="nearest")
        for axis, (length, where) in enumerate(zip(size, places, strict=True), 1):
            if not np.array_equal(where, np.arange(length)):
                x = _resized(at, x, axis, where)
        return x

    return at.spatial(resize, rank)


def _is_repeated(length: int, times: int, places: NDArray[np.float64]) -> bool:
    """Whether each element is taken so many times, one after another."""
    return np.array_equal(places, np.repeat(np.arange(length), times))


def _nearest(op: ops.Resize, length: int, out: int, scale: float | None) -> NDArray[np.float64]:
    """The input element that each output element is.

    The scale that was given decides, not the sizes: 4.2 times four elements are sixteen, but not each one four times.

    Source: ATen/native/UpSample.h, nearest_neighbor_compute_source_index, nearest_exact_... and, of small images,
    nearest_idx, which passes over the scale where the size stays or doubles.
    """
    index = np.arange(out, dtype=np.float64)
    if op.mode == "nearest" and len(op.size) == 2 and sum(op.size) <= _SMALL_IMAGE and out in (length, 2 * length):
        return index // (out // length)
    single = np.float32(1 / scale) if scale else np.float32(length) / np.float32(out)
    if op.mode == "nearest":
        scaled = index.astype(np.float32) * single
    else:
        scaled = ((index + 0.5) * float(single)).astype(np.float32)
    return np.asarray(np.minimum(np.floor(scaled), length - 1), np.float64)


def _between(op: ops.Resize, length: int, out: int, scale: float | None) -> NDArray[np.float64]:
    """Where in the input each output element lies, in elements.

    Source: ATen/native/UpSample.h, area_pixel_compute_source_index, and compute_source_index_and_lambda, which copies
    where the size stays.
    """
    index = np.arange(out, dtype=np.float64)
    if op.align_corners:  # whatever the scale
        return index * ((length - 1) / (out - 1) if out > 1 else 0.0)
    return index if out == length else np.maximum((index + 0.5) * (1 / scale if scale else length / out) - 0.5, 0)


def _resized(at: Site, x: Any, axis: int, places: NDArray[np.float64]) -> Any:
    """Interpolates between the neighbours along one axis; the batch is axis 0."""
    below = np.minimum(np.floor(places), x.shape[axis] - 1).astype(int)
    lower = at.op("take", x, below, axis=axis)
    share = (places - below).astype(np.float32)
    if not share.any():
        return lower
    upper = at.op("take", x, np.minimum(below + 1, x.shape[axis] - 1), axis=axis)
    shape = [1] * len(x.shape)
    shape[axis] = -1
    share = share.reshape(shape)
    return at.op("add", at.op("multiply", lower, 1 - share), at.op("multiply", upper, share))
