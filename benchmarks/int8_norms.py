"""How far above its noise a layer norm in int8 is, and one that holds a variance in int8.

    python -m benchmarks.int8_norms [--write docs/quantization.md]

Rows of normal numbers, all alike or of a loudness that differs from row to row, through a norm with random factors and
terms. What is compared with is the usual composition, every value of it rounded to int8 in its own range.
"""

from __future__ import annotations

import argparse
import sys

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.graph import trace
from mcubench.quant import Grid, quantize
from mcubench.quant.integer import predict

CHANNELS = (16, 32, 64, 128, 256)
SPREADS = (0.0, 0.5)  # standard deviation of the logarithm of a row's loudness
ROWS, SAMPLES = 20, 100


def in_kernels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """As the integer graph computes it."""
    graph = quantize(trace(norm, x[:1]), calibration=x)
    return graph.decode(*predict(graph, *graph.encode(x)))[0].reshape(x.shape)


def with_a_variance(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """MEAN, SQUARED_DIFFERENCE, MEAN, RSQRT, SUB, two MUL and ADD."""
    read = rounded(x)
    mean = rounded(read.mean(-1, keepdim=True))
    variance = rounded(rounded((read - mean).square()).mean(-1, keepdim=True))
    smallest = variance[variance > 0].min()  # the root of a variance that has become 0 is as that of the least other
    factor = rounded(variance.clamp_min(smallest).add(norm.eps).rsqrt())
    return rounded(rounded(rounded(rounded(read - mean) * factor) * norm.weight) + norm.bias)


def rounded(x: Tensor) -> Tensor:
    """On the grid of its range."""
    grid = Grid.of_range(float(x.min()), float(x.max()))
    return grid.values(grid.codes(x))


@torch.no_grad()
def measured(channels: int, spread: float) -> tuple[str, str]:
    """Signal to noise of both, in dB."""
    generator = torch.Generator().manual_seed(channels)
    norm = nn.LayerNorm(channels)
    norm.weight.normal_(1, 0.2, generator=generator)
    norm.bias.normal_(0, 0.2, generator=generator)
    shape = SAMPLES, ROWS, 1
    loudness = (spread * torch.randn(shape, generator=generator)).exp()
    x = loudness * torch.randn(*shape[:2], channels, generator=generator) + 0.3 * torch.randn(
        shape, generator=generator
    )
    wanted = F.layer_norm(x, (channels,), norm.weight, norm.bias)
    ours, theirs = (f"{decibels(wanted, make(norm, x)):.1f}" for make in (in_kernels, with_a_variance))
    return ours, theirs


def decibels(wanted: Tensor, found: Tensor) -> float:
    """Signal-to-noise ratio."""
    return float(10 * torch.log10(wanted.square().sum() / (found - wanted).square().sum()))


def run(options: argparse.Namespace) -> int:
    head = "channels: | rows alike [dB]: | with a variance: | loudness of e^±0.5 [dB]: | with a variance:"
    rows = [[channels, *(each for spread in SPREADS for each in measured(channels, spread))] for channels in CHANNELS]
    show(options, {"int8 norms": table(head, rows)})
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
