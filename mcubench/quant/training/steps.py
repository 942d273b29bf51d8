"""Calls that the integer graph computes in several steps: what is rounded in each, and how they are computed so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from mcubench.graph import Graph, Node, Op, Value, ops

__all__ = ["STEPS", "Settle", "keys_of_steps"]

# What becomes of the result of a step, by the step's name, before the next one reads it.
Settle = Callable[[str, Tensor], Tensor]


class _InSteps(Protocol):
    def __call__(self, settle: Settle, *args: Any, **kwargs: Any) -> Tensor: ...


def _layer_norm(
    settle: Settle,
    input: Tensor,
    normalized_shape: Sequence[int],  # noqa: ARG001 - the last axis: others have no integer form
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,  # noqa: ARG001 - of torch.layer_norm
) -> Tensor:
    mean = settle("mean", input.mean(-1, keepdim=True))
    normed = _unit_rows(settle, settle("centred", input - mean), weight, eps)
    return normed if bias is None else normed + bias


def _rms_norm(
    settle: Settle,
    input: Tensor,
    normalized_shape: Sequence[int],  # noqa: ARG001 - the last axis: others have no integer form
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    return _unit_rows(settle, input, weight, torch.finfo(input.dtype).eps if eps is None else eps)


def _unit_rows(settle: Settle, x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    length = x.shape[-1]
    unit = settle("unit", x / (x.square().sum(-1, keepdim=True) + length * eps).sqrt()) * math.sqrt(length)
    return unit if weight is None else unit * weight


def _attention(
    settle: Settle,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: ARG001 - those that are have no integer form
    scale: float | None = None,
    enable_gqa: bool = False,  # noqa: ARG001
) -> Tensor:
    scores = settle("scores", query @ key.mT)
    scores = settle("scaled", scores * (query.shape[-1] ** -0.5 if scale is None else scale))
    if attn_mask is not None:
        scores = settle("masked", scores + attn_mask)
    shares = settle("shares", scores.softmax(-1))
    return F.dropout(shares, dropout_p) @ value


# By the function's name; the first argument of each is what becomes of its steps.
STEPS: Mapping[str, _InSteps] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "scaled_dot_product_attention": _attention,
}


def keys_of_steps(graph: Graph, keys: Mapping[str, str]) -> dict[str, str]:
    """The keys of steps, by the names of their values: that of the call with the step's name behind it.

    Args:
        graph: A deployed graph whose norms are composed.
        keys: The key of the call that makes each value.
    """
    makers = graph.producers()
    found: dict[str, str] = {}
    values = {value.name for value in makers}
    for node in graph.nodes:
        key, name = keys.get(node.output.name, ""), node.output.name
        if isinstance(node.op, ops.MatMul) and key.startswith("scaled_dot_product_attention:"):
            found.update((each, f"{key}.{step}") for each, step in _attention_steps(node, makers))
        elif key.rpartition(":")[0] in STEPS:
            inner = ((f"{name}.{step}", step) for step in ("mean", "centred", "unit"))
            found.update((each, f"{key}.{step}") for each, step in inner if each in values)
    return found


def _attention_steps(node: Node, makers: Mapping[Value, Node]) -> Iterator[tuple[str, str]]:
    """Values before the product of an attention, from the last to the first, each with the name of its step."""
    names = {ops.Softmax: "shares", "add": "masked", "mul": "scaled", ops.MatMul: "scores"}
    for _ in names:
        before = makers.get(node.inputs[0])
        if before is None or (step := names.get(_kind(before.op))) is None:
            return
        yield before.output.name, step
        node = before
        if step == "scores":
            return


def _kind(op: Op) -> str | type[Op]:
    return op.kind.partition(".")[0] if isinstance(op, ops.Elementwise) else type(op)
