"""Rules for activations, arithmetic on elements, softmax and reductions."""

from __future__ import annotations

from typing import Any

import torch

from mcubench.graph import ops
from mcubench.graph.ir import Value, Weight
from mcubench.graph.lowering.batch import CannotLowerError
from mcubench.graph.lowering.lowerer import Lowerer, lowers

__all__: list[str] = []

_CLAMPED = {(0.0, None): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1"}

# Pointwise operators by what they do, though not tagged so in every version of torch.
_MORE = """
    hardtanh leaky_relu elu celu selu silu mish gelu hardswish hardsigmoid softplus log_sigmoid relu6 softshrink
    hardshrink threshold rrelu square addcmul addcdiv softsign clip floor_divide
"""


@lowers("pointwise")  # stands for all that torch tags as such
@lowers("aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar", "aten.rsub.Tensor")
@lowers(*(f"aten.__{name}__.{overload}" for name in ("and", "or", "xor") for overload in ("Tensor", "Scalar")))
@lowers(*(f"aten.{name}.default" for name in _MORE.split()))
def _pointwise(low: Lowerer) -> Value:
    target = low.node.target
    assert isinstance(target, torch._ops.OpOverload)
    if target.namespace != "aten":
        raise CannotLowerError("it is not known")
    if torch.Tag.nondeterministic_seeded in target.tags and low.args.get("training", True):
        raise CannotLowerError("it draws random numbers at inference")
    keywords = {argument.name for argument in target._schema.arguments if argument.kwarg_only}
    for each in low.args.values():
        low.check_number(each)
    first, *rest = (value for name, value in low.args.items() if name not in keywords)
    kind = f"{target._schema.name.removeprefix('aten::')}.{target._overloadname}"
    if isinstance(first, Value) and target._overloadname == "default" and not any(
        isinstance(value, (Value, Weight)) for value in rest
    ):  # fmt: skip
        approximate = [low.args["approximate"]] if "approximate" in keywords else []  # of gelu
        return low.emit(_activation(kind.partition(".")[0], (*rest, *approximate)), [first])
    operands, values = low.operands(first, *rest)
    given = {name: low.args[name] for name in sorted(keywords) if isinstance(low.args[name], (int, float, str))}
    return low.emit(ops.Elementwise(kind, operands, tuple(given.items())), values)


def _activation(name: str, options: tuple[Any, ...]) -> ops.Activation:
    """The function by its best-known name: a ReLU comes in many forms."""
    if name in ("hardtanh", "clamp", "clip", "clamp_min"):
        bounds = tuple(None if each is None else float(each) for each in (*options, None, None)[:2])
        if bounds in _CLAMPED:
            return ops.Activation(_CLAMPED[bounds])
    return ops.Activation(name, options)


@lowers("aten.glu.default")
def _glu(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    axis = low.axis(x, low.args["dim"])
    half = x.shape[axis] // 2
    shape = (*x.shape[:axis], half, *x.shape[axis + 1 :])
    value, gate = (low.emit(ops.Slice(axis, part * half, (part + 1) * half), [x], shape) for part in (0, 1))
    gate = low.emit(ops.Activation("sigmoid"), [gate])
    return low.emit(ops.Elementwise("mul.Tensor", low.operands(value, gate)[0]), [value, gate])


@lowers("aten.softmax.int", "aten._softmax.default", "aten.log_softmax.int", "aten._log_softmax.default")
def _softmax(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    return low.emit(ops.Softmax(low.axis(x, low.args["dim"]), "log" in str(low.node.target)), [x])


@lowers(
    *(f"aten.{kind}.{overload}" for kind in ("mean", "amax", "amin", "logsumexp", "all", "any", "argmax", "argmin")
      for overload in ("default", "dim")),
    "aten.sum.default", "aten.sum.dim_IntList", "aten.prod.default", "aten.prod.dim_int", "aten.max.default",
    "aten.min.default", "aten.max.dim", "aten.min.dim", "aten.var.correction", "aten.std.correction", "aten.var.dim",
    "aten.std.dim", "aten.std.default", "aten.var.default",
)  # fmt: skip
def _reduce(low: Lowerer) -> Any:
    (x,) = low.values(low.args["self"])
    if low.args.get("dtype") not in (None, x.dtype):
        raise CannotLowerError("it changes the type")
    target = str(low.node.target).split(".")
    dims = low.args.get("dim")
    if dims is None or dims == []:
        dims = list(range(low.traced_rank(x)))
    axes = tuple(sorted(low.axis(x, dim) for dim in ([dims] if isinstance(dims, int) else dims)))
    correction = low.args.get("correction")
    if "unbiased" in low.args:
        correction = int(low.args["unbiased"])
    elif target[1] in ("var", "std") and correction is None:
        correction = 1
    kind = {"max": "amax", "min": "amin"}.get(target[1], target[1])
    out = low.emit(ops.Reduce(kind, axes, bool(low.args.get("keepdim")), correction), [x])
    if isinstance(low.node.meta["val"], (tuple, list)):  # the indices too, if somebody reads them
        used = any(node.args[1] == 1 and node.users for node in low.node.users)
        index = low.emit(ops.Reduce(f"arg{target[1]}", axes, bool(low.args.get("keepdim"))), [x]) if used else None
        return out, index
    return out


@lowers("aten.linalg_vector_norm.default")
def _norm(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    if low.args["ord"] not in (1, 2):
        raise CannotLowerError("only norms of order 1 and 2 are supported")
    dims = low.args["dim"] or list(range(low.traced_rank(x)))
    axes = tuple(sorted(low.axis(x, dim) for dim in dims))
    return low.emit(ops.Reduce(f"norm{int(low.args['ord'])}", axes, low.args["keepdim"]), [x])
