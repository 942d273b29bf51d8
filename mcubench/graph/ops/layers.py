"""Operations that hold weights, and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.graph.ir import Op, Weight
from mcubench.graph.ops.common import Pairs, Sizes, by, fused

__all__ = [
    "AdaptivePool",
    "BatchNorm",
    "Conv",
    "Dense",
    "DepthwiseConv",
    "Embedding",
    "FakeQuantize",
    "GroupNorm",
    "LayerNorm",
    "PReLU",
    "Pool",
    "RMSNorm",
    "Site",
    "TransposedConv",
]


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y = W x + b on the last axis; weight (outputs, inputs), bias (outputs)."""

    weight: Weight
    bias: Weight | None = None
    activation: str | None = None

    @property
    def label(self) -> str:
        """The name, with the fused activation."""
        return fused("Dense", self.activation)


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Convolution; weight (outputs, inputs / groups, *kernel), padding (before, after) for each spatial axis."""

    weight: Weight
    bias: Weight | None
    stride: Sizes
    padding: Pairs
    dilation: Sizes
    groups: int = 1
    activation: str | None = None

    @property
    def kernel(self) -> Sizes:
        """Size of the kernel."""
        return tuple(self.weight.tensor.shape[2:])

    @property
    def label(self) -> str:
        """Name, kernel, stride if any, fused activation."""
        alike = len(set(self.stride)) == 1
        stride = "" if max(self.stride) == 1 else f" /{by(self.stride[:1] if alike else self.stride)}"
        return fused(f"{type(self).__name__} {by(self.kernel)}{stride}", self.activation)


@dataclass(frozen=True, eq=False)
class DepthwiseConv(Conv):
    """A convolution with as many groups as input channels."""


@dataclass(frozen=True, eq=False)
class TransposedConv(Op):
    """Transposed convolution; weight (inputs, outputs / groups, *kernel)."""

    weight: Weight
    bias: Weight | None
    stride: Sizes
    padding: Sizes
    output_padding: Sizes
    dilation: Sizes
    groups: int = 1
    activation: str | None = None

    @property
    def label(self) -> str:
        """Name, kernel, fused activation."""
        return fused(f"TransposedConv {by(tuple(self.weight.tensor.shape[2:]))}", self.activation)


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """Maximum or average over windows; padding (before, after) for each spatial axis."""

    kind: str
    kernel: Sizes
    stride: Sizes
    padding: Pairs
    dilation: Sizes
    ceil_mode: bool = False
    count_include_pad: bool = True

    @property
    def label(self) -> str:
        """Kind and window."""
        return f"{'Max' if self.kind == 'max' else 'Average'}Pool {by(self.kernel)}"


@dataclass(frozen=True, eq=False)
class AdaptivePool(Op):
    """Pooling to a given size with windows that are not all alike."""

    kind: str
    size: Sizes


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """(x - mean) / sqrt(variance + eps) * weight + bias, by channel, with the statistics of training."""

    weight: Weight | None
    bias: Weight | None
    mean: Weight
    variance: Weight
    eps: float
    rank: int  # of spatial axes behind (or before) the channels
    momentum: float = 0.1  # share of a batch's statistics in the running ones, while training


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """Normalisation over the last `rank` axes of each sample."""

    weight: Weight | None
    bias: Weight | None
    rank: int
    eps: float


@dataclass(frozen=True, eq=False)
class GroupNorm(Op):
    """Normalisation over groups of channels of each sample; one group a channel is instance norm."""

    weight: Weight | None
    bias: Weight | None
    groups: int
    eps: float
    rank: int  # of spatial axes
    per_channel: bool = False  # written as instance norm

    @property
    def label(self) -> str:
        """As it was written."""
        return "InstanceNorm" if self.per_channel else "GroupNorm"


@dataclass(frozen=True, eq=False)
class RMSNorm(Op):
    """x / sqrt(mean(x^2) + eps) * weight over the last `rank` axes of each sample."""

    weight: Weight | None
    rank: int
    eps: float


@dataclass(frozen=True, eq=False)
class PReLU(Op):
    """max(x, 0) + weight * min(x, 0), with one weight or one for each channel."""

    weight: Weight
    rank: int  # of spatial axes


@dataclass(frozen=True, eq=False)
class Embedding(Op):
    """Rows of the weight (entries, width), by integer."""

    weight: Weight


@dataclass(frozen=True, eq=False)
class FakeQuantize(Op):
    """Rounding to an integer grid while training; the identity as far as costs go.

    ``grid`` is scale, zero point, lowest and highest code, where one for the whole tensor is known; without it, nothing
    is rounded.
    """

    target: str
    grid: tuple[float, int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Site(FakeQuantize):
    """Marks a value with the call of the running module that makes it; `target` is the call's key."""
