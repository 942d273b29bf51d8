"""Images in another size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import ResizeBilinear

__all__: list[str] = []

_BODY = """
    int32_t row, column, channel;
    for (row = 0; row < $down; row++) {
        const int8_t *const top = x + $above[row] * $line, *const bottom = x + $below[row] * $line;
        for (column = 0; column < $across; column++)
            for (channel = 0; channel < $channels; channel++) {
                const int32_t a = $left[column] * $channels + channel, b = $right[column] * $channels + channel;
                const int32_t wide = $horizontal[column], high = $vertical[row];
                const int32_t upper = top[a] * ($one - wide) + top[b] * wide;
                const int32_t lower = bottom[a] * ($one - wide) + bottom[b] * wide;
                const int32_t total = upper * ($one - high) + lower * high;
                *y++ = (int8_t)((total + (total > 0 ? $half : -$half)) / (2 * $half));
            }
    }
"""


@EMITTERS.register("ResizeBilinear")
def bilinear(step: Step, unit: Unit) -> Function:
    """Each from four neighbours; where they lie is looked up."""
    from mcubench.quant.integer.kernels.resizing import FRACTION, interpolation

    kernel: ResizeBilinear = step.kernel  # type: ignore[assignment]
    (_, height, width, channels), (_, down, across, _) = step.x.shape, step.output.shape
    above, below, vertical = (each.numpy() for each in interpolation(height, down, kernel.align_corners))
    left, right, horizontal = (each.numpy() for each in interpolation(width, across, kernel.align_corners))
    places = {"above": above, "below": below, "left": left, "right": right}
    weights = {"vertical": vertical, "horizontal": horizontal}
    values = {
        **{name: unit.array("uint16_t", each, "places") for name, each in places.items()},
        **{name: unit.array("int16_t", each, "weights") for name, each in weights.items()},
        "down": down,
        "across": across,
        "channels": channels,
        "line": width * channels,
        "one": 1 << FRACTION,
        "half": 1 << (2 * FRACTION - 1),
    }
    return Function(fill(_BODY, **values))
