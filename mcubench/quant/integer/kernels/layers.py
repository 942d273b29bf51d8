"""Kernels that hold weights. Sums are of int8 products and int32 biases; floats wide enough hold them exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.quant.integer.ir import Bias, Filter, IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import Pair, Pairs, centred, exact_type, requantised

__all__ = ["Convolve", "DepthwiseConvolve", "FullyConnected", "TransposeConvolve"]


@dataclass(frozen=True, eq=False)
class FullyConnected(Kernel):
    """FULLY_CONNECTED of vectors: filter (outputs, inputs)."""

    filter: Filter
    bias: Bias | None
    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, ..., outputs)."""
        (x,), width = inputs, self.filter.codes.shape[1]
        kind = exact_type(width, bits=node.inputs[0].grid.bits)
        rows = centred(x, node.inputs[0].grid).to(kind).reshape(-1, width)
        sums = _biased((rows @ self.filter.codes.to(kind).T).long(), self.bias)
        grids = node.inputs[0].grid, node.output.grid
        codes = requantised(sums, self.filter, *grids, self.activation)
        return codes.reshape(len(x), *node.output.shape[1:])


@dataclass(frozen=True, eq=False)
class Convolve(Kernel):
    """CONV_2D: filter (outputs, height, width, inputs / groups); padding as ``SAME`` or none has it."""

    filter: Filter
    bias: Bias | None
    stride: Pair
    padding: Pairs
    dilation: Pair
    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, height, width, outputs)."""
        weight = self.filter.codes.permute(0, 3, 1, 2)
        groups = node.inputs[0].shape[3] // weight.shape[1]
        sums = _convolved(self, node, inputs[0], weight, groups)
        return requantised(sums, self.filter, node.inputs[0].grid, node.output.grid, self.activation)


@dataclass(frozen=True, eq=False)
class DepthwiseConvolve(Kernel):
    """DEPTHWISE_CONV_2D: filter (1, height, width, outputs); outputs are a multiple of the inputs."""

    filter: Filter
    bias: Bias | None
    stride: Pair
    padding: Pairs
    dilation: Pair
    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, height, width, outputs)."""
        weight = self.filter.codes.permute(3, 0, 1, 2)
        sums = _convolved(self, node, inputs[0], weight, node.inputs[0].shape[3])
        return requantised(sums, self.filter, node.inputs[0].grid, node.output.grid, self.activation)


@dataclass(frozen=True, eq=False)
class TransposeConvolve(Kernel):
    """TRANSPOSE_CONV: filter (outputs, height, width, inputs)."""

    filter: Filter
    bias: Bias | None
    stride: Pair

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, height, width, outputs)."""
        kind = exact_type(self.filter.codes[0].numel())
        weight = self.filter.codes.permute(3, 0, 1, 2).to(kind)
        channels_first = centred(inputs[0], node.inputs[0].grid).to(kind).permute(0, 3, 1, 2)
        sums = F.conv_transpose2d(channels_first, weight, stride=self.stride).permute(0, 2, 3, 1)
        height, width = (wanted - found for wanted, found in zip(node.output.shape[1:3], sums.shape[1:3], strict=True))
        sums = _biased(F.pad(sums, (0, 0, 0, width, 0, height)).long(), self.bias)  # below 0, it is cut off
        return requantised(sums, self.filter, node.inputs[0].grid, node.output.grid, None)


def _convolved(
    kernel: Convolve | DepthwiseConvolve, node: IntegerNode, x: Tensor, weight: Tensor, groups: int
) -> Tensor:
    """Sums with biases, int64, (N, height, width, outputs); zeros around, which are codes of 0."""
    # In double precision, which oneDNN has not: in single, torch 2.13 has it compute wrong sums where a stride is wide.
    kind = torch.float64
    (top, bottom), (left, right) = kernel.padding
    padded = F.pad(centred(x, node.inputs[0].grid).to(kind), (0, 0, left, right, top, bottom))
    sums = F.conv2d(
        padded.permute(0, 3, 1, 2), weight.to(kind), stride=kernel.stride, dilation=kernel.dilation, groups=groups
    )
    return _biased(sums.permute(0, 2, 3, 1).long(), kernel.bias)


def _biased(sums: Tensor, bias: Bias | None) -> Tensor:
    return sums if bias is None else sums + bias.codes.long()
