"""Sample by sample: filters, gravity and drift removed, jerk, magnitudes, and the windows that they are kept in."""

from __future__ import annotations

import numpy as np

from mcubench.codegen.features.table import Sheet, emits, name_of
from mcubench.codegen.text import float32
from mcubench.features.conditioning import DRIFT, GRAVITY, NOISE, WINDOW, Butterworth
from mcubench.features.steps import Step

__all__: list[str] = []

_CHANNELS = [(sensor, axis) for sensor in ("acc", "gyro") for axis in "XYZ"]


@emits("median")
def median(step: Step, sheet: Sheet) -> str:
    """Of the two samples before and the new one; the older is not needed any more."""
    sheet.unit.use("middle_of")
    kept, sample = sheet.keep(name_of(step), 2), f"sample[{_CHANNELS.index((step.signal, step.part))}]"
    name = name_of(step)
    return (
        f"const float {name} = middle_of({kept}[0], {kept}[1], {sample});\n"
        f"    {kept}[0] = {kept}[1], {kept}[1] = {sample};"
    )


@emits("noise")
def noise(step: Step, sheet: Sheet) -> str:
    """Second-order sections as they are designed."""
    sheet.unit.use("low_passed")
    sections = NOISE.sections()
    table = sheet.floats(sections[:, [0, 1, 2, 4, 5]] * [1, 1, 1, -1, -1], "noise")
    median = name_of(step._replace(kind="median"))
    return f"low_passed({table}, {len(sections)}, {sheet.keep(name_of(step), NOISE.order)}, {median})"


@emits("gravity")
def gravity(step: Step, sheet: Sheet) -> str:
    """Integrators for state, the last one in two floats.

    With poles so near 1 a direct form adds small numbers to large ones in every sample. In float32 it is off by 3e-5 of
    the range of gravity's mean and by 3 ranges of its autoregression, where this is by 1e-6 and by 3e-3.
    """
    return _slow(step, sheet, GRAVITY, "fine_pair", 4)


@emits("drift")
def drift(step: Step, sheet: Sheet) -> str:
    """Integrators too; drift is small, and floats do."""
    return _slow(step, sheet, DRIFT, "slow_pair", 2)


def _slow(step: Step, sheet: Sheet, design: Butterworth, pair: str, floats_kept: int) -> str:
    sections = sorted(design.sections().tolist(), key=lambda section: section[5] != 0)  # first-order ones first
    pairs = sum(section[5] != 0 for section in sections)
    kept = sheet.keep(name_of(step), floats_kept * pairs + len(sections) - pairs)
    expression, at = name_of(step._replace(kind="noise")), floats_kept * pairs
    for *_, first, second in sections:
        if second == 0:
            sheet.unit.use("slow_single")
            expression = f"slow_single({float32((1 + first) / 2)}, {kept} + {at}, {expression})"
        else:
            sheet.unit.use(pair)
            # With a = tan(pi f / rate) and damping d: 1, a and a^2, each over 1 + d a + a^2.
            one, squared = (1 - first + second) / 4, (1 + first + second) / 4
            table = sheet.floats([one, np.sqrt(one * squared), squared], step.kind)
            expression = f"{pair}({table}, {kept}, {expression})"
    return expression


@emits("remainder")
def remainder(step: Step, sheet: Sheet) -> str:
    """What the value that waits lacks, before the filter goes on."""
    sheet.unit.use("remainder_of")
    bytes_, gravity = sheet.keep(name_of(step), WINDOW, "int8_t"), name_of(step._replace(kind="gravity"))
    return f"{bytes_}[place] = remainder_of(kept->{gravity}[3]);"


@emits("signal")
def signal(step: Step, sheet: Sheet) -> str:
    """The value at the sample before the newest that is known, as a jerk looks one ahead."""
    name, axis = step.signal, step.part
    if name.endswith("Mag"):
        sheet.unit.use("root_of")
        axes = [name_of(Step("signal", name.removesuffix("Mag"), each)) for each in "XYZ"]
        return f"root_of({' + '.join(f'{each} * {each}' for each in axes)})"
    if name.endswith("Jerk"):
        source = Step("signal", name.removesuffix("Jerk"), axis)
        return f"kept->{name_of(source)}[0] - {name_of(source)}"
    newest = {
        "tGravityAcc": f"gravity_acc_{axis}",
        "tBodyAcc": f"noise_acc_{axis} - gravity_acc_{axis}",
        "tBodyGyro": f"noise_gyro_{axis} - drift_gyro_{axis}",
    }[name]
    kept = sheet.keep(name_of(step), 1)
    return f"const float {name_of(step)} = {kept}[0];\n    {kept}[0] = {newest};"


@emits("buffer")
def buffer(step: Step, sheet: Sheet) -> str:
    """The last 128 values, in a ring."""
    window = sheet.keep(name_of(step._replace(kind="window")), WINDOW)
    return f"{window}[place] = {name_of(step._replace(kind='signal'))};"
