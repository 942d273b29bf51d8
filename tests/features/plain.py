"""The features of one window in plain loops, sample by sample, on numbers that count what is done with them.

A second way to the values and to the operations that `mcubench.features` states: of the package it uses the columns'
names and the record that counts are put in. What a device would compute for some columns is computed here for them,
each quantity once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import Any

from scipy.signal import butter

from mcubench.features.catalogue import Column
from mcubench.features.operations import Operations
from tests.features.counting import Counted, Tally, settle, sqrt

WINDOW, STEP, BINS = 128, 64, 64
AXES = ("X", "Y", "Z")


def stage(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A quantity that is computed once and counted as part of a stage."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def once(self: Plain, *of: str) -> Any:
            key = (method.__name__, *of)
            if key not in self.known:
                with self.tally.stage(name):
                    self.known[key] = settle(method(self, *of))
            return self.known[key]

        return once

    return decorate


def median_of_3(a: Any, b: Any, c: Any) -> Any:
    """Three comparisons: the first orders two."""
    if b < a:
        a, b = b, a
    b = min(b, c)
    return a if b < a else b


def sections(order: int, hertz: float) -> list[list[float]]:
    """A Butterworth filter's b0, b1, b2, a1, a2: its zeros all lie at -1, and a real pole has a section of its own."""
    _, poles, gain = butter(order, hertz, fs=50.0, output="zpk")
    found = [[1.0, 2.0, 1.0, -2 * float(p.real), float(abs(p)) ** 2] for p in poles if p.imag > 1e-9]
    found += [[1.0, 1.0, 0.0, -float(p.real), 0.0] for p in poles if abs(p.imag) <= 1e-9]
    found[0][:3] = [float(gain) * b for b in found[0][:3]]
    return found


class LowPass:
    """Sections in transposed direct form II, one sample after the other."""

    def __init__(self, order: int, hertz: float) -> None:
        self.sections = sections(order, hertz)
        self.states: list[list[Any]] = [[0.0, 0.0] for _ in self.sections]

    def __call__(self, x: Any) -> Any:
        for (b0, b1, b2, a1, a2), state in zip(self.sections, self.states, strict=True):
            first, second = state
            y = b0 * x + first
            if b2 == a2 == 0:  # of first order
                state[0] = b1 * x - a1 * y
            else:
                state[0] = b1 * x + second - a1 * y
                state[1] = b2 * x - a2 * y
            x = y
        return x


class Integrators:
    """A low-pass far below the rate as integrators by the trapezoidal rule, a section of first order before the others.

    Args:
        order: Its order.
        hertz: Its corner.
        fine: Whether state and result of a section of second order are sums of two numbers; `rest` is what the latest
            result lacks.
    """

    def __init__(self, order: int, hertz: float, fine: bool = False) -> None:
        warped = math.tan(math.pi * hertz / 50.0)
        # Poles of Butterworth's lie on a circle, a real one among them where the order is odd.
        self.dampings = [2 * math.sin(math.pi * (2 * k + 1) / (2 * order)) for k in range(order // 2)]
        self.single = [0.0] if order % 2 else []
        self.states: list[list[Any]] = [[0.0, 0.0, 0.0] for _ in self.dampings]
        self.warped, self.fine, self.rest = warped, fine, 0.0

    def __call__(self, x: Any) -> Any:
        for index, state in enumerate(self.single):
            step = self.warped / (1 + self.warped) * (x - state)
            x = state + step
            self.single[index] = x + step
        for damping, state in zip(self.dampings, self.states, strict=True):
            x = (self.exactly if self.fine else self.plainly)(damping, state, x)
        return x

    def steps(self, damping: float, band: Any, ahead: Any) -> tuple[Any, Any]:
        """Of the band's state, which moves by twice that, and of the result."""
        a = self.warped
        if isinstance(ahead, Counted):  # the state may be from before counting began
            band = Counted(float(band), ahead.tally)
        one, first, second = (power / (1 + damping * a + a * a) for power in (1.0, a, a * a))
        return one * band + first * ahead, first * band + second * ahead

    def plainly(self, damping: float, state: list[Any], x: Any) -> Any:
        band, low, _ = state
        rise, step = self.steps(damping, band, x - low)
        y = low + step
        state[:] = 2.0 * rise - band, y + step, 0.0
        return y

    def exactly(self, damping: float, state: list[Any], x: Any) -> Any:
        band, low, lower = state
        rise, step = self.steps(damping, band, x - low - lower)
        first = lower + step
        y = low + first
        self.rest = first - (y - low)
        second = self.rest + step
        whole = y + second
        state[:] = 2.0 * rise - band, whole, second - (whole - y)
        return y


def merged_ends(low: Sequence[Any], high: Sequence[Any], count: int) -> tuple[list[Any], list[Any]]:
    """The first and the last numbers of two sorted runs of equal length together, a comparison each.

    No run ends before the comparisons do, so that their number does not depend on the data.
    """
    i = j = 0
    first, last = [], []
    for _ in range(count):
        later = high[j] < low[i]
        first.append(high[j] if later else low[i])
        i, j = i + (not later), j + later
    i, j = len(low) - 1, len(high) - 1
    for _ in range(count):
        earlier = high[j] < low[i]
        last.append(low[i] if earlier else high[j])
        i, j = i - earlier, j - (not earlier)
    return first, last[::-1]


def quartile_ends(x: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The sorted numbers up to the first one above the lower quartile, and from the last one below the upper."""
    runs = [[b, a] if b < a else [a, b] for a, b in zip(x[::2], x[1::2], strict=True)]
    while len(runs) > 2:
        pairs = zip(runs[::2], runs[1::2], strict=True)
        runs = [[*first, *last] for first, last in (merged_ends(low, high, len(low)) for low, high in pairs)]
    return merged_ends(*runs, len(x) // 4 + 1)


def transform(x: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Radix-2 transform of 64 complex points, real and imaginary parts: even samples and odd ones of 128."""
    bits = BINS.bit_length() - 1
    order = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(BINS)]
    re, im = [x[2 * k] for k in order], [x[2 * k + 1] for k in order]
    half = 1
    while half < BINS:
        for first in range(0, BINS, 2 * half):
            for k in range(half):
                c, s = math.cos(math.pi * k / half), -math.sin(math.pi * k / half)
                i, j = first + k, first + k + half
                turned_re, turned_im = c * re[j] - s * im[j], c * im[j] + s * re[j]
                re[i], re[j] = re[i] + turned_re, re[i] - turned_re
                im[i], im[j] = im[i] + turned_im, im[i] - turned_im
        half *= 2
    return re, im


class Plain:
    """One window of a recording, at the end of what has come of it.

    Args:
        samples: All raw samples since the recording began, to the second one behind the window; shape (T, 6).
    """

    def __init__(self, samples: Sequence[Sequence[float]]) -> None:
        self.raw = [[float(value) for value in channel] for channel in zip(*samples, strict=True)]
        self.tally = Tally()
        self.known: dict[tuple[str, ...], Any] = {}

    def row(self, wanted: Iterable[Column], offset: float = 0.0, factor: float = 1.0) -> list[float]:
        """The columns' values, scaled."""
        values = [self.feature(column) for column in wanted]
        with self.tally.stage("scaling"):
            return [float((value - offset) * factor) for value in values]

    def feature(self, column: Column) -> Counted:
        """A column's value, not scaled."""
        # The published gravity magnitude is the body's once more.
        signal = "tBodyAccMag" if column.signal == "tGravityAccMag" else column.signal
        part = column.part.split("-")
        if column.statistic == "sma":
            return self.mean(signal, "") if signal.endswith("Mag") else self.sma(signal)
        if column.statistic == "angle":
            return self.inclination(part[0]) if part[0] else self.angle(signal)
        if column.statistic == "correlation":
            return self.correlation(signal, *column.part)
        if column.statistic == "arCoeff":
            return self.burg(signal, "".join(part[:-1]))[int(part[-1]) - 1]
        of = [""] * signal.endswith("Mag") + part if column.statistic == "bandsEnergy" else part
        return getattr(self, column.statistic)(signal, *of)

    @property
    def counts(self) -> dict[str, Operations]:
        """What was done, by stage."""
        return {name: Operations(**counts) for name, counts in self.tally.stages.items() if any(counts.values())}

    def number(self, value: float) -> Counted:
        return Counted(value, self.tally)

    # Sample by sample

    def each(self, function: Callable[..., Any], *streams: Sequence[float]) -> list[float]:
        """Runs along streams from the beginning of the recording; the last 64 steps are this window's and count."""
        uncounted = len(streams[0]) - STEP
        found = []
        for time, values in enumerate(zip(*streams, strict=True)):
            found.append(float(function(*(values if time < uncounted else map(self.number, values)))))
        return found

    @stage("median of 3")
    def median(self, sensor: str, axis: str) -> list[float]:
        raw = self.raw[3 * (sensor == "gyro") + AXES.index(axis)]
        return self.each(median_of_3, [0.0, *raw[:-2]], raw[:-1], raw[1:])

    @stage("low-pass 20 Hz")
    def noiseless(self, sensor: str, axis: str) -> list[float]:
        return self.each(LowPass(10, 20.0), self.median(sensor, axis))

    @stage("low-pass 0.3 Hz")
    def gravity(self, axis: str) -> list[float]:
        return self.each(Integrators(3, 0.3, fine=True), self.noiseless("acc", axis))

    @stage("low-pass 0.3 Hz")
    def remainder(self, axis: str) -> list[float]:
        """What is left of gravity behind a float, in 2^-31, from -127 to 127."""

        def kept(rest: Any) -> Any:
            steps = rest * 2.0**31
            if steps > 127.0:
                return 127.0
            return -127.0 if steps < -127.0 else float(math.floor(float(steps + 128.5))) - 128.0

        return self.each(kept, [0.0 for _ in self.gravity(axis)])  # there is nothing left of these numbers

    @stage("low-pass 0.1 Hz")
    def drift(self, axis: str) -> list[float]:
        return self.each(Integrators(2, 0.1), self.noiseless("gyro", axis))

    @stage("body, jerk, magnitudes")
    def stream(self, signal: str, axis: str) -> list[float]:
        if signal.endswith("Mag"):
            x, y, z = (self.stream(signal.removesuffix("Mag"), each) for each in AXES)
            return self.each(lambda a, b, c: sqrt(self.zero(a) + a * a + b * b + c * c), x, y, z)
        if signal.endswith("Jerk"):
            x = self.stream(signal.removesuffix("Jerk"), axis)
            return self.each(lambda now, then: then - now, x[:-1], x[1:])
        if signal == "tGravityAcc":
            return self.gravity(axis)
        slow = self.gravity(axis) if signal == "tBodyAcc" else self.drift(axis)
        return self.each(lambda a, b: a - b, self.noiseless("acc" if signal == "tBodyAcc" else "gyro", axis), slow)

    def zero(self, like: Any) -> Any:
        return self.number(0.0) if isinstance(like, Counted) else 0.0

    # Once a window

    def values(self, signal: str, axis: str) -> list[Counted]:
        """The 128 samples of a time signal, or the 64 bins of a spectrum."""
        if signal.startswith("f"):
            return self.spectrum(signal, axis)
        end = len(self.raw[0]) - 2  # where the jerk ends, too
        return [self.number(value) for value in self.stream(signal, axis)[end - WINDOW : end]]

    @stage("spectra")
    def spectrum(self, signal: str, axis: str) -> list[Counted]:
        re, im = transform(self.values(f"t{signal[1:]}", axis))
        half = 0.5 * 2 / WINDOW  # each bin's sum of even and odd samples is twice itself
        bins: list[Counted] = [self.number(0.0)] * (BINS - 1)
        for k in range(1, BINS // 2 + 1):
            even_re, even_im = re[k] + re[BINS - k], im[k] - im[BINS - k]
            odd_re, odd_im = im[k] + im[BINS - k], re[BINS - k] - re[k]
            c, s = math.cos(math.pi * k / BINS), -math.sin(math.pi * k / BINS)
            turned_re, turned_im = c * odd_re - s * odd_im, c * odd_im + s * odd_re
            for place, real, imaginary in (
                (k, even_re + turned_re, even_im + turned_im),
                (BINS - k, even_re - turned_re, even_im - turned_im),
            ):
                bins[place - 1] = (real * real + imaginary * imaginary).sqrt() * half
        return [*bins, abs(re[0] - im[0]) * (2 / WINDOW)]

    def clip(self, x: Counted, low: float, high: float) -> Counted:
        raised = low if x < low else float(x)
        return self.number(high if self.number(raised) > high else raised)

    def sum_of(self, terms: Iterable[Any]) -> Counted:
        total = self.number(0.0)
        for term in terms:
            total = total + term
        return total

    @stage("mean")
    def sum(self, signal: str, axis: str) -> Counted:
        return self.sum_of(self.values(signal, axis))

    @stage("mean")
    def mean(self, signal: str, axis: str) -> Counted:
        return self.sum(signal, axis) * (1 / len(self.values(signal, axis)))

    @stage("std")
    def squares(self, signal: str, axis: str) -> Counted:
        mean = self.mean(signal, axis)
        deviations = (x - mean for x in self.values(signal, axis))
        return self.sum_of(d * d for d in deviations)

    @stage("std")
    def std(self, signal: str, axis: str) -> Counted:
        return (self.squares(signal, axis) * (1 / (len(self.values(signal, axis)) - 1))).sqrt()

    @stage("mad")
    def mad(self, signal: str, axis: str) -> Counted:
        x, mean = self.values(signal, axis), self.mean(signal, axis)
        return self.sum_of(abs(value - mean) for value in x) * (1 / len(x))

    @stage("max")
    def max(self, signal: str, axis: str) -> Counted:
        return max(self.values(signal, axis))

    @stage("min")
    def min(self, signal: str, axis: str) -> Counted:
        return min(self.values(signal, axis))

    @stage("sma")
    def sma(self, signal: str) -> Counted:
        if signal.startswith("f"):  # has no negative values
            x, y, z = (self.mean(signal, axis) for axis in AXES)
            return x + y + z
        return self.sum_of(abs(x) for axis in AXES for x in self.values(signal, axis)) * (1 / WINDOW)

    @stage("energy")
    def energy(self, signal: str, axis: str) -> Counted:
        x = self.values(signal, axis)
        return self.sum_of(value * value for value in x) * (1 / len(x))

    @stage("iqr")
    def iqr(self, signal: str, axis: str) -> Counted:
        lower, upper = quartile_ends(self.values(signal, axis))
        return ((upper[0] + upper[1]) - (lower[-2] + lower[-1])) * 0.5

    @stage("entropy")
    def entropy(self, signal: str, axis: str) -> Counted:
        x = self.values(signal, axis)
        counts = [self.number(0.0) for _ in range(256)]
        for value in x:
            level = int(float(self.clip(value, 0.0, 1.0) * 255.0 + 0.5))
            counts[level] = counts[level] + 1
        table = [0.0, *(c * math.log2(c) for c in range(1, len(x) + 1))]
        return math.log2(len(x)) - self.sum_of(table[int(float(count))] for count in counts) * (1 / len(x))

    @stage("arCoeff")
    def burg(self, signal: str, axis: str) -> list[Counted]:
        x = self.values(signal, axis)
        forward, backward = x[1:], x[:-1]
        lacking: list[Counted] | None = None
        if signal == "tGravityAcc":
            lacking = [self.number(value) for value in self.remainder(axis)[-WINDOW - 1 : -1]]
        a: list[Counted] = []
        for order in range(1, 5):
            difference = partial(self.difference, forward, backward, lacking)
            differences = self.sum_of(d * d for d in map(difference, range(len(forward))))
            sums = self.sum_of(s * s for s in (f + b for f, b in zip(forward, backward, strict=True)))
            alike = differences < sums
            q = 2.0 * (differences if alike else sums) / (sums + differences)
            k = q - 1.0 if alike else 1.0 - q
            a = [*(one + k * other for one, other in zip(a, a[::-1], strict=True)), k]
            if order < 4:
                renewed = []
                for i, (f, b) in enumerate(zip(forward, backward, strict=True)):
                    if alike:
                        d = difference(i)
                        renewed.append((d + q * b, q * f - d))
                    else:
                        s = f + b
                        renewed.append((s - q * b, s - q * f))
                forward, backward = [f for f, _ in renewed[1:]], [b for _, b in renewed[:-1]]
            lacking = None
        return a

    def difference(
        self, forward: list[Counted], backward: list[Counted], lacking: list[Counted] | None, i: int
    ) -> Counted:
        """Of two errors, and at first of what they lack."""
        d = forward[i] - backward[i]
        return d if lacking is None else d + (lacking[i + 1] - lacking[i]) * 2.0**-31

    @stage("correlation")
    def correlation(self, signal: str, one: str, other: str) -> Counted:
        means = self.mean(signal, one), self.mean(signal, other)
        pairs = zip(self.values(signal, one), self.values(signal, other), strict=True)
        products = self.sum_of((a - means[0]) * (b - means[1]) for a, b in pairs)
        return products / (self.squares(signal, one) * self.squares(signal, other)).sqrt()

    @stage("maxInds")
    def maxInds(self, signal: str, axis: str) -> Counted:  # noqa: N802
        x = self.values(signal, axis)
        return self.number(max(range(len(x)), key=x.__getitem__) + 1.0)

    @stage("meanFreq")
    def meanFreq(self, signal: str, axis: str) -> Counted:  # noqa: N802
        x = self.values(signal, axis)
        return self.sum_of(float(k) * value for k, value in enumerate(x, 1)) / self.sum(signal, axis)

    def moment(self, power: Callable[[Counted], Counted], signal: str, axis: str) -> Counted:
        mean = self.mean(signal, axis)
        deviations = (x - mean for x in self.values(signal, axis))
        return self.sum_of(power(d) for d in deviations) * (1 / len(self.values(signal, axis)))

    def variance(self, signal: str, axis: str) -> Counted:
        return self.squares(signal, axis) * (1 / len(self.values(signal, axis)))

    @stage("skewness")
    def skewness(self, signal: str, axis: str) -> Counted:
        variance = self.variance(signal, axis)
        return self.moment(lambda d: d * d * d, signal, axis) / (variance * variance.sqrt())

    @stage("kurtosis")
    def kurtosis(self, signal: str, axis: str) -> Counted:
        def fourth(d: Counted) -> Counted:
            square = d * d
            return square * square

        variance = self.variance(signal, axis)
        return self.moment(fourth, signal, axis) / (variance * variance)

    @stage("bandsEnergy")
    def bandsEnergy(self, signal: str, axis: str, first: str, last: str) -> Counted:  # noqa: N802
        bins = self.values(signal, axis)[int(first) - 1 : int(last)]
        return self.sum_of(value * value for value in bins)

    @stage("angle")
    def squared_length(self, signal: str) -> Counted:
        return self.sum_of(mean * mean for mean in map(partial(self.mean, signal), AXES))

    @stage("angle")
    def angle(self, signal: str) -> Counted:
        dot = self.sum_of(self.mean(signal, axis) * self.mean("tGravityAcc", axis) for axis in AXES)
        cosine = dot / (self.squared_length(signal) * self.squared_length("tGravityAcc")).sqrt()
        return self.clip(cosine, -1.0, 1.0).acos()

    @stage("angle")
    def inclination(self, axis: str) -> Counted:
        cosine = self.mean("tGravityAcc", axis) / self.squared_length("tGravityAcc").sqrt()
        return self.clip(cosine, -1.0, 1.0).acos()
