"""One function, one node, however it is written: functions of one value, moves along one axis, reductions in steps.

References: torch's own functions, and a graph's values before and after.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.graph import Graph, deploy, ops, trace
from mcubench.graph.aliases import ALIASES
from tests.graph.compare import Forward, call, distance, run

CUBIC = 0.044715

# How it is written, and the labels of the nodes behind the convolution that it must become.
SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "silu": (lambda t: t * torch.sigmoid(t), ["silu"]),
    "silu, as a quotient": (lambda t: t / (1 + torch.exp(-t)), ["silu"]),
    "hard swish": (lambda t: t * F.relu6(t + 3) / 6, ["hardswish"]),
    "hard swish, by a clamp": (lambda t: t * ((t + 3) / 6).clamp(0, 1), ["hardswish"]),
    "hard sigmoid": (lambda t: (t / 6 + 0.5).clamp(0, 1) + 0 * t, ["hardsigmoid"]),
    "mish": (lambda t: t * torch.tanh(F.softplus(t)), ["mish"]),
    "gelu": (lambda t: 0.5 * t * (1 + torch.erf(t / 2**0.5)), ["gelu"]),
    "gelu by tanh": (lambda t: 0.5 * t * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (t + CUBIC * t**3))), ["gelu"]),
    "elu": (lambda t: torch.where(t > 0, t, torch.exp(t) - 1), ["elu"]),
    "softplus": (lambda t: torch.log(1 + torch.exp(-t.abs())) + t.clamp(min=0), ["softplus"]),
    "absolute": (lambda t: torch.where(t < 0, -t, t), ["abs"]),
    "relu, which the layer ends with": (lambda t: t * (t > 0), []),
    "clamp by two choices": (lambda t: torch.minimum(t, torch.tensor(0.5)).clamp(min=-1), ["clamp"]),
    "hard tanh": (lambda t: F.hardtanh(t, -2, 2), ["clamp"]),
    "a step": (lambda t: (t > 0.5).float(), ["gt cast"]),
    "the relu of a layer stays with it": (lambda t: F.relu(t) * 2 + 1, ["mul add"]),
    "read by others, so not joined": (lambda t: F.silu(t) + F.silu(t).flip(2), ["silu", "silu", "Take", "add"]),
}


def deployed(f: Callable[[Tensor], Tensor]) -> tuple[nn.Module, Graph, Tensor]:
    torch.manual_seed(0)
    module, x = Forward(lambda conv, x: f(conv(x)), nn.Conv2d(2, 6, 3, padding=1)).eval(), torch.randn(3, 2, 6, 5)
    return module, deploy(trace(module, x[:1])), x


@pytest.mark.parametrize("name", SPELLINGS)
def test_functions(name: str) -> None:
    f, labels = SPELLINGS[name]
    module, graph, x = deployed(f)
    assert [node.op.label for node in graph.nodes[1:]] == labels
    assert distance(run(graph, x), call(module, x)) < 1e-5


# What an alias takes behind its first tensor, where that is more.
MORE: dict[str, tuple[object, ...]] = {
    "clip": (-0.5, 0.5),
    "moveaxis": (2, 3),
    "swapdims": (2, 3),
    "special_log_softmax": (1,),
    "special_logsumexp": (1,),
    "special_softmax": (1,),
}
PAIRS = (
    *("arctan2", "divide", "greater", "greater_equal", "less", "less_equal", "multiply", "not_equal", "subtract"),
    "true_divide",
)


@pytest.mark.parametrize("alias", ALIASES)
def test_the_other_name_of_an_operator(alias: str) -> None:
    other, usual = (getattr(torch.ops.aten, name) for name in (alias, ALIASES[alias]))

    def kinds_of(operator: Callable[..., Tensor]) -> tuple[list[str], float]:
        more = MORE.get(alias, ())
        module, graph, x = deployed(lambda t: operator(t, t.flip(2), *more) if alias in PAIRS else operator(t, *more))
        assert not graph.unknown()
        found, wanted = (each[0].nan_to_num(0) for each in (run(graph, x), call(module, x)))
        return [node.op.label for node in graph.nodes], distance([found], [wanted])

    kinds, off = kinds_of(other)
    assert kinds == kinds_of(usual)[0]
    assert off < 1e-5


def shuffled(groups: int) -> Callable[[Tensor], Tensor]:
    def shuffle(t: Tensor) -> Tensor:
        count, channels, height, width = t.shape
        return t.view(count, groups, channels // groups, height, width).transpose(1, 2).reshape(t.shape)

    return shuffle


MOVES: dict[str, tuple[Callable[[Tensor], Tensor], list[int] | None]] = {
    "shuffle": (shuffled(2), [0, 3, 1, 4, 2, 5]),
    "shuffle, the module": (nn.ChannelShuffle(3), [0, 2, 4, 1, 3, 5]),
    "rolled": (lambda t: t.roll(-2, 1), [2, 3, 4, 5, 0, 1]),
    "each twice": (lambda t: t.repeat_interleave(2, 1), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
    "there and back": (lambda t: t.flatten(2).transpose(1, 2).transpose(1, 2).unflatten(2, (6, 5)), None),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_along_one_axis(name: str) -> None:
    f, places = MOVES[name]
    module, graph, x = deployed(f)
    taken = [node.op for node in graph.nodes[1:]]
    if places is None:
        assert taken == []
    else:
        (op,) = taken
        assert isinstance(op, ops.Take)
        assert (op.axis, op.indices.tensor.tolist()) == (2, places), "channels lie last"
    assert distance(run(graph, x), call(module, x)) == 0


def test_moves_along_two_axes_are_no_choice() -> None:
    module, graph, x = deployed(lambda t: F.pixel_shuffle(t[:, :4], 2))
    assert not any(isinstance(node.op, ops.Take) for node in graph.nodes)
    assert distance(run(graph, x), call(module, x)) == 0


REDUCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "in steps": (lambda t: t.mean(3).mean(2), (0, 1)),
    "in steps, kept": (lambda t: t.mean(3, keepdim=True).mean(2, keepdim=True), (0, 1)),
    "flattened": (lambda t: t.flatten(2).mean(2), (0, 1)),
    "viewed": (lambda t: t.view(t.shape[0], t.shape[1], -1).mean(-1), (0, 1)),
    "sums": (lambda t: t.sum(2).sum(2), (0, 1)),
    "maxima": (lambda t: t.flatten(2).amax(2), (0, 1)),
    "of all": (lambda t: t.flatten(1).mean(1), (0, 1, 2)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    f, axes = REDUCTIONS[name]
    module, graph, x = deployed(f)
    (op,) = (node.op for node in graph.nodes[1:])
    assert isinstance(op, ops.Reduce)
    assert op.axes == axes
    assert distance(run(graph, x), call(module, x)) < 1e-5


def test_a_flattening_that_merges_what_is_kept_stays() -> None:
    module, graph, x = deployed(lambda t: t.flatten(1, 2).mean(2))
    assert any(isinstance(node.op, ops.Reshape) for node in graph.nodes)
    assert distance(run(graph, x), call(module, x)) < 1e-5
