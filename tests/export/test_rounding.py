"""What a QDQ graph rounds otherwise than kernels: the integer graph, as TFLite Micro computes it, is the reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mcubench.export.amplification import amplification
from mcubench.export.rounding import as_kernels_round
from mcubench.graph import Graph, deploy, trace
from mcubench.quant import Grid, interpret_fake, quantize
from mcubench.quant.integer import IntegerGraph, IntegerNode, IntegerTensor, kernels, predict
from mcubench.quant.integer.ir import Filter
from tests.quant.witness import seeded

SAMPLES = 1500


class Net(nn.Module):
    """A forward and its layers, written side by side."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.compute, self.layers = forward, nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, **self.layers)


def squeezed(x: Tensor, conv: nn.Module, gate: nn.Module, head: nn.Module) -> Tensor:
    y = conv(x)
    return head((y * gate(y.mean((2, 3), keepdim=True)).sigmoid()).mean((2, 3)))  # type: ignore[no-any-return]


def joined(x: Tensor, wide: nn.Module, narrow: nn.Module, head: nn.Module) -> Tensor:
    return head(torch.cat([wide(x) * 9, narrow(x)], 1).mean(-1))  # type: ignore[no-any-return]


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mean over an image": (
        lambda: Net(
            lambda x, conv, head: head(conv(x).mean((2, 3))), conv=nn.Conv2d(3, 8, 3), head=nn.Linear(8, 10)
        ),
        (3, 18, 18),
    ),
    "padded, halves everywhere": (
        lambda: nn.Sequential(
            nn.AvgPool1d(2), nn.Conv1d(6, 8, 5), nn.Tanh(), nn.AvgPool1d(4, 2, 1), nn.Flatten(), nn.Linear(112, 4)
        ),
        (6, 64),
    ),
    "only what lies inside": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.Sigmoid(), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4),
        ),
        (1, 12, 12),
    ),
    "a batch norm behind a ReLU": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 3), nn.ReLU(), nn.BatchNorm1d(8), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(152, 3)
        ),
        (3, 40),
    ),
    "hard swish": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 3), nn.Hardswish(), nn.Conv1d(8, 8, 3), nn.Hardswish(), nn.AdaptiveAvgPool1d(1),
            nn.Flatten(), nn.Linear(8, 3),
        ),
        (3, 40),
    ),
    "leaky ReLU": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 3), nn.LeakyReLU(), nn.Conv1d(8, 8, 3), nn.LeakyReLU(), nn.AdaptiveAvgPool1d(1),
            nn.Flatten(), nn.Linear(8, 3),
        ),
        (3, 40),
    ),
    "squeeze and excitation": (
        lambda: Net(squeezed, conv=nn.Conv2d(3, 8, 3), gate=nn.Conv2d(8, 8, 1), head=nn.Linear(8, 4)),
        (3, 14, 14),
    ),
    "parts of unlike ranges": (
        lambda: Net(joined, wide=nn.Conv1d(2, 6, 3), narrow=nn.Conv1d(2, 6, 3), head=nn.Linear(12, 3)),
        (2, 30),
    ),
}  # fmt: skip


def made(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[Graph, IntegerGraph, Tensor]:
    torch.manual_seed(3)
    module, x = make().eval(), seeded(SAMPLES, *shape)
    graph = deploy(trace(module, x[:1]))
    return graph, quantize(graph, calibration=x[:500]), x


def steps(graph: Graph, integer: IntegerGraph, x: Tensor) -> Tensor:
    """How many codes the outputs of the rounded float graph are off."""
    (codes,) = predict(integer, *integer.encode(x))
    (values,) = interpret_fake(graph, integer, x)
    return (integer.outputs[0].grid.codes(values).flatten(1).long() - codes.flatten(1).long()).abs()


@pytest.mark.parametrize("name", NETS)
def test_within_one_step_where_means_are(name: str) -> None:
    graph, integer, x = made(*NETS[name])
    found = steps(as_kernels_round(graph, integer), integer, x)
    assert int(found.max()) <= 1
    assert float(found.float().mean()) < 0.03
    assert float(found.float().mean()) < float(steps(graph, integer, x).float().mean())


def test_floats_alone_are_farther_off() -> None:
    """Or the test above would show nothing."""
    for name in ("mean over an image", "padded, halves everywhere", "leaky ReLU"):
        assert int(steps(*made(*NETS[name])).max()) > 2


def test_constants_are_those_that_int8_holds() -> None:
    """A product with 0.01 beside 3: on the grid of both, the small one is 0.0118."""
    factors = torch.tensor([0.01, 0.1, 1, 0.02, 0.5, 3])
    net = Net(lambda x, layer: (5 - layer(x).tanh() * factors) / 7, layer=nn.Linear(12, 6))
    graph, integer, x = made(lambda: net, (12,))
    rounded = as_kernels_round(graph, integer)
    weights = (weight for node in rounded.nodes for role, weight in node.op.weights() if role == "operands")
    held = next(each.tensor for each in weights if len(each.tensor.shape) == 1 and not each.name.endswith("amount"))
    torch.testing.assert_close(held, (factors * 85).round() * 3 / 255, atol=1e-7, rtol=0)
    found, alone = (steps(each, integer, x) for each in (rounded, graph))
    assert int(found.max()) <= 2
    assert float(found.float().mean()) < float(alone.float().mean())


def test_how_far_a_step_carries() -> None:
    """By hand, for weights of 1/2 and -3/2 between grids with steps of 1, 2 and 1/4."""
    grids = {"x": Grid(1.0, 0), "y": Grid(2.0, 0), "z": Grid(0.25, 0)}
    x, y, z = (IntegerTensor(name, (1, 3), grid) for name, grid in grids.items())
    first = Filter("first", torch.full((3, 3), 2, dtype=torch.int8), torch.full((3,), 0.25), 0, 8)
    second = Filter("second", torch.full((3, 3), -3, dtype=torch.int8), torch.full((3,), 0.5), 0, 8)
    layers = [
        IntegerNode("a", "", kernels.FullyConnected(first, None), (x,), y),
        IntegerNode("b", "", kernels.FullyConnected(second, None), (y,), z),
    ]
    graph = IntegerGraph(tuple(layers), (x,), (z,), (0,), (0,))
    # 3 x 0.5 = 1.5 of a value, 2 / 0.25 = 8 steps of z in one of y; and 2 x 0.25 / 2 = 1/4 of y in one of x
    assert amplification(graph) == {"z": 1.0, "y": 12.0, "x": 3.0}


def test_sums_that_cancel() -> None:
    """What is left of two alike has a finer grid: a step before is many behind."""
    net = Net(lambda x, a, b: b(x) * 20 - a(x) * 20, a=nn.Linear(12, 6), b=nn.Linear(12, 6))
    torch.manual_seed(0)
    net.layers["b"].load_state_dict({key: each + 0.003 for key, each in net.layers["a"].state_dict().items()})
    graph, integer, x = made(lambda: net, (12,))
    assert int(steps(graph, integer, x).max()) > 2
    assert int(steps(as_kernels_round(graph, integer), integer, x).max()) <= 2


def test_without_a_mean_the_operators_are_those_of_the_float_graph() -> None:
    graph, integer, _ = made(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Hardswish()), (6,))
    assert [node.op.label for node in as_kernels_round(graph, integer).nodes] == [node.op.label for node in graph.nodes]
