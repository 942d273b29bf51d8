"""Models fed step by step: what they would compute of the whole, bit for bit, or a reason why that can't be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from mcubench.models import GRU, LSTM
from mcubench.quant import IntegerGraph, quantize
from mcubench.quant.integer import Stream, kernels, predict, streamed
from tests.quant.witness import seeded


class Net(nn.Module):
    """Recurrent layers, with something in front of them, between and behind."""

    def __init__(self, forward: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = forward, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


def gru(inputs: int, units: int, **options: object) -> nn.GRU:
    return nn.GRU(inputs, units, batch_first=True, **options)  # type: ignore[call-overload, no-any-return]


def integers(module: nn.Module, x: Tensor) -> IntegerGraph:
    return quantize(deploy(trace(module.eval(), x[:1])), calibration=x)


X = seeded(6, 12, 3)
STREAMED = {
    "last step": lambda: Net(lambda x, a, b: b(a(x)[0][:, -1]), gru(3, 5), nn.Linear(5, 2)),
    "two layers": lambda: Net(lambda x, a, b: b(a(x)[1][-1]), gru(3, 5, num_layers=2), nn.Linear(5, 2)),
    "LSTM": lambda: Net(lambda x, a, b: b(a(x)[1][0][-1]), nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)),
    "each step first": lambda: Net(
        lambda x, a, b, c: c(b(a(x).relu())[0][:, -1]), nn.Linear(3, 4), gru(4, 5), nn.Linear(5, 2)
    ),
    "norm of each step": lambda: Net(lambda x, a, b: b(a(x))[0][:, -1], nn.LayerNorm(3), gru(3, 5)),
    "between layers": lambda: Net(lambda x, a, b: b(a(x)[0] * 2.0)[0][:, -1], gru(3, 5), gru(5, 2)),
}


@pytest.mark.parametrize("name", STREAMED)
def test_after_the_last_step_outputs_are_those_of_the_whole(name: str) -> None:
    torch.manual_seed(0)
    graph = integers(STREAMED[name](), X)
    (codes,) = graph.encode(X)
    stream = Stream(graph)
    for _ in range(2):  # a second sequence is not changed by the first
        stream.reset()
        for step in codes.split(1, codes.ndim - 2):
            (found,) = stream.step(step)
        assert torch.equal(found, predict(graph, codes)[0])
    assert stream.graph.inputs[0].shape[-2:] == (1, 3)


def test_more_than_a_step_at_once_is_refused() -> None:
    graph = integers(STREAMED["LSTM"](), X)
    with pytest.raises(UserError, match=r"a step is \(N, 1, 3\); got \(6, 12, 3\)"):
        Stream(graph).step(*graph.encode(X))


def test_every_step_is_that_of_a_whole_sequence() -> None:
    graph = integers(Net(lambda x, a: a(x)[0], gru(3, 5)), X)
    (codes,) = graph.encode(X)
    stream = Stream(graph)
    found = torch.cat([stream.step(step)[0] for step in codes.split(1, 1)], 1)
    assert torch.equal(found, predict(graph, codes)[0])


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_models_of_ours_for_signals_and_images(kind: type[GRU | LSTM]) -> None:
    for shape in ((6, 10), (1, 8, 8)):
        torch.manual_seed(0)
        x = seeded(5, *shape)
        graph = integers(kind(shape, 3, hidden=4), x)
        (codes,) = graph.encode(x)
        stream = Stream(graph)
        axis = codes.ndim - 2
        for step in codes.split(1, axis):
            (found,) = stream.step(step)
        assert torch.equal(found, predict(graph, codes)[0])


REFUSED = {
    "both directions": (
        lambda: Net(lambda x, a: a(x)[0][:, -1], gru(3, 5, bidirectional=True)), r"layers\.0: Gather .* several steps"
    ),
    "mean": (lambda: Net(lambda x, a: a(x)[0].mean(1), gru(3, 5)), r"AveragePool .* looks at several steps"),
    "convolution": (
        lambda: Net(
            lambda x, a, b: b(a(x.transpose(1, 2)).transpose(1, 2))[0][:, -1], nn.Conv1d(3, 4, 3, padding=1), gru(4, 5)
        ),
        r"layers\.0: Convolve .* looks at several steps",
    ),
    "first step": (lambda: Net(lambda x, a: a(x)[0][:, 0], gru(3, 5)), "reads another step than the last"),
    "flattened": (lambda: Net(lambda x, a, b: b(a(x)[0].flatten(1)), gru(3, 5), nn.Linear(60, 2)), "it joins steps"),
    "no recurrent layer": (lambda: Net(lambda x, a: a(x), nn.Linear(3, 2)), "only a model with a recurrent layer"),
}  # fmt: skip


def test_vectors_are_no_sequences() -> None:
    """Of (N, 12) the batch would be taken for the steps."""
    net = Net(lambda x, a: a(x.reshape(-1, 4, 3))[0][:, -1], gru(3, 5))
    with pytest.raises(UserError, match=r"takes \(steps, channels\), all inputs as many steps; got \[12\]"):
        streamed(integers(net, seeded(6, 12)))


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_other_steps_is_refused(name: str) -> None:
    make, pattern = REFUSED[name]
    graph = integers(make(), X)
    with pytest.raises(UserError, match=pattern):
        streamed(graph)


def test_a_constant_of_each_step_is_refused() -> None:
    shift = nn.Parameter(torch.randn(12, 1))
    net = Net(lambda x, a: a(x + shift)[0][:, -1], gru(3, 5))
    net.register_parameter("shift", shift)
    with pytest.raises(UserError, match="its constant is not the same in every step"):
        streamed(integers(net, X))


def test_nothing_is_left_of_the_number_of_steps() -> None:
    """Shapes and places are those of one step, so that the C is."""
    graph = streamed(integers(STREAMED["two layers"](), X))
    sizes = {tensor.shape for node in graph.nodes for tensor in (node.output, *node.inputs)}
    assert all(12 not in shape for shape in sizes)
    assert not any(isinstance(node.kernel, kernels.StridedSlice) for node in graph.nodes)
    assert np.prod(graph.outputs[0].shape) == 2
