"""Keras' own defaults. References: Keras' documentation, initialisers' formulas, torch's own repeated training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mcubench.models import MLP
from mcubench.parity import default_effects, load_keras
from mcubench.parity.training.defaults import _drawn
from mcubench.parity.training.side_by_side import train_torch, trainable_graph
from mcubench.parity.twin import build_model
from tests.parity.test_training import Recurrent, batches, normalised

keras = load_keras()


def effects(module: nn.Module, optimizer: str = "sgd", shape: tuple[int, ...] = (1, 8, 8), steps: int = 6):
    data = batches(shape, steps)
    return {each.name: each for each in default_effects(module, data, optimizer, held_out=data[0], seeds=2)}


def test_what_differs_is_listed_with_both_values() -> None:
    """Keras' documentation: BatchNormalization(momentum=0.99, epsilon=0.001), LayerNormalization(epsilon=0.001),
    LeakyReLU(negative_slope=0.3), AdamW(weight_decay=0.004, epsilon=1e-7); glorot_uniform kernels, zeros as biases."""
    torch.manual_seed(0)
    found = effects(normalised(), "adamw")
    rows = {name: (each.pytorch, each.keras, each.layers) for name, each in found.items()}
    assert rows == {
        "PyTorch, other seeds": ("", "", ()),
        "initial kernel": ("as in the module", "glorot uniform", ("0", "4", "7")),
        "initial bias": ("as in the module", "zeros", ("0", "4", "7")),
        "batch norm: epsilon": ("1e-05", "0.001", ("1",)),
        "batch norm: share kept (momentum)": ("0.9", "0.99", ("1",)),
        "layer norm: epsilon": ("1e-05", "0.001", ("6",)),
        "LeakyReLU: slope": ("0.1", "0.3", ("2",)),
        "padding of strided layers": ("as much on all sides", '"same"', ("0",)),
        "Adam: where epsilon is added": ("behind the correction", "before it", ()),
        "Adam: epsilon, and where": ("1e-08", "1e-07", ()),
        "AdamW: weight decay": ("0.01", "0.004", ()),
        "all of them": ("", "", ()),
    }


def test_what_does_not_differ_is_not_listed() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, eps=1e-3, momentum=0.01), nn.Flatten(), nn.Linear(256, 4)
    )
    assert list(effects(net)) == ["PyTorch, other seeds", "initial kernel", "initial bias", "all of them"]


def test_each_does_what_it_says() -> None:
    """Only what is in the forward of training moves the losses; batch norm's momentum moves the held-out loss alone."""
    torch.manual_seed(0)
    net = normalised()
    found = effects(net)
    reference = train_torch(net, batches((1, 8, 8), 6), "sgd", 0.01, batches((1, 8, 8), 6)[0])
    momentum = found["batch norm: share kept (momentum)"]
    assert momentum.gap.mean < 1e-5
    assert momentum.held_out is not None
    assert reference.held_out is not None
    assert abs(momentum.held_out.mean / reference.held_out - 1) > 1e-3
    for name in ("batch norm: epsilon", "layer norm: epsilon", "LeakyReLU: slope", "padding of strided layers"):
        assert found[name].gap.mean > 3e-5, name
        assert found[name].gap.half is None
    assert found["initial kernel"].gap.half is not None


def test_keras_initialisers_draw_what_their_formulas_say() -> None:
    """Glorot and Bengio (2010): uniform within sqrt(6 / (inputs + outputs)). LSTM: orthogonal, forget gate's bias 1."""
    net = Recurrent(nn.LSTM)
    twin = build_model(keras, trainable_graph(net, batches((6, 5), 1)), "twin")
    kinds = ("kernel", "recurrent", "bias")
    kernel, recurrent, bias, head, head_bias = _drawn(keras, twin, kinds, 0)
    for tensor in (kernel, head):
        bound = math.sqrt(6 / sum(tensor.shape))
        assert 0.8 * bound < np.abs(tensor).max() <= bound
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(7), atol=1e-5)
    assert bias.tolist() == [0] * 7 + [1] * 7 + [0] * 14
    assert not head_bias.any()
    untouched = _drawn(keras, twin, (), 0)
    assert all(np.array_equal(one, other) for one, other in zip(untouched, twin.get_weights(), strict=True))
    assert not np.array_equal(_drawn(keras, twin, kinds, 1)[0], kernel)


def test_control_is_pytorch_from_other_seeds_and_left_out_where_it_cant_be() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(64, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.weight

    assert "PyTorch, other seeds" not in effects(Own())
    torch.manual_seed(0)
    net = MLP((1, 8, 8), 4, hidden=[8])
    before = torch.get_rng_state()
    found = effects(net)["PyTorch, other seeds"]
    assert torch.equal(torch.get_rng_state(), before)
    data = batches((1, 8, 8), 6)
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        for each in net.modules():
            if isinstance(each, nn.Linear):
                each.reset_parameters()
        losses.append(train_torch(net, data, "sgd", 0.01).last)
    assert found.last.mean == pytest.approx(np.mean(losses), rel=1e-6)


def test_no_two_layers_of_any_seeds_draw_the_same() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 4))
    twin = build_model(keras, trainable_graph(net, batches((1, 8, 8), 1)), "twin")
    drawn = [_drawn(keras, twin, ("kernel",), seed)[index] for seed in range(4) for index in (0, 2)]
    assert all(not np.array_equal(one, other) for i, one in enumerate(drawn) for other in drawn[:i])
