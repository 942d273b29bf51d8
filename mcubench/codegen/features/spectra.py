"""Spectra, and statistics of them alone."""

from __future__ import annotations

import numpy as np

from mcubench.codegen.features.table import Sheet, emits, length, name_of, values
from mcubench.features.catalogue import SPECTRA
from mcubench.features.conditioning import WINDOW
from mcubench.features.steps import Step

__all__: list[str] = []


@emits("spectrum")
def spectrum(step: Step, sheet: Sheet) -> str:
    """Magnitudes at the beginning of the scratch memory."""
    sheet.unit.use("spectrum_of")
    cosines = sheet.floats(np.cos(2 * np.pi * np.arange(WINDOW // 2) / WINDOW), "cosines")
    source = values(step._replace(signal=SPECTRA[step.signal]))
    return f"spectrum_of({source}, start, {cosines}, scratch);"


@emits("maxInds")
def largest_bin(step: Step, sheet: Sheet) -> str:
    """Its number."""
    sheet.unit.use("place_of_largest")
    return f"place_of_largest({values(step)}, {length(step)})"


@emits("meanFreq")
def mean_frequency(step: Step, sheet: Sheet) -> str:
    """Numbers of bins, weighted by magnitude."""
    sheet.unit.use("numbers_weighted")
    return f"numbers_weighted({values(step)}, {length(step)}) / {name_of(step._replace(kind='sum'))}"


@emits("skewness")
def skewness(step: Step, sheet: Sheet) -> str:
    """The third moment over that power of the deviation."""
    sheet.unit.use("cubes_about", "root_of")
    n, mean, variance = length(step), name_of(step._replace(kind="mean")), _variance(step)
    return f"cubes_about({values(step)}, {n}, {mean}) / {n}.0f / ({variance} * root_of({variance}))"


@emits("kurtosis")
def kurtosis(step: Step, sheet: Sheet) -> str:
    """The fourth moment over the variance squared."""
    sheet.unit.use("fourths_about")
    n, mean, variance = length(step), name_of(step._replace(kind="mean")), _variance(step)
    return f"fourths_about({values(step)}, {n}, {mean}) / {n}.0f / ({variance} * {variance})"


@emits("bandsEnergy")
def bands_energy(step: Step, sheet: Sheet) -> str:
    """Sum of squares of a band."""
    sheet.unit.use("squares_of")
    _, first, last = step.part.split("-")
    start = f"{values(step)} + {int(first) - 1}" if first != "1" else values(step)
    return f"squares_of({start}, {int(last) - int(first) + 1})"


def _variance(step: Step) -> str:
    return f"({name_of(step._replace(kind='squares'))} / {length(step)}.0f)"
