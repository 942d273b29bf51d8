"""What is computed from weights alone is no call of a forward: counts by hand, and the unpruned module's keys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.quant.grid import weight_codes, weight_scales
from mcubench.quant.training import FakeQuantizer, Phase, make_plan
from mcubench.quant.training.derived import Derived
from mcubench.quant.training.sites import NumberedCalls, weights_of

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Squeeze(nn.Module):
    """Squeeze and excitation: its product is a value of the device, and so are its sums."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.down, self.up, self.head = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Linear(8, 2),
            nn.Linear(2, 8),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        scale = self.up(self.down(x.mean((2, 3))).relu()).sigmoid()
        logits: Tensor = self.head((x * scale[:, :, None, None]).mean((2, 3)))
        return logits


class Plain(NumberedCalls):
    def called(self, key: str, func: object, args: object, kwargs: object) -> object:
        return func(*args, **kwargs)  # type: ignore[operator]


def pruned(module: nn.Module) -> nn.Module:
    prune.l1_unstructured(module.conv, "weight", 0.5)
    prune.l1_unstructured(module.down, "weight", 0.5)
    return module


class Doubled(nn.Module):
    """Computes a weight in two products in training, and in one in evaluation."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight * 2 * 1 if self.training else weight * 2


def doubled(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(module.up, "weight", Doubled())
    return module


def spectral(module: nn.Module) -> nn.Module:
    """In training it iterates a product of the weight with vectors; in evaluation it does not."""
    parametrizations.spectral_norm(module.head)
    parametrizations.weight_norm(module.up)
    return module


@pytest.mark.parametrize("change", [pruned, doubled, spectral])
def test_computed_weights_leave_keys_and_counts_as_they_were(change: object) -> None:
    plain, changed = make_plan(Squeeze(), EXAMPLE), make_plan(change(Squeeze()), EXAMPLE)  # type: ignore[operator]
    assert changed.activations == plain.activations
    assert set(changed.weights) == set(plain.weights)
    assert changed.counts == plain.counts
    assert plain.counts["mul"] == 1


@pytest.mark.parametrize("change", [pruned, doubled, spectral])
def test_a_module_that_changes_so_while_it_trains_is_rounded_on(change: object) -> None:
    torch.manual_seed(0)
    module = Squeeze().train()
    quantizer = FakeQuantizer(make_plan(module, EXAMPLE), BitWidths(), "moving_average")
    quantizer.attach(module, lambda: Phase.LEARN)
    module(torch.randn(4, 3, 8, 8))
    change(module)  # type: ignore[operator]
    module(torch.randn(4, 3, 8, 8)).sum().backward()
    assert quantizer.forwards == 2
    assert quantizer.state()["batches"] == 2


def test_what_a_layer_gets_is_the_rounded_pruned_weight() -> None:
    """Codes times scales of the masked weight, by the functions of the integer graph."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 5, bias=False)
    module = nn.Sequential(layer)
    quantizer = FakeQuantizer(make_plan(module, torch.zeros(1, 6)), BitWidths(4, 8), "moving_average")
    prune.l1_unstructured(layer, "weight", 0.4)
    phase = Phase.LEARN
    quantizer.attach(module, lambda: phase)
    x = torch.eye(6)  # multiples of a step of 1 / 255
    module(x)
    phase = Phase.ROUND
    masked = (layer.weight_orig * layer.weight_mask).detach()
    scales = weight_scales(masked, 4, 0)
    expected = (weight_codes(masked, scales, 4, 0) * scales[:, None]).T
    low, high = quantizer.state()["ranges"]["linear:0"]
    assert (module(x) - expected).abs().max() <= 0.51 * (high - low) / 255
    assert (masked == 0).sum() == 12
    assert (module(x).T[masked == 0].abs() <= 0.51 * (high - low) / 255).all()


def test_calls_by_hand() -> None:
    weight, x = nn.Parameter(torch.ones(2, 2)), torch.ones(1, 2)
    module = nn.Module()
    module.weight = weight
    module.register_buffer("mask", torch.eye(2))
    with Plain(weights_of(module)) as calls:
        small = module.mask * weight  # of weights alone
        y = x * 2  # of an input
        z = nn.functional.linear(y, small.T @ small)  # the product is of weights alone, the layer is not
        state = torch.zeros_like(y) * weight[0]  # of numbers that are known before
        z.add_(1)
    assert calls.counts == {"mul": 1, "linear": 1, "add": 1}
    assert calls.derived.origin(state) is not None
    assert calls.derived.origin(small) is weight, "a parameter comes before a buffer"
    assert calls.derived.origin(y) is None


def test_what_an_input_was_written_to_is_a_weight_no_more() -> None:
    module, x = nn.Module(), torch.ones(1, 2)
    module.register_buffer("state", torch.zeros(1, 2))
    with Plain(weights_of(module)) as calls:
        _ = module.state * 2
        module.state.copy_(x)
        _ = module.state * 2
        made = torch.zeros(1, 2)
        _ = made * 2
        made[:, :1] = x[:, :1]
        _ = made * 2
    assert calls.counts == {"copy": 1, "mul": 2, "__getitem__": 1}


def test_gradients_are_no_weights() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    derived = Derived([weight])
    derived.note(weight, weight.grad)
    assert derived.origin(weight.grad) is None


def test_other_calls_in_training_are_refused_as_before() -> None:
    class Noisy(Squeeze):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * 1.01 if self.training else x)

    module = Noisy().train()
    quantizer = FakeQuantizer(make_plan(module, EXAMPLE), BitWidths(), "moving_average")
    quantizer.attach(module, lambda: Phase.LEARN)
    with pytest.raises(UserError, match="forward called mul 2 times, and 1 times when it was traced"):
        module(torch.randn(4, 3, 8, 8))
