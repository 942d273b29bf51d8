"""Recurrent layers: gates are dense layers with sums in 16 bits, tables of sigmoid and tanh are shared by all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.codegen.c99.outputs import outputs_table
from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import Lstm

__all__: list[str] = []

_TABLE = """
static const struct lstm $name = {
    $table, $in_multiplier, $in_exponent, $out_multiplier, $out_exponent, $shift, $clip, $zero_point
};
"""
# The hidden state is what was written last.
_BODY = """
    int16_t *const cell = (int16_t *)scratch, *const gates = cell + $units;
    int32_t step, unit;
    for (unit = 0; unit < $units; unit++)
        cell[unit] = 0;
    for (step = 0; step < $steps; step++, x += $inputs, y += $units) {
$given
        if (step) {
$recurrent
        }
        for (unit = 0; unit < $units; unit++)
            y[unit] = lstm_code(&$table, gates + unit, $units, cell + unit);
    }
"""


@EMITTERS.register("Lstm")
def lstm(step: Step, unit: Unit) -> Function:
    """Step by step; every call begins anew."""
    from mcubench.quant.integer.sigmoid_16 import SIGMOID_16

    kernel: Lstm = step.kernel  # type: ignore[assignment]
    steps, units = step.output.shape[-2:]
    unit.use("lstm")
    values = {
        "table": unit.array("uint16_t", SIGMOID_16.numpy(), "sigmoids"),
        **dict(zip(("in_multiplier", "in_exponent"), kernel.candidate_factor, strict=True)),
        **dict(zip(("out_multiplier", "out_exponent"), kernel.output_factor, strict=True)),
        "shift": kernel.shift,
        "clip": kernel.limit,
        "zero_point": kernel.state.zero_point,
    }
    table = unit.constant(fill(_TABLE, name="$name", **values), "lstm_table")
    given, recurrent = _gates(step, unit)
    body = fill(_BODY, units=units, steps=steps, inputs=step.x.shape[-1], table=table, given=given, recurrent=recurrent)
    return Function(body, scratch=2 * 5 * units)


def _gates(step: Step, unit: Unit) -> tuple[str, str]:
    """Calls that make the gates of an input, and that add what they make of the hidden state."""
    from mcubench.quant.integer.ir import IntegerTensor
    from mcubench.quant.integer.kernels import FullyConnected
    from mcubench.quant.integer.kernels.recurrent import GATE

    kernel: Lstm = step.kernel  # type: ignore[assignment]
    units = step.output.shape[-1]
    hidden, sums = IntegerTensor("hidden", (1, units), kernel.state), IntegerTensor("sums", (1, units), GATE)
    found: tuple[list[str], list[str]] = ([], [])
    for place, gate in enumerate(kernel.gates):
        given = Step(step.path, FullyConnected(gate.input, gate.bias), (step.x,), sums)
        again = Step(step.path, FullyConnected(gate.recurrent, None), (hidden,), sums)
        for dense, source, lines in ((given, "x", found[0]), (again, f"y - {units}", found[1])):
            bits = dense.kernel.filter.bits  # type: ignore[attr-defined]
            unit.use(f"gate_{bits}")
            indent = " " * (8 if dense is given else 12)
            added, table = int(dense is again), outputs_table(dense, weights(dense), unit)
            lines.append(f"{indent}gate_{bits}(&{table}, {source}, gates + {place * units}, {added});")
    return "\n".join(found[0]), "\n".join(found[1])
