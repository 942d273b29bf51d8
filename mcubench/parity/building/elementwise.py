"""Counterparts of activations, arithmetic on elements, softmax and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mcubench.graph import ops
from mcubench.graph.ir import Input
from mcubench.parity.building.reading import irrelevant
from mcubench.parity.building.site import CannotBuildError, Site, build

__all__: list[str] = []

# Functions without options, by the name of the torch operator: those that Keras has as an activation, and others.
_ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "relu_n1_to_1": "hard_tanh",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "hardswish": "hard_silu",
    "hardsigmoid": "hard_sigmoid",
    "silu": "silu",
    "mish": "mish",
    "selu": "selu",
    "log_sigmoid": "log_sigmoid",
    "softsign": "softsign",
}
_FUNCTIONS = {
    "abs": "absolute",
    "neg": "negative",
    **{name: name for name in ("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sign", "erf")},
    **{name: name for name in ("sin", "cos", "tan", "sinh", "cosh", "floor", "ceil", "round", "logical_not")},
    "atan": "arctan",
}
_BINARY = {
    **{"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power"},
    **{"maximum": "maximum", "minimum": "minimum", "atan2": "arctan2", "fmod": "fmod", "remainder": "mod"},
    **{"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"},
    **{name: name for name in ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor")},
    **{f"__{name}__": f"bitwise_{name}" for name in ("and", "or", "xor")},
}
_MERGING = {"add": "Add", "sub": "Subtract", "mul": "Multiply", "maximum": "Maximum", "minimum": "Minimum"}
_AXES_OF_GLOBAL_POOLING = {(0,): 1, (0, 1): 2, (0, 1, 2): 3}


@build.register
def _(op: ops.Activation, at: Site) -> Any:
    kind, given = op.kind, op.parameters
    if kind in _ACTIVATIONS and not given:
        return at.layer("Activation", at.x, activation=_ACTIVATIONS[kind])
    if kind == "bitwise_not" and at.value.dtype == torch.bool:
        kind = "logical_not"
    if kind in _FUNCTIONS and not given:
        return at.op(_FUNCTIONS[kind], at.x)
    if kind not in _WITH_OPTIONS:
        raise CannotBuildError("Keras has no such function")
    return _WITH_OPTIONS[kind](at, *given)


def _elu(at: Site, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    if scale != 1 or input_scale != 1:
        raise CannotBuildError("Keras' ELU has no scales")
    return at.layer("ELU", at.x, alpha=alpha)


def _gelu(at: Site, approximate: str = "none") -> Any:
    return at.op("gelu", at.x, approximate=approximate == "tanh")


def _softplus(at: Site, beta: float = 1, threshold: float = 20) -> Any:
    # PyTorch is linear above the threshold, where the two differ by less than exp(-threshold) / beta.
    if threshold < 20:
        raise CannotBuildError("Keras' softplus has no threshold")
    if beta == 1:
        return at.layer("Activation", at.x, activation="softplus")
    return at.op("divide", at.op("softplus", at.op("multiply", at.x, float(beta))), float(beta))


def _clamp(at: Site, low: float | None = None, high: float | None = None) -> Any:
    x = at.x if low is None else at.op("maximum", at.x, float(low))
    return x if high is None else at.op("minimum", x, float(high))


def _threshold(at: Site, threshold: float, value: float) -> Any:
    return at.op("where", at.op("greater", at.x, float(threshold)), at.x, float(value))


_WITH_OPTIONS: dict[str, Callable[..., Any]] = {
    "leaky_relu": lambda at, slope=0.01: at.layer("LeakyReLU", at.x, negative_slope=float(slope)),
    "rrelu": lambda at, low, high, *_: at.layer("LeakyReLU", at.x, negative_slope=(low + high) / 2),  # at inference
    "elu": _elu,
    "gelu": _gelu,
    "celu": lambda at, alpha=1.0: at.op("celu", at.x, alpha=float(alpha)),
    "softplus": _softplus,
    "softshrink": lambda at, bound=0.5: at.op("soft_shrink", at.x, threshold=float(bound)),
    "hardshrink": lambda at, bound=0.5: at.op("hard_shrink", at.x, threshold=float(bound)),
    "threshold": _threshold,
    "clamp": _clamp,
    "clip": _clamp,
    "hardtanh": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda at, high: _clamp(at, None, high),
    "cast": lambda at, dtype: at.op("cast", at.x, dtype),
}


@build.register
def _(op: ops.Elementwise, at: Site) -> Any:
    name = op.kind.partition(".")[0]
    options = dict(op.keywords)
    alpha: Any = options.pop("alpha", 1)
    if options or (name not in _BINARY and name not in ("rsub", "where", "masked_fill")):  # rounding_mode, say
        raise CannotBuildError("Keras has no such function")
    operands = at.aligned(op.operands)
    if name in ("add", "sub", "rsub") and len(operands) > 2:  # add.Scalar and the like
        alpha = operands.pop()
    if name in ("where", "masked_fill"):
        mask, x, other = operands if name == "where" else (operands[1], operands[2], operands[0])
        return at.activate(at.op("where", mask, x, other), op.activation)
    if alpha != 1:
        scaled = 0 if name == "rsub" else 1
        factor = operands[scaled]
        operands[scaled] = at.op("multiply", factor, alpha) if hasattr(factor, "shape") else alpha * factor
    if name == "rsub":
        name, operands = "sub", operands[::-1]
    if at.output.dtype == torch.bool:  # TensorFlow has no bitwise functions of booleans
        name = {"__and__": "logical_and", "__or__": "logical_or", "__xor__": "logical_xor"}.get(
            name, name.replace("bitwise", "logical")
        )
    alike = all(isinstance(each, Input) for each in op.operands) and len({tuple(each.shape) for each in operands}) == 1
    y = at.layer(_MERGING[name], operands) if alike and name in _MERGING else at.op(_BINARY[name], *operands)
    return at.activate(y, op.activation)


@build.register
def _(op: ops.Function, at: Site) -> Any:
    """What it is made of, each with the shape that its input has here."""
    shaped = {value: replace(value, shape=at.output.shape) for value in (*op.body.inputs, *op.body.producers())}
    made = {op.body.inputs[0]: at.x}
    for node in op.body.nodes:
        inputs, outputs = (tuple(shaped[each] for each in values) for values in (node.inputs, node.outputs))
        inner = at.inner(replace(node, inputs=inputs, outputs=outputs), [made[each] for each in node.inputs])
        made[node.output] = build(node.op, inner)
    return made[op.body.outputs[0]]


@build.register
def _(op: ops.Softmax, at: Site) -> Any:
    x = at.x
    if op.causal:
        rows, columns = at.value.shape[-2:]
        x = at.op("where", np.tril(np.ones((rows, columns), bool)), x, float(np.finfo(np.float32).min))
    if op.log:
        return at.op("log_softmax", x, axis=op.axis + 1)
    return at.layer("Softmax", x, axis=op.axis + 1)


@build.register
def _(op: ops.Reduce, at: Site) -> Any:
    axes = [axis + 1 for axis in op.axes]
    if op.kind not in ("var", "std"):
        irrelevant(op, "correction")  # of the number of elements, by which nothing else divides
    rank = _AXES_OF_GLOBAL_POOLING.get(op.axes)
    if op.kind in ("mean", "amax") and rank is not None and len(at.value.shape) == rank + 1:
        kind = "Max" if op.kind == "amax" else "Average"
        options: dict[str, Any] = {"keepdims": op.keepdim, "data_format": "channels_last"}
        return at.layer(f"Global{kind}Pooling{rank}D", at.x, **options)
    if op.kind in ("argmax", "argmin"):
        x = at.x if len(axes) == 1 else at.reshape(at.x, (math.prod(at.value.shape),))
        index = at.op(op.kind, x, axis=axes[0] if len(axes) == 1 else 1, keepdims=op.keepdim)
        return at.op("cast", index, "int64")
    if op.kind in ("var", "std"):
        count = math.prod(at.value.shape[axis] for axis in op.axes)
        degrees = count - (op.correction or 0)
        if degrees <= 0:
            raise CannotBuildError(
                f"the variance of {count} elements is not defined with a correction of {op.correction}"
            )
        spread = at.op("multiply", at.op("var", at.x, axis=axes, keepdims=op.keepdim), count / degrees)
        return at.op("sqrt", spread) if op.kind == "std" else spread
    if op.kind in ("norm1", "norm2"):
        each = at.op("absolute" if op.kind == "norm1" else "square", at.x)
        total = at.op("sum", each, axis=axes, keepdims=op.keepdim)
        return total if op.kind == "norm1" else at.op("sqrt", total)
    name = {"amax": "max", "amin": "min"}.get(op.kind, op.kind)
    if name not in ("mean", "sum", "prod", "max", "min", "logsumexp", "all", "any"):
        raise CannotBuildError("Keras has no such reduction")
    x = at.x if at.value.dtype.is_floating_point else at.op("cast", at.x, str(at.output.dtype).removeprefix("torch."))
    return at.op(name, x, axis=axes, keepdims=op.keepdim)
