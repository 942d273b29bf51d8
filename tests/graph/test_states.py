"""What a forward leaves for its next call is said, and refused where it would be lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import TraceError
from mcubench.graph import trace
from mcubench.quant import NotInIntegersError, quantize


class Leaky(nn.Module):
    """h, of which each call begins with what the last one left, unless `step` says otherwise."""

    def __init__(self, step: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("h", torch.zeros(1, 3))
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, self.layer(x))


def assigned(module: nn.Module, y: Tensor) -> Tensor:
    module.h = 0.5 * module.h + y
    return module.h


def written(module: nn.Module, y: Tensor) -> Tensor:
    y = y + module.h
    module.h.copy_(y[:1])
    return y


def written_through_a_view(module: nn.Module, y: Tensor) -> Tensor:
    y = y + module.h
    module.h[:, :2] = y[:1, :2]
    return y


def begun_anew(module: nn.Module, y: Tensor) -> Tensor:
    module.h = torch.zeros_like(y)
    module.h = module.h + y
    return module.h


def counted(module: nn.Module, y: Tensor) -> Tensor:
    """Nothing that is returned depends on it."""
    module.h += 1
    return y


def read(module: nn.Module, y: Tensor) -> Tensor:
    return y + module.h


X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("step", [assigned, written, written_through_a_view])
def test_a_state_is_said_and_refused_in_integers(step: Callable[[nn.Module, Tensor], Tensor]) -> None:
    module = Leaky(step).eval()
    graph = trace(module, X[:1])
    assert graph.states == ("h",)
    assert "forward leaves h changed for its next call" in graph.notes[-1]
    assert torch.equal(module.h, torch.zeros(1, 3)), "of the module itself nothing is changed"
    with pytest.raises(NotInIntegersError, match=r"forward leaves h changed .* take the state and return it"):
        quantize(graph, calibration=X)


@pytest.mark.parametrize("step", [begun_anew, counted, read])
def test_what_no_call_leaves_to_the_next_is_no_state(step: Callable[[nn.Module, Tensor], Tensor]) -> None:
    graph = trace(Leaky(step).eval(), X[:1])
    assert graph.states == ()
    quantize(graph, calibration=X)


def test_the_line_that_depends_on_computed_values_is_named() -> None:
    class Deciding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.sum() > 0:  # here
                return x
            return -x

    with pytest.raises(TraceError, match=r"test_states\.py, line \d+: if x\.sum\(\) > 0:  # here\)\. Its steps"):
        trace(Deciding(), X[:1])
