"""A rounded forward: the deployed graph, rounded value by value in another way, is the reference."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.graph import trace
from mcubench.models import CNN, DSCNN
from mcubench.quant.training import FakeQuantizer, Phase, make_plan, trained_ranges
from tests.graph.compare import Forward, batch_like, leaves, randomised
from tests.known_answers import KNOWN_ANSWERS, OURS
from tests.quant.nets import BEHIND
from tests.quant.nets import NETS as SMALL
from tests.quant.training.rounding import rounded_outputs
from tests.quant.training.test_plan import Functional

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = {row.name: row for row in KNOWN_ANSWERS}
NETS = [
    *(row.name for row in OURS if "28x28" not in row.name and not row.name.startswith(("gru", "lstm"))),  # no integers
    *(
        "tcn",
        "squeeze-excitation",
        "unet",
        "two-inputs",
        "dict-input",
        "matrix-vector",
        "low-rank-weight",
        "weight-norm",
    ),
    *("addmm", "matmul", "keras-without-flatten", "bias-by-hand", "residual", "concatenation", "interpolation"),
    *("layer-used-twice", "conv-transposed", "conv1d-transposed", "channel-scale", "conv-depthwise-multiplier-2"),
    *("module-list", "two-heads", "mobilenet-v2", "reflection-padding"),
]


# Batch norms that follow no layer, what one call computes in several steps, and padding that is cut off.
MORE = {
    **{name: SMALL[name] for name in SMALL if name.startswith(("batch norm", "transposed"))},
    "gated": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GLU(1)), (6,), ""),
    "an element of a part": (
        lambda: Forward(
            lambda one, two, x: two(torch.stack([one(x), one(2 * x)], 1)[:, 1]), nn.Linear(6, 8), nn.Linear(8, 3)
        ),
        (6,),
        "",
    ),
    "taken apart and put together": (
        lambda: Forward(lambda one, two, x: two(torch.stack(one(x).unbind(1), 2)), nn.Conv1d(2, 3, 2), nn.Linear(3, 4)),
        (2, 6),
        "",
    ),
    "maxima": (lambda: Forward(lambda conv, x: conv(x).max(2).values, nn.Conv1d(2, 3, 2)), (2, 6), ""),
}


def quantised(module: nn.Module, example: Any, widths: BitWidths | None = None) -> tuple[FakeQuantizer, list[Phase]]:
    """A quantizer that rounds the module in the phase that stands in the list."""
    quantizer = FakeQuantizer(make_plan(module, example), widths or BitWidths(), "moving_average")
    phase = [Phase.LEARN]
    quantizer.attach(module, lambda: phase[0])
    return quantizer, phase


def call(module: nn.Module, batch: Any) -> list[Tensor]:
    return leaves(module(**batch) if isinstance(batch, dict) else module(*batch))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", NETS)
def test_it_computes_the_rounded_deployed_graph(name: str, bits: int) -> None:
    torch.manual_seed(0)
    check(randomised(ROWS[name].make()), ROWS[name].inputs(), bits)


# A step is all or nothing; a weight on the left of a product is refused.
NOT_HERE = {"step, as a spiking net has it", "a constant times columns"}


@pytest.mark.parametrize("name", sorted({*BEHIND, *MORE} - NOT_HERE))
def test_so_it_does_with_all_that_has_a_form(name: str) -> None:
    make, shape, _ = (BEHIND | MORE)[name]
    torch.manual_seed(0)
    check(randomised(make()), (torch.zeros(1, *shape),), 8)


def check(module: nn.Module, example: Any, bits: int) -> None:
    widths = BitWidths(bits)
    quantizer, phase = quantised(module, example, widths)
    for _ in range(2):
        call(module, batch_like(example, samples=8))
    batch = batch_like(example, samples=8)
    phase[0] = Phase.ROUND
    with torch.no_grad():
        found = call(module, batch)
    phase[0] = Phase.FLOAT
    with torch.no_grad():
        in_float = call(module, batch)
    quantizer.detach()
    graph, ranges, _ = trained_ranges(module, example, quantizer.state())
    expected = rounded_outputs(graph, ranges, widths, *leaves(batch))
    for one, two, plain, value in zip(found, expected, in_float, graph.outputs, strict=True):
        low, high = ranges.get(value, (-1, 1))  # else a tanh, whose grid is fixed
        step = (max(high, 0) - min(low, 0)) / 255
        # Sums in another order fall on the other side of a rounding here and there, and later layers add these up.
        assert ((one - two).abs() < 0.01 * step).float().mean() > 0.9
        assert (one - two).abs().max() < 3.5 * step
        assert ((one - plain).abs() > 0.01 * step).float().mean() > 0.3, "and it is not the float forward"


def test_learning_by_hand() -> None:
    """x of 0 to 2 and -1 to 1, and twice its negative: averages of ends, the first batch in float."""
    module = nn.Linear(2, 2, bias=False)
    nn.init.constant_(module.weight, 0.0)
    module.weight.data[0, 0] = module.weight.data[1, 1] = -2.0
    quantizer, phase = quantised(module, torch.zeros(1, 2))
    first, second = torch.tensor([[0.0, 2.0]]), torch.tensor([[-1.0, 1.0]])
    assert module(first).tolist() == [[0.0, -4.0]]
    assert quantizer.state()["ranges"] == {"input:0": (0.0, 2.0), "linear:0": (-4.0, 0.0)}
    module(second)
    state = quantizer.state()
    assert state["batches"] == 2
    assert state["ranges"]["input:0"] == pytest.approx((-0.5, 1.5))
    # The input was rounded in 0 to 2 by then, so that -1 became 0; and -2 times 1 is -2 within half a step.
    assert state["ranges"]["linear:0"] == pytest.approx((-3.0, 0.0), abs=0.01)
    phase[0] = Phase.ROUND
    module(first * 100)
    assert quantizer.state() == state


def test_the_range_of_a_group_covers_all_that_is_in_it() -> None:
    module = Forward(lambda one, x: torch.cat([one(x), x + 1], 1), nn.Linear(1, 1))
    nn.init.constant_(module.layers[0].weight, -3.0)  # type: ignore[union-attr, arg-type]
    nn.init.constant_(module.layers[0].bias, 0.0)  # type: ignore[union-attr, arg-type]
    quantizer, _ = quantised(module, torch.zeros(1, 1))
    module(torch.tensor([[1.0], [2.0]]))
    graph, ranges, _ = trained_ranges(module, torch.zeros(1, 1), quantizer.state())
    assert ranges[graph.outputs[0]] == (-6.0, 3.0)
    assert all(ranges[value] == (-6.0, 3.0) for value in graph.nodes[-1].inputs)


def test_per_layer_bits() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    quantizer, _ = quantised(module, torch.zeros(1, 8), BitWidths(8, per_layer={"2": 2}))
    seen = []
    first, second = (quantizer.plan.weights[f"linear:{index}"] for index in (0, 1))
    for site, index in ((first, 0), (second, 2)):
        seen.append(len(quantizer._weight(site, module[index].weight).detach().div(1e-3).round().unique()))
    assert seen[0] > 30
    assert seen[1] <= 1 + 2 * 8  # three levels for each of eight channels
    with pytest.raises(UserError, match="Did you mean"):
        quantizer.widths = BitWidths(per_layer={"02": 4})


def test_weights_have_gradients_and_batch_norm_its_statistics() -> None:
    module = DSCNN((1, 8, 8), 10, channels=4, blocks=1).train()
    quantised(module, torch.zeros(1, 1, 8, 8))
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    module(torch.randn(5, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert all(not torch.equal(buffer, before[name]) for name, buffer in module.named_buffers() if "layers" in name)


@pytest.mark.parametrize("make", [lambda: CNN((1, 8, 8), 10), Functional])
def test_a_trace_is_that_of_the_plain_module(make: Any) -> None:
    """Costs and export trace the module while it trains: no rounding, no range, no random number comes of it."""
    module = make()
    example = getattr(module, "example_input_array", torch.zeros(1, 1, 8))
    plain = str(trace(module, example))
    quantizer, _ = quantised(module, example)
    module(batch_like(example))
    state, random = quantizer.state(), torch.get_rng_state()
    assert str(trace(module, example)) == plain
    assert quantizer.state() == state
    assert quantizer.forwards == 1
    assert torch.equal(torch.get_rng_state(), random)


def test_values_that_are_not_finite_are_refused_and_leave_the_ranges() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    quantizer, _ = quantised(module, torch.zeros(1, 2))
    module(torch.ones(3, 2))
    state = quantizer.state()
    for bad in (math.nan, math.inf):
        with pytest.raises(UserError, match=r"the input .*not finite"):
            module(torch.tensor([[1.0, bad]]))
    assert quantizer.state() == state


class Switches(nn.Module):
    """Does in training what it does not in evaluation, in the ways that a class attribute says."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.three if self.training and self.what == "other weight" else self.two
        y = F.relu(self.one(x))
        if self.training and self.what == "noise":
            y = y * torch.ones_like(y)  # no call of this name is rounded
        y = layer(y)
        return self.three(y) if self.training and self.what == "one more" else y


def test_calls_that_differ_in_training_are_refused() -> None:
    patterns = {
        "one more": "forward called linear 3 times, and 2 times when it was traced",
        "other weight": r"layer two was traced with two\.weight, and is called with three\.weight",
    }
    for what, pattern in patterns.items():
        module = Switches(what).train()
        quantised(module, torch.zeros(1, 4))
        with pytest.raises(UserError, match=pattern):
            module(torch.ones(2, 4))
    module = Switches("noise").train()
    quantised(module, torch.zeros(1, 4))
    module(torch.ones(2, 4))


def test_an_error_in_forward_leaves_no_mode_behind() -> None:
    module = Forward(lambda layer, x: layer(x), nn.Linear(4, 3))
    quantizer, _ = quantised(module, torch.zeros(1, 4))
    with pytest.raises(RuntimeError, match="shapes"):
        module(torch.ones(2, 5))
    assert not quantizer.is_running
    assert torch.overrides._len_torch_function_stack() == 0
    module(torch.ones(2, 4))
    assert quantizer.forwards == 1


def test_an_interrupted_forward_is_ended_by_detach() -> None:
    """KeyboardInterrupt runs no forward hooks."""
    interrupts = [False]

    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        if interrupts[0]:
            raise KeyboardInterrupt
        return layer(x)

    module = Forward(forward, nn.Linear(4, 3))
    quantizer, _ = quantised(module, torch.zeros(1, 4))
    interrupts[0] = True
    with pytest.raises(KeyboardInterrupt):
        module(torch.ones(2, 4))
    quantizer.detach()
    assert torch.overrides._len_torch_function_stack() == 0
    assert not module._forward_pre_hooks
