"""Where a forward is rounded: lists made by hand from the models' sources, and refusals of what is not reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models import CNN, DSCNN, MLP, CNN1d
from mcubench.quant.training import make_plan
from tests.graph.compare import Forward

# For each model the calls whose results are rounded, each with the number of its group, and those with a weight.
MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, int], list[str]]] = {
    "mlp": (lambda: MLP((6,), 3, hidden=(5, 4)), {"input:0": 0, "relu:0": 1, "relu:1": 2, "linear:2": 3},
            ["linear:0", "linear:1", "linear:2"]),
    # conv -> pool -> relu runs as conv + relu -> pool on the device: one grid, rounded behind the relu
    "cnn": (lambda: CNN((1, 8, 8), 10), {"input:0": 0, "relu:0": 1, "linear:0": 2}, ["conv2d:0", "linear:0"]),
    "cnn without activation": (lambda: CNN((1, 8, 8), 10, activation=None),
                               {"input:0": 0, "conv2d:0": 1, "linear:0": 2}, ["conv2d:0", "linear:0"]),
    # a hardswish can't be fused: the convolution's own result is a value of the device
    "cnn with hardswish": (lambda: CNN((1, 8, 8), 10, activation="hardswish"),
                           {"input:0": 0, "conv2d:0": 1, "hardswish:0": 2, "linear:0": 3}, ["conv2d:0", "linear:0"]),
    # the mean has the grid of what it is the mean of
    "cnn1d": (lambda: CNN1d((2, 16), 3, channels=(4, 4)),
              {"input:0": 0, "relu:0": 1, "relu:1": 2, "adaptive_avg_pool1d:0": 2, "linear:0": 3},
              ["conv1d:0", "conv1d:1", "linear:0"]),
    # batch norms are folded, dropout is no value of the device
    "dscnn": (lambda: DSCNN((1, 8, 8), 10, channels=4, blocks=1),
              {"input:0": 0, "relu:0": 1, "relu:1": 2, "relu:2": 3, "adaptive_avg_pool2d:0": 3, "linear:0": 4},
              ["conv2d:0", "conv2d:1", "conv2d:2", "linear:0"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_our_models(name: str) -> None:
    make, activations, weights = MODELS[name]
    module: Any = make()
    plan = make_plan(module, module.example_input_array)
    assert plan.activations == activations
    assert list(plan.weights) == weights
    first_of_group = {group: key for key, group in reversed(activations.items())}
    assert plan.representatives == first_of_group


class Functional(nn.Module):
    """A convolution, a product and a sum of parameters, without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 1, 3))
        self.matrix = nn.Parameter(torch.randn(4, 3))
        self.offset = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.conv1d(x, self.kernel, padding=1))
        return torch.addmm(self.offset, y.mean(2), self.matrix) @ self.matrix.T


def test_functions_and_their_parameters() -> None:
    plan = make_plan(Functional(), torch.zeros(1, 1, 8))
    assert plan.activations == {"input:0": 0, "relu:0": 1, "mean:0": 1, "addmm:0": 2, "matmul:0": 3}
    assert {key: (site.sources, site.axis, site.position) for key, site in plan.weights.items()} == {
        "conv1d:0": (("kernel",), 0, 1),
        "addmm:0": (("matrix",), -1, 2),
        "matmul:0": (("matrix",), -1, 1),
    }
    assert plan.counts == {"relu": 1, "mean": 1, "addmm": 1, "matmul": 1, "conv1d": 1}


def test_the_steps_of_an_attention_and_of_norms() -> None:
    """What an encoder computes, from torch's sources; keys of steps have their names behind those of the calls."""
    layer = nn.TransformerEncoderLayer(4, 1, 8, activation="gelu", batch_first=True, norm_first=True)
    plan = make_plan(layer, torch.zeros(1, 5, 4))
    norms = [f"layer_norm:{number}{step}" for number in (0, 1) for step in (".mean", ".centred", ".unit", "")]
    attention = [f"scaled_dot_product_attention:0{step}" for step in (".scores", ".scaled", ".shares", "")]
    others = ["linear:0", "linear:1", "add:0", "linear:2", "gelu:0", "linear:3", "add:1"]
    assert set(plan.activations) == {"input:0", *norms, *attention, *others}
    assert plan.in_steps == {"layer_norm:0", "layer_norm:1", "scaled_dot_product_attention:0"}
    assert list(plan.weights) == [f"linear:{number}" for number in range(4)]
    fixed = [key for key, group in plan.activations.items() if group in plan.groups.fixed]
    assert fixed == ["layer_norm:0.unit", "scaled_dot_product_attention:0.shares", "layer_norm:1.unit"]


def test_sums_are_values_and_what_is_concatenated_shares_a_grid() -> None:
    def forward(one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
        y = one(x)
        return torch.cat([two(y) + x, torch.sigmoid(y), y], 1)

    plan = make_plan(Forward(forward, nn.Linear(4, 4), nn.Linear(4, 4)), torch.zeros(1, 4))
    groups = plan.activations
    assert groups["add:0"] == groups["cat:0"] == groups["linear:0"]
    assert groups["linear:1"] not in (groups["cat:0"], groups["input:0"])
    assert plan.groups.fixed[groups["sigmoid:0"]].scale == 1 / 256
    assert "sigmoid:0" not in plan.representatives.values()


def test_interpolated_values_are_rounded_and_copied_ones_are_not() -> None:
    for mode, rounded in (("bilinear", True), ("nearest", False)):
        resized = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2, mode=mode))
        assert ("interpolate:0" in make_plan(resized, torch.zeros(1, 1, 4, 4)).activations) == rounded


def in_place(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    y.relu_()
    return y.sigmoid()


def changed_later(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    y.relu_().sigmoid()
    return y + y.relu_()


REFUSED: dict[str, tuple[Callable[..., Any], list[nn.Module], str]] = {
    "recurrent": (lambda lstm, x: lstm(x[:, None])[0], [nn.RNN(4, 3, batch_first=True)], r"layers\.0: RNN"),
    "cell": (lambda cell, x: cell(x), [nn.GRUCell(4, 3)], r"layers\.0: gru_cell"),
    "causal attention": (lambda one, x: F.scaled_dot_product_attention(*(one(x)[:, None],) * 3, is_causal=True),
                         [nn.Linear(4, 3)], "it is causal"),
    "unknown": (lambda one, x: torch.fft.fft(one(x)).real, [nn.Linear(4, 3)], "fft"),
    "layer norm of an image": (lambda one, norm, x: norm(one(x)[..., None]), [nn.Linear(4, 3), nn.LayerNorm((3, 1))],
                               r"layers\.1: LayerNorm"),
    "division": (lambda one, x: one(x) / (x[:, :1] + 2), [nn.Linear(4, 3)], "divides by what is computed"),
    "scaled sum": (lambda one, x: torch.add(one(x), x, alpha=2), [nn.Linear(4, 4)], "alpha=2"),
    "weight on the left": (lambda one, x: (one.weight @ x[..., None])[..., 0],
                           [nn.Linear(4, 3)], r"layers\.0\.weight stands on the left"),
    "changed in place": (in_place, [nn.Linear(4, 3)], "changed or read in a way"),
    "changed after it was read": (changed_later, [nn.Linear(4, 3)], "changed or read in a way"),
    "type": (lambda one, x: (one(x) > 0), [nn.Linear(4, 3)], "integers or truth values"),
    "reduction": (lambda one, x: one(x).std(1), [nn.Linear(4, 3)], "Reduce std"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_reached_is_refused_by_name(name: str) -> None:
    function, layers, pattern = REFUSED[name]
    with pytest.raises(UserError, match=f"(does not reach|would train what has no integer form: ).*{pattern}"):
        make_plan(Forward(function, *layers), torch.zeros(1, 4))


def test_what_rounds_itself_is_refused() -> None:
    own = Forward(lambda layer, x: torch.fake_quantize_per_tensor_affine(layer(x), 0.1, 0, -128, 127), nn.Linear(4, 3))
    with pytest.raises(UserError, match="rounds its values itself"):
        make_plan(own, torch.zeros(1, 4))


def test_a_transposed_convolution_with_groups_is_refused() -> None:
    with pytest.raises(UserError, match="transposed convolutions without dilation and groups"):
        make_plan(nn.Sequential(nn.ConvTranspose1d(4, 4, 3, groups=2)), torch.zeros(1, 4, 8))
