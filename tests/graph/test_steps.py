"""Cells that a module steps itself, and parts of concatenations: torch is the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcubench.cost.macs import count_macs
from mcubench.graph import Graph, deploy, ops, trace
from mcubench.graph.passes import drop_identities, join_parts, join_steps, read_parts
from tests.graph.compare import Forward, batch_like, call, cases, distance, kinds, run

STEPS = torch.zeros(1, 5, 3)  # of three numbers
CELLS = {
    "lstm": lambda **options: nn.LSTMCell(3, 4, **options),
    "gru": lambda **options: nn.GRUCell(3, 4, **options),
    "tanh": lambda **options: nn.RNNCell(3, 4, **options),
    "relu": lambda **options: nn.RNNCell(3, 4, nonlinearity="relu", **options),
}
MACS = {"lstm": 5 * 4 * 4 * (3 + 4), "gru": 5 * 3 * 4 * (3 + 4), "tanh": 5 * 4 * (3 + 4), "relu": 5 * 4 * (3 + 4)}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def passed(module: nn.Module, example: Any) -> Graph:
    """The graph behind the passes, after comparing what it and the deployed one compute with torch, and their cost."""
    batch = batch_like(example)
    wanted = call(module.eval(), batch)
    traced = trace(module, example)
    assert not traced.unknown()
    graph = drop_identities(traced)
    for each in (read_parts, join_steps, join_parts):
        graph = each(graph)
        assert distance(run(graph, batch), wanted) <= 1e-5, each.__name__
    deployed = deploy(traced)
    assert distance(run(deployed, batch), wanted) <= 1e-5
    assert count_macs(deployed).total == count_macs(traced).total
    return graph


def text(graph: Graph) -> list[str]:
    return [line.strip() for line in str(graph).splitlines()]


def shown(state: Any) -> Tensor:
    return state[0] if isinstance(state, tuple) else state


def run_cell(cell: nn.Module, steps: Any, state: Any = None) -> list[Tensor]:
    """Hidden states behind all steps."""
    found = []
    for x in steps:
        state = cell(x, state)
        found.append(shown(state))
    return found


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_every_kind_of_cell(kind: str, bias: bool) -> None:
    module = Forward(lambda cell, x: run_cell(cell, x.unbind(1))[-1], CELLS[kind](bias=bias))
    graph = passed(module, STEPS)
    assert kinds(graph) == [{"lstm": "LSTM", "gru": "GRU"}.get(kind, "RNN"), "Select"]
    assert count_macs(graph).total == MACS[kind]


def test_text_of_steps_whose_last_state_is_read() -> None:
    graph = passed(Forward(lambda cell, x: run_cell(cell, x.unbind(1))[-1], nn.LSTMCell(3, 4)), STEPS)
    assert text(graph) == [
        "input  args_0 [5, 3]",
        "lstm_cell.sequence [5, 4], lstm_cell.last [1, 4], lstm_cell.1.last [1, 4] = LSTM(args_0)  # layers.0",
        "lstm_cell_4 [4] = Select(lstm_cell.last)  # layers.0",
        "output lstm_cell_4",
    ]
    layer = graph.nodes[0]
    assert (layer.name, len(layer.calls)) == ("lstm_cell", 5)


def test_text_of_steps_whose_states_are_read() -> None:
    module = Forward(lambda cell, x: (states := run_cell(cell, x.unbind(1)))[1] * states[-1], nn.GRUCell(3, 4))
    assert text(passed(module, STEPS)) == [
        "input  args_0 [5, 3]",
        "gru_cell.sequence [5, 4], gru_cell.last [1, 4] = GRU(args_0)  # layers.0",
        "gru_cell_1 [4] = Select(gru_cell.sequence)  # layers.0",
        "gru_cell_4 [4] = Select(gru_cell.sequence)  # layers.0",
        "mul [4] = mul(gru_cell_1, gru_cell_4)  # (root)",
        "output mul",
    ]


READ: dict[str, tuple[Callable[[Tensor], Any], Tensor, list[str]]] = {
    # name: the steps of the input, the input, what stands before the layer
    "selected": (lambda x: [x[:, step] for step in range(5)], STEPS, []),
    "split": (lambda x: [each.squeeze(1) for each in x.split(1, 1)], STEPS, []),
    "sliced": (lambda x: [x[:, step : step + 1].flatten(1) for step in range(5)], STEPS, []),
    "time first": (lambda x: list(x.transpose(0, 1)), STEPS, []),
    "time last": (lambda x: [x[:, :, step] for step in range(5)], torch.zeros(1, 3, 5), ["Permute"]),
    "permuted": (lambda x: x.transpose(1, 2).unbind(1), torch.zeros(1, 3, 5), ["Permute"]),
    "rows with channels": (
        lambda x: [x[:, :, step].flatten(1) for step in range(5)], torch.zeros(1, 1, 5, 3), ["Permute", "Reshape"]),
    "rows of several channels": (
        lambda x: [x[:, :, step].flatten(1) for step in range(5)], torch.zeros(1, 3, 5, 1), ["Permute", "Reshape"]),
    "scaled before": (lambda x: (x * 2 - 1).unbind(1), STEPS, ["Elementwise", "Elementwise"]),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "example", "before"), cases(READ))
def test_ways_to_read_the_steps(steps: Callable[[Tensor], Any], example: Tensor, before: list[str]) -> None:
    module = Forward(lambda cell, x: run_cell(cell, steps(x))[-1], nn.GRUCell(3, 4))
    assert kinds(passed(module, example)) == [*before, "GRU", "Select"]


SEEN: dict[str, tuple[Callable[[list[Tensor]], Any], list[str]]] = {
    "all, one after the other": (lambda states: torch.stack(states, 1), []),
    "all, put together": (lambda states: torch.cat([each[:, None] for each in states], 1), []),
    "all, time first": (lambda states: torch.stack(states).mean(0), ["Reduce"]),
    "all, time last": (lambda states: torch.stack(states, 2), ["Permute"]),
    "all in one row": (lambda states: torch.cat(states, 1), ["Reshape"]),
    "backwards": (lambda states: torch.stack(states[::-1], 1), [*5 * ["Select", "Reshape"], "Concat"]),
    "all but one": (lambda states: torch.cat(states[1:], 1), [*4 * ["Select"], "Concat"]),
    "first and last": (lambda states: (states[0], states[-1]), ["Select", "Select"]),
    "the last, from all": (lambda states: torch.stack(states, 1)[:, -1], ["Select"]),
    "all and the last": (lambda states: (torch.stack(states, 1), states[-1]), ["Select"]),
    "the sum": (sum, [*5 * ["Select"], *5 * ["Elementwise"]]),
}


@pytest.mark.parametrize(("read", "behind"), cases(SEEN))
def test_ways_to_read_the_states(read: Callable[[list[Tensor]], Any], behind: list[str]) -> None:
    module = Forward(lambda cell, x: read(run_cell(cell, x.unbind(1))), nn.LSTMCell(3, 4))
    first, *others = kinds(passed(module, STEPS))
    assert first == "LSTM"
    assert sorted(others) == sorted(behind)


class Learned(nn.Module):
    """A state to begin with that is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)
        self.hidden, self.memory = (nn.Parameter(torch.randn(1, 4)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        state = (self.hidden.expand(len(x), -1), self.memory.expand(len(x), -1))
        return torch.stack(run_cell(self.cell, x.unbind(1), state), 1)


def test_a_learned_state_to_begin_with() -> None:
    module = Learned()
    graph = passed(module, STEPS)
    assert kinds(graph) == ["LSTM"]
    hidden, memory = graph.nodes[0].op.state
    assert torch.equal(hidden.tensor, module.hidden)
    assert (memory.name, memory.sources) == ("memory", ("memory",))


def test_zeros_to_begin_with() -> None:
    module = Forward(lambda cell, x: run_cell(cell, x.unbind(1), torch.zeros(len(x), 4))[-1], nn.GRUCell(3, 4))
    graph = passed(module, STEPS)
    assert kinds(graph) == ["GRU", "Select"]
    assert graph.nodes[0].op.state == (None,)


def two_by_turns(one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
    """Two layers, each step through both of them."""
    lower: Any = None
    upper: Any = None
    for each in x.unbind(1):
        lower = one(each, lower)
        upper = two(shown(lower), upper)
    return shown(upper)


def two_in_turn(one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
    """Two layers, the second behind the first."""
    return run_cell(two, torch.stack(run_cell(one, x.unbind(1)), 1).unbind(1))[-1]


@pytest.mark.parametrize("function", [two_by_turns, two_in_turn])
def test_two_layers(function: Callable[..., Tensor]) -> None:
    graph = passed(Forward(function, nn.LSTMCell(3, 4), nn.GRUCell(4, 2)), STEPS)
    assert kinds(graph) == ["LSTM", "GRU", "Select"]
    assert [node.path for node in graph.nodes] == ["layers.0", "layers.1", "layers.1"]
    assert count_macs(graph).total == 5 * 4 * 4 * (3 + 4) + 5 * 3 * 2 * (4 + 2)


def test_one_cell_in_two_layers() -> None:
    module = Forward(lambda cell, x: run_cell(cell, run_cell(cell, x.unbind(1)))[-1], nn.GRUCell(3, 3))
    graph = passed(module, STEPS)
    assert kinds(graph) == ["GRU", "GRU", "Select"]
    one, two = (node.op.cells[0].weight_hh for node in graph.nodes[:2])
    assert one.stored is two.stored


def halved(cell: nn.Module, x: Tensor) -> Tensor:
    state = None
    for each in x.unbind(1):
        state = cell(each, None if state is None else state * 0.5)
    assert state is not None
    return state


def cells_kept(cell: nn.Module, x: Tensor) -> Tensor:
    state, kept = None, []
    for each in x.unbind(1):
        state = cell(each, state)
        kept.append(state[1])
    return torch.stack(kept, 1)


def gated_by_cells(cell: nn.Module, x: Tensor) -> Tensor:
    state, found = None, []
    for each in x.unbind(1):
        state = cell(each, state)
        found.append(state[0] * state[1])
    return torch.stack(found, 1)


def last_pair(cell: nn.Module, x: Tensor) -> Any:
    state = None
    for each in x.unbind(1):
        state = cell(each, state)
    return state


STAY: dict[str, tuple[Callable[..., Any], Callable[[], nn.Module]]] = {
    "cell states are kept": (cells_kept, CELLS["lstm"]),
    "cell states are read at every step": (gated_by_cells, CELLS["lstm"]),
    "the last cell state is an output": (last_pair, CELLS["lstm"]),
    "a computed state to begin with": (
        lambda cell, x: run_cell(cell, x.unbind(1), x.mean(1) @ torch.ones(3, 4))[-1], CELLS["gru"]),
    "the state is scaled between": (halved, CELLS["gru"]),
    "not all steps": (lambda cell, x: run_cell(cell, x.unbind(1)[:-1])[-1], CELLS["gru"]),
    "not from the first step on": (lambda cell, x: run_cell(cell, x.unbind(1)[1:])[-1], CELLS["gru"]),
    "every second step": (lambda cell, x: run_cell(cell, x.unbind(1)[::2])[-1], CELLS["gru"]),
    "the steps backwards": (lambda cell, x: run_cell(cell, x.unbind(1)[::-1])[-1], CELLS["gru"]),
    "the same step five times": (lambda cell, x: run_cell(cell, [x[:, 0]] * 5)[-1], CELLS["gru"]),
    "steps of two values": (
        lambda cell, x: run_cell(cell, [*x.unbind(1)[:3], *(x * 2).unbind(1)[3:]])[-1], CELLS["gru"]),
}  # fmt: skip


@pytest.mark.parametrize(("function", "cell"), cases(STAY))
def test_what_stays_as_it_is(function: Callable[..., Any], cell: Callable[[], nn.Module]) -> None:
    graph = passed(Forward(function, cell()), STEPS)
    found = kinds(graph)
    assert found.count("RecurrentCell") >= 3
    assert not any(isinstance(node.op, ops.Recurrent) for node in graph.nodes)


def test_two_cells_in_turn_stay() -> None:
    def by_turns(one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
        state = None
        for index, each in enumerate(x.unbind(1)):
            state = (one, two)[index % 2](each, state)
        assert state is not None
        return state

    graph = passed(Forward(by_turns, nn.GRUCell(3, 4), nn.GRUCell(3, 4)), STEPS)
    assert kinds(graph).count("RecurrentCell") == 5


def test_weights_in_another_form_are_another_cell() -> None:
    class Turned(nn.Module):
        """Every second step has the recurrent weights transposed, which are stored once."""

        def __init__(self) -> None:
            super().__init__()
            self.of_x, self.of_h = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            state = torch.zeros(len(x), 4)
            for index, each in enumerate(x.unbind(1)):
                state = torch.rnn_tanh_cell(each, state, self.of_x, self.of_h.T if index % 2 else self.of_h)
            return state

    assert kinds(passed(Turned(), STEPS)).count("RecurrentCell") == 5


# --- parts of concatenations ---


def test_text_of_the_last_of_two_layers() -> None:
    module = Forward(lambda gru, x: gru(x)[1][-1], nn.GRU(3, 4, num_layers=2, batch_first=True))
    assert text(passed(module, STEPS)) == [
        "input  args_0 [5, 3]",
        "gru [5, 4], gru.state [1, 4] = GRU(args_0)  # layers.0",
        "gru.1 [5, 4], gru.state.1 [1, 4] = GRU(gru)  # layers.0",
        "select [4] = Select(gru.state.1)  # (root)",
        "output select",
    ]


PARTS: dict[str, tuple[Callable[[Tensor], Any], list[str]]] = {
    "an element of a part": (lambda x: torch.cat([x.sin(), x], 1)[:, 7], ["Select"]),
    "an element of a part of a part": (
        lambda x: torch.cat([x.sin(), torch.cat([x.cos(), x * 2], 1)], 1)[:, 9], ["Activation", "Select"]),
    "what was stacked": (lambda x: torch.stack([x.sin(), x.cos()], 1)[:, 1], ["Activation"]),
    "an element along another axis": (
        lambda x: torch.cat([x.sin(), x], 1)[:, :, 1], ["Activation", "Concat", "Select"]),
    "the whole is read, too": (
        lambda x: (y := torch.cat([x.sin(), x], 1), y[:, 1]), ["Activation", "Concat", "Select"]),
    "a constant among the parts": (
        lambda x: torch.cat([torch.ones(len(x), 2, 3), x], 1)[:, 3], ["Concat", "Select"]),
    "apart and together": (lambda x: torch.stack(x.unbind(1), 1).sin(), ["Activation"]),
    "apart and together along another axis": (lambda x: torch.stack(x.unbind(2), 1), ["Permute"]),
    "apart and together in the other order": (
        lambda x: torch.stack(x.unbind(1)[::-1], 1), [*5 * ["Select", "Reshape"], "Concat"]),
    "parts of two values": (
        lambda x: torch.stack([*x.unbind(1)[:4], x.sin()[:, 4]], 1),
        ["Activation", *5 * ["Select", "Reshape"], "Concat"]),
    "halves, put together": (lambda x: torch.cat(x[:, :4].split(2, 1), 1), ["Slice", "Slice", "Slice", "Concat"]),
}  # fmt: skip


@pytest.mark.parametrize(("function", "left"), cases(PARTS))
def test_parts(function: Callable[[Tensor], Any], left: list[str]) -> None:
    graph = passed(Forward(function), STEPS)
    assert sorted(kinds(graph)) == sorted(left)
