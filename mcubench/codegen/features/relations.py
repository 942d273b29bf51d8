"""What relates samples to those before, axes to each other, and signals to gravity."""

from __future__ import annotations

from mcubench.codegen.features.table import Sheet, emits, length, name_of, values
from mcubench.features.catalogue import ANGLE, AR_ORDER
from mcubench.features.steps import Step

__all__: list[str] = []


@emits("arCoeff")
def autoregression(step: Step, sheet: Sheet) -> str:
    """All four coefficients."""
    sheet.unit.use("burg")
    name = name_of(step)
    lacking = f"kept->{name_of(Step('remainder', 'acc', step.part))}" if step.signal == "tGravityAcc" else "NULL"
    return f"float {name}[{AR_ORDER}];\n    burg({values(step)}, {lacking}, start, scratch, {name});"


@emits("correlation")
def correlation(step: Step, sheet: Sheet) -> str:
    """Pearson's, of two axes."""
    sheet.unit.use("products_about", "root_of")
    pairs = ", ".join(f"{values(step, axis)}, {name_of(Step('mean', step.signal, axis))}" for axis in step.part)
    squares = " * ".join(name_of(Step("squares", step.signal, axis)) for axis in step.part)
    return f"products_about({pairs}, {length(step)}) / root_of({squares})"


@emits("length")
def squared_length(step: Step, sheet: Sheet) -> str:
    """Of a vector of means, squared."""
    means = [name_of(Step("mean", step.signal, axis)) for axis in "XYZ"]
    return " + ".join(f"{each} * {each}" for each in means)


@emits(ANGLE)
def angle(step: Step, sheet: Sheet) -> str:
    """Between a vector of means, or an axis, and gravity."""
    sheet.unit.use("arccosine")
    gravity = name_of(Step("length", "tGravityAcc"))
    if step.signal == "tGravityAcc":
        return f"arccosine({name_of(Step('mean', step.signal, step.part))} / root_of({gravity}))"
    products = " + ".join(
        f"{name_of(Step('mean', step.signal, axis))} * {name_of(Step('mean', 'tGravityAcc', axis))}" for axis in "XYZ"
    )
    return f"arccosine(({products}) / root_of({gravity} * {name_of(Step('length', step.signal))}))"
