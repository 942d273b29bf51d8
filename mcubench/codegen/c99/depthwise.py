"""Convolutions of each channel by itself."""

from __future__ import annotations

from mcubench.codegen.c99.outputs import rescaling_arrays
from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import biases, is_plain, lead, packed_in_order, positions, rescaling, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_BODY = """
    int32_t row, column, channel, part;
    for (row = 0; row < $down; row++)
        for (column = 0; column < $across; column++) {
            const int32_t top = $stride_down * $pool_down * row - $top;
            const int32_t left = $stride_across * $pool_across * column - $left;
            const int32_t inside =
                top >= 0 && left >= 0 && top + $reach_down <= $height && left + $reach_across <= $width;
            for (channel = 0; channel < $outputs; channel++) {
                const int8_t *const from = x + channel / $multiple;
                const uint8_t *const taps = $weights + $bytes * channel;
                int32_t largest = 0;
                for (part = 0; part < $parts; part++) {
                    const int32_t down = top + part / $pool_across * $stride_down;
                    const int32_t across = left + part % $pool_across * $stride_across;
                    const int32_t sum = inside
                        ? depthwise_sum(from, taps, $fixed, down, across, 1)
                        : depthwise_sum(from, taps, $fixed, down, across, 0);
                    if (part == 0 || sum > largest)
                        largest = sum;
                }
                *y++ = clamped($rescale(largest + $biases[channel], $multipliers[channel], $exponents[channel])
                    + $zero_point, $low, $high);
            }
        }
"""


@EMITTERS.register("DepthwiseConvolve")
def depthwise(step: Step, unit: Unit) -> Function:
    """Output channel o is of input channel o / multiple."""
    codes, found, factors = weights(step)[0], positions(step), rescaling(step)
    rows, columns, outputs = codes.shape
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    by_channel = codes.reshape(rows * columns, outputs).T
    stored = packed_in_order(by_channel, bits)
    channels = step.x.shape[3]
    reach = [
        (found.pooled[axis] - 1) * found.stride[axis] + (found.window[axis] - 1) * found.step[axis] + 1
        for axis in range(2)
    ]
    fixed = [bits, *found.size, channels, rows, columns, *found.step, step.x.grid.zero_point]
    values = {
        **found.numbers,
        "reach_down": reach[0],
        "reach_across": reach[1],
        "outputs": outputs,
        "multiple": outputs // channels,
        "weights": unit.array("uint8_t", stored, "weights"),
        "bytes": stored.shape[1],
        "fixed": ", ".join(map(str, fixed)),
        "biases": unit.array("int32_t", biases(step, by_channel.sum(1)), "biases"),
        **rescaling_arrays(factors, unit, slice(None)),
        "rescale": "reduced" if is_plain(step) else "rescaled",
        "zero_point": factors.zero_point,
        "low": factors.low,
        "high": factors.high,
    }
    unit.use("depthwise")
    return Function(fill(_BODY, **values), lead=lead(step, found, own=True))
