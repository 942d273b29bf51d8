"""What the interpreter computes: torch is the reference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mcubench.graph import deploy, interpret, trace
from tests.graph.compare import Forward, distance, kinds, randomised, run


def test_a_constant_with_more_axes_than_all_values() -> None:
    """The samples stay in front of them, and are no axis that broadcasts with theirs."""
    weight = torch.randn(4, 1, 2)
    graph = trace(Forward(lambda x: weight * x), torch.zeros(1, 2))
    x = torch.randn(4, 2)
    assert torch.equal(run(graph, x, out_dim=1)[0], weight * x)


def test_a_recurrent_layer_of_one_sequence_that_is_no_batch() -> None:
    for layer in (nn.LSTM(4, 5, bidirectional=True), nn.GRU(4, 5, num_layers=2), nn.RNN(4, 5, batch_first=True)):
        module = randomised(layer)
        x = torch.randn(1, 7, 4) if layer.batch_first else torch.randn(7, 1, 4)
        graph = trace(module, x, batch_dim=None)
        assert not graph.unknown()
        with torch.no_grad():
            sequence, last = module(x)
        wanted = [sequence, *(last if isinstance(last, tuple) else (last,))]
        assert distance([each[0] for each in interpret(graph, x[None])], wanted) <= 1e-6


def test_bounds_of_integers_leave_integers() -> None:
    graph = trace(Forward(lambda x: x.clamp(None, 3)), torch.zeros(1, 4, dtype=torch.int8))
    x = torch.tensor([[-5, 0, 3, 9]], dtype=torch.int8)
    for form in (graph, deploy(graph)):
        assert interpret(form, x)[0].dtype == torch.int8
        assert torch.equal(interpret(form, x)[0], x.clamp(None, 3))


def test_fake_quantisation_of_a_whole_tensor_rounds_until_it_is_dropped() -> None:
    def rounded(x: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(x, 0.5, 1, -8, 7)

    graph = trace(Forward(rounded), torch.zeros(1, 4))
    x = torch.randn(3, 4)
    assert torch.equal(run(graph, x)[0], rounded(x))
    assert kinds(deploy(graph)) == []
