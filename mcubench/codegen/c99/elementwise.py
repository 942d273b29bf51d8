"""Sums, differences and products of tensors, and functions of one code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.loops import Walk, contiguous, nest
from mcubench.codegen.operands import pointers
from mcubench.codegen.program import Step
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels.functions import TableKernel

__all__: list[str] = []

_CODE = "{0} = clamped(rescaled(%s, %d, %d) + %d, %d, %d)"
_TERM = "rescaled(({%d} - (%d)) * (1 << %d), %d, %d)"


@EMITTERS.register("Add", "Subtract")
def sums(step: Step, unit: Unit) -> Function:
    """Terms on a common scale, and their sum on its own."""
    from mcubench.quant.integer.kernels.elementwise import LEFT_SHIFT, sum_factors

    first, second, target = step.inputs[0].grid, step.inputs[1].grid, step.output.grid
    *factors, last = sum_factors(first, second, target)
    terms = [
        _TERM % (index, grid.zero_point, LEFT_SHIFT, *factor)
        for index, (grid, factor) in enumerate(zip((first, second), factors, strict=True), 1)
    ]
    sign = " + " if step.kind == "Add" else " - "
    return _by_element(step, unit, _CODE % (sign.join(terms), *last, *_ends(step)))


@EMITTERS.register("Multiply")
def products(step: Step, unit: Unit) -> Function:
    """Products of centred codes."""
    from mcubench.quant.integer.kernels.elementwise import product_factor

    first, second, target = step.inputs[0].grid, step.inputs[1].grid, step.output.grid
    product = f"({{1}} - ({first.zero_point})) * ({{2}} - ({second.zero_point}))"
    return _by_element(step, unit, _CODE % (product, *product_factor(first, second, target), *_ends(step)))


@EMITTERS.register("Maximum", "Minimum")
def choices(step: Step, unit: Unit) -> Function:
    """The larger codes, or the smaller ones."""
    return _by_element(step, unit, f"{{0}} = {{1}} {'>' if step.kind == 'Maximum' else '<'} {{2}} ? {{1}} : {{2}}")


@EMITTERS.register("PRelu")
def prelu(step: Step, unit: Unit) -> Function:
    """A factor for each side, and below 0 a slope, too."""
    from mcubench.quant.integer.kernels.elementwise import prelu_factors

    source, slopes, target = step.inputs[0].grid, step.inputs[1].grid, step.output.grid
    positive, negative = prelu_factors(source, slopes, target)
    x = f"({{1}} - ({source.zero_point}))"
    above = f"rescaled({x}, {positive[0]}, {positive[1]})"
    below = f"rescaled({x} * ({{2}} - ({slopes.zero_point})), {negative[0]}, {negative[1]})"
    # the code itself beside a zero point of -128 would be a comparison that always holds, of which compilers warn
    value = f"({x} >= 0 ? {above} : {below})"
    return _by_element(step, unit, f"{{0}} = clamped({value} + {target.zero_point}, -128, 127)")


@EMITTERS.register(*("Absolute", "HardSwish", "LeakyRelu", "Logistic", "Lookup", "Relu", "Relu6", "Requantize", "Tanh"))
def tables(step: Step, unit: Unit) -> Function:
    """The result for each of the 256 codes, looked up."""
    import torch

    from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN

    kernel: TableKernel = step.kernel  # type: ignore[assignment]
    codes = torch.arange(ACTIVATION_MIN, ACTIVATION_MAX + 1)
    results = kernel.table(codes, step.x.grid, step.output.grid).numpy().astype(np.int64)
    table = unit.array("int8_t", results, "results")
    statement = f"{{0}} = {table}[{{1}} + {-ACTIVATION_MIN}]"
    walks = [Walk("y", (1,)), Walk(pointers(step, unit)[0], (1,))]
    return Function(nest((step.output.size,), walks, statement), lead=0)


def _ends(step: Step) -> tuple[int, int, int]:
    from mcubench.quant.integer.kernels.common import activation_limits

    grid = step.output.grid
    return grid.zero_point, *activation_limits(grid, step.kernel.activation)  # type: ignore[attr-defined]


def _by_element(step: Step, unit: Unit, statement: str) -> Function:
    """Operands side by side, broadcast where an axis is 1."""
    unit.use("rescaled", "clamped")
    shape = step.output.shape
    walks = [Walk("y", contiguous(shape))]
    for pointer, operand in zip(pointers(step, unit), step.inputs, strict=True):
        own = (1,) * (len(shape) - len(operand.shape)) + tuple(operand.shape)
        steps = tuple(0 if length == 1 else step_ for length, step_ in zip(own, contiguous(own), strict=True))
        walks.append(Walk(pointer, steps))
    same = tuple(step.x.shape) == tuple(shape)
    return Function(nest(shape, walks, statement), lead=0 if same else None)
