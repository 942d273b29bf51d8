"""Shapes of what the commonest operators make.

Torch has kernels in Python tell them, with which it imports its compiler and sympy: more than a second, before a small
file is read. Operators that are not here are left to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["SHAPE_RULES", "made_by"]

_ATEN: Any = torch.ops.aten
_Rule = Callable[..., Any]


def made_by(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operator returns, of torch's ``meta`` device.

    Args:
        target: The operator.
        args: Its arguments, tensors of the ``meta`` device among them.
        kwargs: The same, by name.
    """
    rule = SHAPE_RULES.get(target)
    tensors = [each for each in pytree.tree_leaves(args) if isinstance(each, Tensor)]
    floats = all(each.dtype == torch.float32 for each in tensors)
    if rule is not None and tensors and floats and not kwargs:
        with contextlib.suppress(TypeError):  # more arguments than the rule is for
            return rule(*args)
    made = target(*args, **kwargs)
    return made.to("meta") if isinstance(made, Tensor) else made  # what reads no tensor makes one with elements


def _empty(shape: Any) -> Tensor:
    return torch.empty(tuple(shape), device="meta")


def _broadcast(*operands: Any) -> Tensor:
    return _empty(np.broadcast_shapes(*(tuple(each.shape) for each in operands if isinstance(each, Tensor))))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    outputs, inputs = weight.shape
    if x.shape[-1] != inputs or (bias is not None and bias.shape != (outputs,)):
        raise ValueError(f"weights {list(weight.shape)} do not fit {list(x.shape)}")
    return _empty((*x.shape[:-1], outputs))


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Tensor:
    count, channels, *size = x.shape
    outputs, inputs, *taps = weight.shape
    whole = groups > 0 and outputs % groups == 0 and outputs > 0
    if len(size) != 2 or not whole or channels != inputs * groups or (bias is not None and bias.shape != (outputs,)):
        raise ValueError(f"weights {list(weight.shape)} in {groups} groups do not fit {list(x.shape)}")
    made = [
        _positions(length, each, step, before, spread)
        for length, each, step, before, spread in zip(size, taps, stride, padding, dilation, strict=True)
    ]
    return _empty((count, outputs, *made))


def _positions(length: int, window: int, stride: int, before: int = 0, dilation: int = 1) -> int:
    reach = length + 2 * before - dilation * (window - 1) - 1
    if reach < 0 or min(window, stride, dilation) < 1:
        raise ValueError(f"a window of {window} with stride {stride} and dilation {dilation} does not fit {length}")
    return reach // stride + 1


def _max_pool2d(x: Tensor, window: Any, stride: Any) -> Tensor:
    sizes = zip(x.shape[2:], window, stride, strict=True)
    return _empty((*x.shape[:2], *(_positions(length, taps, step) for length, taps, step in sizes)))


def _avg_pool2d(
    x: Tensor, window: Any, stride: Any, padding: Any = (0, 0), ceil_mode: bool = False, count_padding: bool = True
) -> Tensor:
    if ceil_mode:
        made: Tensor = _ATEN.avg_pool2d.default(x, window, stride, padding, ceil_mode, count_padding)
        return made
    sizes = zip(x.shape[2:], window, stride, padding, strict=True)
    return _empty((*x.shape[:2], *(_positions(*each) for each in sizes)))


def _reduced(x: Tensor, axes: Any, keep: bool = False) -> Tensor:
    chosen = {axis % x.ndim for axis in axes}
    sizes = [1 if axis in chosen else size for axis, size in enumerate(x.shape) if keep or axis not in chosen]
    return _empty(sizes)


def _joined(parts: Any, axis: int = 0) -> Tensor:
    first, at = parts[0], axis % parts[0].ndim
    if any(each.shape[:at] != first.shape[:at] or each.shape[at + 1 :] != first.shape[at + 1 :] for each in parts):
        raise ValueError(f"{[list(each.shape) for each in parts]} can't be joined along axis {axis}")
    return _empty((*first.shape[:at], sum(each.shape[at] for each in parts), *first.shape[at + 1 :]))


def _same(x: Tensor, *_: Any) -> Tensor:
    return _empty(x.shape)


def _lstm(x: Tensor, state: Any, weights: Any, biases: bool, layers: int, *rest: Any) -> tuple[Tensor, ...]:
    _dropout, _train, both, batch_first = rest
    if layers != 1 or both or not batch_first:
        return tuple(_ATEN.lstm.input(x, state, weights, biases, layers, *rest))
    hidden = weights[1].shape[1]
    if weights[0].shape != (4 * hidden, x.shape[2]):
        raise ValueError(f"weights {list(weights[0].shape)} do not fit {list(x.shape)} and {hidden} units")
    return _empty((*x.shape[:2], hidden)), _empty(state[0].shape), _empty(state[1].shape)


_ELEMENTWISE = (
    *("relu", "hardtanh", "hardswish", "leaky_relu", "elu", "sigmoid", "tanh", "abs", "neg", "exp", "log", "sqrt"),
    *("rsqrt", "maximum", "minimum"),
)

SHAPE_RULES: dict[Any, _Rule] = {
    **{getattr(_ATEN, name).default: _broadcast for name in _ELEMENTWISE},
    **{getattr(_ATEN, name).Tensor: _broadcast for name in ("add", "sub", "mul", "div")},
    _ATEN.cat.default: _joined,
    _ATEN.linear.default: _linear,
    _ATEN.conv2d.default: _conv2d,
    _ATEN.mean.dim: _reduced,
    _ATEN.sum.dim_IntList: _reduced,
    _ATEN.amax.default: _reduced,
    _ATEN.max_pool2d.default: _max_pool2d,
    _ATEN.avg_pool2d.default: _avg_pool2d,
    _ATEN.fake_quantize_per_tensor_affine.default: _same,
    _ATEN.softmax.int: _same,
    _ATEN.log_softmax.int: _same,
    _ATEN.lstm.input: _lstm,
}
