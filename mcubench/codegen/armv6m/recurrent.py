"""Recurrent layers: the gates of two units at a time, with weights straight from flash."""

from __future__ import annotations

from textwrap import indent

import numpy as np

from mcubench.codegen.armv6m import bringing
from mcubench.codegen.armv6m.rows import RowKernel
from mcubench.codegen.armv6m.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.recurrent import Product, codes_of_units, lines_array, manner, over_time, products
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_EACH = 2  # units, whose gates are as many as there are registers for their sums
_BLOCK = 4  # taps between two looks at the end

_BODY = """
        const int32_t lift = $given_lift * sum_of(x, $inputs), again = $recalled_lift * sum_of(h, $units);
        const $given_type *w = $given_weights;
        const $recalled_type *u = $recalled_weights;
        int32_t unit;
        for (unit = 0; unit < $units; unit += $each) {
            int32_t sums[$rows];
            int16_t given[$rows], recalled[$rows];
            $given_rows(x, w, sums, $inputs);
            $given_brought(sums, $given_starts + $gates * unit, lift, $given_factors, given, $rows);
            $recalled_rows(h, u, sums, $units);
            $recalled_brought(sums, $recalled_starts + $gates * unit, again, $recalled_factors, recalled, $rows);
            w += $given_step, u += $recalled_step;
$codes
        }
"""


@EMITTERS.register("Lstm", "Gru")
def recurrent(step: Step, unit: Unit) -> Function:
    """Eight gates at a time, or six of a GRU."""
    given, recalled = (each.filled(_EACH) for each in products(step))
    how = manner(step, unit, lines_array(unit))
    table = unit.constant(f"static const struct {step.kind.lower()} $name = {how};\n", "recurrent_table")
    unit.use("sum_of")
    values = {
        **{f"given_{key}": value for key, value in _arrays(given, unit).items()},
        **{f"recalled_{key}": value for key, value in _arrays(recalled, unit).items()},
        "inputs": given.taps,
        "units": recalled.taps,
        "gates": given.gates,
        "rows": _EACH * given.gates,
        "each": _EACH,
        "codes": indent(codes_of_units(step, _EACH, table), 12 * " "),
    }
    return over_time(step, unit, fill(_BODY, **values), 0)


def _arrays(product: Product, unit: Unit) -> dict[str, object]:
    """What one vector is multiplied with, and how."""
    rows = _EACH * product.gates
    kernel = RowKernel(rows, product.bits, _BLOCK)
    stored = [kernel.stored(codes) for codes in product.codes.reshape(-1, rows, product.taps)]
    return {
        "lift": 1 << (product.bits - 1),
        "type": kernel.ctype,
        "rows": unit.function(kernel.text, "rows"),
        "weights": unit.array(kernel.ctype, np.concatenate(stored), "weights"),
        "step": stored[0].size,
        "starts": unit.array("int32_t", product.starts, "starts"),
        **_bringing(product, unit),
    }


def _bringing(product: Product, unit: Unit) -> dict[str, object]:
    """The function that brings sums to 16 bits, and its factors."""
    if bringing.fits(product):
        factors = unit.array("uint8_t", bringing.stored(product, _EACH), "factors")
        return {"brought": unit.function(bringing.brought(), "brought"), "factors": factors}
    unit.use("rows_brought")
    pairs = np.stack([product.factors.multipliers, product.factors.exponents], 1)
    return {"brought": "rows_brought", "factors": unit.array("int32_t", np.tile(pairs, (_EACH, 1)), "factors")}
