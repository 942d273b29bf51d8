"""Where an operator of a file becomes kernels: what its rule reads and emits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from mcubench.errors import UserError
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid
from mcubench.quant.integer.ir import Bias, Constant, Filter, IntegerNode, IntegerTensor, Kernel, Operand
from mcubench.readers.rules import Rules
from mcubench.readers.tflite.content import FileOperator, FileTensor
from mcubench.readers.tflite.operands import Operands
from mcubench.readers.tflite.shapes import Known

__all__ = ["RULES", "IntegerSite", "grid_of", "rule"]

Rule = Callable[["IntegerSite"], None]

RULES: Rules[Rule] = Rules()
rule = RULES.of


def grid_of(tensor: FileTensor) -> Grid | None:
    """What the codes of a tensor stand for; ``None`` if it has no single grid in int8."""
    if len(tensor.scales) != 1 or not ACTIVATION_MIN <= tensor.zero_points[0] <= ACTIVATION_MAX:
        return None
    return Grid(float(tensor.scales[0]), int(tensor.zero_points[0]))


class IntegerSite(Operands):
    """An operator, and what was made of those before.

    Attributes:
        nodes: All kernels so far.
    """

    def __init__(
        self,
        operator: FileOperator,
        made: dict[FileTensor, IntegerTensor],
        nodes: list[IntegerNode],
        known: Known,
    ) -> None:
        super().__init__(operator, known)
        self.nodes, self._made = nodes, made

    def x(self, index: int = 0) -> IntegerTensor:
        """What it reads at a place, computed before.

        Raises:
            UserError: If it is a constant.
        """
        found = self.operand(index)
        if not isinstance(found, IntegerTensor):
            raise self.operator.refuse(f"{found.name} is a constant")
        return found

    def operand(self, index: int) -> Operand:
        """What it reads at a place, computed before or constant."""
        tensor = self.tensor(index)
        return self._made[tensor] if tensor in self._made else self.constant(tensor)

    def constant(self, tensor: FileTensor) -> Constant:
        """Codes that stand in the file."""
        grid = grid_of(tensor)
        if tensor.data is None or tensor.kind != "INT8" or grid is None:
            raise self.operator.refuse(f"{tensor.name} is no int8 constant with one scale")
        # With the axes of what it meets, the batch in front, as TFLite aligns them from behind.
        shape = (1,) * (len(self.operator.outputs[0].shape) - len(tensor.shape)) + tensor.shape
        return Constant(tensor.name, torch.from_numpy(tensor.data.reshape(shape).copy()), grid)

    def filter(self, index: int, axis: int) -> Filter:
        """Weights, symmetric, with one scale or one for each output channel."""
        tensor = self.tensor(index)
        if tensor.data is None or tensor.kind not in ("INT8", "INT4") or not len(tensor.scales):
            raise self.operator.refuse(f"its weights {tensor.name} are {tensor.kind}, not constants of int8 or int4")
        if tensor.zero_points.any():
            raise self.operator.refuse(f"its weights {tensor.name} have a zero point")
        if len(tensor.scales) > 1 and tensor.axis != axis:
            raise self.operator.refuse(f"its weights {tensor.name} have scales along axis {tensor.axis}, not {axis}")
        codes, scales = torch.from_numpy(tensor.data.copy()), torch.from_numpy(tensor.scales.copy())
        return Filter(tensor.name, codes, scales, tensor.axis, 4 if tensor.kind == "INT4" else 8)

    def bias(self, index: int, outputs: int) -> Bias | None:
        """Biases, if there are some."""
        tensor = self.optional(index)
        if tensor is None:
            return None
        if tensor.data is None or tensor.kind != "INT32" or tensor.shape != (outputs,):
            raise self.operator.refuse(
                f"its bias {tensor.name} {list(tensor.shape)} is {tensor.kind}, not int32 constants"
            )
        return Bias(tensor.name, torch.from_numpy(tensor.data.copy()), torch.from_numpy(tensor.scales.copy()))

    def made(self, place: int = 0) -> IntegerTensor:
        """What it is to make.

        Raises:
            UserError: If that is not int8 with one grid.
        """
        return integer_tensor(self.operator.outputs[place])

    def part(self, name: str, shape: Sequence[int], grid: Grid) -> IntegerTensor:
        """A tensor between kernels of one operator."""
        return IntegerTensor(f"{self.operator.outputs[0].name}.{name}", tuple(shape), grid)

    def emit(
        self, kernel: Kernel, inputs: Sequence[Operand], output: IntegerTensor | None = None, place: int = 0
    ) -> IntegerTensor:
        """Adds a kernel that makes an output of the operator, or a part on the way to one."""
        target = self.made(place) if output is None else output
        self.nodes.append(IntegerNode(target.name, self.operator.path, kernel, tuple(inputs), target))
        if output is None:
            self._made[self.operator.outputs[place]] = target
        return target

    def give(self, tensor: IntegerTensor, place: int = 0) -> None:
        """An output is what is there already."""
        self._made[self.operator.outputs[place]] = tensor

    def same_grid(self, *others: Operand) -> None:
        """Sees that codes may be taken as they are.

        Raises:
            UserError: If they stand for other values than those of the output.
        """
        target = self.made().grid
        for each in others:
            if each.grid != target:
                raise self.operator.refuse(
                    f"{each.name} has scale {each.grid.scale:g} and zero point {each.grid.zero_point}, what is made "
                    f"{target.scale:g} and {target.zero_point}: TFLite Micro would take codes for what they are not"
                )

    def made_on(self, scale: float, zero_point: int) -> None:
        """Sees that the output has the grid on which TFLite Micro computes, whatever a file says.

        Raises:
            UserError: If it has another.
        """
        grid = self.made().grid
        if not (math.isclose(grid.scale, scale, rel_tol=1e-6) and grid.zero_point == zero_point):
            raise self.operator.refuse(
                f"TFLite Micro computes it with scale {scale:g} and zero point {zero_point}, and the file says "
                f"{grid.scale:g} and {grid.zero_point}"
            )


def integer_tensor(tensor: FileTensor) -> IntegerTensor:
    """A tensor of int8, or of int32 that is read as places.

    Raises:
        UserError: If it is another.
    """
    if tensor.shape[:1] != (1,):
        raise UserError(f"{tensor.name} {list(tensor.shape)} does not begin with a batch of 1")
    if tensor.kind == "INT32":
        grid = Grid(float(tensor.scales[0]), int(tensor.zero_points[0])) if len(tensor.scales) == 1 else Grid(1.0, 0)
        return IntegerTensor(tensor.name, tensor.shape, grid, 4)
    found = grid_of(tensor)
    if tensor.kind != "INT8" or found is None:
        raise UserError(f"{tensor.name} is {tensor.kind} with {len(tensor.scales)} scales, not int8 with one")
    return IntegerTensor(tensor.name, tensor.shape, found)
