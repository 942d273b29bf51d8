"""Nets that between them have every kernel, at the widths that make a difference."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn

from mcubench.quant import IntegerGraph
from tests.codegen.host import Case, case
from tests.graph.compare import randomised
from tests.quant.nets import BEHIND, NETS
from tests.quant.witness import quantized, seeded

WIDER: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "nothing to be computed": (nn.Identity, (3, 5)),
    "more taps than one sum holds": (lambda: nn.Linear(700, 11), (700,)),
    "pooled 2 x 2": (lambda: nn.Sequential(nn.Conv2d(3, 7, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()), (3, 9, 8)),
    "pooled by 2, groups": (lambda: nn.Sequential(nn.Conv1d(6, 12, 5, padding=2, groups=3), nn.MaxPool1d(2)), (6, 23)),
    "pooled depthwise": (
        lambda: nn.Sequential(nn.Conv2d(5, 5, 3, padding=1, groups=5), nn.ReLU(), nn.MaxPool2d(2)),
        (5, 8, 8),
    ),
    "separable": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)),
        ),
        (1, 14, 14),
    ),
    "flattened": (
        lambda: nn.Sequential(nn.Conv2d(2, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(96, 9), nn.ReLU()),
        (2, 8, 8),
    ),
}


@functools.cache
def graphs() -> dict[str, tuple[IntegerGraph, torch.Tensor]]:
    """Integer graphs and samples."""
    found = {}
    nets = {name: (make, shape) for name, (make, shape, _) in (NETS | BEHIND).items()} | WIDER
    for name, (make, shape) in nets.items():
        torch.manual_seed(0)
        module, x = randomised(make()), 2 * seeded(32, *shape)
        for bits in (8, 4, 2) if name not in BEHIND and any(True for _ in module.parameters()) else (8,):
            found[f"{name}, {bits} bits"] = quantized(module, x, bits), x
    return found


def cases(dialect: str, widths: tuple[int, ...] = (8, 4, 2)) -> list[Case]:
    """All of them in a dialect, at some widths."""
    return [
        case(name, graph, x, dialect, number)
        for number, (name, (graph, x)) in enumerate(graphs().items())
        if name.endswith(tuple(f"{bits} bits" for bits in widths))
    ]
