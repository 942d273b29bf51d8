"""Means over all positions, without a division, which the core does not have."""

from __future__ import annotations

import numpy as np

from mcubench.codegen.armv6m.table import EMITTERS
from mcubench.codegen.layers import positions
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_BODY = """
    int32_t channel;
    for (channel = 0; channel < $channels; channel++) {
        const int8_t *from;
        int32_t sum = 0;
        ROLLED for (from = x + channel; from < x + $size; from += $channels)
            sum += *from;
        y[channel] = (int8_t)(sum < 0 ? -(int32_t)((((uint32_t)-sum + ${half}u) * ${factor}u) >> $shift)
                                      : (int32_t)((((uint32_t)sum + ${half}u) * ${factor}u) >> $shift));
    }
"""


def _reciprocal(count: int) -> tuple[int, int] | None:
    """A factor and a shift that divide sums of so many codes by their number; ``None`` if there are none."""
    sums = np.arange(128 * count + count // 2 + 1, dtype=np.int64)
    for shift in range(31, 7, -1):
        factor = (1 << shift) // count + 1
        if int(sums[-1]) * factor < 1 << 32:
            exact = bool((sums * factor >> shift == sums // count).all())
            return (factor, shift) if exact else None
    return None


def _written(step: Step) -> bool:
    """Whether it is the mean over everything, and not too much."""
    found = positions(step)
    count = found.size[0] * found.size[1]
    everything = found.window == found.size and found.count == (1, 1) and found.before == (0, 0)
    return everything and count <= 1024 and _reciprocal(count) is not None


@EMITTERS.register("AveragePool", when=_written)
def average_pool(step: Step, unit: Unit) -> Function:
    """Quotients by a product and a shift, which were tried out for every sum."""
    height, width = positions(step).size
    reciprocal = _reciprocal(height * width)
    assert reciprocal is not None
    factor, shift = reciprocal
    half = height * width // 2
    values = {"channels": step.x.shape[3], "half": half, "factor": factor, "shift": shift}
    return Function(fill(_BODY, **values, size=height * width * step.x.shape[3]), lead=0)
