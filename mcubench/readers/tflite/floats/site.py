"""Where an operator of a file is written down in float: what its rule reads and calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from mcubench.readers.program import Program
from mcubench.readers.rules import Rules
from mcubench.readers.tflite.content import FileOperator, FileTensor
from mcubench.readers.tflite.operands import Operands
from mcubench.readers.tflite.shapes import Known

__all__ = ["ATEN", "RULES", "Site", "real", "rule"]

ATEN: Any = torch.ops.aten

Rule = Callable[["Site"], "fx.Node | Sequence[fx.Node]"]

RULES: Rules[Rule] = Rules()
rule = RULES.of


class Site(Operands):
    """An operator, the program that it is written into, and what was made before.

    Constants that the file has in fewer bits, and widens to floats, are floats from the start.

    Attributes:
        rounded: Whether the file computes in integers, of which this is the float image: what differs by less than a
            rounding is left out.
    """

    def __init__(
        self,
        operator: FileOperator,
        program: Program,
        made: dict[FileTensor, fx.Node],
        known: Known,
        widened: Mapping[FileTensor, Tensor],
        rounded: bool,
    ) -> None:
        super().__init__(operator, known)
        self.rounded = rounded
        self._program, self._made, self._widened = program, made, widened
        self.call, self.item, self.shape, self.stored = program.call, program.item, program.shape, program.weight

    @property
    def output(self) -> FileTensor:
        """What it makes; the first, if that is several."""
        return self.operator.outputs[0]

    def x(self, index: int = 0) -> fx.Node:
        """An operand, computed or constant."""
        tensor = self.tensor(index)
        return self._made[tensor] if tensor in self._made else self.weight(tensor)

    def weight(self, tensor: FileTensor | None, order: Sequence[int] | None = None) -> fx.Node:
        """A constant as floats, its axes perhaps in another order.

        Raises:
            UserError: If it is computed, or left out.
        """
        if tensor is None or (tensor.data is None and tensor not in self._widened):
            name = "a weight" if tensor is None else tensor.name
            raise self.operator.refuse(f"{name} does not stand in the file")
        if tensor.kind != "FLOAT32" and not self.rounded:
            raise self.operator.refuse(
                f"{tensor.name} is {tensor.kind} beside floats: kernels for such files round their inputs as they run"
            )
        stored = self._program.weight(tensor.name, self._widened[tensor] if tensor in self._widened else real(tensor))
        return stored if order is None else self.call(ATEN.permute.default, stored, list(order))

    def bias(self, index: int) -> fx.Node | None:
        """The bias, if there is one."""
        tensor = self.optional(index)
        return None if tensor is None else self.weight(tensor)

    def channels_first(self, x: fx.Node) -> fx.Node:
        """(N, height, width, channels) as PyTorch has it."""
        return self.call(ATEN.permute.default, x, [0, 3, 1, 2])

    def channels_last(self, x: fx.Node) -> fx.Node:
        """And back."""
        return self.call(ATEN.permute.default, x, [0, 2, 3, 1])

    def activated(self, x: fx.Node) -> fx.Node:
        """What is computed, with the activation that is fused into the operator.

        Raises:
            UserError: If it is one that TFLite Micro has not.
        """
        name = self.activation
        return x if name is None else self.call(*ACTIVATION_CALLS[name](x))

    def reshaped(self, x: fx.Node, shape: Sequence[int]) -> fx.Node:
        """In a shape whose first axis is that of the batch."""
        return self.call(ATEN.reshape.default, x, [-1, *shape[1:]])


ACTIVATION_CALLS: dict[str, Callable[[fx.Node], tuple[Any, ...]]] = {
    "relu": lambda x: (ATEN.relu.default, x),
    "relu6": lambda x: (ATEN.hardtanh.default, x, 0.0, 6.0),
    "relu_n1_to_1": lambda x: (ATEN.hardtanh.default, x, -1.0, 1.0),
}


def real(tensor: FileTensor) -> Tensor:
    """What the elements of a constant stand for, float32."""
    assert tensor.data is not None
    data: NDArray[Any] = tensor.data
    if len(tensor.scales):
        shape = [1] * data.ndim
        if len(tensor.scales) > 1:
            shape[tensor.axis] = -1
        centred = data.astype(np.float64) - tensor.zero_points.reshape(shape or ())
        data = centred * tensor.scales.astype(np.float64).reshape(shape or ())
    return torch.from_numpy(np.array(data, np.float32))
