"""Each pass by what it leaves and by what that computes: the same as before it, and as torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.ao import quantization

from mcubench.graph import Graph, Op, deploy, ops, trace
from mcubench.graph.passes import (
    activation_before_pool,
    batch_norm,
    channels_last,
    drop_identities,
    fold_batch_norm,
    fold_padding,
    fuse_activation,
    layout,
    merge_moves,
)
from tests.graph.compare import Forward, batch_like, call, cases, distance, kinds, randomised, run

SIGNAL, IMAGE, FEATURES = torch.zeros(1, 4, 15), torch.zeros(1, 4, 9, 11), torch.zeros(1, 12)

Pass = Callable[[Graph], Graph]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def passed(module: nn.Module, example: Any, *passes: Pass, bound: float = 1e-5) -> Graph:
    """The graph behind the passes, after comparing it with torch and with the graph before each of them."""
    module = randomised(module)
    batch = batch_like(example)
    wanted = call(module, batch)
    graph = trace(module, example)
    assert not graph.unknown()
    assert distance(run(graph, batch), wanted) <= bound
    for each in passes:
        graph = each(graph)
        assert distance(run(graph, batch), wanted) <= bound, each.__name__
    return graph


def of(graph: Graph, kind: type[Op]) -> list[Any]:
    return [node.op for node in graph.nodes if isinstance(node.op, kind)]


# --- batch norm and other affine maps into the layer before ---

FOLDED: dict[str, tuple[Callable[[], nn.Module], Tensor, list[str]]] = {
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(4, 5, 3, bias=False), nn.BatchNorm1d(5)), SIGNAL, ["Conv"]),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, eps=0.1)), IMAGE, ["Conv"]),
    "conv2d grouped": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), IMAGE, ["Conv"]),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)), IMAGE, ["DepthwiseConv"]),
    "linear": (lambda: nn.Sequential(nn.Linear(12, 5), nn.BatchNorm1d(5)), FEATURES, ["Dense"]),
    "linear without bias or affine": (
        lambda: nn.Sequential(nn.Linear(12, 5, bias=False), nn.BatchNorm1d(5, affine=False)), FEATURES, ["Dense"]),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)), IMAGE, ["TransposedConv"]),
    "transposed grouped": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)),
        IMAGE, ["TransposedConv"]),
    "transposed depthwise": (
        lambda: nn.Sequential(nn.ConvTranspose1d(4, 4, 3, groups=4, bias=False), nn.BatchNorm1d(4)),
        SIGNAL, ["TransposedConv"]),
    "two in a row": (
        lambda: nn.Sequential(nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5), nn.BatchNorm1d(5)), SIGNAL, ["Conv"]),
    "product and sum by channel": (
        lambda: Forward(lambda conv, x: conv(x) * torch.linspace(1, 2, 5)[:, None] + torch.arange(5.0).view(5, 1),
                        nn.Conv1d(4, 5, 3)), SIGNAL, ["Conv"]),
    "numbers on either side": (
        lambda: Forward(lambda conv, x: 3 + 2 * conv(x) / 4 - 0.5, nn.Conv2d(4, 5, 3)), IMAGE, ["Conv"]),
    "a learned scale with a batch axis": (
        lambda: Forward(lambda conv, x: conv(x) * torch.linspace(1, 2, 5).view(1, 5, 1, 1), nn.Conv2d(4, 5, 3)),
        IMAGE, ["Conv"]),
    "features by features": (
        lambda: Forward(lambda layer, x: layer(x) / torch.linspace(1, 2, 5), nn.Linear(12, 5)), FEATURES, ["Dense"]),
    "linear over steps": (
        lambda: Forward(lambda layer, x: layer(x) + torch.arange(3.0), nn.Linear(15, 3)), SIGNAL, ["Dense"]),
    "instance norm with running statistics": (
        lambda: nn.Sequential(nn.Conv1d(4, 5, 3), nn.InstanceNorm1d(5, track_running_stats=True, affine=True)),
        SIGNAL, ["Conv"]),
}  # fmt: skip


@pytest.mark.parametrize(("make", "example", "left"), cases(FOLDED))
def test_folded_into_the_layer_before(make: Callable[[], nn.Module], example: Tensor, left: list[str]) -> None:
    graph = passed(make(), example, drop_identities, fold_batch_norm)
    assert kinds(graph) == left
    assert graph.nodes[0].op.bias is not None
    assert graph.nodes[0].output is graph.outputs[0]


def test_folding_by_hand() -> None:
    conv, norm = nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2, eps=0.0)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([2.0, 3.0]).view(2, 1, 1))
        conv.bias.copy_(torch.tensor([1.0, -1.0]))
        norm.running_mean.copy_(torch.tensor([1.0, 3.0]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25]))
        norm.weight.copy_(torch.tensor([1.0, 5.0]))
        norm.bias.copy_(torch.tensor([0.5, 0.0]))
    (node,) = fold_batch_norm(trace(nn.Sequential(conv, norm), torch.zeros(1, 1, 4))).nodes
    assert node.op.weight.tensor.flatten().tolist() == [1.0, 30.0]  # 2 / sqrt(4) * 1, 3 / sqrt(1 / 4) * 5
    assert node.op.bias.tensor.tolist() == [0.5, -40.0]  # (1 - 1) / 2 + 0.5, (-1 - 3) / 0.5 * 5
    assert node.path == "0"
    assert [call.target for call in node.calls] == ["aten.conv1d.default", "aten.batch_norm.default"]
    assert set(node.op.weight.sources) == {"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"}


NOT_FOLDED: dict[str, tuple[Callable[[], nn.Module], Tensor, list[str]]] = {
    "somebody reads the layer": (
        lambda: Forward(lambda conv, norm, x: norm(y := conv(x)) + y, nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)),
        IMAGE, ["Conv", "BatchNorm", "Elementwise"]),
    "the application reads the layer": (
        lambda: Forward(lambda conv, norm, x: (y := conv(x), norm(y)), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)),
        IMAGE, ["Conv", "BatchNorm"]),
    "activation between": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.BatchNorm2d(5)),
        IMAGE, ["Conv", "Activation", "BatchNorm"]),
    "before the layer": (
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, padding=1)), IMAGE, ["BatchNorm", "Conv"]),
    "pool between": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.MaxPool2d(2), nn.BatchNorm2d(5)),
        IMAGE, ["Conv", "Pool", "BatchNorm"]),
    "channels of another axis": (  # of as many channels as features
        lambda: nn.Sequential(nn.Linear(15, 4), nn.BatchNorm1d(4)), SIGNAL, ["Dense", "BatchNorm"]),
    "constant by position": (
        lambda: Forward(lambda conv, x: conv(x) * torch.linspace(1, 2, 5), nn.Conv1d(4, 5, 11)),
        SIGNAL, ["Conv", "Elementwise"]),
    "constant under the layer": (
        lambda: Forward(lambda conv, x: torch.ones(1) / conv(x), nn.Conv1d(4, 5, 3)), SIGNAL, ["Conv", "Elementwise"]),
    "subtracted from a constant": (
        lambda: Forward(lambda conv, x: 1 - conv(x), nn.Conv1d(4, 5, 3)), SIGNAL, ["Conv", "Elementwise"]),
    "squared": (
        lambda: Forward(lambda conv, x: (y := conv(x)) * y, nn.Conv1d(4, 5, 3)), SIGNAL, ["Conv", "Elementwise"]),
    "broadcast by the constant": (
        lambda: Forward(lambda conv, x: conv(x) * torch.linspace(1, 2, 3), nn.Conv1d(4, 5, 15)),
        SIGNAL, ["Conv", "Elementwise"]),
    "scaled twofold by alpha": (
        lambda: Forward(lambda conv, x: torch.add(conv(x), torch.ones(5, 1), alpha=2), nn.Conv1d(4, 5, 3)),
        SIGNAL, ["Conv", "Elementwise"]),
}  # fmt: skip


@pytest.mark.parametrize(("make", "example", "left"), cases(NOT_FOLDED))
def test_not_folded(make: Callable[[], nn.Module], example: Tensor, left: list[str]) -> None:
    assert kinds(passed(make(), example, drop_identities, fold_batch_norm)) == left


def test_a_rounded_division_is_not_folded() -> None:
    module = Forward(lambda conv, x: torch.div(conv(x), 0.5, rounding_mode="floor"), nn.Conv1d(4, 5, 3))
    assert kinds(fold_batch_norm(trace(module, SIGNAL))) == ["Conv", "Elementwise"]


def test_a_layer_used_twice_with_two_norms() -> None:
    module = Forward(
        lambda conv, one, two, x: one(conv(x)).relu() + two(conv(x * 2)),
        *(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.BatchNorm2d(5)),
    )
    graph = passed(module, IMAGE, fold_batch_norm)
    first, second = of(graph, ops.Conv)
    assert first.weight.name != second.weight.name, "two weights in flash"
    assert not torch.equal(first.weight.tensor, second.weight.tensor)


QCONFIGS = {
    "fused observers of x86": lambda: quantization.get_default_qat_qconfig("x86"),
    "plain fake quantisation": lambda: quantization.QConfig(
        quantization.FakeQuantize.with_args(observer=quantization.MovingAverageMinMaxObserver),
        quantization.default_weight_fake_quant,
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("qconfig", cases(QCONFIGS))
@pytest.mark.parametrize("bias", [False, True])
def test_prepared_for_quantisation(qconfig: Callable[[], Any], bias: bool) -> None:
    module = nn.Sequential(nn.Conv2d(4, 5, 3, bias=bias), nn.BatchNorm2d(5), nn.ReLU()).train()
    quantization.fuse_modules_qat(module, [["0", "1", "2"]], inplace=True)
    module.qconfig = qconfig()
    module = quantization.prepare_qat(module)
    for _ in range(20):
        module(torch.randn(16, 4, 9, 11))
    module.eval()
    graph = trace(module, IMAGE)
    deployed = deploy(graph)
    assert kinds(deployed) == ["Conv"]
    assert deployed.nodes[0].op.activation == "relu"
    assert deployed.nodes[0].op.bias is not None
    x = torch.randn(3, 4, 9, 11)
    with torch.no_grad():
        quantised = module(x)
        exact = module.apply(quantization.disable_fake_quant)(x)
    grid = float(exact.max()) / 127  # of which half is the rounding of the output, one more that of the weights
    assert distance(run(deployed, x), run(graph, x)) <= 1e-5
    assert float((run(deployed, x)[0] - quantised).abs().max()) <= 2 * grid
    assert distance(run(deploy(trace(module, IMAGE)), x), [exact]) <= 1e-5


# --- padding ---


def test_asymmetric_padding_is_folded() -> None:
    module = nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(4, 5, 3, stride=2, padding=(1, 0)))
    graph = passed(module, IMAGE, fold_padding)
    assert kinds(graph) == ["Conv"]
    assert graph.nodes[0].op.padding == ((1, 4), (1, 2))
    assert (graph.nodes[0].path, len(graph.nodes[0].calls)) == ("1", 2)


def causal(conv: nn.Module, x: Tensor) -> Tensor:
    return conv(F.pad(x, (4, 0)))


PADDED: dict[str, tuple[Callable[[], nn.Module], Tensor, list[str]]] = {
    "causal": (lambda: Forward(causal, nn.Conv1d(4, 5, 3, dilation=2)), SIGNAL, ["Conv"]),
    "depthwise": (lambda: nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3, groups=4)), IMAGE, ["DepthwiseConv"]),
    "other value": (lambda: nn.Sequential(nn.ConstantPad1d(1, 2.0), nn.Conv1d(4, 5, 3)), SIGNAL, ["Pad", "Conv"]),
    "reflected": (lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"), IMAGE, ["Pad", "Conv"]),
    "cropped": (lambda: nn.Sequential(nn.ZeroPad2d((-1, 1, 0, 0)), nn.Conv2d(4, 5, 3)), IMAGE, ["Pad", "Conv"]),
    "channels": (
        lambda: Forward(lambda conv, x: conv(F.pad(x, (0, 0, 1, 0))), nn.Conv1d(5, 5, 3)), SIGNAL, ["Pad", "Conv"]),
    "read twice": (
        lambda: Forward(lambda a, b, x: a(y := F.pad(x, (1, 1))) + b(y), nn.Conv1d(4, 5, 3), nn.Conv1d(4, 5, 3)),
        SIGNAL, ["Pad", "Conv", "Conv", "Elementwise"]),
    "pool": (lambda: nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), IMAGE, ["Pad", "Pool"]),
    "with padding of an even kernel": (
        lambda: nn.Sequential(nn.ConstantPad1d((1, 0), 0), nn.Conv1d(4, 5, 4, padding="same")), SIGNAL, ["Conv"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")
@pytest.mark.parametrize(("make", "example", "left"), cases(PADDED))
def test_padding(make: Callable[[], nn.Module], example: Tensor, left: list[str]) -> None:
    graph = passed(make(), example, fold_padding)
    assert kinds(graph) == left
    passed(make(), example, deploy)


# --- activations ---

FUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "relu": (F.relu, "relu"),
    "relu6": (F.relu6, "relu6"),
    "hardtanh": (F.hardtanh, "relu_n1_to_1"),
    "hardtanh of 0 and 6": (lambda x: F.hardtanh(x, 0, 6), "relu6"),
    "clamp min": (lambda x: x.clamp(min=0), "relu"),
    "clamp_min": (lambda x: torch.clamp_min(x, 0.0), "relu"),
    "clamp": (lambda x: x.clamp(0, 6), "relu6"),
    "in place": (lambda x: x.clamp_(-1.0, 1.0), "relu_n1_to_1"),
}


@pytest.mark.parametrize(("activation", "name"), cases(FUSED))
@pytest.mark.parametrize(
    "layer", [lambda: nn.Conv2d(4, 5, 3), lambda: nn.ConvTranspose2d(4, 5, 3), lambda: nn.Linear(11, 5)]
)
def test_fused(activation: Callable[[Tensor], Tensor], name: str, layer: Callable[[], nn.Module]) -> None:
    graph = passed(Forward(lambda layer, x: activation(layer(x) * 4), layer()), IMAGE, fold_batch_norm, fuse_activation)
    (node,) = graph.nodes
    assert node.op.activation == name


def test_fused_into_a_sum() -> None:
    module = Forward(lambda a, b, x: F.relu(a(x) + b(x)), nn.Conv1d(4, 5, 3), nn.Conv1d(4, 5, 3))
    graph = passed(module, SIGNAL, fuse_activation)
    assert kinds(graph) == ["Conv", "Conv", "Elementwise"]
    assert [node.op.activation for node in graph.nodes] == [None, None, "relu"]


NOT_FUSED: dict[str, Callable[..., Any]] = {
    "another function": lambda conv, x: F.leaky_relu(conv(x)),
    "other bounds": lambda conv, x: conv(x).clamp(0, 5),
    "upper bound only": lambda conv, x: conv(x).clamp(max=0),
    "also read before": lambda conv, x: (y := conv(x)).relu() + y,
    "also an output": lambda conv, x: (y := conv(x), y.relu()),
    "another function behind a pool": lambda conv, x: F.max_pool1d(conv(x), 2).tanh(),
}


@pytest.mark.parametrize("what", cases(NOT_FUSED))
def test_not_fused(what: Callable[..., Any]) -> None:
    graph = passed(Forward(what, nn.Conv1d(4, 5, 3)), SIGNAL, activation_before_pool, fuse_activation)
    assert of(graph, ops.Conv)[0].activation is None
    assert of(graph, ops.Activation)


def test_relu_goes_before_the_pool() -> None:
    module = nn.Sequential(
        nn.Conv2d(4, 5, 3, bias=False), nn.MaxPool2d(3, 2, padding=1), nn.ReLU6(), nn.Conv2d(5, 2, 3)
    )
    graph = passed(module, IMAGE, activation_before_pool)
    assert kinds(graph) == ["Conv", "Activation", "Pool", "Conv"]
    assert [node.output.shape for node in graph.nodes] == [(5, 7, 9), (5, 7, 9), (5, 4, 5), (2, 2, 3)]
    assert kinds(passed(module, IMAGE, activation_before_pool, fuse_activation)) == ["Conv", "Pool", "Conv"]
    assert kinds(passed(module, IMAGE, deploy)) == ["Conv", "Pool", "Conv"]


STAYS_BEHIND: dict[str, Callable[..., Any]] = {
    "average": lambda conv, x: F.avg_pool1d(conv(x), 2).relu(),
    "the pool is read by another": lambda conv, x: (y := F.max_pool1d(conv(x), 2)).relu() + y,
    "the pool is an output": lambda conv, x: (y := F.max_pool1d(conv(x), 2), y.relu()),
    "the layer is read by another": lambda conv, x: (y := conv(x)).mean(2, keepdim=True) + F.max_pool1d(y, 2).relu(),
    "no layer before": lambda conv, x: conv(F.max_pool1d(x, 2).relu()),
    "not monotonous": lambda conv, x: F.silu(F.max_pool1d(conv(x), 2)),
}


@pytest.mark.parametrize("what", cases(STAYS_BEHIND))
def test_relu_stays_behind_the_pool(what: Callable[..., Any]) -> None:
    graph = passed(Forward(what, nn.Conv1d(4, 5, 3)), SIGNAL, activation_before_pool)
    found = kinds(graph)
    assert found.index("Pool") < found.index("Activation")


# --- identities and moves ---


def test_identities_are_dropped() -> None:
    module = Forward(lambda x: x.view(x.shape).transpose(1, 2).transpose(1, 2).permute(0, 1, 2).expand(-1, 4, 15) * 2)
    assert kinds(passed(module, SIGNAL, merge_moves)) == ["Elementwise"]


def test_an_output_that_is_an_identity_of_the_input() -> None:
    graph = passed(Forward(lambda x: x.view(x.shape)), SIGNAL, drop_identities)
    assert graph.nodes == ()
    assert graph.outputs == graph.inputs


def test_moves_are_joined() -> None:
    module = Forward(lambda x: x.permute(0, 2, 3, 1).transpose(1, 2).relu().flatten(2).flatten(1))
    graph = passed(module, IMAGE, merge_moves)
    assert kinds(graph) == ["Permute", "Activation", "Reshape"]
    assert graph.nodes[0].op.axes == (2, 1, 0)
    assert graph.nodes[2].op.shape == (4 * 9 * 11,)


def test_a_move_that_another_reads_stays() -> None:
    module = Forward(lambda x: ((y := x.transpose(1, 2)).relu(), y.transpose(1, 2).flatten(1)))
    graph = passed(module, SIGNAL, merge_moves)
    assert kinds(graph) == ["Permute", "Activation", "Reshape"]


def test_permutations_of_single_elements_are_reshapes() -> None:
    graph = passed(Forward(lambda x: x.mean((2, 3), keepdim=True).permute(0, 2, 3, 1) * 2), IMAGE, merge_moves)
    assert kinds(graph) == ["Reduce", "Reshape", "Elementwise"]


# --- channels last ---


class Excitation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 3, 3)
        self.squeeze, self.excite = nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        scale = self.excite(self.squeeze(y.mean((2, 3))).relu()).sigmoid()
        return self.next(y * scale[:, :, None, None])


class ConvNextBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.LayerNorm(4)
        self.wide, self.narrow = nn.Linear(4, 9), nn.Linear(9, 4)
        self.gamma = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(F.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


def weighted(norm: nn.Module) -> nn.Module:
    """A norm as after some training: weights that are all alike would hide where they are."""
    for weight in norm.parameters():
        nn.init.normal_(weight)
    return norm


def residual(first: nn.Module, second: nn.Module, shortcut: nn.Module, x: Tensor) -> Tensor:
    return F.relu(second(first(x).relu()) + shortcut(x))


LAYOUTS: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, int], list[int]]] = {
    # name: module, example, how often moves remain, spatial axes that inputs and outputs had moved
    "flatten into dense": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 63, 3)),
        IMAGE, {"Permute": 0, "Reshape": 1}, [2]),
    "flatten, then activation and dropout": (
        lambda: nn.Sequential(nn.Conv1d(4, 5, 3), nn.Flatten(), nn.Dropout(), nn.Tanh(), nn.Linear(5 * 13, 3)),
        SIGNAL, {"Permute": 0, "Reshape": 1}, [1]),
    "flatten of the input": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * 99, 3)), IMAGE, {"Permute": 0, "Reshape": 1}, []),
    "flatten into two dense": (
        lambda: Forward(lambda conv, a, b, x: (a(y := conv(x).flatten(1)), b(y)),
                        nn.Conv2d(4, 5, 3), nn.Linear(315, 3), nn.Linear(315, 2, bias=False)),
        IMAGE, {"Permute": 0, "Reshape": 1}, [2]),
    "flatten into one dense, twice": (
        lambda: Forward(lambda conv, a, x: a(conv(x).flatten(1)) + a(conv(x * 2).flatten(1)),
                        nn.Conv2d(4, 5, 3), nn.Linear(315, 3)),
        IMAGE, {"Permute": 0, "Reshape": 2}, [2]),
    "flatten with its norm": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.Flatten(), nn.LayerNorm(315), nn.Linear(315, 3)),
        IMAGE, {"Permute": 1, "Reshape": 1}, [2]),
    "flatten that is also returned": (
        lambda: Forward(lambda conv, a, x: (a(y := conv(x).flatten(1)), y), nn.Conv2d(4, 5, 3), nn.Linear(315, 3)),
        IMAGE, {"Permute": 1, "Reshape": 1}, [2]),
    "dense on the last axis": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.Linear(9, 3)), IMAGE, {"Permute": 1, "Reshape": 0}, [2]),
    "pooled to one, then flattened": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
        IMAGE, {"Permute": 0, "Reshape": 1}, [2]),
    "lstm behind a transposition": (
        lambda: Forward(lambda conv, lstm, x: lstm(conv(x).transpose(1, 2))[0][:, -1],
                        nn.Conv1d(4, 5, 3), nn.LSTM(5, 3, batch_first=True)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1]),
    "lstm without a transposition": (
        lambda: Forward(lambda conv, lstm, x: lstm(conv(x))[0][:, -1],
                        nn.Conv1d(4, 5, 3), nn.LSTM(13, 3, batch_first=True)),
        SIGNAL, {"Permute": 1, "Reshape": 0}, [1]),
    "lstm over the width, rows and channels together": (
        lambda: Forward(lambda conv, lstm, x: lstm(conv(x).permute(0, 3, 1, 2).flatten(2))[1][0][0],
                        nn.Conv2d(4, 5, 3), nn.LSTM(35, 3, batch_first=True)),
        IMAGE, {"Permute": 1, "Reshape": 1}, [2]),
    "concatenated channels": (
        lambda: Forward(lambda a, b, c, x: c(torch.cat([a(x), b(x).relu(), x], 1)),
                        nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(4, 2, 1), nn.Conv2d(11, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "concatenated rows": (
        lambda: Forward(lambda a, c, x: c(torch.cat([a(x), a(x * 2)], 2)), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "concatenated with a constant": (
        lambda: Forward(lambda a, c, x: c(torch.cat([a(x), torch.linspace(0, 1, 13).expand(x.shape[0], 2, 13)], 1)),
                        nn.Conv1d(4, 5, 3), nn.Conv1d(7, 3, 3)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1, 1]),
    "norm over channels and space": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), weighted(nn.LayerNorm((5, 7, 9))), nn.Conv2d(5, 3, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "root mean square over channels and space, flattened": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 5, 3), weighted(nn.RMSNorm((5, 7, 9), eps=1e-3)), nn.Flatten(), nn.Linear(315, 3)),
        IMAGE, {"Permute": 0, "Reshape": 1}, [2]),
    "norm over rows": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), weighted(nn.LayerNorm(9)), nn.Conv2d(5, 3, 1)),
        IMAGE, {"Permute": 2, "Reshape": 0}, [2, 2]),
    "norm over rows and columns": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), weighted(nn.LayerNorm((7, 9))), nn.Conv2d(5, 3, 1)),
        IMAGE, {"Permute": 2, "Reshape": 0}, [2, 2]),
    "softmax over channels": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.Softmax(1)), IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "softmax over columns": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.Softmax(-1)), IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "mean over rows, then conv1d": (
        lambda: Forward(lambda a, b, x: b(a(x).mean(2)), nn.Conv2d(4, 5, 3), nn.Conv1d(5, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 1]),
    "mean over rows that stay": (
        lambda: Forward(lambda a, b, x: b(a(x).mean(2, keepdim=True)), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 3, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "maximum over channels": (
        lambda: Forward(lambda a, x: a(x).amax(1), nn.Conv2d(4, 5, 3)), IMAGE, {"Permute": 0, "Reshape": 0}, [2]),
    "last step": (
        lambda: Forward(lambda a, b, x: b(a(x)[:, :, -1]), nn.Conv1d(4, 5, 3), nn.Linear(5, 3)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1]),
    "one row": (
        lambda: Forward(lambda a, b, x: b(a(x)[:, :, 2]), nn.Conv2d(4, 5, 3), nn.Conv1d(5, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 1]),
    "one channel": (
        lambda: Forward(lambda a, x: a(x)[:, 1].relu(), nn.Conv2d(4, 5, 3)), IMAGE, {"Permute": 0, "Reshape": 0}, [2]),
    "some channels": (
        lambda: Forward(lambda a, b, x: b(a(x)[:, 1:4:2, 1:]), nn.Conv2d(4, 5, 3), nn.Conv2d(2, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "channels of an index": (
        lambda: Forward(lambda a, b, x: b(a(x).index_select(1, torch.tensor([3, 1]))),
                        nn.Conv2d(4, 5, 3), nn.Conv2d(2, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "squeeze and excitation": (Excitation, IMAGE, {"Permute": 0, "Reshape": 1}, [2, 2]),
    "residual": (
        lambda: Forward(residual, nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1), nn.Conv2d(4, 6, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "residual of the input": (
        lambda: Forward(lambda a, x: a(x).relu() + x, nn.Conv2d(4, 4, 3, padding=1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "ConvNeXt": (ConvNextBlock, IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "segmentation": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.Upsample(scale_factor=2), nn.Conv2d(5, 2, 1), nn.LogSoftmax(1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "classes of a segmentation": (
        lambda: Forward(lambda a, x: a(x).argmax(1), nn.Conv2d(4, 5, 3)), IMAGE, {"Permute": 0, "Reshape": 0}, [2]),
    "signal and image": (
        lambda: Forward(lambda a, b, x, y: torch.cat([a(x).mean((2, 3)), b(y).mean(2)], 1),
                        nn.Conv2d(4, 5, 3), nn.Conv1d(4, 3, 3)),
        (IMAGE, SIGNAL), {"Permute": 0, "Reshape": 0}, [2, 1]),
    "input also read as it is": (
        lambda: Forward(lambda a, b, x: a(x).mean(2) + b(x.transpose(1, 2)).mean(1),
                        nn.Conv1d(4, 3, 3), nn.Linear(4, 3)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1]),
    "lstm of the transposed input": (
        lambda: Forward(lambda lstm, x: lstm(x.transpose(1, 2))[0][:, -1], nn.LSTM(4, 3, batch_first=True)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1]),
    "lstm of the transposed input, scaled before": (
        lambda: Forward(lambda lstm, x: lstm((x * 2).tanh().transpose(1, 2))[0][:, -1],
                        nn.LSTM(4, 3, batch_first=True)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1]),
    "transposed input that is also read as it is": (
        lambda: Forward(lambda a, b, x: a(x.transpose(1, 2)).mean(1) + b(x).mean(1), nn.Linear(4, 3), nn.Linear(15, 3)),
        SIGNAL, {"Permute": 1, "Reshape": 0}, []),
    "transposed there and back": (
        lambda: Forward(lambda a, x: a(x.transpose(1, 2).tanh().transpose(1, 2)), nn.Conv1d(4, 3, 3)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1, 1]),
    "features last, transposed for a convolution": (
        lambda: Forward(lambda a, x: a(x.transpose(1, 2)), nn.Conv1d(15, 3, 3)),
        SIGNAL, {"Permute": 0, "Reshape": 0}, [1]),
    "image whose channels are put last": (
        lambda: Forward(lambda a, x: a(x.permute(0, 2, 3, 1)), nn.Linear(4, 3)), IMAGE, {"Permute": 0}, [2]),
    "image whose rows and columns are swapped": (
        lambda: Forward(lambda a, x: a(x.transpose(2, 3)), nn.Linear(9, 3)), IMAGE, {"Permute": 1}, []),
    "nothing but the transposed input": (
        lambda: Forward(lambda x: x.transpose(1, 2)), SIGNAL, {"Permute": 0}, []),  # the output is the input
    "activation before the first layer": (
        lambda: Forward(lambda a, x: a((x * 2 - 1).clamp(-1, 1)), nn.Conv2d(4, 3, 3)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "constants by channel, position and both": (
        lambda: Forward(lambda a, b, x: b(a(x) * torch.linspace(1, 2, 5).view(5, 1, 1)
                                          * torch.linspace(0, 1, 63).view(7, 9)
                                          + torch.linspace(0, 1, 315).view(5, 7, 9).sin()).relu(),
                        nn.Conv2d(4, 5, 3), nn.Conv2d(5, 3, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "steps side by side": (
        lambda: Forward(lambda conv, head, x: head(conv(x.flatten(0, 1)).flatten(1)).unflatten(0, x.shape[:2]).mean(1),
                        nn.Conv2d(4, 5, 3), nn.Linear(315, 3)),
        torch.zeros(1, 2, 4, 9, 11), {"Permute": 0, "Reshape": 1}, [2]),
    "normalised by groups": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6), nn.SiLU(), nn.Conv2d(6, 2, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "padded by reflection inside": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReflectionPad2d((1, 2, 0, 1)), nn.Conv2d(6, 2, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "slope of each channel": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.PReLU(5), nn.Conv2d(5, 2, 1)),
        IMAGE, {"Permute": 0, "Reshape": 0}, [2, 2]),
    "shuffled channels": (
        lambda: Forward(lambda a, b, x: b(a(x).unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2)),
                        nn.Conv2d(4, 6, 3), nn.Conv2d(6, 2, 1)),
        IMAGE, {}, [2, 2]),
    "tokens of patches": (
        lambda: Forward(lambda conv, layer, x: layer(conv(x).flatten(2).transpose(1, 2)).mean(1),
                        nn.Conv2d(4, 8, 3, stride=3), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
        IMAGE, {}, [2]),
}  # fmt: skip


@pytest.mark.parametrize(("make", "example", "moves", "moved"), cases(LAYOUTS))
def test_channels_last(make: Callable[[], nn.Module], example: Any, moves: dict[str, int], moved: list[int]) -> None:
    graph = passed(make(), example, drop_identities, channels_last, merge_moves)
    found = kinds(graph)
    assert {kind: found.count(kind) for kind in moves} == moves
    ends = dict(zip((*graph.inputs, *graph.outputs), (*graph.input_axes_moved, *graph.output_axes_moved), strict=True))
    assert [axes for axes in ends.values() if axes] == moved
    passed(make(), example, deploy)


def test_shapes_with_channels_last() -> None:
    graph = channels_last(trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2)), torch.zeros(1, 3, 10, 20)))
    shapes = [value.shape for value in (*graph.inputs, *(node.output for node in graph.nodes))]
    assert shapes == [(10, 20, 3), (8, 18, 8), (4, 9, 8)]
    assert graph.layout == "channels_last"
    assert (graph.input_axes_moved, graph.output_axes_moved) == ((2,), (2,))


@pytest.mark.parametrize(
    "what",
    cases(
        {
            "two outputs": lambda conv, x: (conv(x), conv(x * 2).permute(0, 2, 3, 1)),
            "an output and its permutation": lambda conv, x: (y := conv(x), y.permute(0, 2, 3, 1)),
            "a permutation of the input": lambda conv, x: (conv(x), x.permute(0, 2, 3, 1)),
            "the input itself": lambda conv, x: (conv(x), x),
        },
    ),
)
def test_outputs_that_are_one_another(what: Callable[..., Any]) -> None:
    passed(Forward(what, nn.Conv2d(4, 5, 3)), IMAGE, channels_last, merge_moves)


def test_the_place_of_the_largest_element() -> None:
    module = Forward(lambda conv, x: conv(x).argmax(), nn.Conv2d(4, 5, 3))  # torch counts channels first
    graph = trace(module, IMAGE[0], batch_dim=None)
    assert not graph.unknown()
    x = torch.randn(6, *IMAGE.shape[1:])
    with torch.no_grad():
        wanted = torch.stack([module(each) for each in x])
    assert torch.equal(run(graph, x)[0], wanted)
    assert torch.equal(run(deploy(graph), x)[0], wanted)


# --- the comparison itself: mistakes in the passes do not go unnoticed ---


def digits() -> nn.Module:
    convolutions = [nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5, eps=0.1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 12, 3))


def _without_eps(patch: pytest.MonkeyPatch) -> None:
    affine = batch_norm._affine

    def mistaken(node: Any, axis: int) -> Any:
        op = replace(node.op, eps=0.0) if isinstance(node.op, ops.BatchNorm) else node.op
        return affine(replace(node, op=op), axis)

    patch.setattr(batch_norm, "_affine", mistaken)


def _without_shift(patch: pytest.MonkeyPatch) -> None:
    folded = batch_norm._folded
    patch.setattr(batch_norm, "_folded", lambda op, scale, shift, *rest: folded(op, scale, shift * 0, *rest))


def _wrong_axis(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "_stored", lambda axis, rank, layout: axis)


def _constants_as_they_were(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "_operand", lambda operand, rank, layout: operand)


MISTAKES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Callable[[], nn.Module]]] = {
    "no eps": (_without_eps, digits),
    "no shift": (_without_shift, digits),
    "softmax over the wrong axis": (_wrong_axis, lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.Softmax(1))),
    "constants not moved": (
        _constants_as_they_were,
        lambda: Forward(lambda a, x: a(x).relu() * torch.linspace(0, 1, 7).view(7, 1, 1), nn.Conv2d(4, 7, (3, 5))),
    ),
}


@pytest.mark.parametrize(("mistake", "make"), cases(MISTAKES))
def test_mistakes_are_noticed(
    mistake: Callable[[pytest.MonkeyPatch], None], make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, x = randomised(make()), torch.randn(3, *IMAGE.shape[1:])
    graph, wanted = trace(module, IMAGE), call(module, x)
    assert distance(run(deploy(graph), x), wanted) <= 1e-5
    with monkeypatch.context() as patch:
        mistake(patch)
        deployed = deploy(graph)
    assert distance(run(deployed, x), wanted) > 1e-3


def test_unpermuted_columns_are_noticed() -> None:
    """As if the permutation that is folded into the columns of a Dense were the identity."""
    module, x = randomised(digits()), torch.randn(3, *IMAGE.shape[1:])
    graph = trace(module, IMAGE)
    deployed = deploy(graph)
    weight = module[-1].weight.detach()
    nodes = tuple(
        replace(node, op=replace(node.op, weight=node.op.weight.derive(weight)))
        if isinstance(node.op, ops.Dense)
        else node
        for node in deployed.nodes
    )
    assert distance(run(deployed, x), call(module, x)) <= 1e-5
    assert distance(run(replace(deployed, nodes=nodes), x), call(module, x)) > 1e-2


ALL = (
    drop_identities,
    fold_padding,
    fold_batch_norm,
    activation_before_pool,
    fuse_activation,
    channels_last,
    merge_moves,
)


@pytest.mark.parametrize("each", [*ALL, deploy])
def test_passes_leave_their_argument_alone(each: Pass) -> None:
    graph = trace(randomised(digits()), IMAGE)
    before = str(graph), [weight.tensor.clone() for node in graph.nodes for _, weight in node.op.weights()]
    each(graph)
    assert str(graph) == before[0]
    after = [weight.tensor for node in graph.nodes for _, weight in node.op.weights()]
    assert all(map(torch.equal, before[1], after))


def test_every_traced_call_is_kept_by_some_node() -> None:
    module = nn.Sequential(digits()[:4], nn.Flatten(), nn.Linear(60, 3))
    once = deploy(trace(randomised(module), IMAGE))
    assert kinds(once) == ["Conv", "Pool", "Reshape", "Dense"]
    calls = [call.target for node in once.nodes for call in node.calls]
    assert sorted(calls) == sorted(c.target for node in trace(module, IMAGE).nodes for c in node.calls)


def test_a_layer_that_is_scaled_by_two_numbers_is_two_layers() -> None:
    """Same weight, same module, same operator: only the number tells the folded layers apart."""
    passed(Forward(lambda dense, x: (dense(x) * 2.0, dense(x + 1) * 3.0), nn.Linear(4, 5)), torch.zeros(1, 4), deploy)
    passed(Forward(lambda dense, x: (dense(x) * 2.0, dense(x + 1) + 2.0), nn.Linear(4, 5)), torch.zeros(1, 4), deploy)
