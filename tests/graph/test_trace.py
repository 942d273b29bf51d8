"""Every family of operations: the traced graph computes what torch computes, and what it can't express it names."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import re
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mcubench.graph import Graph, TraceError, Unknown, deploy, interpret, ops, trace
from mcubench.graph.outputs import output_tensors
from tests.graph.compare import Forward, batch_like, call, cases, distance, kinds, leaves, run, same_as_module

SIGNAL, IMAGE, SEQUENCE, FEATURES = (4, 15), (4, 9, 11), (7, 8), (12,)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def function(what: Callable[..., Any], *layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Forward(what, *(layer() for layer in layers))


def on(shape: tuple[int, ...], cases: dict[str, Callable[[], nn.Module] | Callable[..., Any]]) -> list[Any]:
    return [pytest.param(make, shape, id=name) for name, make in cases.items()]


LAYERS = [
    *on(
        SIGNAL,
        {
            "conv1d": lambda: nn.Conv1d(4, 5, 3),
            "conv1d stride": lambda: nn.Conv1d(4, 5, 4, stride=3, padding=2),
            "conv1d dilation": lambda: nn.Conv1d(4, 5, 3, dilation=3, padding=1, bias=False),
            "conv1d groups": lambda: nn.Conv1d(4, 6, 3, groups=2),
            "conv1d depthwise": lambda: nn.Conv1d(4, 8, 5, groups=4),
            "conv1d same": lambda: nn.Conv1d(4, 5, 5, padding="same"),
            "conv1d same even": lambda: nn.Conv1d(4, 5, 4, padding="same", dilation=3),
            "conv1d valid": lambda: nn.Conv1d(4, 5, 4, padding="valid"),
            "conv1d reflect": lambda: nn.Conv1d(4, 5, 3, padding=1, padding_mode="reflect"),
            "conv1d circular": lambda: nn.Conv1d(4, 5, 3, padding=1, padding_mode="circular"),
            "convolution": function(
                lambda conv, x: torch.convolution(x, conv.weight, conv.bias, [2], [1], [1], False, [0], 2),
                lambda: nn.Conv1d(4, 6, 3, groups=2)),
            "convolution transposed": function(
                lambda conv, x: torch.convolution(x, conv.weight, conv.bias, [2], [1], [1], True, [1], 2),
                lambda: nn.ConvTranspose1d(4, 6, 3, groups=2)),
            "conv_transpose1d": lambda: nn.ConvTranspose1d(4, 6, 4, stride=3, padding=1, output_padding=2, groups=2),
            "max_pool1d": lambda: nn.MaxPool1d(3, 2, padding=1, dilation=2),
            "max_pool1d ceil": lambda: nn.MaxPool1d(4, ceil_mode=True),
            "avg_pool1d": lambda: nn.AvgPool1d(3, 2, padding=1),
            "avg_pool1d ceil": lambda: nn.AvgPool1d(4, 3, ceil_mode=True, count_include_pad=False),
            "adaptive_avg_pool1d": lambda: nn.AdaptiveAvgPool1d(5),
            "adaptive_avg_pool1d inexact": lambda: nn.AdaptiveAvgPool1d(4),
            "adaptive_max_pool1d": lambda: nn.AdaptiveMaxPool1d(3),
            "batch_norm1d": lambda: nn.BatchNorm1d(4),
            "instance_norm1d": lambda: nn.InstanceNorm1d(4, affine=True),
            "instance_norm1d running": lambda: nn.InstanceNorm1d(4, track_running_stats=True, affine=True),
            "group_norm": lambda: nn.GroupNorm(2, 4),
            "layer_norm": lambda: nn.LayerNorm(15),
            "layer_norm two axes": lambda: nn.LayerNorm((4, 15), elementwise_affine=False),
            "prelu by channel": lambda: nn.PReLU(4, init=0.3),
            "zero pad": lambda: nn.ConstantPad1d((2, 1), 0.0),
        },
    ),
    *on(
        IMAGE,
        {
            "conv2d": lambda: nn.Conv2d(4, 5, (3, 2)),
            "conv2d stride": lambda: nn.Conv2d(4, 5, 3, stride=(2, 3), padding=(0, 2)),
            "conv2d dilation": lambda: nn.Conv2d(4, 5, 3, dilation=(1, 2), padding=2),
            "conv2d groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
            "conv2d depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2),
            "conv2d same": lambda: nn.Conv2d(4, 5, (4, 3), padding="same"),
            "conv2d replicate": lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="replicate"),
            "conv_transpose2d": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
            "conv_transpose2d groups": lambda: nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), groups=2, dilation=2),
            "max_pool2d": lambda: nn.MaxPool2d(3, 2, padding=1),
            "max_pool2d ceil": lambda: nn.MaxPool2d(2, ceil_mode=True),
            "avg_pool2d": lambda: nn.AvgPool2d((3, 2), padding=(1, 0), count_include_pad=False),
            "avg_pool2d ceil": lambda: nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
            "adaptive_avg_pool2d": lambda: nn.AdaptiveAvgPool2d((3, 1)),
            "adaptive_avg_pool2d inexact": lambda: nn.AdaptiveAvgPool2d((4, None)),
            "adaptive_max_pool2d": lambda: nn.AdaptiveMaxPool2d(2),
            "batch_norm2d": lambda: nn.BatchNorm2d(4),
            "batch_norm2d plain": lambda: nn.BatchNorm2d(4, affine=False, eps=0.1),
            "instance_norm2d": lambda: nn.InstanceNorm2d(4),
            "group_norm": lambda: nn.GroupNorm(4, 4),
            "layer_norm": lambda: nn.LayerNorm((4, 9, 11)),
            "prelu by channel 2d": lambda: nn.PReLU(4, init=0.3),
            "dropout2d": lambda: nn.Dropout2d(0.5),
            "reflection pad": lambda: nn.ReflectionPad2d((1, 2, 3, 0)),
            "replication pad": lambda: nn.ReplicationPad2d(2),
            "zero pad": lambda: nn.ZeroPad2d((1, 0, 2, -1)),
            "nearest": lambda: nn.Upsample(scale_factor=2),
            "nearest size": lambda: nn.Upsample(size=(13, 10)),
            "nearest of a scale that is nearly whole": lambda: nn.Upsample(scale_factor=(3.1, 2.1)),
            "nearest of a size and scales": function(
                lambda x: torch.ops.aten.upsample_nearest2d.default(x, [27, 34], 3.1, 3.1)
            ),
            "bilinear of a size and scales": function(
                lambda x: torch.ops.aten.upsample_bilinear2d.default(x, [27, 34], False, 3.1, 3.1)
            ),
            "bilinear": lambda: nn.Upsample(scale_factor=1.7, mode="bilinear"),
            "bilinear corners": lambda: nn.Upsample(size=(20, 5), mode="bilinear", align_corners=True),
            "bicubic": lambda: nn.Upsample(scale_factor=(2, 1.5), mode="bicubic"),
        },
    ),
    *on((2, 5, 6, 4), {"conv3d": lambda: nn.Conv3d(2, 3, 3, padding=(1, 0, 2)), "max_pool3d": lambda: nn.MaxPool3d(2)}),
    *on(
        FEATURES,
        {
            "linear": lambda: nn.Linear(12, 5),
            "linear no bias": lambda: nn.Linear(12, 5, bias=False),
            "two of one input": function(lambda a, b, x: a(x) * b(x), *2 * [lambda: nn.Linear(12, 3)]),
            "batch_norm1d without an axis": lambda: nn.BatchNorm1d(12),
            "group_norm without an axis": lambda: nn.GroupNorm(3, 12),
            "prelu": nn.PReLU,
            "embedding of ranks": function(lambda e, x: e((x > 0).long()), lambda: nn.Embedding(2, 3)),
        },
    ),
    *on(
        SEQUENCE,
        {
            "linear on the last axis": lambda: nn.Linear(8, 3),
            "attention": function(
                lambda layer, x: layer(x, x, x, need_weights=False)[0],
                lambda: nn.MultiheadAttention(8, 2, batch_first=True),
            ),
            "attention with weights": function(
                lambda layer, x: layer(x, x, x), lambda: nn.MultiheadAttention(8, 2, batch_first=True)
            ),
            "attention with weights of each head": function(
                lambda layer, x: layer(x, x[:, :3], x[:, :3], average_attn_weights=False)[1],
                lambda: nn.MultiheadAttention(8, 2, batch_first=True),
            ),
            "attention masked": function(
                lambda layer, x: layer(x, x, x, need_weights=False, attn_mask=torch.ones(7, 7).triu(1).bool())[0],
                lambda: nn.MultiheadAttention(8, 2, batch_first=True),
            ),
            "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            "encoder layer norm first": lambda: nn.TransformerEncoderLayer(
                8, 2, 16, batch_first=True, norm_first=True, activation="gelu"
            ),
            "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
            "decoder": function(
                lambda layer, x: layer(x, x * 2), lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
            ),
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_module(make(), torch.zeros(1, *shape))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "hardtanh wide": lambda x: F.hardtanh(x, -2.0, 0.5),
    "clamp min": lambda x: x.clamp(min=0),
    "clamp max": lambda x: x.clamp(max=0.3),
    "clamp both": lambda x: x.clamp(-0.5, 0.25),
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "silu": F.silu,
    "mish": F.mish,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7),
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "softplus": lambda x: F.softplus(x, 2.0, 1.0),
    "softsign": F.softsign,
    "softshrink": lambda x: F.softshrink(x, 0.3),
    "hardshrink": F.hardshrink,
    "tanhshrink": F.tanhshrink,
    "logsigmoid": F.logsigmoid,
    "threshold": lambda x: F.threshold(x, 0.1, -2.0),
    "rrelu": F.rrelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log1p of square": lambda x: torch.log1p(x.square()),
    "sqrt of abs": lambda x: x.abs().sqrt(),
    "reciprocal": lambda x: 1 / (x.abs() + 1),
    "power": lambda x: x**3,
    "power of a number": lambda x: 2**x,
    "sign": torch.sign,
    "round": lambda x: (x * 3).round(),
    "floor division": lambda x: (x * 5) // 2,
    "division rounded down": lambda x: torch.div(x * 5, 2, rounding_mode="floor"),
    "remainder": lambda x: (x * 5) % 2,
    "glu": lambda x: F.glu(x, 1),
    "softmax": lambda x: x.softmax(-1),
    "softmax over channels": lambda x: F.softmax(x, dim=1),
    "log softmax": lambda x: F.log_softmax(x, dim=1),
    "one minus": lambda x: 1 - x,
    "subtraction with alpha": lambda x: torch.sub(x, x.tanh(), alpha=0.5),
    "where": lambda x: torch.where(x > 0, x, x.exp()),
    "where a number": lambda x: torch.where(x > 0, x, -1.0),
    "masked fill": lambda x: x.masked_fill(x > 0.5, 0.5),
    "comparison": lambda x: x > 0.1,
    "cast": lambda x: (x * 3).int().float() + x.double().float(),
    "maximum": lambda x: torch.maximum(x, x.flatten(1).mean(1)[:, None, None]),
    "normalise": lambda x: F.normalize(x, dim=1),
    "mul then in place": lambda x: x.mul(2).add_(1).relu_(),
    "number from a shape": lambda x: x / x.shape[-1] + x.size(1),
}


@pytest.mark.parametrize("what", cases(ACTIVATIONS))
def test_elementwise(what: Callable[[Tensor], Tensor]) -> None:
    same_as_module(Forward(what), torch.zeros(1, *SIGNAL))


REDUCTIONS: dict[str, Callable[[Tensor], Any]] = {
    "mean": lambda x: x.mean((2, 3)),
    "mean of one axis": lambda x: x.mean(-2),
    "mean keepdim": lambda x: x.mean(1, keepdim=True),
    "mean of a sample": lambda x: x.mean((1, 2, 3)),
    "sum": lambda x: x.sum(dim=[1, 3]),
    "amax": lambda x: x.amax((1, 2)),
    "amin": lambda x: x.amin(-1, keepdim=True),
    "max.dim": lambda x: x.max(dim=2),
    "max.dim values": lambda x: x.max(dim=1).values * 2,
    "min.dim indices": lambda x: x.min(dim=3, keepdim=True).indices,
    "var": lambda x: x.var((2, 3)),
    "var biased": lambda x: x.var(1, unbiased=False, keepdim=True),
    "std": lambda x: torch.std(x, dim=(1, 3), correction=2),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(-1, keepdim=True),
    "argmax of a sample": lambda x: x.flatten(1).argmax(1),
    "norm": lambda x: x.norm(dim=1),
    "norm of order 1": lambda x: torch.linalg.vector_norm(x, 1, (2, 3)),
    "prod": lambda x: x.prod(2),
    "logsumexp": lambda x: x.logsumexp(1),
    "any": lambda x: (x > 1).any(1),
    "all": lambda x: (x > -1).all(-1),
    "count": lambda x: (x > 0).float().sum((1, 2)),
}


@pytest.mark.parametrize("what", cases(REDUCTIONS))
@pytest.mark.parametrize("behind", ["input", "convolution"])
def test_reductions(what: Callable[[Tensor], Any], behind: str) -> None:
    layer = nn.Conv2d(4, 3, 3) if behind == "convolution" else nn.Identity()
    same_as_module(Forward(lambda first, x: what(first(x)), layer), torch.zeros(1, *IMAGE))


MOVES: dict[str, Callable[[Tensor], Any]] = {
    "cat": lambda x: torch.cat([x, x.relu(), x[:, :1]], 1),
    "cat last": lambda x: torch.cat([x, x.tanh()], -1),
    "cat with a constant": lambda x: torch.cat([x, torch.ones(x.shape[0], 2, 9, 11)], dim=1),
    "stack in front": lambda x: torch.stack([x, -x], 1),
    "stack behind": lambda x: torch.stack([x, x * 2, x * 3], dim=-1),
    "stack before the batch": lambda x: torch.stack([x, x * 2]).sum(0),
    "split": lambda x: [part * 2 for part in x.split(4, dim=2)],
    "split with sizes": lambda x: torch.split(x, [1, 3], dim=1)[1],
    "chunk": lambda x: x.chunk(3, dim=-1),
    "tensor_split": lambda x: x.tensor_split(2, dim=-1),
    "unbind": lambda x: sum(x.unbind(1)),
    "slice": lambda x: x[:, 1:, 2:-1, ::3],
    "slice from the end": lambda x: x[..., -4:],
    "negative index": lambda x: x[:, -1] + x[:, :, :, -2:-1].mean(1),
    "ellipsis and new axis": lambda x: x[..., None, 0],
    "narrow": lambda x: x.narrow(2, 3, 4),
    "narrow to the end": lambda x: x.narrow(2, -2, 2),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0, 2])),
    "reflect": lambda x: F.pad(x, (2, 1, 1, 3), mode="reflect"),
    "replicate": lambda x: F.pad(x, (2, 1, 1, 3), mode="replicate"),
    "circular": lambda x: F.pad(x, (2, 1, 1, 3), mode="circular"),
    "reflect one axis": lambda x: F.pad(x, (2, 1, 0, 0), mode="reflect"),
    "replicate nothing": lambda x: F.pad(x, (0, 0, 0, 0), mode="replicate"),
    "constant": lambda x: F.pad(x, (0, 1, 0, 0, 2, 0), value=-3.0),
    "cropping": lambda x: F.pad(x, (-1, 0, 0, -2)),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "tile": lambda x: x.tile((2, 1)),
    "expand": lambda x: x.mean(2, keepdim=True).expand(-1, -1, 5, -1),
    "expand_as": lambda x: x.mean((1, 2, 3), keepdim=True).expand_as(x),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, -1),
    "movedim": lambda x: x.movedim((1, 2), (-1, 1)),
    "mT": lambda x: x.mT,
    "batch behind and back": lambda x: x.permute(1, 2, 3, 0).relu().permute(3, 0, 1, 2),
    "steps in front": lambda x: x.flatten(2).permute(2, 0, 1).mean(0),
    "batch merged and back": lambda x: (x.flatten(0, 1).mean(-1) * 2).view(x.shape[0], -1),
    "flatten": lambda x: x.flatten(1),
    "flatten in the middle": lambda x: x.flatten(1, 2),
    "view": lambda x: x.view(x.size(0), 2, 2, -1),
    "unflatten": lambda x: x.unflatten(2, (3, 3)).mean(3),
    "squeeze": lambda x: x[:, :, :1].squeeze(2).unsqueeze(1),
    "squeeze all": lambda x: x[:, :1, :, :1].squeeze(),
    "broadcast": lambda x: torch.broadcast_tensors(x, x.mean(2, keepdim=True)),
    "channel shuffle": lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2),
    "same twice": lambda x: (x.relu(), x.relu().clone(), x),
    "contiguous": lambda x: x.transpose(2, 3).contiguous().view(x.shape[0], -1),
}  # fmt: skip


NO_ZEROS = "the interpreter leaves out axes that are padded by nothing, which torch wants to be told"


@pytest.mark.parametrize("what", cases(MOVES))
@pytest.mark.parametrize("behind", ["input", "convolution"])
def test_moves(what: Callable[[Tensor], Any], behind: str) -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1) if behind == "convolution" else nn.Identity()
    same_as_module(Forward(lambda first, x: what(first(x)), layer), torch.zeros(1, *IMAGE))


PRODUCTS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "matmul by a weight": (lambda x: x @ torch.linspace(-1, 1, 40).view(8, 5), SEQUENCE),
    "weight by matmul": (lambda x: torch.linspace(-1, 1, 35).view(5, 7) @ x, SEQUENCE),
    "weights of a batch of matrices": (
        lambda x: torch.linspace(-1, 1, 70).view(2, 5, 7) @ x.unflatten(2, (2, 4)).movedim(2, 1), SEQUENCE),
    "matmul by a vector": (lambda x: x @ torch.linspace(-1, 1, 8), SEQUENCE),
    "features by a vector": (lambda x: x @ torch.linspace(-1, 1, 12), FEATURES),
    "matmul of computed": (lambda x: x @ x.transpose(1, 2), SEQUENCE),
    "bmm": (lambda x: torch.bmm(x, x.relu().mT), SEQUENCE),
    "baddbmm": (lambda x: torch.baddbmm(torch.ones(1, 7, 7), x, x.mT), SEQUENCE),
    "addmm": (lambda x: torch.addmm(torch.arange(3.0), x, torch.linspace(-1, 1, 36).view(12, 3)), FEATURES),
    "outer product": (lambda x: x[:, :, None] * x[:, None], FEATURES),
    "einsum with a weight": (lambda x: torch.einsum("btf,gf->btg", x, torch.linspace(-1, 1, 24).view(3, 8)), SEQUENCE),
    "einsum of computed": (lambda x: torch.einsum("bqf,bkf->bqk", x, x.relu()), SEQUENCE),
    "einsum by steps": (lambda x: torch.einsum("st,btf->bfs", torch.linspace(-1, 1, 21).view(3, 7), x), SEQUENCE),
    "linear with a computed operand": (
        lambda x: F.linear(x, torch.linspace(-1, 1, 24).view(3, 8), torch.ones(3)), SEQUENCE),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x * 2, x.relu()), SEQUENCE),
    "attention scaled": (lambda x: F.scaled_dot_product_attention(x, x, x[..., :3], scale=0.3), SEQUENCE),
    "attention causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), SEQUENCE),
    "attention with a mask": (
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(7, 7).tril().bool()), SEQUENCE
    ),
    "attention with a computed bias": (
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=x.mean(2)[:, None]), SEQUENCE
    ),
}  # fmt: skip


@pytest.mark.parametrize(("what", "shape"), cases(PRODUCTS))
def test_products(what: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    same_as_module(Forward(what), torch.zeros(1, *shape))


class Recurrent(nn.Module):
    """A recurrent layer, of which everything is returned that it returns, and its last step."""

    def __init__(self, layer: nn.RNNBase, state: str = "none") -> None:
        super().__init__()
        self.layer = layer
        self.state = state
        directions = 2 if layer.bidirectional else 1
        self.initial = nn.Parameter(torch.randn(directions * layer.num_layers, 1, layer.hidden_size))

    def forward(self, x: Tensor) -> Any:
        batch = x.shape[0 if self.layer.batch_first else 1]
        given: Any = None
        if self.state == "learned":
            given = self.initial.expand(-1, batch, -1).contiguous()
        elif self.state == "zeros":
            given = torch.zeros(self.initial.shape[0], batch, self.initial.shape[2])
        if given is not None and isinstance(self.layer, nn.LSTM):
            given = (given, given * 2)
        steps, last = self.layer(x, given) if given is not None else self.layer(x)
        last_states = last if isinstance(last, tuple) else (last,)
        states = [state.transpose(0, 1) if self.layer.batch_first else state for state in last_states]
        last_step = steps[:, -1:] if self.layer.batch_first else steps[-1:]
        return steps, last_step, states


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("state", ["none", "zeros", "learned"])
def test_recurrent_layers(
    kind: type[nn.RNNBase], layers: int, bidirectional: bool, batch_first: bool, state: str
) -> None:
    layer = kind(8, 5, layers, batch_first=batch_first, bidirectional=bidirectional, dropout=0.1 * (layers - 1))
    axis = 0 if batch_first else 1
    graph = same_as_module(Recurrent(layer, state), torch.zeros(7, 8).unsqueeze(axis), batch_dim=axis)
    assert sum(isinstance(node.op, ops.Recurrent) for node in graph.nodes) == layers


RECURRENT_VARIANTS = {
    "relu": lambda: nn.RNN(8, 5, nonlinearity="relu", batch_first=True),
    "no bias": lambda: nn.LSTM(8, 5, bias=False, batch_first=True),
    "gru no bias": lambda: nn.GRU(8, 5, 2, bias=False, batch_first=True),
}


@pytest.mark.parametrize("make", cases(RECURRENT_VARIANTS))
def test_recurrent_variants(make: Callable[[], nn.RNNBase]) -> None:
    same_as_module(Forward(lambda layer, x: layer(x)[0], make()), torch.zeros(1, *SEQUENCE))


def stepped(cell: nn.RNNCellBase, x: Tensor) -> Tensor:
    state: Any = None
    hidden = x
    for step in x.unbind(1):
        state = cell(step, state)
        hidden = state[0] if isinstance(state, tuple) else state
    return hidden


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_loops_of_cells(kind: type[nn.RNNCellBase]) -> None:
    graph = same_as_module(Forward(stepped, kind(8, 5)), torch.zeros(1, *SEQUENCE))
    assert kinds(graph).count("RecurrentCell") == 7, "one for each of the seven steps"


def test_state_made_from_the_shape_of_the_input() -> None:
    def forward(cell: nn.GRUCell, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 5)
        for step in x.unbind(1):
            state = cell(step, state)
        return state

    same_as_module(Forward(forward, nn.GRUCell(8, 5)), torch.zeros(1, *SEQUENCE))


@pytest.mark.parametrize("make", [torch.zeros_like, torch.ones_like, lambda x: torch.full_like(x, 3.0)])
def test_constants_like_the_input(make: Callable[[Tensor], Tensor]) -> None:
    same_as_module(Forward(lambda x: x - make(x)), torch.zeros(1, *SEQUENCE))


# --- the steps of a sample side by side: batch and steps merged, as TimeDistributed does ---

MERGED = {
    "conv": lambda: nn.Conv1d(4, 6, 3),
    "batch norm": lambda: nn.BatchNorm1d(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "instance norm": lambda: nn.InstanceNorm1d(4, affine=True),
    "max pool": lambda: nn.MaxPool1d(2),
    "prelu": lambda: nn.PReLU(4, init=0.3),
    "conv and batch norm": lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2)),
    "flatten": lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.Flatten(), nn.Linear(6 * 13, 2)),
    "lstm": lambda: Forward(lambda layer, x: layer(x)[0], nn.LSTM(15, 3, batch_first=True)),
}


@pytest.mark.parametrize("make", cases(MERGED))
def test_steps_merged_with_the_batch(make: Callable[[], nn.Module]) -> None:
    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    module = Forward(forward, make())
    if "LSTM" in str(module):  # not a sequence of one sample: named, never wrong
        assert [node.op.target for node in trace(module, torch.zeros(1, 2, *SIGNAL)).unknown()] == ["aten.lstm.input"]
    else:
        same_as_module(module, torch.zeros(1, 2, *SIGNAL))


# --- pooling without channels: torch takes the batch for them ---

UNBATCHED = {
    "avg_pool1d": (lambda: nn.AvgPool1d(3), FEATURES),
    "max_pool1d": (lambda: nn.MaxPool1d(2), FEATURES),
    "avg_pool2d": (lambda: nn.AvgPool2d(2), SEQUENCE),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((2, 3)), SEQUENCE),
}


@pytest.mark.parametrize(("make", "shape"), cases(UNBATCHED))
def test_pooling_that_takes_the_batch_for_channels(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_module(make(), torch.zeros(1, *shape))


def test_the_number_of_samples_as_a_number() -> None:
    module = Forward(lambda x: x / x.shape[0])
    graph, x = trace(module, torch.zeros(1, 4)), torch.randn(1, 4)
    assert graph.unknown() or distance(run(graph, x), call(module, x)) <= 1e-6


# --- inputs and outputs ---


def nested(one: dict[str, Tensor], two: list[Tensor], scale: float = 1.0) -> dict[str, Any]:
    return {"sum": one["a"] * scale + two[0], "rest": [two[1].relu(), (one["b"],)]}


INPUTS: dict[str, tuple[Callable[..., Any], Any]] = {
    "tuple": (lambda x, y: x.mean(1) + y, (torch.zeros(1, 4, 5), torch.zeros(1, 5))),
    "dict": (lambda x, y: x.mean(1) - y, {"x": torch.zeros(1, 4, 5), "y": torch.zeros(1, 5)}),
    "one tuple": (lambda pair: pair[0] - pair[1], ((torch.zeros(1, 5), torch.zeros(1, 5)),)),
    "nested": (
        nested,
        ({"a": torch.zeros(1, 3), "b": torch.zeros(1, 4)}, [torch.zeros(1, 3), torch.zeros(1, 2, 2)]),
    ),
    "with a number": (lambda x, factor: x * factor, (torch.zeros(1, 5), 3)),
    "with nothing": (lambda x, mask: x if mask is None else x * mask, (torch.zeros(1, 5), None)),
    "with integers": (lambda x, tokens: x + tokens, (torch.zeros(1, 5), torch.zeros(1, 5, dtype=torch.int64))),
}


@pytest.mark.parametrize(("what", "example"), cases(INPUTS))
def test_inputs(what: Callable[..., Any], example: Any) -> None:
    graph = same_as_module(Forward(what), example)
    assert [value.shape for value in graph.inputs] == [tuple(leaf.shape[1:]) for leaf in leaves(example)]


def test_keyword_arguments_in_any_order() -> None:
    class Subtract(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return first - 2 * second

    graph = trace(Subtract(), {"second": torch.zeros(1, 4), "first": torch.zeros(1, 4)})
    given = {"first": torch.randn(3, 4), "second": torch.randn(3, 4)}
    (found,) = interpret(graph, *(given[value.name] for value in graph.inputs))
    assert torch.allclose(found, given["first"] - 2 * given["second"])


def test_inputs_that_are_not_read() -> None:
    graph = same_as_module(Forward(lambda x, unused: x * 2), (torch.zeros(1, 4), torch.zeros(1, 3)))
    assert len(graph.inputs) == 2


def test_an_output_that_is_an_input_or_nothing() -> None:
    graph = same_as_module(Forward(lambda x: {"same": x, "none": None, "more": x + 1}), torch.zeros(1, 4))
    assert graph.outputs[0] is graph.inputs[0]
    assert len(graph.outputs) == 2


@dataclasses.dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    loss: Tensor | None = None
    name: str = "net"


class ModelOutput(collections.OrderedDict[str, Any]):
    """As in HuggingFace's transformers: a dict whose entries are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclasses.dataclass
class Decoded(ModelOutput):
    logits: Any = None
    state: Any = None

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            if (value := self.__dict__[each.name]) is not None:
                self[each.name] = value


class Slotted:
    __slots__ = ("first", "second")

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


OUTPUTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "dataclass": lambda a, b: Output(a, (b,)),
    "dataclass in a list": lambda a, b: [Output(a, ()), {"more": Output(b, ())}],
    "frozen dataclass with slots": dataclasses.make_dataclass("Frozen", ["a", "b"], frozen=True, slots=True),
    "model output": Decoded,
    "named tuple": Pair,
    "namespace": lambda a, b: types.SimpleNamespace(a=a, b=b),
    "object with slots": Slotted,
    "distribution": lambda a, b: torch.distributions.Normal(a, b, validate_args=False),
    "strings and numbers beside": lambda a, b: {"name": "net", "a": a, "scale": 2.5, "on": True, "b": b, "no": None},
    "an enumeration and a type beside": lambda a, b: (a, enum.Enum("Kind", "ONE").ONE, torch.float32, b, nn.Linear),
    "arrays beside": lambda a, b: (a, np.zeros(3), np.float32(2), b),
    "values of a dict": lambda a, b: {"a": a, "b": b}.values(),
}  # fmt: skip


@pytest.mark.parametrize("make", cases(OUTPUTS))
def test_outputs_in_any_form(make: Callable[[Tensor, Tensor], Any]) -> None:
    """The tensors are what `output_tensors` finds in what the module returns, in that order."""
    module = Forward(lambda one, two, x: make(one(x), two(x).exp()), nn.Linear(4, 3), nn.Linear(4, 3)).eval()
    graph, x = trace(module, torch.zeros(1, 4)), torch.randn(3, 4)
    assert not graph.unknown()
    with torch.no_grad():
        wanted = output_tensors(module(x))
    first, second = (layer(x) for layer in module.layers)
    assert [torch.equal(found, each) for found, each in zip(wanted, (first, second.exp()), strict=True)] == [True, True]
    assert distance(run(graph, x), wanted) <= 1e-6
    assert sum(isinstance(node.op, ops.Dense) for node in graph.nodes) == 2, "nothing that is returned is lost"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: None, "forward returns no tensor, but None"),
        (lambda x: "done", "forward returns no tensor, but a str"),
        (lambda x: {"loss": 3.0}, "forward returns no tensor, but a dict"),
        (lambda x: x.sum().item(), "returns a number that it computes from its input"),
        (lambda x: (x, {"mean": x.mean().item()}), "returns a number that it computes from its input"),
        (lambda x: (x, iter([x])), "forward returns a list_iterator, in which tensors can't be found"),
    ],
)
def test_outputs_without_tensors_are_an_error(make: Callable[[Tensor], Any], message: str) -> None:
    """Never a graph without nodes, which would cost nothing."""
    with pytest.raises(TraceError, match=f"Forward can't be traced: .*{message}"):
        trace(Forward(make), torch.zeros(1, 4))


def test_a_sample_without_batch() -> None:
    module = Forward(lambda conv, x: conv(x).amax(1), nn.Conv1d(4, 5, 3))
    graph = trace(module, torch.zeros(*SIGNAL), batch_dim=None)
    assert [value.shape for value in (*graph.inputs, *graph.outputs)] == [(4, 15), (5,)]
    x = torch.randn(*SIGNAL)
    with torch.no_grad():
        wanted = module(x)
    assert distance([interpret(graph, x[None])[0][0]], [wanted]) <= 1e-5


# --- shapes, order and paths, by hand ---


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.heads = nn.ModuleDict({"cls": nn.Linear(8, 5), "box": nn.Linear(8, 4)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        pooled = self.stem(x).mean((2, 3))
        return {name: head(pooled) for name, head in self.heads.items()}


def test_nodes_of_a_small_net() -> None:
    graph = same_as_module(Nested(), torch.zeros(1, 3, 32, 24))
    found = [(type(node.op).__name__, node.output.shape, node.path) for node in graph.nodes]
    assert found == [
        ("Conv", (8, 16, 12), "stem.0"),
        ("BatchNorm", (8, 16, 12), "stem.1"),
        ("Activation", (8, 16, 12), "stem.2"),
        ("Reduce", (8,), ""),
        ("Dense", (5,), "heads.cls"),
        ("Dense", (4,), "heads.box"),
    ]
    assert [value.shape for value in graph.inputs] == [(3, 32, 24)]
    assert [value.shape for value in graph.outputs] == [(5,), (4,)]
    assert graph.parameters == {
        "stem.0.weight": 216, "stem.0.bias": 8, "stem.1.weight": 8, "stem.1.bias": 8,
        "heads.cls.weight": 40, "heads.cls.bias": 5, "heads.box.weight": 32, "heads.box.bias": 4,
    }  # fmt: skip
    assert [weight.name for _, weight in graph.nodes[0].op.weights()] == ["stem.0.weight", "stem.0.bias"]


def test_nodes_of_a_recurrent_net() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(9, 6, 2, bidirectional=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x.permute(2, 0, 1))[1][0][-1]

    graph = same_as_module(Net(), torch.zeros(1, 9, 20), out_dim=0)
    assert [value.shape for value in graph.inputs] == [(9, 20)]
    permute, first, second, *rest = graph.nodes
    assert permute.output.shape == (20, 9)
    assert [value.shape for value in first.outputs] == [(20, 12), (2, 6), (2, 6)]
    assert [value.shape for value in second.outputs] == [(20, 12), (2, 6), (2, 6)]
    assert {node.path for node in (first, second)} == {"lstm"}
    assert [type(node.op).__name__ for node in rest] == ["Concat", "Select"]
    assert graph.outputs[0].shape == (6,)


def test_sizes_that_the_traced_batch_divides() -> None:
    module = nn.Sequential(nn.Linear(211, 422), nn.ReLU(), nn.Unflatten(1, (2, 211)), nn.Linear(211, 223))
    graph = same_as_module(module, torch.zeros(1, 211))
    assert [node.output.shape for node in graph.nodes] == [(422,), (422,), (2, 211), (2, 223)]


def test_sizes_inside_that_the_traced_batch_divides() -> None:
    module = Forward(lambda x: x.repeat(1, 211).unflatten(1, (211, 3)).sum(1))  # 211 is in no weight and no input
    graph = same_as_module(module, torch.zeros(1, 3))
    assert graph.outputs[0].shape == (3,)


def test_a_layer_called_twice_is_two_nodes_with_one_weight() -> None:
    graph = same_as_module(Forward(lambda layer, x: layer(layer(x).relu()), nn.Linear(6, 6)), torch.zeros(1, 6))
    first, second = (node for node in graph.nodes if isinstance(node.op, ops.Dense))
    assert first.path == second.path == "layers.0"
    assert first.op.weight.name == second.op.weight.name


# --- what can't be expressed is named ---

UNKNOWN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, str]] = {
    "fft": (function(lambda x: torch.fft.rfft(x).abs()), SIGNAL, "fft", "it is not known"),
    "sort": (function(lambda x: x.sort(-1).values), SIGNAL, "aten.sort", "it is not known"),
    "batch_first that does not fit": (
        function(lambda layer, x: layer(x)[0], lambda: nn.LSTM(8, 5)), SEQUENCE, "aten.lstm.input",
        "batch_first=False"),
    "unbatched lstm": (
        function(lambda layer, x: layer(x)[0], lambda: nn.LSTM(12, 5)), FEATURES, "aten.lstm.input",
        "samples|sequences"),
    "mean over the batch": (function(lambda x: x - x.mean(0)), SIGNAL, "aten.mean.dim", "across the samples"),
    "mean over everything": (function(lambda x: x.mean()), SIGNAL, "aten.mean.default", "across the samples"),
    "softmax over the batch": (function(lambda x: x.softmax(0)), SIGNAL, "aten.softmax.int", "across the samples"),
    "batch reversed": (function(lambda x: x.flip(0)), SIGNAL, "aten.flip.default", "it computes across the samples"),
    "batch rolled": (function(lambda x: x.roll(1, 0)), SIGNAL, "aten.roll.default", "across the samples"),
    "all rolled": (function(lambda x: x.roll(1)), SIGNAL, "aten.roll.default", "along which dims"),
    "first sample": (function(lambda x: x[0]), SIGNAL, "aten.select.int", "across the samples"),
    "some samples": (function(lambda x: x + x[:1]), SIGNAL, "aten.slice.Tensor", "across the samples"),
    "concatenated samples": (function(lambda x: torch.cat([x, x])), SIGNAL, "aten.cat.default", "across the samples"),
    "repeated samples": (function(lambda x: x.repeat(2, 1, 1)), SIGNAL, "aten.repeat.default", "repeats the samples"),
    "similarity of samples": (
        function(lambda x: torch.einsum("bf,cf->bc", x, x)), FEATURES, "aten.einsum.default", "across the samples"),
    "dropout left on": (function(F.dropout), SIGNAL, "aten.dropout.default", "at inference"),
    "random": (function(lambda x: x + torch.rand_like(x)), SIGNAL, "aten.rand_like", "random|not known"),
    "random of a size": (function(lambda x: x * torch.randn(4, 15)), SIGNAL, "aten.randn", "random|not known"),
    "normal": (function(lambda x: torch.normal(x, 1.0)), SIGNAL, "aten.normal", "random|not known"),
    "bernoulli": (function(lambda x: torch.bernoulli(x.sigmoid())), SIGNAL, "aten.bernoulli", "random|not known"),
    "batch statistics": (
        lambda: nn.BatchNorm1d(4, track_running_stats=False), SIGNAL, "aten.batch_norm.default",
        "statistics of the batch"),
    "weights computed from the input": (
        function(lambda x: F.linear(x, x[0, :, :])), (8, 8), "aten.select.int", "across the samples"),
    "state computed from the input": (
        function(lambda layer, x: layer(x, x[:, :1, :5].transpose(0, 1).contiguous())[0],
                 lambda: nn.GRU(8, 5, batch_first=True)), SEQUENCE, "aten.gru.input", "computed from the input"),
    "projections": (
        function(lambda layer, x: layer(x)[0], lambda: nn.LSTM(8, 5, proj_size=3, batch_first=True)),
        SEQUENCE, "aten.lstm.input", "proj_size"),
    "sums over a product": (
        function(lambda x: torch.einsum("btf,btf->", x, x)), SEQUENCE, "aten.einsum.default", "across the samples"),
    "cumulative": (function(lambda x: x.cumsum(-1)), SIGNAL, "aten.cumsum.default", "it is not known"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "shape", "target", "reason"), cases(UNKNOWN))
def test_unknown_operations_are_named(
    make: Callable[[], nn.Module], shape: tuple[int, ...], target: str, reason: str
) -> None:
    graph = trace(make(), torch.zeros(1, *shape))
    first = graph.unknown()[0]
    assert target in first.op.target
    assert re.search(reason, first.op.reason)
    with pytest.raises(NotImplementedError, match=re.escape(first.op.target)):
        interpret(graph, *batch_like([torch.zeros(1, *shape)]))
    assert [node.op.target for node in deploy(graph).unknown()] == [node.op.target for node in graph.unknown()]


def test_a_custom_operator_is_named() -> None:
    @torch.library.custom_op("mcubench_tests::halve", mutates_args=())
    def halve(x: Tensor, weight: Tensor) -> Tensor:
        return x / 2 + weight

    halve.register_fake(lambda x, weight: torch.empty_like(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Forward(lambda layer, x: halve(layer(x), layer.weight[0]), nn.Linear(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).relu()

    (node,) = trace(Net(), torch.zeros(1, 4)).unknown()
    assert isinstance(node.op, Unknown)
    assert node.op.target == "mcubench_tests.halve.default"
    assert node.path == "inner"
    assert [weight.sources for weight in node.op.operands] == [("inner.layers.0.weight",)]
    assert node.output.shape == (4,)


# --- modes that a forward enters: what it computes in them is traced as if it did not ---


def switched(on: bool, conv: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
    with torch.set_grad_enabled(on):
        y = conv(x)
    return head(y)


def in_turns(conv: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
    with torch.enable_grad():
        y = conv(x)
        with torch.no_grad():
            y = y.relu()
            with torch.enable_grad():
                y.mul_(2)
        y = y + 1
    return head(y)


def in_inference_mode(conv: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        y = conv(x)
    return head(y)


def several_results(conv: nn.Module, head: nn.Module, x: Tensor) -> Any:
    with torch.enable_grad():
        y = conv(x)
        return y, head(y), y.mean(1)


@torch.compiler.nested_compile_region
def region(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)


def without_autocast(conv: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return head(conv(x))


REGIONS: dict[str, Callable[..., Any]] = {
    "gradients on": functools.partial(switched, True),
    "gradients off": functools.partial(switched, False),
    "one mode in another": in_turns,
    "enable_grad as a decorator": torch.enable_grad()(lambda conv, head, x: head(conv(x))),
    "several results of a region": several_results,
    "inference mode": in_inference_mode,
    "inference mode as a decorator": torch.inference_mode()(lambda conv, head, x: head(conv(x))),
    "autocast switched off": without_autocast,
    "checkpoint": lambda conv, head, x: head(checkpoint(conv, x, use_reentrant=False)),
    "reentrant checkpoint": lambda conv, head, x: head(checkpoint(conv, x, use_reentrant=True)),
    "region compiled once": lambda conv, head, x: head(region(conv, x)),
}


@pytest.mark.parametrize("what", cases(REGIONS))
def test_modes_in_forward_are_traced_through(what: Callable[..., Any]) -> None:
    graph = same_as_module(Forward(what, nn.Conv1d(4, 5, 3), nn.Linear(13, 2)), torch.zeros(1, *SIGNAL))
    assert [name for name in kinds(graph) if name in ("Conv", "Dense")] == ["Conv", "Dense"]


class Precise(nn.Module):
    """Enters autocast, if it is told to, where Lightning's precision plugin would: around its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(4, 5, 3), nn.Linear(13, 2)
        self.autocast = True

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            y = self.conv(x)
        assert y.dtype == (torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32) or self.autocast
        return self.head(y.float())


@pytest.mark.parametrize("around", [True, False])
def test_autocast_is_left_out(around: bool) -> None:
    """Half precision is a matter of training: the graph is of single precision, as that of ``module.half()`` is."""
    module, x = Precise().eval(), torch.randn(3, *SIGNAL)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=around):
        graph = trace(module, torch.zeros(1, *SIGNAL))
        assert torch.is_autocast_enabled("cpu") == around
    assert kinds(graph) == ["Conv", "Dense"]
    assert {value.dtype for node in graph.nodes for value in node.outputs} == {torch.float32}
    rounded = call(module, x)
    assert rounded[0].dtype == torch.float32
    module.autocast = False
    assert distance(run(graph, x), call(module, x)) <= 1e-6
    assert 1e-6 < distance(run(graph, x), rounded) < 2**-6, "bfloat16 has 8 bits: what is left out is its rounding"


def test_control_flow_in_a_region_is_named() -> None:
    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = layer(x)
            return torch.cond(y.sum() > 0, lambda y: y.sin(), lambda y: y.cos(), (y,))

    graph = trace(Forward(forward, nn.Linear(4, 4)), torch.zeros(1, 4))
    assert "Dense" in kinds(graph)
    assert "cond" in {node.op.target for node in graph.unknown()}


def test_control_flow_is_named() -> None:
    module = Forward(lambda x: torch.cond(x.sum() > 0, lambda y: y.sin(), lambda y: y.cos(), (x,)))
    unknown = trace(module, torch.zeros(1, 4)).unknown()
    assert "cond" in {node.op.target for node in unknown}


def test_an_output_that_does_not_depend_on_the_input_is_named() -> None:
    (node,) = trace(Forward(lambda layer, x: (x * 2, layer.weight * 2), nn.Linear(3, 2)), torch.zeros(1, 3)).unknown()
    assert "does not depend on the input" in node.op.reason


NEVER_SILENT: dict[str, Callable[[Tensor], Any]] = {
    "several outputs": lambda x: x.sort(-1).indices.float() + 1,
    "second output alone": lambda x: x.topk(3).indices,
    "value taken out": lambda x: x / x.abs().max().item(),
    "value of one element": lambda x: x * x[0, 0, 0].item(),
    "size that depends on values": lambda x: x[x > 0].sum() + x,
    "nonzero": lambda x: x.nonzero().float().mean() + x,
    "indices of a pool": lambda x: F.max_pool1d(x, 2, return_indices=True),
    "indices of a pool, used": lambda x: F.max_pool1d(x, 2, return_indices=True)[1].float() * 2,
    "unpooled": lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2),
    "written into": lambda x: torch.zeros(4, 15).index_put((torch.tensor([1]),), x.mean(0)[:1]),
    "scattered": lambda x: x.scatter(1, (x > 0).long(), 0.0),
    "unfolded": lambda x: x.unfold(2, 4, 2),
    "quantile": lambda x: torch.quantile(x, 0.5, dim=-1),
}


LOST = "a number computed from the input is lowered as None, and what computed it is dropped: nothing is unknown"
UNBACKED = "a size that depends on values fails with torch's own GuardOnDataDependentSymNode, not with TraceError"
INDICES = "the indices of a pool are None in the graph: reading or returning them fails with torch's own error"


@pytest.mark.parametrize("what", cases(NEVER_SILENT))
def test_nothing_is_dropped_silently(what: Callable[[Tensor], Any]) -> None:
    """Tracing fails, or the graph says that it does not know, or it computes what torch computes."""
    module = Forward(what)
    try:
        graph = trace(module, torch.zeros(1, *SIGNAL))
    except TraceError:
        return
    if not graph.unknown():
        batch = torch.randn(3, *SIGNAL)
        assert distance(run(graph, batch), call(module, batch)) <= 1e-5


def test_writing_into_a_part_is_known_or_named() -> None:
    def forward(x: Tensor) -> Tensor:
        y = x * 2
        y[:, 1] = 0
        y[:, :, 3:5] += 1
        return y

    graph = trace(Forward(forward), torch.zeros(1, *SIGNAL))
    assert {"aten.select_scatter.default", "aten.slice_scatter.default"} <= {node.op.target for node in graph.unknown()}


def test_the_input_changed_in_place() -> None:
    same_as_module(Forward(lambda x: x.clone().mul_(2) + 1), torch.zeros(1, 4))
    module, x = Forward(lambda x: x.mul_(2) + 1), torch.randn(3, 4)
    assert distance(run(trace(module, torch.zeros(1, 4)), x.clone()), [2 * x + 1]) <= 1e-6


def test_every_value_is_made_before_it_is_read() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    graph: Graph = trace(module, torch.zeros(1, *SEQUENCE))
    known = set(graph.inputs)
    for node in graph.nodes:
        assert known.issuperset(node.inputs)
        known.update(node.outputs)
    assert known.issuperset(graph.outputs)
    names = [value.name for value in known]
    assert len(set(names)) == len(names)


# --- operations that take the batch for an axis of their own ---


def across_batch(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x[None, None])[0, 0]


ACROSS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv2d": (function(across_batch, lambda: nn.Conv2d(1, 1, 3, padding=1)), FEATURES),
    "avg_pool2d": (function(across_batch, lambda: nn.AvgPool2d(3, 1, 1)), FEATURES),
    "upsample": (function(across_batch, lambda: nn.Upsample((1, 12), mode="bilinear")), FEATURES),
    "adaptive": (function(across_batch, lambda: nn.AdaptiveAvgPool2d((1, 3))), FEATURES),
    "conv1d over transposed samples": (
        function(lambda layer, x: layer(x.T[None])[0].T, lambda: nn.Conv1d(12, 12, 3, padding=1)), FEATURES),
    "attention": (function(lambda x: F.scaled_dot_product_attention(x, x, x)), FEATURES),
    "attention without batch_first": (
        function(lambda layer, x: layer(x, x, x, need_weights=False)[0], lambda: nn.MultiheadAttention(8, 2)),
        SEQUENCE),
    "encoder layer without batch_first": (lambda: nn.TransformerEncoderLayer(8, 2, 16), SEQUENCE),
}  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), cases(ACROSS))
def test_mixing_samples_is_named(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """As for an LSTM whose batch_first does not fit: the result of a sample depends on the others."""
    module, batch = make().eval(), torch.randn(3, *shape)
    with torch.no_grad():
        assert not torch.allclose(module(batch)[:1], module(batch[:1]), atol=1e-4)
    assert trace(module, torch.zeros(1, *shape)).unknown()
