"""Elements in other places, and layers that do nothing when a model is used."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from mcubench.readers.keras.site import ATEN, Site, rule

__all__: list[str] = []

_TRAINING_ONLY = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    *("ActivityRegularization", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "RandomContrast"),
    "RandomBrightness",
)


@rule("Identity", *_TRAINING_ONLY)
def _nothing(at: Site) -> fx.Node:
    return at.x


@rule("Flatten")
def _flatten(at: Site) -> fx.Node:
    if at.option("data_format", "channels_last") != "channels_last":
        raise at.refuse("its channels come first")
    (x,) = at.inputs
    return at.reshaped(x, [math.prod(at.shape(x)[1:])])


@rule("Reshape")
def _reshape(at: Site) -> fx.Node:
    (x,) = at.inputs
    shape = [int(size) for size in at.option("target_shape")]
    known = math.prod(size for size in shape if size != -1)
    rest = math.prod(at.shape(x)[1:]) // max(known, 1)
    return at.reshaped(x, [rest if size == -1 else size for size in shape])


@rule("Permute")
def _permute(at: Site) -> fx.Node:
    (x,) = at.inputs
    return at.permuted(x, [0, *(int(axis) for axis in at.option("dims"))])


@rule("RepeatVector")
def _repeat_vector(at: Site) -> fx.Node:
    x, times = at.x, int(at.option("n"))
    size = at.shape(x)[1]
    return at.call(ATEN.expand.default, at.reshaped(x, [1, size]), [-1, times, size])


@rule("Concatenate")
def _concatenate(at: Site) -> fx.Node:
    parts = [at.floats(each) for each in at.inputs]
    rank = len(at.shape(parts[0]))
    axis = int(at.option("axis")) % rank
    if axis == 0:
        raise at.refuse("it joins the samples of a batch")
    # Along the channels where these stand second: next to a convolution nothing is moved.
    firsts = [at.channels_first(each) for each in parts] if rank > 2 else parts
    if rank < 3 or any(first.target is ATEN.permute.default and first.args[0] in parts for first in firsts):
        return at.call(ATEN.cat.default, parts, axis)
    return at.channels_last(at.call(ATEN.cat.default, firsts, 1 if axis == rank - 1 else axis + 1))


def _sides(found: Any, rank: int) -> list[tuple[int, int]]:
    pairs = [found] if rank == 1 else found
    return [(int(before), int(behind)) for before, behind in pairs]


@rule("ZeroPadding1D", "ZeroPadding2D")
def _zero_padding(at: Site) -> fx.Node:
    x = at.channels_first(at.x)
    sides = _sides(at.option("padding"), len(at.shape(x)) - 2)
    amounts = [amount for pair in reversed(sides) for amount in pair]
    return at.channels_last(at.call(ATEN.constant_pad_nd.default, x, amounts, 0.0))


@rule("Cropping1D", "Cropping2D")
def _cropping(at: Site) -> fx.Node:
    x = at.channels_first(at.x)
    for axis, (before, behind) in enumerate(_sides(at.option("cropping"), len(at.shape(x)) - 2), 2):
        size = at.shape(x)[axis]
        if before or behind:
            x = at.call(ATEN.slice.Tensor, x, axis, before, size - behind)
    return at.channels_last(x)


@rule("UpSampling1D", "UpSampling2D")
def _up_sampling(at: Site) -> fx.Node:
    x = at.channels_first(at.x)
    old = at.shape(x)[2:]
    size = [length * factor for length, factor in zip(old, at.sizes("size", len(old)), strict=True)]
    kind = at.option("interpolation", "nearest")
    if len(old) == 1:
        return at.channels_last(at.call(ATEN.upsample_nearest1d.vec, x, size, None))
    if kind == "nearest":
        return at.channels_last(at.call(ATEN.upsample_nearest2d.vec, x, size, None))
    if kind != "bilinear":
        raise at.refuse(f"its interpolation is {kind}")
    return at.channels_last(at.call(ATEN.upsample_bilinear2d.vec, x, size, False, None))


@rule("Embedding")
def _embedding(at: Site) -> fx.Node:
    if at.option("mask_zero"):
        raise at.refuse("it masks what is zero")
    (x,) = at.inputs
    if x.meta["val"].dtype not in (torch.int32, torch.int64):
        x = at.call(ATEN._to_copy.default, x, dtype=torch.int32)
    return at.call(ATEN.embedding.default, at.weight("embeddings"), x)
