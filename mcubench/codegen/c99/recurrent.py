"""Recurrent layers, some units at a time: all of their gates, and then what these make of the state."""

from __future__ import annotations

from textwrap import indent

import numpy as np

from mcubench.codegen.c99.outputs import in_fours, written_table
from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import packed_in_pairs
from mcubench.codegen.program import Step
from mcubench.codegen.recurrent import Product, codes_of_units, lines_array, manner, over_time, products
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_BODY = """
        const int32_t lift = lift_of(&$given, x, $given_bits), again = lift_of(&$recalled, h, $recalled_bits);
        const uint32_t *w = $given.weights, *u = $recalled.weights;
        int32_t unit;
        for (unit = 0; unit < $units; unit += $each) {
            int16_t given[$rows], recalled[$rows];
            w = gates_of_$given_bits(&$given, w, $gates * unit, x, lift, given);
            u = gates_of_$recalled_bits(&$recalled, u, $gates * unit, h, again, recalled);
$codes
        }
"""


@EMITTERS.register("Lstm", "Gru")
def recurrent(step: Step, unit: Unit) -> Function:
    """As many units as have gates in whole pairs: one of an LSTM, two of a GRU."""
    given, recalled = products(step)
    each = 1 + given.gates % 2
    how = manner(step, unit, lines_array(unit))
    table = unit.constant(f"static const struct {step.kind.lower()} $name = {how};\n", "recurrent_table")
    values = {
        "given": _table(given, unit, each),
        "recalled": _table(recalled, unit, each),
        "given_bits": given.bits,
        "recalled_bits": recalled.bits,
        "gates": given.gates,
        "rows": given.gates * each,
        "units": step.output.shape[-1],
        "each": each,
        "codes": indent(codes_of_units(step, each, table), 12 * " "),
    }
    return over_time(step, unit, fill(_BODY, **values), 0)


def _table(product: Product, unit: Unit, each: int) -> str:
    """The table of rows, whose factors are those of some units and come again and again."""
    product = product.filled(each)
    rows = product.gates * each
    unit.use(f"gate_{product.bits}")
    words = [packed_in_pairs(codes, product.bits) for codes in product.codes.reshape(-1, rows, product.taps)]
    factors = product.factors
    return written_table(
        unit,
        weights=unit.array("uint32_t", np.concatenate(words), "weights"),
        biases=unit.array("int32_t", in_fours(product.starts), "biases"),
        multipliers=unit.array("int32_t", np.tile(factors.multipliers, each), "multipliers"),
        exponents=unit.array("int8_t", np.tile(factors.exponents, each), "exponents"),
        count=rows,
        taps=product.taps,
        factors=factors,
    )
