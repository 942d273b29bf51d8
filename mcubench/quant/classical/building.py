"""From the stages of an estimator to the graph that a device computes: a rule for each computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mcubench.cost.estimators import Stage, Stages
from mcubench.cost.estimators.stages import largest, not_negative, the_class
from mcubench.quant.classical.stored import Codes, codes_of, float32_of
from mcubench.quant.classical.widths import FORMS, Form
from mcubench.quant.grid import FLOAT32, Grid
from mcubench.quant.integer.ir import Decision, IntegerGraph, IntegerNode, IntegerTensor, Kernel

__all__ = ["NotOnDeviceError", "Site", "classical_graph", "rule"]

_DECISIONS: Mapping[Callable[..., Any], Decision] = {
    largest: "largest",
    not_negative: "not_negative",
    the_class: "class",
}


class NotOnDeviceError(Exception):
    """A stage that no device kernel computes; the message says which."""


class Site:
    """Where a stage becomes a kernel.

    Args:
        stage: The stage.
        source: What it reads.
        grid: Of what it leaves; ``None`` for sums, classes and float32.
        form: What numbers are.
        name: Of what it leaves.
    """

    def __init__(self, stage: Stage, source: IntegerTensor, grid: Grid | None, form: Form, name: str) -> None:
        self.stage, self.source, self.form = stage, source, form
        self._grid, self._name = grid, name
        self._stored = {each.name: each for each in stage.stored if each.values is not None}

    @property
    def real(self) -> bool:
        """Whether numbers are float32."""
        return self.form == "float32"

    @property
    def bits(self) -> int:
        """Of a number that is stored."""
        return FORMS[self.form].weight

    @property
    def grid(self) -> Grid:
        """Of what it leaves."""
        if self.real:
            return FLOAT32
        assert self._grid is not None
        return self._grid

    def codes(self, name: str, least: Any = 0.0) -> Codes:
        """What is stored by that name, in integers whose steps are worth so much at least."""
        return codes_of(self._stored[name], self.source.grid, self.bits, least)

    def steps(self, name: str, step: Any, bits: int = 30) -> NDArray[np.int64]:
        """What is stored by that name, 0 where it is not, counted in steps.

        Raises:
            NotOnDeviceError: If there are more of them than so many bits count.
        """
        found = np.rint(self.exact(name) / step)
        if np.abs(found).max(initial=0) > 2**bits:
            raise NotOnDeviceError(f"{self.stage.op} has a {name} too large beside its other numbers")
        return np.asarray(found, np.int64)

    def floats(self, name: str, below: bool = False) -> Any:
        """What is stored by that name, in float32."""
        return float32_of(self._stored[name].values, below)

    def exact(self, name: str, otherwise: float = 0.0) -> Any:
        """What is stored by that name, in float64; another number where it is not stored."""
        return np.asarray(self._stored[name].values if name in self._stored else otherwise, np.float64)

    def target(self, width: int | None = None, scale: float = 1.0) -> IntegerTensor:
        """The tensor that it leaves.

        Args:
            width: Bytes of an integer that lies on no grid; not given, it lies on that of the stage.
            scale: What a step of it is worth.
        """
        shape = (1, self.stage.outputs)
        if width is not None:
            return IntegerTensor(self._name, shape, Grid(scale, 0, bits=8 * min(width, 2)), width)
        return IntegerTensor(self._name, shape, self.grid, self.grid.bits // 8)


Made = list[tuple[Kernel, IntegerTensor]]


@singledispatch
def rule(_computation: Any, at: Site) -> Made:
    """The kernels of a stage, with what each of them leaves; register one for a computation here.

    Raises:
        NotOnDeviceError: If there are none.
    """
    raise NotOnDeviceError(f"no device arithmetic is known for {at.stage.op}")


def classical_graph(estimator: BaseEstimator, stages: Stages, grids: Sequence[Grid | None], form: Form) -> IntegerGraph:
    """The graph of a fitted classifier.

    Args:
        estimator: The classifier.
        stages: What predicting takes.
        grids: Of the input and of what each stage leaves; ``None`` for sums, classes and float32.
        form: What numbers are.

    Raises:
        NotOnDeviceError: If a stage has no kernel, or numbers do not fit into its types.
    """
    first = FLOAT32 if grids[0] is None else grids[0]
    tensor = source = IntegerTensor("input", (1, estimator.n_features_in_), first, first.bits // 8)
    nodes: list[IntegerNode] = []
    for number, (stage, grid) in enumerate(zip(stages, grids[1:], strict=True)):
        at = Site(stage, tensor, grid, form, f"{number}.{stage.path or 'stage'}")
        for kernel, made in rule(stage.compute, at):
            nodes.append(IntegerNode(made.name, stage.path, kernel, (tensor,), made))
            tensor = made
    decide = stages[-1].decide
    if decide not in _DECISIONS:
        raise NotOnDeviceError(f"no device arithmetic is known for how {stages[-1].op} decides")
    decision = _DECISIONS[decide]
    if decision == "largest" and tensor.size == 1:
        decision = "positive"
    classes = np.asarray(estimator.classes_)
    counted = classes.dtype.kind not in "iu" or np.array_equal(classes, np.arange(len(classes)))
    labels = None if counted else tuple(classes.tolist())
    return IntegerGraph(tuple(nodes), (source,), (tensor,), (0,), (0,), (), decision, labels)
