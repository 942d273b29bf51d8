"""Padding, as Keras has it: "same", zeros around, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcubench.graph.ops.common import Pairs, Sizes
from mcubench.parity.building.site import Site

__all__ = ["as_same", "same_padding", "zero_padding"]


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """What TensorFlow adds before and after an axis for padding "same"; the odd one comes after.

    Source: tensorflow.org/api_docs/python/tf/nn, "Notes on padding".
    """
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def as_same(size: Sequence[int], kernel: Sizes, stride: Sizes, dilation: Sizes, padding: Pairs) -> bool:
    """Whether explicit padding is what "same" stands for, and is not nothing."""
    axes = zip(size, kernel, stride, dilation, strict=True)
    return any(map(any, padding)) and padding == tuple(same_padding(*axis) for axis in axes)


def zero_padding(at: Site, x: Any, padding: Pairs) -> Any:
    """Zeros around the spatial axes."""
    if not any(map(any, padding)):
        return x
    rank = len(padding)
    amounts = padding[0] if rank == 1 else padding
    return at.layer(f"ZeroPadding{rank}D", x, padding=amounts, data_format="channels_last")
