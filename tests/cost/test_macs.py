"""The table of MACs: what is in it is counted as by hand, what is not is named, and a wrong count is noticed.

The hand counts are the formulas of docs/conventions.md; torch's FlopCounterMode is a second witness, at two operations
for each multiply-accumulate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mcubench.cost import MacCount, Unsupported, count_macs, handles, macs, profile
from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from tests.graph.compare import Forward


class With(nn.Module):
    """A function of parameters, given by their shapes, and the input."""

    def __init__(self, function: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(torch.randn(shape) for shape in shapes)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.weights)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, macs.Handle]:
    """A copy of the table, in its place for one test."""
    monkeypatch.setattr(macs, "_BIAS_ADDS", dict(macs._BIAS_ADDS))
    monkeypatch.setattr(macs, "_HANDLES", dict(macs._HANDLES))
    return macs._HANDLES


def count(module: nn.Module, *shape: int, batch_dim: int | None = 0, **options: Any) -> MacCount:
    return count_macs(trace(module, torch.zeros(shape), batch_dim), **options)


@dataclass(frozen=True)
class Case:
    """A module that calls one operator of the table.

    Attributes:
        make: Makes the module.
        shape: Of the input, with a batch of one in front if it has a batch.
        macs: Counted by hand.
        bias: Additions of biases, counted by hand.
        batch_dim: Of the input.
        flops: Whether FlopCounterMode counts the operator on the CPU.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    macs: int
    bias: int = 0
    batch_dim: int | None = 0
    flops: bool = True


def of(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], nn.Module]:
    return lambda: With(function, *shapes)


def cell(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Forward(lambda layer, x: layer(x), make())


def alone(*shape: int, **more: Any) -> dict[str, Any]:
    """An input that has no batch."""
    return {"shape": shape, "batch_dim": None, **more}


COUNTED = {
    "aten.linear.default": Case(lambda: nn.Linear(7, 5), (1, 3, 7), 3 * 7 * 5, bias=3 * 5),
    "aten.mm.default": Case(of(torch.mm, (7, 5)), **alone(3, 7), macs=3 * 7 * 5),
    "aten.addmm.default": Case(
        of(lambda x, w, b: torch.addmm(b, x, w), (7, 5), (5,)), **alone(3, 7), macs=3 * 7 * 5, bias=3 * 5
    ),
    "aten.bmm.default": Case(lambda: Forward(lambda x: torch.bmm(x, x.mT)), (1, 3, 7), 3 * 7 * 3),
    "aten.baddbmm.default": Case(
        of(lambda x, b: torch.baddbmm(b, x, x.mT), (3, 3)), **alone(4, 3, 7), macs=4 * 3 * 7 * 3, bias=4 * 3 * 3
    ),
    "aten.addbmm.default": Case(  # the four products are summed into one of 3 * 3
        of(lambda x, b: torch.addbmm(b, x, x.mT), (3, 3)),
        **alone(4, 3, 7),
        macs=4 * 3 * 7 * 3,
        bias=3 * 3,
        flops=False,
    ),
    "aten.mv.default": Case(of(torch.mv, (7,)), **alone(3, 7), macs=3 * 7, flops=False),
    "aten.addmv.default": Case(
        of(lambda x, w, b: torch.addmv(b, w, x), (3, 7), (3,)), **alone(7), macs=3 * 7, bias=3, flops=False
    ),
    "aten.dot.default": Case(of(torch.dot, (7,)), **alone(7), macs=7, flops=False),
    "aten.matmul.default": Case(lambda: Forward(lambda x: x @ x.mT), (1, 2, 3, 7), 2 * 3 * 7 * 3),
    "aten.einsum.default": Case(of(lambda x, w: torch.einsum("bti,oi->bto", x, w), (5, 7)), (1, 3, 7), 3 * 7 * 5),
    "aten.conv1d.default": Case(
        lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (1, 4, 9), 5 * 6 * (2 * 3), bias=5 * 6
    ),
    "aten.conv1d.padding": Case(lambda: nn.Conv1d(4, 6, 3, padding="same"), (1, 4, 9), 9 * 6 * 12, bias=9 * 6),
    "aten.conv2d.default": Case(lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4), (1, 4, 5, 6), 30 * 8 * 9, bias=30 * 8),
    "aten.conv2d.padding": Case(lambda: nn.Conv2d(4, 6, 2, padding="valid"), (1, 4, 5, 6), 20 * 6 * 16, bias=20 * 6),
    "aten.conv3d.default": Case(lambda: nn.Conv3d(2, 3, 2), (1, 2, 3, 4, 5), 24 * 3 * 16, bias=24 * 3),
    "aten.conv3d.padding": Case(lambda: nn.Conv3d(2, 3, 3, padding="same"), (1, 2, 3, 4, 5), 60 * 3 * 54, bias=60 * 3),
    # Each input element times outputs / groups * kernel.
    "aten.conv_transpose1d.default": Case(
        lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), (1, 4, 5), 20 * 3 * 3, bias=6 * 11
    ),
    "aten.conv_transpose2d.input": Case(
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5), 100 * 6 * 9, bias=6 * 11 * 11
    ),
    "aten.conv_transpose3d.input": Case(
        lambda: nn.ConvTranspose3d(2, 3, 2), (1, 2, 2, 3, 4), 48 * 3 * 8, bias=3 * 3 * 4 * 5
    ),
    # Both in one, as torch.jit.trace has them: here the first of the former three, and the first of the latter.
    "aten.convolution.default": Case(
        of(lambda x, w, b: torch.convolution(x, w, b, [2], [1], [1], False, [0], 2), (6, 2, 3), (6,)),
        (1, 4, 9),
        5 * 6 * (2 * 3),
        bias=5 * 6,
    ),
    "aten._convolution.default": Case(
        of(
            lambda x, w, b: torch._convolution(x, w, b, [2], [0], [1], True, [0], 2, False, False, False, False),
            (4, 3, 3),
            (6,),
        ),
        (1, 4, 5),
        20 * 3 * 3,
        bias=6 * 11,
    ),
    # Two heads: 5 queries times 9 keys of 7, and the scores times values of 4.
    "aten.scaled_dot_product_attention.default": Case(
        lambda: Forward(lambda x: F.scaled_dot_product_attention(x[:, :, :5], x, x[..., :4])),
        (1, 2, 9, 7),
        2 * 5 * 9 * (7 + 4),
        flops=False,
    ),
    # Every step: gates * hidden * (inputs + hidden); one bias a gate, and the GRU's new gate has two.
    "aten.lstm.input": Case(
        lambda: nn.LSTM(7, 5, batch_first=True), (1, 3, 7), 3 * 4 * 5 * 12, bias=3 * 4 * 5, flops=False
    ),
    "aten.gru.input": Case(
        lambda: nn.GRU(7, 5, batch_first=True), (1, 3, 7), 3 * 3 * 5 * 12, bias=3 * 4 * 5, flops=False
    ),
    "aten.rnn_tanh.input": Case(lambda: nn.RNN(7, 5, batch_first=True), (1, 3, 7), 3 * 5 * 12, bias=3 * 5, flops=False),
    "aten.rnn_relu.input": Case(
        lambda: nn.RNN(7, 5, batch_first=True, nonlinearity="relu"), (1, 3, 7), 3 * 5 * 12, bias=3 * 5, flops=False
    ),
    "aten.lstm_cell.default": Case(cell(lambda: nn.LSTMCell(7, 5)), (1, 7), 4 * 5 * 12, bias=4 * 5, flops=False),
    "aten.gru_cell.default": Case(cell(lambda: nn.GRUCell(7, 5)), (1, 7), 3 * 5 * 12, bias=4 * 5, flops=False),
    "aten.rnn_tanh_cell.default": Case(cell(lambda: nn.RNNCell(7, 5)), (1, 7), 5 * 12, bias=5, flops=False),
    "aten.rnn_relu_cell.default": Case(
        cell(lambda: nn.RNNCell(7, 5, nonlinearity="relu")), (1, 7), 5 * 12, bias=5, flops=False
    ),
}


def cases() -> list[Any]:
    return [pytest.param(target, case, id=target.removeprefix("aten.")) for target, case in COUNTED.items()]


def test_every_operator_with_macs_has_a_case() -> None:
    assert {target for target, handle in macs._HANDLES.items() if handle is not macs._none} == set(COUNTED)


@pytest.mark.parametrize(("target", "case"), cases())
def test_by_hand(target: str, case: Case) -> None:
    found = count(case.make(), *case.shape, batch_dim=case.batch_dim)
    assert found.by_op == {target: case.macs}
    assert found.total == case.macs


@pytest.mark.parametrize(("target", "case"), cases())
def test_biases_by_hand(target: str, case: Case) -> None:
    found = count(case.make(), *case.shape, batch_dim=case.batch_dim, count_bias=True)
    assert found.by_op == {target: case.macs + case.bias}


@pytest.mark.parametrize(("target", "case"), cases())
def test_without_its_entry_an_operator_is_named(
    target: str, case: Case, table: dict[str, macs.Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(table, target)
    found = count(case.make(), *case.shape, batch_dim=case.batch_dim)
    assert [each.op for each in found.unsupported] == [target]
    assert found.counted == 0
    with pytest.raises(UserError, match="the MACs are not known: " + target.replace(".", r"\.")):
        _ = found.total


def flops(module: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as witness, torch.no_grad():
        module.eval()(x)
    return witness.get_total_flops()


WITNESSED = {target: case for target, case in COUNTED.items() if case.flops}


@pytest.mark.parametrize("target", WITNESSED)
def test_the_witness_agrees_and_catches_a_wrong_entry(target: str, table: dict[str, macs.Handle]) -> None:
    case = WITNESSED[target]
    module = case.make()
    seen = flops(module, torch.zeros(case.shape))
    assert 2 * count(module, *case.shape, batch_dim=case.batch_dim).counted == seen
    right = table[target]
    for wrong in (lambda call: right(call) + 1, lambda call: 2 * right(call), lambda call: call.outputs[0].size):
        handles(target)(wrong)
        assert 2 * count(module, *case.shape, batch_dim=case.batch_dim).counted != seen


def test_the_witness_agrees_on_a_whole_net() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8),
        nn.ConvTranspose2d(8, 4, 2, stride=2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.Softmax(1),
    )  # fmt: skip
    assert 2 * count(net, 1, 3, 12, 12).total == flops(net, torch.zeros(1, 3, 12, 12))


class TestEinsum:
    @pytest.mark.parametrize(
        ("equation", "shapes", "wanted"),
        [
            ("bti,bsi->bts", ((3, 7), (4, 7)), 3 * 4 * 7),
            ("bi,bj->bij", ((3,), (4,)), 3 * 4),  # an outer product
            ("bii->bi", ((3, 3),), 0),  # a diagonal
            ("bij->bji", ((3, 4),), 0),
            # From left to right: (t, i) (i, j) and then (t, j) (j, k).
            ("bti,bij,bjk->btk", ((2, 3), (3, 4), (4, 5)), 2 * 3 * 4 + 2 * 4 * 5),
        ],
    )
    def test_by_hand(self, equation: str, shapes: tuple[tuple[int, ...], ...], wanted: int) -> None:
        net = Forward(lambda *tensors: torch.einsum(equation, *tensors))
        example = tuple(torch.zeros(1, *shape) for shape in shapes)
        assert count_macs(trace(net, example)).total == wanted

    def test_with_an_ellipsis(self) -> None:
        # A Dense layer of 7 inputs and 5 outputs on 3 vectors.
        for equation in ("...i,oi->...o", "...i,oi"):
            net = With(lambda x, w, equation=equation: torch.einsum(equation, x, w), (5, 7))
            assert count(net, 1, 3, 7).total == 3 * 7 * 5


@torch.library.custom_op("mcubench_tests::shift_dense", mutates_args=())
def shift_dense(x: Tensor, weight: Tensor) -> Tensor:
    """A user's own layer: weights are -1, 0 or 1."""
    return x @ weight.sign().T


@shift_dense.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class TestCustomOperators:
    @pytest.fixture
    def net(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 7), With(shift_dense, (5, 7)))

    OPERATOR = "mcubench_tests.shift_dense.default"

    def test_is_unknown_and_not_zero(self, net: nn.Module) -> None:
        found = count(net, 1, 3, 4)
        assert found.unsupported == (Unsupported(self.OPERATOR, "1", "it has no entry in the table of MACs"),)
        assert found.counted == 3 * 4 * 7  # the layer before it
        with pytest.raises(UserError) as caught:
            _ = found.total
        assert f"{self.OPERATOR} in 1 (" in str(caught.value)
        assert "mcubench.cost.handles" in str(caught.value)
        report = profile(net, torch.zeros(1, 3, 4))
        assert report.macs is None
        assert self.OPERATOR in {each.op for each in report.unsupported}
        assert [layer.macs for layer in report.layers] == [3 * 4 * 7, None]

    def test_is_counted_as_soon_as_it_is_registered(self, net: nn.Module, table: dict[str, macs.Handle]) -> None:
        @handles(self.OPERATOR)
        def counted(call: Any) -> int:
            x, weight = call.args
            assert (x.shape, weight.shape) == ((1, 3, 7), (5, 7))
            return call.outputs[0].size * weight.shape[1]

        assert table[self.OPERATOR] is counted
        found = count(net, 1, 3, 4)
        assert found.unsupported == ()
        assert found.by_layer == {"0": 3 * 4 * 7, "1": 3 * 7 * 5}
        assert profile(net, torch.zeros(1, 3, 4)).macs == 3 * 4 * 7 + 3 * 7 * 5

    def test_a_free_one_is_registered_too(self, net: nn.Module, table: dict[str, macs.Handle]) -> None:
        handles(self.OPERATOR)(lambda call: 0)
        assert count(net, 1, 3, 4).total == 3 * 4 * 7

    def test_the_table_was_restored(self) -> None:
        assert self.OPERATOR not in macs._HANDLES

    def test_the_last_registration_counts(self, table: dict[str, macs.Handle]) -> None:
        handles("aten.linear.default", "aten.mm.default")(lambda call: 1)
        handles("aten.linear.default")(lambda call: 2)
        assert count(nn.Linear(4, 7), 1, 4).total == 2

    @pytest.mark.parametrize("bias", [2, lambda call: 7 * call.outputs[0].shape[1]], ids=["position", "function"])
    def test_a_bias_is_registered(self, bias: Any, table: dict[str, macs.Handle]) -> None:
        handles("aten.linear.default", bias=bias)(lambda call: 100)
        assert count(nn.Linear(4, 7), 1, 3, 4, count_bias=True).total == 100 + 3 * 7
        assert count(nn.Linear(4, 7), 1, 3, 4).total == 100

    def test_a_count_that_fails_is_named(self, table: dict[str, macs.Handle]) -> None:
        handles("aten.relu.default")(lambda call: 1 // 0)
        found = count(nn.Sequential(nn.Linear(4, 7), nn.ReLU()), 1, 4)
        assert found.counted == 4 * 7
        assert "ZeroDivisionError" in str(found.unsupported[0])

    def test_a_registration_replaces_the_bias_too(self, table: dict[str, macs.Handle]) -> None:
        handles("aten.linear.default")(lambda call: 100)
        assert count(nn.Linear(4, 7), 1, 4, count_bias=True).total == 100


class TestPointwise:
    def test_torch_says_what_is_pointwise(self) -> None:
        assert macs._is_pointwise("aten.add.Tensor")
        assert macs._is_pointwise("aten.erf.default")
        assert not macs._is_pointwise("aten.mm.default")
        assert not macs._is_pointwise("aten.sort.default")
        assert not macs._is_pointwise("aten.no_such_operator.default")
        assert not macs._is_pointwise("aten.add.NoSuchOverload")
        assert not macs._is_pointwise("somebodys.add.Tensor")

    def test_needs_no_entry(self) -> None:
        net = Forward(lambda x: torch.erf(x) * torch.lgamma(x.abs() + 1))
        assert {"aten.erf.default", "aten.lgamma.default"}.isdisjoint(macs._HANDLES)
        assert count(net, 1, 8).total == 0

    def test_what_is_not_pointwise_does(self) -> None:
        found = count(Forward(lambda x: torch.cdist(x, x)), 1, 3, 8)
        assert [each.op for each in found.unsupported] == ["aten.cdist.default"]


@pytest.mark.parametrize("name", macs._NO_PRODUCTS.split())
def test_what_is_free_is_an_operator(name: str) -> None:
    operator, _, overload = name.partition(".")
    assert overload in getattr(torch.ops.aten, operator).overloads()


def test_what_is_free_is_listed_once_and_has_no_flops() -> None:
    from torch.utils.flop_counter import flop_registry

    names = macs._NO_PRODUCTS.split()
    assert len(names) == len(set(names))
    counted = {str(packet).removeprefix("aten.") for packet in flop_registry}
    assert counted.isdisjoint(name.partition(".")[0] for name in names)


class TestWhatCounts:
    def test_by_layer_and_by_operator(self) -> None:
        net = nn.Sequential(
            nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Sequential(nn.Conv1d(3, 3, 1), nn.Flatten()), nn.Linear(18, 4)
        )
        found = count(net, 1, 2, 8)
        one, two, three = 6 * 3 * 6, 6 * 3 * 3, 18 * 4
        assert found.by_layer == {"0": one, "2.0": two, "3": three}
        assert found.by_op == {"aten.conv1d.default": one + two, "aten.linear.default": three}
        assert found.by_layer_and_op == {
            ("0", "aten.conv1d.default"): one,
            ("2.0", "aten.conv1d.default"): two,
            ("3", "aten.linear.default"): three,
        }
        assert found.counted == found.total == one + two + three

    def test_two_operators_of_a_layer_are_one_layer(self) -> None:
        found = count(With(lambda x, w, v: torch.einsum("bi,oi->bo", x @ w, v), (8, 6), (5, 6)), 1, 8)
        assert found.by_layer == {"": 8 * 6 + 6 * 5}
        assert found.by_op == {"aten.matmul.default": 8 * 6, "aten.einsum.default": 6 * 5}

    def test_a_layer_that_runs_twice_counts_twice(self) -> None:
        found = count(Forward(lambda layer, x: layer(torch.tanh(layer(x))), nn.Linear(8, 8)), 1, 8)
        assert found.by_layer == {"layers.0": 2 * 64}

    def test_dead_branches_do_not_count(self) -> None:
        def forward(one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
            torch.cdist(two(x)[:, None], x[:, None])  # nobody reads it, and nobody need know what it costs
            return one(x)

        found = count(Forward(forward, nn.Linear(8, 3), nn.Linear(8, 8)), 1, 8)
        assert found.by_layer == {"layers.0": 24}
        assert found.unsupported == ()

    def test_products_of_weights_alone_do_not_count(self) -> None:
        # A low-rank layer (8, 2) (2, 8), multiplied ahead of time.
        found = count(With(lambda x, a, b: x @ (a @ b), (8, 2), (2, 8)), 1, 8)
        assert found.total == 64
        assert count(With(lambda x, a, b: (x @ a) @ b, (8, 2), (2, 8)), 1, 8).total == 16 + 16

    def test_deploying_changes_no_count(self) -> None:
        net = nn.Sequential(
            nn.ZeroPad2d(1), nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(),
            nn.Linear(36, 3),
        )  # fmt: skip
        graph = trace(net, torch.zeros(1, 2, 6, 6))
        wanted = {"1": 36 * 4 * 18, "6": 36 * 3}
        assert count_macs(graph).by_layer == count_macs(deploy(graph)).by_layer == wanted

    def test_a_layer_without_bias_has_none_to_count(self) -> None:
        for layer, shape in ((nn.Linear(7, 5, bias=False), (1, 7)), (nn.LSTM(7, 5, bias=False), (3, 1, 7))):
            axis = shape.index(1)
            plain = count(layer, *shape, batch_dim=axis).total
            assert count(layer, *shape, batch_dim=axis, count_bias=True).total == plain > 0

    def test_both_directions_and_all_layers(self) -> None:
        # The second layer reads both directions of the first: 2 * 5 inputs.
        one, two = 2 * 4 * 5 * (7 + 5), 2 * 4 * 5 * (10 + 5)
        net = nn.LSTM(7, 5, 2, batch_first=True, bidirectional=True)
        assert count(net, 1, 3, 7).total == 3 * (one + two)
        assert count(net, 1, 3, 7, count_bias=True).total == 3 * (one + two) + 3 * 2 * 2 * 4 * 5

    def test_grouped_sizes_scale(self) -> None:
        # With g groups a convolution has a g-th of the products.
        whole = count(nn.Conv2d(8, 8, 3), 1, 8, 5, 5).total
        for groups in (2, 4, 8):
            assert count(nn.Conv2d(8, 8, 3, groups=groups), 1, 8, 5, 5).total * groups == whole == 9 * 8 * 8 * 9

    @pytest.mark.parametrize("batch_dim", [0, 1])
    def test_the_batch_does_not_count(self, batch_dim: int) -> None:
        shape = list(itertools.chain((3, 7)[:batch_dim], (1,), (3, 7)[batch_dim:]))
        assert count(nn.Linear(7, 5), *shape, batch_dim=batch_dim).total == 3 * 7 * 5


def test_a_layer_that_could_not_be_read_is_counted_or_named() -> None:
    # The second layer's initial state differs from sample to sample; the first layer's does not.
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(8, 5, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            batch = x.shape[0]
            own = torch.arange(batch)[:, None].expand(-1, 5).float()
            return self.layer(x, torch.stack([torch.zeros(batch, 5), own]))[0]

    found = count(Stateful(), 1, 7, 8)
    assert found.unsupported or found.total == 7 * 3 * 5 * (8 + 5 + 5 + 5)
