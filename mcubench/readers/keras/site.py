"""Where a layer of a Keras model is written down: what its rule reads and calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from mcubench.errors import UserError
from mcubench.readers.program import Program
from mcubench.readers.rules import Rules

__all__ = ["ATEN", "RULES", "Site", "Writing", "rule"]

ATEN: Any = torch.ops.aten

Rule = Callable[["Site"], fx.Node]

RULES: Rules[Rule] = Rules()
rule = RULES.of


@dataclass
class Writing:
    """A model that is being written down.

    Attributes:
        program: Where to.
        keras: The module.
        of_keras_2: Whether Keras 2 wrote the file; some functions were others then.
        owners: The layers that have been met, by their paths.
    """

    program: Program
    keras: Any
    of_keras_2: bool
    owners: dict[str, Any] = field(default_factory=dict)


class Site:
    """A layer, the program that it is written into, and what it is called with.

    Attributes:
        layer: The layer of Keras'.
        path: What it is called in tables.
        inputs: What it is called with.
        options: Its configuration.
    """

    def __init__(self, writing: Writing, layer: Any, path: str, inputs: Sequence[fx.Node]) -> None:
        self.writing, self.layer, self.path, self.inputs = writing, layer, path, list(inputs)
        self.options: dict[str, Any] = layer.get_config()
        program = writing.program
        self.call, self.item, self.shape = program.call, program.item, program.shape

    def refuse(self, reason: str) -> UserError:
        """An error that names the layer."""
        return UserError(f"{type(self.layer).__name__} at {self.path} can't be read: {reason}")

    @property
    def x(self) -> fx.Node:
        """The only thing that it is called with, floats.

        Raises:
            UserError: If these are several, or integers.
        """
        if len(self.inputs) != 1:
            raise self.refuse(f"it is called with {len(self.inputs)} tensors")
        return self.floats(self.inputs[0])

    def floats(self, x: fx.Node) -> fx.Node:
        """What is computed, if it is of floats.

        Raises:
            UserError: If not.
        """
        if x.meta["val"].dtype != torch.float32:
            raise self.refuse(f"it computes with {str(x.meta['val'].dtype).removeprefix('torch.')}")
        return x

    def as_floats(self) -> fx.Node:
        """What it is called with, cast to floats if it is of integers."""
        (x,) = self.inputs
        return x if x.meta["val"].dtype == torch.float32 else self.call(ATEN._to_copy.default, x, dtype=torch.float32)

    def option(self, name: str, default: Any = None) -> Any:
        """An option by its name."""
        return self.options.get(name, default)

    def sizes(self, name: str, rank: int) -> list[int]:
        """An option that is one number, or one for each spatial axis."""
        found = self.options[name]
        sizes = [int(each) for each in found] if isinstance(found, (tuple, list)) else [int(found)]
        return sizes * rank if len(sizes) == 1 else sizes

    def stored(self, name: str, tensor: Tensor) -> fx.Node:
        """A weight, as it is wanted here; the same one whenever the layer is called."""
        return self.writing.program.weight(f"{self.path}.{name}", tensor.contiguous())

    def array(self, variable: Any) -> Tensor:
        """What stands in a variable of Keras'."""
        return torch.from_numpy(np.array(self.writing.keras.ops.convert_to_numpy(variable), np.float32))

    def weight(self, name: str, order: Sequence[int] | None = None) -> fx.Node | None:
        """A weight by the name of its attribute, its axes perhaps in another order; ``None`` if there is none."""
        variable = getattr(self.layer, name, None)
        if variable is None:
            return None
        tensor = self.array(variable)
        return self.stored(name, tensor if order is None else tensor.permute(*order))

    # --- Keras has channels last, PyTorch second ---

    def channels_first(self, x: fx.Node) -> fx.Node:
        """(N, *spatial, channels) as PyTorch has it."""
        if self.option("data_format", "channels_last") not in ("channels_last", None):
            raise self.refuse("its channels come first")
        return self.permuted(x, _first(len(self.shape(x))))

    def channels_last(self, x: fx.Node) -> fx.Node:
        """And back."""
        return self.permuted(x, _last(len(self.shape(x))))

    def permuted(self, x: fx.Node, order: Sequence[int]) -> fx.Node:
        """Axes in another order; where that is taken back at once, nothing is moved."""
        below, before = _below(x)
        if [before[axis] for axis in order] == sorted(before):
            return below
        return self.call(ATEN.permute.default, x, list(order))

    def each(self, function: Callable[..., fx.Node], *xs: fx.Node) -> fx.Node:
        """Applies what is done to each element by itself before the axes are moved, if all are moved alike.

        So layers meet those that they are fused with, as in models that have channels second throughout.
        """
        found = [_below(x) for x in xs]
        alike = {(tuple(order), self.shape(below)) for below, order in found}
        if len(alike) > 1 or found[0][0] is xs[0]:
            return function(*xs)
        return self.call(ATEN.permute.default, function(*(below for below, _ in found)), found[0][1])

    def along(self, function: Callable[[fx.Node, list[int]], fx.Node], x: fx.Node, axes: Sequence[int]) -> fx.Node:
        """Applies what makes axes longer or shorter before the axes are moved; it is told where they are then."""
        below, order = _below(x)
        if below is x:
            return function(x, list(axes))
        return self.call(ATEN.permute.default, function(below, [order[axis] for axis in axes]), order)

    def reshaped(self, x: fx.Node, shape: Sequence[int]) -> fx.Node:
        """In another shape of a sample."""
        if math.prod(shape) != math.prod(self.shape(x)[1:]):
            raise self.refuse(f"a shape {list(shape)} does not fit {list(self.shape(x)[1:])}")
        return self.call(ATEN.reshape.default, x, [-1, *shape])


def _first(rank: int) -> list[int]:
    return [0, rank - 1, *range(1, rank - 1)]


def _last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]


def _below(x: fx.Node) -> tuple[fx.Node, list[int]]:
    """What a node moves the axes of, and how; of others the node itself."""
    if x.target is ATEN.permute.default:
        below, order = x.args
        return below, list(order)  # type: ignore[return-value, arg-type]
    return x, list(range(x.meta["val"].ndim))
