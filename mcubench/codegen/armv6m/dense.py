"""Dense layers: some outputs at a time, with weights straight from flash."""

from __future__ import annotations

from mcubench.codegen.armv6m.rows import RowKernel
from mcubench.codegen.armv6m.table import EMITTERS
from mcubench.codegen.layers import biases, positions, rescaling, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_BLOCKS = 4, 16  # taps between two looks at the end: of few taps, and of many
_MANY = 256
_BODY = """
    int32_t *const sums = (int32_t *)scratch;
    int32_t row, i;
    for (row = 0; row < $rows; row++, x += $taps, y += $outputs) {
        const int32_t lift = $lift * sum_of(x, $taps);
$passes        ROLLED for (i = 0; i < $outputs; i++)
            y[i] = clamped(
                rescaled(sums[i] - lift + $biases[i], $multipliers[i], $exponents[i]) + $zero_point, $low, $high);
    }
"""
_ONCE = "        $kernel(x, $weights, sums$first, $taps);\n"


def _is_joined(step: Step) -> bool:
    """Whether a convolution is a dense layer: there is one position, and it reads codes that follow each other."""
    found = positions(step)
    if weights(step).shape[3] != step.x.shape[3] or step.pool is not None or not found.joined:
        return False
    return found.count == (1, 1)


@EMITTERS.register("FullyConnected")
@EMITTERS.register("Convolve", when=_is_joined)
def dense(step: Step, unit: Unit) -> Function:
    """So many outputs at a time as there are registers for their sums."""
    codes, factors = weights(step), rescaling(step)
    outputs = len(codes)
    codes = codes.reshape(outputs, -1)
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    passes, first = "", 0
    block = _BLOCKS[codes.shape[1] >= _MANY]
    for count in RowKernel.counts(outputs, bits):
        kernel = RowKernel(count, bits, block)
        passes += fill(
            _ONCE,
            kernel=unit.function(kernel.text, "rows"),
            weights=unit.array(kernel.ctype, kernel.stored(codes[first : first + count]), "weights"),
            first=f" + {first}" if first else "",
            taps=codes.shape[1],
        )
        first += count
    unit.use("rescaled", "clamped", "sum_of")
    arrays = {
        "biases": unit.array("int32_t", biases(step, codes.sum(1)), "biases"),
        "multipliers": unit.array("int32_t", factors.multipliers, "multipliers"),
        "exponents": unit.array("int8_t", factors.exponents, "exponents"),
    }
    body = fill(
        _BODY,
        **arrays,
        rows=step.output.size // outputs,
        taps=codes.shape[1],
        outputs=outputs,
        lift=1 << (bits - 1),
        passes=passes,
        zero_point=factors.zero_point,
        low=factors.low,
        high=factors.high,
    )
    return Function(body, 4 * outputs)
