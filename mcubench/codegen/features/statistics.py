"""Statistics of one signal's axes, of samples and of spectra alike."""

from __future__ import annotations

import numpy as np

from mcubench.codegen.features.table import Sheet, emits, length, name_of, scratch, values
from mcubench.codegen.text import float32
from mcubench.features.catalogue import SIGNALS, SPECTRA
from mcubench.features.steps import Step

__all__: list[str] = []

_PASSES = {"sum": "total_of", "max": "greatest_of", "min": "least_of"}


@emits(*_PASSES)
def a_pass(step: Step, sheet: Sheet) -> str:
    """What a function of all values gives."""
    helper = _PASSES[step.kind]
    sheet.unit.use(helper)
    return f"{helper}({values(step)}, {length(step)})"


@emits("mean")
def mean(step: Step, sheet: Sheet) -> str:
    """The sum's share of one value; lengths are powers of 2."""
    return f"{name_of(step._replace(kind='sum'))} * {float32(1 / length(step))}"


@emits("squares")
def squares(step: Step, sheet: Sheet) -> str:
    """Of deviations from the mean."""
    sheet.unit.use("squares_about")
    return f"squares_about({values(step)}, {length(step)}, {name_of(step._replace(kind='mean'))})"


@emits("std")
def std(step: Step, sheet: Sheet) -> str:
    """Over one value less than there are."""
    sheet.unit.use("root_of")
    return f"root_of({name_of(step._replace(kind='squares'))} * {float32(1 / (length(step) - 1))})"


@emits("mad")
def mad(step: Step, sheet: Sheet) -> str:
    """Mean absolute deviation from the mean."""
    sheet.unit.use("magnitudes_about")
    n = length(step)
    return f"magnitudes_about({values(step)}, {n}, {name_of(step._replace(kind='mean'))}) * {float32(1 / n)}"


@emits("energy")
def energy(step: Step, sheet: Sheet) -> str:
    """Mean square."""
    sheet.unit.use("squares_of")
    return f"squares_of({values(step)}, {length(step)}) * {float32(1 / length(step))}"


@emits("sma")
def area(step: Step, sheet: Sheet) -> str:
    """Mean absolute values of all axes together; a spectrum has no negative ones."""
    axes = SIGNALS[step.signal].parts
    if step.signal in SPECTRA:
        return " + ".join(name_of(Step("mean", step.signal, axis)) for axis in axes)
    sheet.unit.use("magnitudes_of")
    n = length(step)
    sums = " + ".join(f"magnitudes_of({values(step, axis)}, {n})" for axis in axes)
    return f"({sums}) * {float32(1 / n)}"


@emits("iqr")
def quartiles(step: Step, sheet: Sheet) -> str:
    """By sorting keys in the scratch memory."""
    sheet.unit.use("quartiles_of")
    return f"quartiles_of({values(step)}, {length(step)}, (union word *)(void *)({scratch(step)}))"


@emits("entropy")
def entropy(step: Step, sheet: Sheet) -> str:
    """From a table of c log2 c."""
    sheet.unit.use("entropy_of")
    counts = np.arange(129)
    terms = sheet.floats(counts * np.log2(np.maximum(counts, 1)), "terms")
    bits = length(step).bit_length() - 1
    return f"entropy_of({values(step)}, {bits}, {terms}, (uint8_t *)({scratch(step)}))"
