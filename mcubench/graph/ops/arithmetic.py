"""Activations, arithmetic on elements, products of computed tensors, reductions."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.graph.ir import Graph, Op, Operand
from mcubench.graph.ops.common import Sizes, fused

__all__ = ["Activation", "Einsum", "Elementwise", "Function", "MatMul", "Reduce", "Softmax"]


@dataclass(frozen=True, eq=False)
class Activation(Op):
    """A function of one value at a time; `parameters` are those of the torch operator of that name."""

    kind: str
    parameters: tuple[float | str | bool | None, ...] = ()

    @property
    def label(self) -> str:
        """The function's name."""
        return self.kind


@dataclass(frozen=True, eq=False)
class Elementwise(Op):
    """Any other operation on elements at equal places (with broadcasting); `kind` as in ``add.Tensor``."""

    kind: str
    operands: tuple[Operand, ...]
    keywords: tuple[tuple[str, float | str], ...] = ()
    activation: str | None = None

    @property
    def label(self) -> str:
        """The operation, with the fused activation."""
        return fused(self.kind.partition(".")[0], self.activation)


@dataclass(frozen=True, eq=False)
class Function(Op):
    """A function of one value at a time that has no name; `body` computes it, whatever the shape of its input."""

    body: Graph

    @property
    def label(self) -> str:
        """What it is made of, in order."""
        return " ".join(node.op.label for node in self.body.nodes)


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Softmax or log-softmax along an axis; a causal one leaves out what comes after the row's own place."""

    axis: int
    log: bool = False
    causal: bool = False


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Product of matrices, of which at least one is computed; leading axes broadcast."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Einsum(Op):
    """Einstein sum; the equation is that of one sample."""

    equation: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """Mean, sum, amax, ... over axes; `kind` is the torch operator's name."""

    kind: str
    axes: Sizes
    keepdim: bool
    correction: float | None = None  # of variance and standard deviation

    @property
    def label(self) -> str:
        """What is computed."""
        return f"Reduce {self.kind}"
