"""Training with rounding through recurrent layers: torch's gradients, the integer graph's values, foreign modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mcubench.cost import BitWidths
from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from mcubench.quant import interpret_fake, quantize
from mcubench.quant.grid import Grid
from mcubench.quant.integer import kernels, predict
from mcubench.quant.integer.kernels.recurrent import RecurrentKernel
from mcubench.quant.recurrent import Levels, gru_layer, gru_step, layer_of, lstm_layer, lstm_step
from mcubench.quant.training import FakeQuantizer, Phase, make_plan, trained_ranges
from mcubench.quant.training.state import checked_widths

HIDDEN = Levels(Grid(1 / 100, 3), -128, 127)
CELL = Levels(Grid(2.0**-13, 0, bits=16), -(2**15), 2**15 - 1)
GRU, LSTM = nn.GRU, nn.LSTM


def layer(kind: type[nn.RNNBase], inputs: int = 3, units: int = 5, **options: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return kind(inputs, units, batch_first=True, **options)  # type: ignore[arg-type]


def weights(module: nn.RNNBase, suffix: str = "l0") -> Any:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return tuple(getattr(module, f"{name}_{suffix}", None) for name in names)


@pytest.mark.parametrize("kind", [GRU, LSTM])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backward", [True, False])
def test_without_rounding_values_and_gradients_are_torchs(kind: type[nn.RNNBase], bias: bool, backward: bool) -> None:
    module = layer(kind, bias=bias).double()
    x = torch.randn(4, 9, 3, dtype=torch.double, requires_grad=True)
    inputs = [x, *module.parameters()]
    wanted = module(x.flip(1) if backward else x)[0]
    wanted = wanted.flip(1) if backward else wanted
    function: Callable[..., Any] = gru_layer if kind is GRU else lstm_layer
    found = function(x, weights(module), backward=backward).hidden
    slope = torch.randn_like(wanted)
    torch.testing.assert_close(found, wanted)
    for mine, theirs in zip(
        torch.autograd.grad((found * slope).sum(), inputs), torch.autograd.grad((wanted * slope).sum(), inputs),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, theirs)


def test_rounded_steps_and_their_gradients_are_those_that_autograd_records() -> None:
    """The steps that cells make, operation by operation; within the ranges both have the same gradients."""
    x = torch.randn(4, 9, 3)
    for kind, levels in ((GRU, (HIDDEN,)), (LSTM, (HIDDEN, CELL))):
        module = layer(kind)
        state = (torch.zeros(4, 5), torch.zeros(4, 5))
        shown = []
        for step in x.unbind(1):
            results: Any = (gru_step if kind is GRU else lstm_step)(step, state, weights(module), *levels)  # type: ignore[arg-type]
            state = results[:2]
            shown.append(results[0])
        recorded = torch.stack(shown, 1)
        fused = (gru_layer if kind is GRU else lstm_layer)(x, weights(module), *levels).hidden  # type: ignore[arg-type]
        torch.testing.assert_close(fused, recorded, rtol=0, atol=0.0101)  # a code, where a sum is next to a half
        assert (fused - recorded).abs().gt(1e-6).float().mean() < 0.02
        parameters = list(module.parameters())
        slope = torch.randn_like(fused)
        for mine, theirs in zip(
            torch.autograd.grad((fused * slope).sum(), parameters),
            torch.autograd.grad((recorded * slope).sum(), parameters),
            strict=True,
        ):
            assert (mine - theirs).norm() < 0.03 * theirs.norm()


def test_gradients_end_where_the_hidden_state_is_out_of_range() -> None:
    narrow = Levels(Grid(1e-4, 0), -128, 127)  # up to 0.0127
    module = layer(GRU)
    found = gru_layer(torch.randn(4, 1, 3) * 5, weights(module), narrow)
    outside = found.unrounded.abs() > 0.013
    found.hidden.masked_fill(~outside, 0).sum().backward()
    assert outside.any()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in module.parameters())


class Net(nn.Module):
    """A recurrent layer, what is made of it, and a linear layer."""

    def __init__(self, memory: nn.Module, units: int, read: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.memory, self.read, self.head = memory, read, nn.Linear(units, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.read(self.memory, x))
        return out


def stepped(cell: Any, x: Tensor) -> Tensor:
    """The last state of a cell that is stepped here."""
    state = x.new_zeros(len(x), cell.hidden_size)
    both = (state, state)
    for step in x.unbind(1):
        if isinstance(cell, nn.LSTMCell):
            both = cell(step, both)
            state = both[0]
        else:
            state = cell(step, state)
    return state


def nets() -> dict[str, Net]:
    torch.manual_seed(0)
    return {
        "last step": Net(layer(GRU), 5, lambda memory, x: memory(x)[0][:, -1]),
        "last state": Net(layer(LSTM, num_layers=2), 5, lambda memory, x: memory(x)[1][0][-1]),
        "mean": Net(layer(LSTM), 5, lambda memory, x: memory(x)[0].mean(1)),
        "both directions": Net(
            layer(GRU, bidirectional=True), 10, lambda memory, x: torch.cat([*memory(x)[1][-2:]], -1)
        ),
        "without biases": Net(layer(LSTM, bias=False), 5, lambda memory, x: memory(x)[0][:, -1]),
        "GRU cell": Net(nn.GRUCell(3, 5), 5, stepped),
        "LSTM cell": Net(nn.LSTMCell(3, 5), 5, stepped),
        "twice": Net(layer(GRU, 5), 5, lambda memory, x: memory(memory(x.repeat(1, 1, 2)[..., :5])[0])[0][:, -1]),
    }


@pytest.mark.parametrize("name", nets())
def test_a_rounded_module_computes_what_its_integer_graph_does(name: str) -> None:
    """Ranges are learned, weights moved a little, and outputs are near those of the integer graph."""
    module, x = nets()[name], torch.randn(64, 7, 3)
    plan = make_plan(module, x[:1])
    quantizer = FakeQuantizer(plan, checked_widths(BitWidths()), "moving_average")
    phase = Phase.LEARN
    quantizer.attach(module, lambda: phase)
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        assert all(each.grad is not None and each.grad.isfinite().all() for each in module.parameters())
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    phase = Phase.ROUND
    with torch.no_grad():
        rounded = module.eval()(x)
    quantizer.detach()
    graph, ranges, widths = trained_ranges(module, x[:1], quantizer.state())
    integer = quantize(graph, ranges, widths=widths)
    assert any(isinstance(node.kernel, RecurrentKernel) for node in integer.nodes)
    found = integer.decode(*predict(integer, *integer.encode(x)))[0]
    step = integer.outputs[0].grid.scale
    assert (rounded - found).abs().max() <= 3 * step
    assert (rounded - found).abs().mean() <= 0.3 * step
    assert (interpret_fake(graph, integer, x)[0] - found).abs().max() <= 3 * step
    assert (module(x) - rounded).abs().max() > step  # the guard: without rounding it is farther off


def test_a_float_form_of_a_kernel_is_off_by_rounding_alone() -> None:
    module, x = Net(layer(LSTM), 5, lambda memory, x: memory(x)[0][:, -1]), torch.randn(64, 7, 3)
    graph = deploy(trace(module, x[:1]))
    integer = quantize(graph, calibration=x)
    (node,) = (node for node in integer.nodes if isinstance(node.kernel, kernels.Lstm))
    assert isinstance(node.kernel, kernels.Lstm)
    codes = integer.encode(x)[0]
    exact = node.kernel.state.values(node.kernel.run(node, [codes]))
    near = layer_of(node.kernel, backward=False)(integer.inputs[0].grid.values(codes)).hidden
    assert ((near - exact).abs() > 1e-6).float().mean() < 0.05
    assert (near - exact).abs().max() <= 2 * node.kernel.state.scale


def test_one_cell_for_two_sequences_is_refused() -> None:
    net = Net(nn.GRUCell(3, 5), 5, lambda cell, x: stepped(cell, x) + stepped(cell, x.flip(1)))
    with pytest.raises(UserError, match="memory: a cell steps through several sequences"):
        make_plan(net, torch.zeros(1, 4, 3))


@pytest.mark.parametrize("name", ["last step", "LSTM cell"])
def test_in_mixed_precision_gates_are_rounded_in_that_of_the_weights(name: str) -> None:
    """8 bits of a bfloat16 would hold none of the 16 of a gate."""
    module, x = nets()[name], torch.randn(8, 7, 3)
    quantizer = FakeQuantizer(make_plan(module, x[:1]), checked_widths(BitWidths()), "moving_average")
    quantizer.attach(module, lambda: Phase.LEARN)
    found = []
    for mixed in (False, False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found.append(module(x))
    torch.testing.assert_close(found[2].float(), found[1], rtol=0.02, atol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        found[2].float().sum().backward()
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in module.parameters())


class FromLearned(nn.Module):
    """A layer that begins with a parameter, which is 0 as most are at first."""

    def __init__(self, cell: bool) -> None:
        super().__init__()
        self.begin, self.head = nn.Parameter(torch.zeros(1, 5)), nn.Linear(5, 2)
        self.memory: nn.Module = nn.GRUCell(3, 5) if cell else layer(GRU)

    def forward(self, x: Tensor) -> Tensor:
        begin = self.begin.expand(len(x), 5)
        if isinstance(self.memory, nn.GRUCell):
            for step in x.unbind(1):
                begin = self.memory(step, begin)
            return self.head(begin)  # type: ignore[no-any-return]
        return self.head(self.memory(x, begin[None].contiguous())[0][:, -1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("phase", [Phase.FLOAT, Phase.LEARN])
@pytest.mark.parametrize("cell", [True, False])
def test_a_trained_initial_state_is_refused_though_it_is_0(cell: bool, phase: Phase) -> None:
    module, x = FromLearned(cell), torch.randn(4, 6, 3)
    quantizer = FakeQuantizer(make_plan(module, x[:1]), checked_widths(BitWidths()), "moving_average")
    quantizer.attach(module, lambda: phase)
    with pytest.raises(UserError, match="memory begins with a state that is trained, and its kernel with 0"):
        module(x)
    module.begin.requires_grad_(False)
    module(x)


@pytest.mark.parametrize("change", [torch.clone, lambda state: state.view(-1, 5), lambda state: state[None][0]])
def test_a_state_that_is_not_handed_on_as_it_is_is_refused(change: Callable[[Tensor], Tensor]) -> None:
    """What the cell goes on from would be lost, and int8 codes in its place."""

    def read(cell: nn.Module, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            state = change(cell(step, state))
        return state

    module, x = Net(nn.GRUCell(3, 5), 5, read), torch.randn(4, 6, 3)
    quantizer = FakeQuantizer(make_plan(module, x[:1]), checked_widths(BitWidths()), "moving_average")
    quantizer.attach(module, lambda: Phase.LEARN)
    with pytest.raises(UserError, match="hand the state on as it is"):
        module(x)


def test_steps_that_are_computed_again_go_on_from_the_same_state() -> None:
    """Gradients with a checkpoint around each pair of steps are those without."""

    def read(again: bool) -> Callable[[nn.Module, Tensor], Tensor]:
        def pair(cell: nn.Module, x: Tensor, at: int, state: Tensor) -> Tensor:
            for step in (at, at + 1):
                state = cell(x[:, step], state)
            return state

        def whole(cell: nn.Module, x: Tensor) -> Tensor:
            state = x.new_zeros(len(x), 5)
            for at in (0, 2, 4):
                arguments = (cell, x, at, state)
                state = checkpoint(pair, *arguments, use_reentrant=False) if again else pair(*arguments)
            return state

        return whole

    found = []
    x = torch.randn(16, 6, 3)
    for again in (False, True):
        torch.manual_seed(0)
        module = Net(nn.GRUCell(3, 5), 5, read(again))
        quantizer = FakeQuantizer(make_plan(module, x[:1]), checked_widths(BitWidths(activation=4)), "moving_average")
        quantizer.attach(module, lambda: Phase.LEARN)
        for _ in range(2):
            module.zero_grad()
            module(x).square().sum().backward()
        found.append([each.grad.clone() for each in module.parameters() if each.grad is not None])
        quantizer.detach()
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
