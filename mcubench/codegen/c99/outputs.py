"""The tables of what dense layers and convolutions compute at one position."""

from __future__ import annotations

import numpy as np

from mcubench.codegen.layers import Integers, Rescaling, biases, is_plain, packed_in_pairs, rescaling
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Unit

__all__ = ["in_fours", "manner", "outputs_table", "rescaling_arrays", "written_table"]

_TABLE = """
static const struct outputs $name = {
    $weights, $biases, $multipliers, $exponents, $count, $taps, $zero_point, $low, $high
};
"""


def outputs_table(step: Step, codes: Integers, unit: Unit, first: int = 0) -> str:
    """The name of the table of some outputs of a layer.

    Args:
        step: The layer.
        codes: Their weights, shape (outputs, taps): all that are summed at a position.
        unit: Where it is written.
        first: The first of the outputs.
    """
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    chosen = slice(first, first + len(codes))
    factors = rescaling(step)
    return written_table(
        unit,
        weights=unit.array("uint32_t", packed_in_pairs(codes, bits), "weights"),
        biases=unit.array("int32_t", in_fours(biases(step, codes.sum(1), chosen)), "biases"),
        **rescaling_arrays(factors, unit, chosen),
        count=len(codes),
        taps=codes.shape[1],
        factors=factors,
    )


def written_table(unit: Unit, factors: Rescaling, **values: object) -> str:
    """The name of a table of these names of arrays and numbers; the range of codes is that of the factors."""
    limits = {"zero_point": factors.zero_point, "low": factors.low, "high": factors.high}
    return unit.constant(fill(_TABLE, name="$name", **values, **limits), "outputs_table")


def manner(step: Step) -> str:
    """Which of the functions writes the outputs of a layer: ``plain`` or ``any``."""
    return "plain" if is_plain(step) else "any"


def rescaling_arrays(factors: Rescaling, unit: Unit, chosen: slice) -> dict[str, str]:
    """The arrays of multipliers and exponents of some outputs."""
    return {
        "multipliers": unit.array("int32_t", in_fours(factors.multipliers[chosen]), "multipliers"),
        "exponents": unit.array("int8_t", in_fours(factors.exponents[chosen]), "exponents"),
    }


def in_fours(numbers: Integers) -> Integers:
    """Numbers with zeros behind them, up to a multiple of four."""
    return np.pad(numbers, (0, -len(numbers) % 4))
