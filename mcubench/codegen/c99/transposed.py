"""Transposed convolutions: for each remainder of a position by the stride, a convolution with the taps that meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.codegen.c99.convolution import window_table
from mcubench.codegen.c99.outputs import manner, outputs_table
from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import Positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import TransposeConvolve

__all__: list[str] = []

_PHASE = """
    for (row = 0; row < $down; row++)
        for (column = 0; column < $across; column++)
            outputs_${bits}_$manner(&$table, patch_of(&$window, x, row - $top, column - $left, (int8_t *)scratch),
                y + (($stride_down * row + $first_row) * $width + $stride_across * column + $first_column) * $outputs);
"""


@EMITTERS.register("TransposeConvolve")
def transposed(step: Step, unit: Unit) -> Function:
    """Output row s q + r is made of taps r, r + s, ... of input rows q, q - 1, ..., with stride s."""
    kernel: TransposeConvolve = step.kernel  # type: ignore[assignment]
    codes = weights(step)
    outputs, channels = codes.shape[0], codes.shape[3]
    stride = kernel.stride
    _, height, width, _ = step.output.shape
    unit.use("patch", f"outputs_{kernel.filter.bits}_{manner(step)}")
    body, scratch = "    int32_t row, column;\n", 0
    for row in range(min(stride[0], height)):
        for column in range(min(stride[1], width)):
            met = codes[:, row :: stride[0], column :: stride[1]][:, ::-1, ::-1]
            found = Positions(
                size=(step.x.shape[1], step.x.shape[2]),
                window=(met.shape[1], met.shape[2]),
                step=(1, 1),
                stride=(1, 1),
                before=(met.shape[1] - 1, met.shape[2] - 1),
                pooled=(1, 1),
                count=(len(range(row, height, stride[0])), len(range(column, width, stride[1]))),
            )
            body += fill(
                _PHASE,
                bits=kernel.filter.bits,
                manner=manner(step),
                table=outputs_table(step, met.reshape(outputs, -1), unit),
                window=window_table(step, found, channels, unit),
                down=found.count[0],
                across=found.count[1],
                top=found.before[0],
                left=found.before[1],
                stride_down=stride[0],
                stride_across=stride[1],
                first_row=row,
                first_column=column,
                width=width,
                outputs=outputs,
            )
            scratch = max(scratch, met[0].size)
    return Function(body, scratch)
