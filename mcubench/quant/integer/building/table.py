"""The one table of what the integer graph can do of an operation, and the rules behind it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcubench.errors import UserError
from mcubench.graph import Op, Unknown, ops
from mcubench.quant.integer.ir import Kernel

if TYPE_CHECKING:
    from mcubench.quant.integer.building.site import Builder

__all__ = ["TABLE", "NotInIntegersError", "Row", "build", "builds"]


class NotInIntegersError(UserError):
    """An operation that TFLite Micro has no int8 kernel for, or none like it."""


@dataclass(frozen=True)
class Row:
    """What the integer graph has of an operation.

    Attributes:
        op: The operation.
        kernels: What it may become.
        limits: What is taken of it; the rest is refused.
    """

    op: type[Op]
    kernels: tuple[type[Kernel], ...]
    limits: str


# What training rounds, `quantize` and `export` take, and what is suggested: all of them ask these rules.
TABLE: list[Row] = []

Rule = Callable[[Any, "Builder"], None]


def builds(op: type[Op], *made: type[Kernel], limits: str) -> Callable[[Rule], Rule]:
    """Registers the rule for an operation, and its row in the table."""

    def enter(rule: Rule) -> Rule:
        TABLE.append(Row(op, made, limits))
        build.register(op)(rule)
        return rule

    return enter


@functools.singledispatch
def build(op: Op, _at: Builder) -> None:
    """Builds an operation's kernels.

    Raises:
        NotInIntegersError: If there are none.
    """
    if isinstance(op, Unknown):
        raise NotInIntegersError(f"it is not understood ({op.reason})")
    if isinstance(op, ops.RecurrentCell):
        raise NotInIntegersError(
            "cells are computed as one layer, where they step through all elements of a sequence in order, two at "
            "least, from a state of 0, and hand on nothing but their hidden state: this one does not. A layer (nn.GRU, "
            "nn.LSTM) needs no loop, and flip() turns a sequence"
        )
    raise NotInIntegersError("none of the int8 kernels that are used here computes it")
