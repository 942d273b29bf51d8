"""Costs are those of one sample where samples of a batch can't be told apart: exact, or bounds that say so.

References are hand counts and torch's FlopCounterMode, which runs the module with one sample; the costs of the same
layers without the loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mcubench.cost import CostReport, profile
from mcubench.graph import TraceError, interpret, trace
from tests.graph.compare import Forward

EXAMPLE = torch.zeros(1, 3, 8, 8)
# By hand: 4 * 6 * 6 outputs of 3 * 3 * 3 products; a byte a weight, bias, multiplier and shift for 4 channels.
MACS = 4 * 6 * 6 * 3 * 3 * 3
FLASH = 4 * 27 + 4 * (4 + 8)
RAM = 3 * 8 * 8 + 4 * 6 * 6


def written_into(conv: nn.Module, x: Tensor) -> Tensor:
    out = x.new_zeros(len(x), 4, 6, 6)
    for index in range(len(x)):
        out[index] = conv(x[index : index + 1])[0]
    return out


def pairs(conv: nn.Module, x: Tensor) -> Tensor:
    """Every sample with every other: with one sample there is one."""
    first, second = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(x))).T if len(x) > 1 else (0, 0)
    return conv(x[first] + x[second] if len(x) > 1 else x + x)


# What people write where each sample is taken by itself, and what else has no axis for the batch.
LOOPS: dict[str, Callable[..., Any]] = {
    "stack over samples": lambda conv, x: torch.stack([conv(each[None])[0] for each in x]),
    "stack without a batch": lambda conv, x: torch.stack([conv(each) for each in x]),
    "map": lambda conv, x: torch.stack(list(map(conv, x))),
    "index": lambda conv, x: torch.stack([conv(x[index]) for index in range(x.shape[0])]),
    "slices": lambda conv, x: torch.cat([conv(x[index : index + 1]) for index in range(len(x))]),
    "split": lambda conv, x: torch.cat([conv(part) for part in x.split(1)]),
    "chunks": lambda conv, x: torch.cat([conv(part) for part in x.split(32)]),
    "unbind": lambda conv, x: torch.cat([conv(each.unsqueeze(0)) for each in x.unbind()]),
    "written into": written_into,
    "functions": lambda conv, x: torch.stack([F.conv2d(each, conv.weight, conv.bias) for each in x]),
    "a sum over samples": lambda conv, x: sum(conv(each[None]) for each in x),
    "pairs": pairs,
    "the first sample": lambda conv, x: conv(x[0]),
    "less the mean": lambda conv, x: conv(x - x.mean(0)),
}  # fmt: skip


@functools.cache
def looped(name: str) -> CostReport:
    """Traced once for all tests."""
    return profile(Forward(LOOPS[name], nn.Conv2d(3, 4, 3)), EXAMPLE)


@pytest.mark.parametrize("name", LOOPS)
def test_macs_are_those_of_one_sample(name: str) -> None:
    module = Forward(LOOPS[name], nn.Conv2d(3, 4, 3)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as witness:
        module(EXAMPLE)
    assert witness.get_total_flops() == 2 * MACS
    report = looped(name)
    assert report.macs in (MACS, None)
    assert report.mac_count.counted == MACS


@pytest.mark.parametrize("name", LOOPS)
def test_flash_and_ram_are_lower_bounds_that_say_so(name: str) -> None:
    """What treats samples in another way than one by one stays unknown, and is named."""
    report = looped(name)
    assert report.flash_bytes is None
    assert report.ram_bytes is None
    assert report.unsupported
    assert report.flash.total <= FLASH
    assert report.memory.lower_bound <= report.memory.peak <= 2 * RAM
    assert any("single sample" in note for note in report.notes)
    assert report.as_dict()["flash_bytes"] is None


BY_ITSELF = [
    "stack over samples",
    "stack without a batch",
    "map",
    "index",
    "slices",
    "split",
    "chunks",
    "unbind",
    "functions",
]


@pytest.mark.parametrize("name", BY_ITSELF)
def test_the_bounds_are_tight_where_samples_are_taken_out_and_put_back(name: str) -> None:
    """That moves nothing with one sample: the figures are those of the layer alone."""
    report, plain = looped(name), profile(nn.Conv2d(3, 4, 3), EXAMPLE)
    assert (report.flash.total, report.memory.peak) == (FLASH, RAM)
    assert (plain.macs, plain.flash_bytes, plain.ram_bytes) == (MACS, FLASH, RAM)


def test_what_is_unknown_in_a_batch_can_not_be_run() -> None:
    """A graph of one sample would compute something else for several."""
    graph = trace(Forward(lambda x: x - x.mean(0) + x[:1]), torch.zeros(1, 4))
    with pytest.raises(NotImplementedError):
        interpret(graph, torch.randn(3, 4))
    graph = trace(Forward(lambda x: x / x.shape[0]), torch.zeros(1, 4))
    with pytest.raises(NotImplementedError, match=r"aten\.div"):
        interpret(graph, torch.randn(3, 4))


class Repeats(nn.Module):
    """Runs a layer as often as there are samples; each of them keeps its place."""

    def __init__(self, functional: bool) -> None:
        super().__init__()
        self.layer, self.functional = nn.Linear(6, 6), functional

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(len(x)):
            x = F.linear(x, self.layer.weight, self.layer.bias) if self.functional else self.layer(x)
        return x


@pytest.mark.parametrize("functional", [False, True])
def test_a_number_of_steps_that_is_the_number_of_samples(functional: bool) -> None:
    report = profile(Repeats(functional), torch.zeros(1, 6))
    assert report.mac_count.counted == 6 * 6
    assert (report.flash_bytes, report.ram_bytes) == (None, None)
    assert "once for every sample" in str(report.unsupported[0])


class Steps(nn.Module):
    """A cell for every step of a sequence, and no loop over samples, however often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(5, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 4)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state.squeeze())  # which takes away the batch of a single sample, and only that


@pytest.mark.parametrize("steps", [3, 40])
def test_steps_of_a_sequence_are_no_samples(steps: int) -> None:
    report = profile(Steps(), torch.zeros(1, steps, 5))
    assert report.macs == steps * 3 * 4 * (5 + 4) + 4 * 2
    assert report.unsupported == ()
    assert report.ram_bytes is not None
    assert report.notes == ()


def test_a_forward_that_takes_samples_apart_and_fails_with_one_is_an_error() -> None:
    """Two halves of a batch, as siamese networks have them: nothing says what one sample costs."""

    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        first, second = x.chunk(2)
        return torch.cat([layer(first), -layer(second)])

    with pytest.raises(TraceError, match=r"Forward can't be traced .*with several samples aten\.chunk.*with one: Val"):
        profile(Forward(forward, nn.Linear(4, 2)), torch.zeros(1, 4))


def test_samples_that_are_added_are_counted() -> None:
    """One sample is computed twice here, as FlopCounterMode says too; of 211 one more would not be seen."""
    module = Forward(lambda layer, x: layer(torch.cat([x, x[:1]]))[: len(x)], nn.Linear(4, 2)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as witness:
        module(torch.zeros(1, 4))
    report = profile(module, torch.zeros(1, 4))
    assert report.mac_count.counted == witness.get_total_flops() // 2 == 2 * 4 * 2
    assert report.unsupported


def test_the_batch_elsewhere() -> None:
    module = Forward(
        lambda layer, x: torch.stack([layer(x[:, index]) for index in range(x.shape[1])], 1), nn.Linear(4, 2)
    )
    report = profile(module, torch.zeros(7, 1, 4), batch_dim=1)
    assert report.mac_count.counted == 7 * 4 * 2
    assert report.flash.total == 4 * 2 + 2 * 12


def test_a_sample_without_a_batch_may_be_looped_over() -> None:
    """Then its first axis is no batch, and all is known."""
    module = Forward(lambda layer, x: torch.stack([layer(each) for each in x]), nn.Linear(4, 2))
    report = profile(module, torch.zeros(7, 4), batch_dim=None)
    assert report.macs == 7 * 4 * 2
    assert report.unsupported == ()
