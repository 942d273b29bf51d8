"""Rules for operators that work on single elements, and for those that do nothing at inference."""

from __future__ import annotations

import functools
from typing import Any

import torch

from mcubench.readers.onnx.reading import At, Known, Value, aten, reads
from mcubench.readers.onnx.tensors import TYPES

__all__ = ["add", "cast", "clamped", "joined", "scalar"]

_UNARY = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan",
    "Atanh": "atanh", "BitwiseNot": "bitwise_not", "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf",
    "Exp": "exp", "Floor": "floor", "HardSwish": "hardswish", "IsNaN": "isnan", "Log": "log", "Mish": "mish",
    "Neg": "neg", "Not": "logical_not", "Reciprocal": "reciprocal", "Relu": "relu", "Round": "round",
    "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Softplus": "softplus", "Sqrt": "sqrt",
    "Tan": "tan", "Tanh": "tanh",
}  # fmt: skip

_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor", "Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt",
    "LessOrEqual": "le",
}  # fmt: skip

_LOGICAL = {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}

# The constants of SELU (Klambauer et al. 2017), as ONNX has them.
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


def scalar(at: At, value: Value, like: Value) -> Any:
    """A known single number as a number, as it is in code; any other value as it is.

    Args:
        at: The operator.
        value: One of two operands.
        like: The other one, which decides on the shape of the result.
    """
    if not isinstance(value, Known) or not isinstance(like, torch.fx.Node) or value.tensor.numel() != 1:
        return value
    plain = at.rank(value) <= at.rank(like) and not value.counts and value.tensor.dtype != torch.bool
    return value.tensor.item() if plain else value


def joined(at: At, name: str, left: Value, right: Value, **options: Any) -> Value:
    """A pointwise operator of two operands; a single number stands behind, as torch wants it."""
    left_number, right_number = scalar(at, left, right), scalar(at, right, left)
    if not isinstance(left_number, (Known, torch.fx.Node)):
        if name in ("add", "mul"):
            return at.call(getattr(aten, name).Tensor, right, left_number)
        if name == "sub":
            return at.call(aten.rsub.Scalar, right, left_number)
    target = getattr(aten, name)
    if name not in ("add", "sub", "mul", "div") and not isinstance(right_number, (Known, torch.fx.Node)):
        return at.call(target.Scalar, left, right_number)
    return at.call(target.Tensor_mode if options else target.Tensor, left, right_number, **options)


def add(at: At, left: Value, right: Value) -> Value:
    """A sum; that of a product with weights and a constant is the product with a bias."""
    for product, constant in ((left, right), (right, left)):
        bias = _bias(at, product, constant)
        if bias is not None:
            assert isinstance(product, torch.fx.Node)
            return at.call(aten.linear.default, *product.args[:2], bias)
    return joined(at, "add", left, right)


def _bias(at: At, product: Value, constant: Value) -> Known | None:
    """A constant that is one number for each output of a product that nobody else reads."""
    if not isinstance(product, torch.fx.Node) or not isinstance(constant, Known) or constant.counts:
        return None
    if product.target != aten.linear.default or len(product.args) > 2:
        return None
    outputs, shape = at.traced(product)[-1], at.traced(constant)
    if shape != (outputs,) or outputs == 1:
        return None
    names = [name for name, value in at.reading.values.items() if value is product]
    return constant if [at.reading.readers[name] for name in names] == [1] else None


def cast(at: At, value: Value, dtype: torch.dtype) -> Value:
    """The value in another type."""
    if at.dtype(value) == dtype:
        return value
    return at.call(aten.to.dtype, value, dtype)


def clamped(at: At, x: Value, low: float | None, high: float | None) -> Value:
    """The value within bounds."""
    if low is None and high is None:
        return x
    return at.call(aten.clamp.default, x, low, high)


@reads(*_UNARY)
def _unary(at: At) -> Value:
    x, name = at.value(0), _UNARY[at.node.operator]
    if not at.is_float(x) and name in ("ceil", "floor", "round"):
        return x
    return at.call(getattr(aten, name).default, x)


def _pair(at: At, index: int = 0) -> tuple[Value, Value]:
    """Two operands of one type; before operator set 7 the second one's axes could stand anywhere."""
    left, right = at.value(index), at.value(index + 1)
    if at.dtype(left) != at.dtype(right):
        at.refuse(f"its operands are {at.dtype(left)} and {at.dtype(right)}, which ONNX has no such operator for")
    if at.opset < 7 and at.attributes.get("broadcast"):
        axis = at.attributes.get("axis")
        if axis is not None:
            behind = at.rank(left) - at.axis(left, axis) - at.rank(right)
            right = at.reshaped(right, (*at.shape(right), *(1,) * behind))
    elif at.opset < 7 and "broadcast" in at.attributes and at.shape(left) != at.shape(right):
        at.refuse("its operands are of different shapes, and it does not say that they broadcast")
    return left, right


@reads(*_BINARY, *_LOGICAL)
def _binary(at: At) -> Value:
    left, right = _pair(at)
    name = at.node.operator
    if name == "Add":
        return add(at, left, right)
    if name in _LOGICAL:
        return at.call(getattr(aten, _LOGICAL[name]).default, left, right)
    return joined(at, _BINARY[name], left, right)


@reads("Div")
def _div(at: At) -> Value:
    left, right = _pair(at)
    return joined(at, "div", left, right, **({} if at.is_float(left) else {"rounding_mode": "trunc"}))


@reads("Mod")
def _mod(at: At) -> Value:
    left, right = _pair(at)
    if not at.attributes["fmod"] and at.is_float(left):
        at.refuse("of fractions it has to say fmod=1")
    return joined(at, "fmod" if at.attributes["fmod"] else "remainder", left, right)


@reads("BitShift")
def _shift(at: At) -> Value:
    left, right = _pair(at)
    side = {"LEFT": "left", "RIGHT": "right"}.get(at.attributes["direction"])
    if side is None:
        at.refuse(f"its direction is {at.attributes['direction']!r}")
    return at.call(getattr(aten, f"bitwise_{side}_shift").Tensor, left, right)


@reads("Pow")
def _pow(at: At) -> Value:
    base, exponent = at.value(0), at.value(1)
    if at.opset < 7:
        base, exponent = _pair(at)
    number = scalar(at, exponent, base)
    if not isinstance(number, (Known, torch.fx.Node)):
        if not at.is_float(base) and (number < 0 or number != int(number)):
            at.refuse("it raises integers to a power that makes fractions of them")
        power = int(number) if not at.is_float(base) else number
        return cast(at, at.call(aten.pow.Tensor_Scalar, base, power), at.dtype(base))
    if at.dtype(base) != at.dtype(exponent) and not at.is_float(base):
        at.refuse("it raises integers to powers of another type")
    return cast(at, at.call(aten.pow.Tensor_Tensor, base, exponent), at.dtype(base))


@reads("Max", "Min", "Sum", "Mean")
def _several(at: At) -> Value:
    given, name = at.given(), at.node.operator
    if len({at.dtype(each) for each in given}) > 1:
        at.refuse("its operands are of different types")
    if name in ("Sum", "Mean"):
        total = functools.reduce(lambda left, right: add(at, left, right), given)
        return at.call(aten.div.Tensor, total, len(given)) if name == "Mean" else total
    target = aten.maximum.default if name == "Max" else aten.minimum.default
    return functools.reduce(lambda left, right: at.call(target, left, right), given)


@reads("Where")
def _where(at: At) -> Value:
    condition, left, right = at.value(0), at.value(1), at.value(2)
    if at.dtype(left) != at.dtype(right) or at.dtype(condition) != torch.bool:
        at.refuse("its operands are of different types, or its condition is no boolean")
    return at.call(aten.where.self, condition, left, right)


@reads("Clip")
def _clip(at: At) -> Value:
    x = at.value(0)
    if at.opset < 11:
        # The largest and smallest numbers of float32 stand for no bound.
        limit = torch.finfo(torch.float32).max
        bounds = [at.attributes.get("min"), at.attributes.get("max")]
        bounds = [None if each is None or abs(each) >= limit else each for each in bounds]
    else:
        bounds = [at.number(index, "a bound") if at.has(index) else None for index in (1, 2)]
    if not at.is_float(x):
        if any(each is not None and each != int(each) for each in bounds):
            at.refuse("its bounds of integers are fractions")
        bounds = [None if each is None else int(each) for each in bounds]
    return clamped(at, x, *bounds)


@reads("Cast", "CastLike")
def _cast(at: At) -> Value:
    x = at.value(0)
    if at.node.operator == "CastLike":
        return cast(at, x, at.dtype(at.value(1)))
    kinds = {1: "FLOAT", 2: "UINT8", 3: "INT8", 5: "INT16", 6: "INT32", 7: "INT64", 9: "BOOL"}
    more = {10: torch.float16, 11: torch.float64}
    kind = at.attributes["to"]
    if kind in more and isinstance(x, Known):
        return cast(at, x, more[kind])
    if kind not in kinds:
        at.refuse(f"it casts to type {kind} of ONNX; {', '.join(TYPES)} are read")
    return cast(at, x, TYPES[kinds[kind]])


@reads("Identity")
def _identity(at: At) -> Value:
    return at.value(0)


@reads("Dropout")
def _dropout(at: At) -> tuple[Value | None, ...]:
    training = at.number(2, "whether it trains") if at.has(2) else at.opset < 7 and not at.attributes["is_test"]
    if training:
        at.refuse("it drops values, as in training")
    x = at.value(0)
    if len(at.node.outputs) < 2 or not at.reading.readers[at.node.outputs[1]]:
        return x, None
    return x, at.call(aten.ones_like.default, x, dtype=torch.bool)


@reads("IsInf")
def _is_inf(at: At) -> Value:
    x, low, high = at.value(0), at.attributes["detect_negative"], at.attributes["detect_positive"]
    if low and high:
        return at.call(aten.isinf.default, x)
    if not low and not high:
        return at.call(aten.lt.Scalar, x, -float("inf"))
    return at.call(aten.eq.Scalar, x, float("inf") if high else -float("inf"))


@reads("PRelu")
def _prelu(at: At) -> Value:
    x, slope = at.value(0), at.value(1)
    shape, rank = at.shape(x), at.rank(x)
    if isinstance(slope, Known) and at.is_float(x):
        given = at.shape(slope)
        if slope.tensor.numel() == 1:
            return at.call(aten.prelu.default, x, at.reshaped(slope, (1,)))
        lead = given[0] if at.opset < 7 and len(given) == 1 else 0
        if rank > 1 and (given == (shape[1], *(1,) * (rank - 2)) or lead == shape[1]):
            return at.call(aten.prelu.default, x, at.reshaped(slope, (shape[1],)))
    if at.opset < 7:
        at.refuse("its slopes are not one for each channel")
    zero = at.call(aten.ge.Scalar, x, 0)
    return at.call(aten.where.self, zero, x, at.call(aten.mul.Tensor, x, slope))


_ALPHA = {"Elu": aten.elu.default, "Celu": aten.celu.default, "LeakyRelu": aten.leaky_relu.default}


@reads(*_ALPHA)
def _sloped(at: At) -> Value:
    return at.call(_ALPHA[at.node.operator], at.value(0), at.attributes["alpha"])


@reads("ThresholdedRelu")
def _thresholded(at: At) -> Value:
    return at.call(aten.threshold.default, at.value(0), at.attributes["alpha"], 0)


@reads("Gelu")
def _gelu(at: At) -> Value:
    return at.call(aten.gelu.default, at.value(0), approximate=at.attributes["approximate"])


@reads("Softsign")
def _softsign(at: At) -> Value:
    x = at.value(0)
    return at.call(aten.div.Tensor, x, at.call(aten.add.Tensor, at.call(aten.abs.default, x), 1))


@reads("Selu")
def _selu(at: At) -> Value:
    x, given = at.value(0), (at.attributes["alpha"], at.attributes["gamma"])
    if all(abs(one - other) < 1e-6 for one, other in zip(given, _SELU, strict=True)):
        return at.call(aten.selu.default, x)
    return at.call(aten.elu.default, x, *given)


@reads("HardSigmoid")
def _hard_sigmoid(at: At) -> Value:
    x, alpha, beta = at.value(0), at.attributes["alpha"], at.attributes["beta"]
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return at.call(aten.hardsigmoid.default, x)
    return clamped(at, at.call(aten.add.Tensor, at.call(aten.mul.Tensor, x, alpha), beta), 0.0, 1.0)


@reads("Swish")
def _swish(at: At) -> Value:
    x, alpha = at.value(0), at.attributes["alpha"]
    if alpha == 1:
        return at.call(aten.silu.default, x)
    return at.call(aten.mul.Tensor, x, at.call(aten.sigmoid.default, at.call(aten.mul.Tensor, x, alpha)))


@reads("Shrink")
def _shrink(at: At) -> Value:
    """Towards zero by ``bias``, and to zero within ``lambd`` of it."""
    x, bias, bound = at.value(0), at.attributes["bias"], at.attributes["lambd"]
    if bound < 0 or bias not in (0, bound) or not at.is_float(x):
        at.refuse("its lambd is negative, it shrinks by another amount than lambd, or it shrinks integers")
    return at.call(aten.softshrink.default if bias else aten.hardshrink.default, x, bound)
