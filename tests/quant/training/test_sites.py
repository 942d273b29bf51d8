"""Marks on the calls of a forward: the reference is the same trace without them, and lists made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.graph import Graph, deploy, ops, trace
from mcubench.models import CNN
from mcubench.quant.training.sites import NumberedCalls, forward_inputs, marked_trace, sites_of
from tests.graph.compare import Forward
from tests.known_answers import KNOWN_ANSWERS, KnownAnswer

pytestmark = pytest.mark.filterwarnings("ignore")


def stored(graph: Graph) -> list[tuple[object, ...]]:
    """Every weight, with its number among those that are stored once."""
    numbers: dict[int, int] = {}
    return [
        (node.name, role, each.name, each.sources, numbers.setdefault(id(each.stored), len(numbers)))
        for node in graph.nodes
        for role, each in node.op.weights()
    ]


def tensors(graph: Graph) -> list[Tensor]:
    return [each.tensor for node in graph.nodes for _, each in node.op.weights()]


@pytest.mark.parametrize("row", KNOWN_ANSWERS, ids=str)
def test_marks_change_nothing_of_what_is_deployed(row: KnownAnswer) -> None:
    module, example = row.make().eval(), row.inputs()
    plain = deploy(trace(module, example, row.batch_dim))
    traced, _ = marked_trace(module, example, row.batch_dim)
    marked = deploy(traced)
    assert any(isinstance(node.op, ops.Site) for node in traced.nodes)
    assert str(marked) == str(plain)
    assert [node.calls for node in marked.nodes] == [node.calls for node in plain.nodes]
    assert stored(marked) == stored(plain)
    assert all(torch.equal(a, b) for a, b in zip(tensors(marked), tensors(plain), strict=True))


def sites(function: Any, *layers: nn.Module, shape: tuple[int, ...] = (1, 4)) -> dict[str, str]:
    traced, _ = marked_trace(Forward(function, *layers).eval(), torch.zeros(shape))
    return dict(sites_of(traced))


def test_calls_are_numbered_by_function() -> None:
    def forward(one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
        y = one(x)
        y = y + F.relu(y)
        y += two(y)
        return torch.sigmoid(y) * 2

    found = sites(forward, nn.Linear(4, 4), nn.Linear(4, 4))
    assert sorted(found.values()) == sorted(
        ["input:0", "linear:0", "relu:0", "add:0", "linear:1", "add:1", "sigmoid:0", "mul:0"]
    )


def test_what_a_function_calls_itself_is_not_seen() -> None:
    class Mode(NumberedCalls):
        def called(self, key: str, func: Any, args: Any, kwargs: Any) -> Any:
            return func(*args, **kwargs)

    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2), nn.Dropout())
    x = torch.zeros(2, 1, 8, 8)
    with Mode() as calls:
        module(x).shape  # noqa: B018 - an attribute is no call
    assert calls.counts == {"conv2d": 1, "batch_norm": 1, "hardtanh": 1, "max_pool2d": 1, "dropout": 1}


@pytest.mark.parametrize("inplace", [False, True])
def test_in_place_is_the_same_site(inplace: bool) -> None:
    found = sites(lambda layer, relu, x: relu(layer(x)), nn.Linear(4, 3), nn.ReLU(inplace))
    assert set(found.values()) == {"input:0", "linear:0", "relu:0"}


def test_views_stay_views() -> None:
    """What is written through a view reaches what it is a view of, marked or not."""

    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        y = layer(x)
        y.view(-1).mul_(2)
        return y + 1

    module = Forward(forward, nn.Linear(4, 3)).eval()
    example = torch.zeros(1, 4)
    marked, _ = marked_trace(module, example)
    assert str(deploy(marked)) == str(deploy(trace(module, example)))


def test_the_module_is_left_as_it_was() -> None:
    module = CNN((1, 8, 8), 10).train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    marked_trace(module, torch.zeros(1, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert not module._forward_hooks
    assert not module._forward_pre_hooks


class Keywords(nn.Module):
    def forward(self, x: Tensor, n: int, y: Tensor, tokens: Tensor | None = None) -> None:
        """Never called: only the signature matters."""


def test_inputs_are_numbered_in_the_order_of_the_signature() -> None:
    x, y, tokens = torch.ones(2), torch.full((2,), 2.0), torch.arange(2)
    seen: dict[str, float] = {}

    def change(key: str, tensor: Tensor) -> Tensor:
        seen[key] = float(tensor[0])
        return tensor * 10

    for args, kwargs in (((x, 3, y, tokens), {}), ((x,), {"y": y, "n": 3}), ((), {"y": y, "n": 3, "x": x})):
        seen.clear()
        given, named = forward_inputs(Keywords(), args, kwargs, change)
        assert seen == {"input:0": 1.0, "input:1": 2.0}
        everything = [*given, *named.values()]
        assert everything[1] == 3
        assert everything[2].tolist() == [20.0, 20.0]
