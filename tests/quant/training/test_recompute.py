"""Activation checkpoints in a rounded forward: the same module that keeps its values is the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from mcubench.cost.size import BitWidths
from mcubench.quant.training import FakeQuantizer, quantizer
from tests.quant.training.test_quantizer import quantised

pytestmark = pytest.mark.filterwarnings("ignore")

Checkpointed = Callable[[nn.Sequential, Tensor], Tensor]


def nested(body: nn.Sequential, x: Tensor) -> Tensor:
    def outer(x: Tensor) -> Tensor:
        x = body[1](body[0](x))
        return body[4](checkpoint(body[2:4], x, use_reentrant=False))  # type: ignore[no-any-return]

    return body[5](checkpoint(outer, x, use_reentrant=False))  # type: ignore[no-any-return]


HOW: dict[str, Checkpointed] = {
    "reentrant": lambda body, x: checkpoint(body, x, use_reentrant=True),
    "not reentrant": lambda body, x: checkpoint(body, x, use_reentrant=False),
    "to its end": lambda body, x: checkpoint(body, x, use_reentrant=False, early_stop=False),
    "in two parts": lambda body, x: checkpoint_sequential(body, 2, x, use_reentrant=False),
    "in two reentrant parts": lambda body, x: checkpoint_sequential(body, 3, x, use_reentrant=True),
    "nested": nested,
    "twice": lambda body, x: body[3:](checkpoint(body[:3], x, use_reentrant=False)),
}


class Net(nn.Module):
    """Convolutions between two layers; `how` computes the middle while it trains."""

    def __init__(self, how: Checkpointed | None) -> None:
        super().__init__()
        self.how = how
        self.first, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)
        self.body = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = self.body(x) if self.how is None or not self.training else self.how(self.body, x)
        logits: Tensor = self.head(x.relu().mean((2, 3)))
        return logits


def gradients(how: Checkpointed | None, bits: int, steps: int = 3) -> tuple[list[Tensor], FakeQuantizer, Net]:
    """Gradients of some steps, which learn ranges; after the first, forward rounds in what was learned before."""
    torch.manual_seed(0)
    net = Net(how).train()
    found, _ = quantised(net, torch.zeros(1, 2, 6, 6), BitWidths(bits, bits))
    collected = []
    for step in range(steps):
        torch.manual_seed(step)
        net.zero_grad()
        net(torch.randn(8, 2, 6, 6) * (step + 1)).square().sum().backward()
        collected.append(torch.cat([each.grad.flatten() for each in net.parameters() if each.grad is not None]))
    return collected, found, net


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", HOW)
def test_gradients_are_those_without_checkpoints(name: str, bits: int) -> None:
    expected, plain, _ = gradients(None, bits)
    found, checkpointed, net = gradients(HOW[name], bits)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-6 * float(two.abs().max()))
    assert checkpointed.state() == plain.state()
    assert checkpointed.forwards == 3
    assert not checkpointed.is_running
    assert torch.overrides._len_torch_function_stack() == 0
    net.eval()
    with torch.no_grad():
        net(torch.randn(2, 2, 6, 6))


def test_recomputing_in_float_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake injected: nobody remembers how the forward was rounded."""
    expected, _, _ = gradients(None, 4)
    monkeypatch.setattr(quantizer, "rounding_again", lambda _begin: contextlib.nullcontext())
    found, _, _ = gradients(HOW["reentrant"], 4)
    assert (found[-1] - expected[-1]).norm() > 0.01 * expected[-1].norm()
    with pytest.raises(torch.utils.checkpoint.CheckpointError, match="different number of tensors"):
        gradients(HOW["not reentrant"], 4)


def test_two_forwards_before_one_backward_have_their_own_ranges() -> None:
    results = []
    for how in (None, HOW["reentrant"], HOW["not reentrant"]):
        torch.manual_seed(0)
        net = Net(how).train()
        quantised(net, torch.zeros(1, 2, 6, 6), BitWidths(4, 4))
        batches = [torch.randn(8, 2, 6, 6) * scale for scale in (1, 3)]
        torch.manual_seed(1)
        sum(net(batch).square().sum() for batch in [*batches, *batches]).backward()  # type: ignore[union-attr]
        results.append(torch.cat([each.grad.flatten() for each in net.parameters() if each.grad is not None]))
    for each in results[1:]:
        assert torch.allclose(each, results[0], rtol=1e-4, atol=1e-5 * float(results[0].abs().max()))


def test_torch_is_left_as_it_was() -> None:
    module: Any = torch.utils.checkpoint
    names = ("CheckpointFunction", "_checkpoint_without_reentrant_generator")
    before = [getattr(module, name) for name in names]
    _, _, net = gradients(HOW["reentrant"], 8)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 3, 6, 6))
    assert [getattr(module, name) for name in names] == before


def test_outside_of_the_module_checkpoints_are_torchs_own() -> None:
    """Another module that is checkpointed while this one is rounded computes in float, twice alike."""
    _, found, _ = gradients(HOW["reentrant"], 8)
    other, x = nn.Linear(4, 4), torch.randn(2, 4)
    checkpoint(other, x, use_reentrant=False).sum().backward()
    assert other.weight.grad is not None
    assert torch.allclose(other.weight.grad, x.sum(0).expand(4, 4))
    assert found.forwards == 3
