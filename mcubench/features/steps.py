"""Features as steps, as a device would take them: what each needs, its arithmetic and its memory.

The counts hold for the plain algorithms that are named here, with float32 values; docs/hapt.md has them in a table:

- a Butterworth filter as second-order sections in transposed direct form II; those of 0.3 and 0.1 Hz as integrators,
  gravity's in two floats, as the plain form rounds it too coarsely;
- the spectrum by a radix-2 transform of 64 complex points that hold 128 real ones, unpacked to bins 1 to 64;
- quartiles by merging sorted runs from both ends, whose comparisons do not depend on the data;
- Burg's recursion by squares of sums and differences, which tell reflections near 1 apart;
- entropy from a histogram and a table of c log2 c; all else as it is written down, sums starting from zero.

`mcubench.codegen.features` writes them in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mcubench.features.catalogue import ANGLE, AR_ORDER, SIGNALS, SPECTRA, Column
from mcubench.features.conditioning import DRIFT, GRAVITY, NOISE, STEP, WINDOW
from mcubench.features.operations import Operations

__all__ = ["VALUE_BYTES", "Rule", "Step", "closure", "step_of"]

VALUE_BYTES = 4  # a float32
_COUNTER_BYTES = 1  # of a level of a histogram
_LEVELS = 256
_BINS = WINDOW // 2


class Step(NamedTuple):
    """One quantity of a signal, or of a part of it.

    Attributes:
        kind: A statistic, or what comes before statistics.
        signal: A signal of the catalogue, or the sensor ``acc`` or ``gyro``.
        part: Which axis, axes or band; empty for the whole signal.
    """

    kind: str
    signal: str
    part: str = ""


@dataclass(frozen=True)
class Rule:
    """How a step is computed.

    Attributes:
        operations: Its arithmetic for one window, without that of the steps that it needs.
        needs: Those steps.
        kept: Bytes that it keeps from one sample to the next.
        scratch: Bytes that it takes while it runs.
    """

    operations: Operations
    needs: tuple[Step, ...] = ()
    kept: int = 0
    scratch: int = 0


def step_of(column: Column) -> Step:
    """The step that a column is a result of; the four coefficients of an autoregression are one step's."""
    if column.statistic == "arCoeff":
        return Step("arCoeff", column.signal, "".join(column.axes))
    return Step(column.statistic, column.signal, column.part)


def closure(wanted: Iterable[Step]) -> dict[Step, Rule]:
    """The steps that are wanted and all that they need, each once, with their rules."""
    rules: dict[Step, Rule] = {}
    waiting = list(wanted)
    while waiting:
        step = waiting.pop()
        if step not in rules:
            rules[step] = _RULES[step.kind](step)
            waiting += rules[step].needs
    return rules


# Sample by sample: 64 new ones for each window.


def _each_sample(operations: Operations, needs: Iterable[Step] = (), kept: int = 0) -> Rule:
    return Rule(operations * STEP, tuple(needs), kept * VALUE_BYTES)


def _filter(order: int, behind: str) -> Callable[[Step], Rule]:
    """A section of second order has 4 MACs and a multiplication, one of first order 2 and one."""
    pairs, single = divmod(order, 2)
    operations = Operations(macs=4 * pairs + 2 * single, multiplications=pairs + single)
    return lambda step: _each_sample(operations, [step._replace(kind=behind)], kept=order)


def _slow_filter(order: int, fine: bool = False) -> Callable[[Step], Rule]:
    """A section of second order has 3 MACs, 2 multiplications, 3 additions, one of first order a MAC, 2 additions.

    A fine section of second order, whose state and result are sums of two floats, has 7 additions more, and 2 values.
    """
    pairs, single = divmod(order, 2)
    additions = (10 if fine else 3) * pairs + 2 * single
    operations = Operations(macs=3 * pairs + single, multiplications=2 * pairs, additions=additions)
    kept = order + 2 * pairs if fine else order
    return lambda step: _each_sample(operations, [step._replace(kind="noise")], kept=kept)


def _remainder(step: Step) -> Rule:
    """What 128 values of gravity lack as floats, in a byte each."""
    operations = Operations(macs=1, comparisons=2) * STEP
    return Rule(operations, (step._replace(kind="gravity"),), kept=WINDOW)


def _time_signal(step: Step) -> Rule:
    name, axis = step.signal, step.part
    if name.endswith("Mag"):
        axes = [Step("signal", name.removesuffix("Mag"), each) for each in "XYZ"]
        return _each_sample(Operations(macs=3, roots=1), axes)
    if name.endswith("Jerk"):
        return _each_sample(Operations(additions=1), [Step("signal", name.removesuffix("Jerk"), axis)])
    # The value waits for the next one, as the jerk at a sample is known then: all windows are complete at once.
    if name == "tGravityAcc":
        return _each_sample(Operations(), [Step("gravity", "acc", axis)], kept=1)
    sensor, slow = ("acc", "gravity") if name == "tBodyAcc" else ("gyro", "drift")
    return _each_sample(Operations(additions=1), [Step("noise", sensor, axis), Step(slow, sensor, axis)], kept=1)


# Once a window, of a signal's buffer or of its spectrum.


def _buffer(step: Step) -> Rule:
    return Rule(Operations(), (step._replace(kind="signal"),), kept=WINDOW * VALUE_BYTES)


def _spectrum(step: Step) -> Rule:
    """Butterflies of 64 points, unpacking to 128, magnitudes; the bin at half the rate is real."""
    stages, pairs = _BINS.bit_length() - 1, _BINS // 2
    butterflies = Operations(macs=2, multiplications=2, additions=4) * (stages * pairs)
    # Bins k and 64 - k together; the middle one is both.
    unpacked = Operations(macs=2, multiplications=2, additions=8) + Operations(macs=1, multiplications=2, roots=1) * 2
    last = Operations(additions=1, comparisons=1, multiplications=1)
    source = Step("buffer", SPECTRA[step.signal], step.part)
    return Rule(butterflies + unpacked * pairs + last, (source,), scratch=WINDOW * VALUE_BYTES)


def _length(step: Step) -> int:
    return _BINS if step.signal in SPECTRA else WINDOW


def _values(step: Step, axes: Iterable[str]) -> tuple[Step, ...]:
    kind = "spectrum" if step.signal in SPECTRA else "buffer"
    return tuple(Step(kind, step.signal, axis) for axis in axes)


def _statistic(each: Operations, once: Operations | None = None, needs: Iterable[str] = ()) -> Callable[[Step], Rule]:
    """A statistic of one axis: operations for each value, others once, and what it needs of the same axis."""

    def rule(step: Step) -> Rule:
        others = (step._replace(kind=kind) for kind in needs)
        operations = each * _length(step) + (once or Operations())
        return Rule(operations, (*_values(step, [step.part]), *others))

    return rule


def _extreme(step: Step) -> Rule:
    return Rule(Operations(comparisons=_length(step) - 1), _values(step, [step.part]))


def _area(step: Step) -> Rule:
    """A spectrum has no negative values: its area is the sum of the means."""
    axes = SIGNALS[step.signal].parts
    if step.signal in SPECTRA:
        return Rule(Operations(additions=2), tuple(Step("mean", step.signal, axis) for axis in axes))
    values = len(axes) * WINDOW
    return Rule(
        Operations(comparisons=values, additions=values, multiplications=1), _values(step, axes)
    )  # absolute values, their sum, the division by 128


def _quartiles(step: Step) -> Rule:
    """Of 2^p values pairs are ordered, then runs merged by a comparison a value, the last two up to the quartiles."""
    n = _length(step)
    p = n.bit_length() - 1
    comparisons = n // 2 + (p - 2) * n + 2 * (n // 4 + 1)
    operations = Operations(comparisons=comparisons, additions=3, multiplications=1)
    return Rule(operations, _values(step, [step.part]), scratch=2 * n * VALUE_BYTES)


def _entropy(step: Step) -> Rule:
    """Clip, scale and round (255 x + 0.5), and count each value; then a table's term for each of 256 levels."""
    each = Operations(comparisons=2, macs=1, additions=1)
    once = Operations(macs=1, additions=_LEVELS)  # log2 n - sum / n
    operations = each * _length(step) + once
    return Rule(operations, _values(step, [step.part]), scratch=_LEVELS * _COUNTER_BYTES)


def _autoregression(step: Step) -> Rule:
    """Burg: of n - m pairs of errors the squared differences and sums, the new coefficients, and both new errors.

    Of gravity, the differences of its values are with those of their remainders.
    """
    n = WINDOW
    orders = range(1, AR_ORDER + 1)
    pairs, renewed = sum(n - order for order in orders), sum(n - order for order in orders[:-1])
    operations = Operations(macs=2 * pairs + 2 * renewed, additions=2 * pairs + renewed)
    operations += Operations(additions=2, comparisons=1, multiplications=1, divisions=1) * AR_ORDER
    operations += Operations(macs=sum(order - 1 for order in orders))
    lacking = [Step("remainder", "acc", step.part)] if step.signal == "tGravityAcc" else []
    if lacking:
        operations += Operations(macs=1, additions=1) * (2 * (n - 1))
    return Rule(operations, (*_values(step, [step.part]), *lacking), scratch=2 * n * VALUE_BYTES)


def _correlation(step: Step) -> Rule:
    needs = [Step(kind, step.signal, axis) for kind in ("mean", "squares") for axis in step.part]
    each, once = Operations(additions=2, macs=1), Operations(multiplications=1, roots=1, divisions=1)
    return Rule(each * WINDOW + once, (*_values(step, step.part), *needs))


def _band(step: Step) -> Rule:
    axis, first, last = step.part.split("-")
    return Rule(Operations(macs=int(last) - int(first) + 1), _values(step, [axis]))


def _angle(step: Step) -> Rule:
    """Of two vectors of means, or of an axis and gravity; the cosine is clipped to [-1, 1]."""
    gravity = Step("length", "tGravityAcc")
    if step.signal == "tGravityAcc":
        operations = Operations(roots=1, divisions=1, comparisons=2, arccosines=1)
        return Rule(operations, (gravity, Step("mean", step.signal, step.part)))
    means = [Step("mean", name, axis) for name in (step.signal, "tGravityAcc") for axis in "XYZ"]
    operations = Operations(macs=3, multiplications=1, roots=1, divisions=1, comparisons=2, arccosines=1)
    return Rule(operations, (*means, gravity, Step("length", step.signal)))


def _squared_length(step: Step) -> Rule:
    return Rule(Operations(macs=3), tuple(Step("mean", step.signal, axis) for axis in "XYZ"))


_RULES: dict[str, Callable[[Step], Rule]] = {
    "median": lambda _: _each_sample(Operations(comparisons=3), kept=2),
    "noise": _filter(NOISE.order, behind="median"),
    "gravity": _slow_filter(GRAVITY.order, fine=True),
    "drift": _slow_filter(DRIFT.order),
    "remainder": _remainder,
    "signal": _time_signal,
    "buffer": _buffer,
    "spectrum": _spectrum,
    "sum": _statistic(Operations(additions=1)),
    "mean": _statistic(Operations(), Operations(multiplications=1), ["sum"]),
    "squares": _statistic(Operations(additions=1, macs=1), needs=["mean"]),
    "std": _statistic(Operations(), Operations(multiplications=1, roots=1), ["squares"]),
    "mad": _statistic(Operations(additions=2, comparisons=1), Operations(multiplications=1), ["mean"]),
    "max": _extreme,
    "min": _extreme,
    "sma": _area,
    "energy": _statistic(Operations(macs=1), Operations(multiplications=1)),
    "iqr": _quartiles,
    "entropy": _entropy,
    "arCoeff": _autoregression,
    "correlation": _correlation,
    "maxInds": _extreme,
    "meanFreq": _statistic(Operations(macs=1), Operations(divisions=1), ["sum"]),
    "skewness": _statistic(
        Operations(additions=1, multiplications=1, macs=1),
        Operations(multiplications=3, roots=1, divisions=1),
        ["mean", "squares"],
    ),
    "kurtosis": _statistic(
        Operations(additions=1, multiplications=1, macs=1),
        Operations(multiplications=3, divisions=1),
        ["mean", "squares"],
    ),
    "bandsEnergy": _band,
    ANGLE: _angle,
    "length": _squared_length,
}
