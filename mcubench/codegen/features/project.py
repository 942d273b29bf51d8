"""Features in C: a header and a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen import text
from mcubench.codegen.features import relations, samples, spectra, statistics, texts
from mcubench.codegen.features.order import each_sample, each_window
from mcubench.codegen.features.table import EMITTERS, Sheet, name_of
from mcubench.codegen.text import float32
from mcubench.errors import UserError
from mcubench.features import Column, feature_cost, original, originals, select
from mcubench.features.catalogue import AR_ORDER
from mcubench.features.selection import Terms
from mcubench.features.steps import Rule, Step, closure, step_of

__all__ = ["FeatureProject", "generate_features", "relations", "samples", "spectra", "statistics"]


@dataclass(frozen=True)
class FeatureProject:
    """Features in C.

    Attributes:
        name: What names in C begin with.
        files: Texts by file name: a header and a source.
        source: The file name of the ``.c``.
        header: That of the ``.h``.
        columns: The features of a row, in order.
        state_bytes: RAM that the caller keeps from sample to sample.
        scratch_bytes: RAM that the caller lends while a function runs.
    """

    name: str
    files: Mapping[str, str] = field(repr=False)
    source: str
    header: str
    columns: tuple[Column, ...] = field(repr=False)
    state_bytes: int
    scratch_bytes: int

    @property
    def count(self) -> int:
        """How many features a row has."""
        return len(self.columns)


def generate_features(
    features: Terms = None,
    name: str = "mcu_features",
    *,
    accelerometer_unit: float,
    gyroscope_unit: float,
    scaling: Mapping[str, Sequence[float]] | None = None,
) -> FeatureProject:
    """Writes HAPT's features in C99, in float32, as `mcubench.features.HaptFeatures` computes them: sample by sample.

    Only what the chosen ones need is written. The caller owns all memory; nothing but ``<stdint.h>`` and ``<stddef.h>``
    is needed.

    Args:
        features: Which ones, as `mcubench.features.select` takes them; not given, all 561. A row has them in the order
            of features.txt.
        name: What names in C and of files begin with.
        accelerometer_unit: What 1 of an int16 acceleration is, in g.
        gyroscope_unit: What 1 of an int16 angular velocity is, in rad/s.
        scaling: ``minimum`` and ``maximum`` of each chosen feature, in order: these become -1 and 1, as
            ``HAPT`` scales what models are trained on (``describe()`` of its scaling has both). Not given, features
            are in their own units.

    Raises:
        UserError: If there are no features of these names, a unit is not positive, or ranges are not those of the
            features.
    """
    columns, prefix = select(features), text.identifier(name)
    for unit in (accelerometer_unit, gyroscope_unit):
        if not (np.isfinite(unit) and unit > 0):
            raise UserError(f"units are what 1 of an int16 number is, in g and in rad/s: above 0; got {unit!r}")
    ends = None if scaling is None else _ends(scaling, len(columns))
    memory, sheet = feature_cost(columns).memory, Sheet()
    rules = closure(map(step_of, originals(columns)))
    lent = ["state", "scratch"] if memory.scratch else ["state"]
    sheet.unit.use("compiler", "floats")
    values = {
        "name": prefix,
        "upper": prefix.upper(),
        "title": f"{len(columns)} of HAPT's features",
        "memory": " || ".join(f"refused({each}, {prefix.upper()}_ALIGN)" for each in lent),
        "samples": "\n".join(_statement(step, sheet) for step in each_sample(rules)),
        "row": "\n".join(_row(columns, rules, sheet)),
        "scaled": "" if ends is None else "    scale_row(features);",
        "scale": "" if ends is None else _scale(*ends, prefix, sheet),
        "state": memory.state + memory.buffers,
        "scratch": memory.scratch,
        "count": len(columns),
        "accelerometer": f"{float32(accelerometer_unit)} /* {accelerometer_unit:.9g} */",
        "gyroscope": f"{float32(gyroscope_unit)} /* {gyroscope_unit:.9g} */",
        "names": "\n".join(f"   {index:3} {column.name}" for index, column in enumerate(columns)),
    }
    values |= {
        "helpers": "\n".join(sheet.unit.helpers.values()),
        "constants": "\n".join(sheet.unit.constants),
        "kept": "\n".join(f"    {each}" for each in sheet.kept.values()),
    }
    return FeatureProject(
        name=prefix,
        files={f"{prefix}.h": text.fill(texts.HEADER, **values), f"{prefix}.c": text.fill(texts.SOURCE, **values)},
        source=f"{prefix}.c",
        header=f"{prefix}.h",
        columns=columns,
        state_bytes=memory.state + memory.buffers,
        scratch_bytes=memory.scratch,
    )


def _statement(step: Step, sheet: Sheet) -> str:
    written = EMITTERS[step.kind](step, sheet)
    return f"    {written}" if written.endswith(";") else f"    const float {name_of(step)} = {written};"


def _row(columns: Sequence[Column], rules: Mapping[Step, Rule], sheet: Sheet) -> list[str]:
    """What computes each step of a window, and writes the features that it is; then the copies of others."""
    first = originals(columns)
    places = {column: place for place, column in enumerate(columns)}
    written: dict[Step, list[str]] = {}
    for column in first.values():
        step = step_of(original(column))
        value = name_of(step) + (f"[{column.slot % AR_ORDER}]" if column.statistic == "arCoeff" else "")
        written.setdefault(step, []).append(f"    features[{places[column]}] = {value};")
    lines = []
    for step in each_window(rules):
        lines += [_statement(step, sheet), *written.get(step, ())]
    copies = [(places[column], places[first[original(column)]]) for column in columns]
    return lines + [f"    features[{to}] = features[{of}];" for to, of in copies if to != of]


def _ends(scaling: Mapping[str, Sequence[float]], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = (np.asarray(scaling.get(end, ()), np.float64) for end in ("minimum", "maximum"))
    if low.shape != (count,) or high.shape != (count,) or not np.isfinite([low, high]).all():
        raise UserError(f"scaling must have minimum and maximum of {count} features, in their order")
    return low, high


def _scale(low: NDArray[np.float64], high: NDArray[np.float64], prefix: str, sheet: Sheet) -> str:
    width = np.where(high > low, high - low, 1)
    lows, factors = (sheet.floats(each, hint) for each, hint in ((low, "lows"), (2 / width, "factors")))
    return text.fill(texts.SCALE, lows=lows, factors=factors, upper=prefix.upper())
