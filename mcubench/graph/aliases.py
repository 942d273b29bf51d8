"""Operators that torch has under two names (``alias for`` in its native_functions.yaml), by the one that is known."""

from __future__ import annotations

import torch
from torch import fx

__all__ = ["ALIASES", "by_usual_name"]

ALIASES = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "clip": "clamp",
    "divide": "div",
    "fix": "trunc",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "moveaxis": "movedim",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "special_erf": "erf",
    "special_erfc": "erfc",
    "special_exp2": "exp2",
    "special_expit": "sigmoid",
    "special_expm1": "expm1",
    "special_log1p": "log1p",
    "special_log_softmax": "log_softmax",
    "special_logit": "logit",
    "special_logsumexp": "logsumexp",
    "special_round": "round",
    "special_sinc": "sinc",
    "special_softmax": "softmax",
    "subtract": "sub",
    "swapdims": "swapaxes",
    "true_divide": "div",
}


def by_usual_name(node: fx.Node) -> None:
    """Has a call be of the operator that its own is an alias for."""
    if not isinstance(node.target, torch._ops.OpOverload) or node.target.namespace != "aten":
        return
    name = node.target._schema.name.removeprefix("aten::")
    if name not in ALIASES:
        return
    packet = getattr(torch.ops.aten, ALIASES[name])
    same = next(each for each in (node.target._overloadname, "int") if each in packet.overloads())  # softmax has "int"
    node.target = getattr(packet, same)
