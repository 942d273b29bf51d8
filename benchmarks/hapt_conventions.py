"""One wrong convention at a time: how far HAPT's features then are from the published ones.

Used by `python -m benchmarks.hapt_features --conventions`. The time signals are computed by a chain of its own, written
down in one piece, so that every link of it can be exchanged; its first row is that chain with nothing exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, signal, stats

from mcubench.datamodules.hapt_windows import Recording
from mcubench.features import WINDOW, columns, statistics, windows
from mcubench.features.conditioning import CHANNELS, DRIFT, GRAVITY, NOISE, Butterworth
from mcubench.features.statistics import STATISTICS, Samples, spectrum
from mcubench.features.windows import recording_features, window_features

__all__ = ["CONVENTIONS", "Convention"]

Array = NDArray[np.float64]
Compute = Callable[[Recording], Array]

PLAIN = dict(STATISTICS)  # as they are, whatever is exchanged


def causal(sections: Array, x: Array) -> Array:
    filtered: Array = signal.sosfilt(sections, x, axis=0)
    return filtered


def zero_phase(sections: Array, x: Array) -> Array:
    filtered: Array = signal.sosfiltfilt(sections, x, axis=0)
    return filtered


def forward(x: Array) -> Array:
    return np.diff(x, axis=0, append=x[-1:])


def backward(x: Array) -> Array:
    return np.diff(x, axis=0, prepend=x[:1])


@dataclass(frozen=True)
class Chain:
    """From raw samples to time signals, for a recording in one piece; stands in for a `Conditioner`.

    Attributes:
        median: Samples that the median is of.
        noise: Low-pass behind it.
        gravity: Low-pass whose output is gravity.
        drift: Low-pass whose output is the gyroscope's drift; ``None`` removes none.
        run: Runs a filter's sections over the samples.
        jerk: Turns a vector's samples into its jerk.
    """

    median: int = 3
    noise: Butterworth = NOISE
    gravity: Butterworth = GRAVITY
    drift: Butterworth | None = DRIFT
    run: Callable[[Array, Array], Array] = causal
    jerk: Callable[[Array], Array] = forward

    def push(self, samples: Array) -> Array:
        """The columns of `CHANNELS`, then the magnitude of gravity, for all samples but the last."""
        smooth = self.run(self.noise.sections(), signal.medfilt(samples, (self.median, 1)))
        gravity = self.run(self.gravity.sections(), smooth[:, :3])
        body, velocity = smooth[:, :3] - gravity, smooth[:, 3:]
        if self.drift is not None:
            velocity = velocity - self.run(self.drift.sections(), velocity)
        return arranged(body, gravity, self.jerk(body), velocity, self.jerk(velocity))[:-1]

    def finish(self) -> Array:
        """Nothing more comes."""
        return np.empty((0, 20))


def arranged(*vectors: Array) -> Array:
    """Body acceleration, gravity, jerk, angular velocity, jerk; then their magnitudes, gravity's last."""
    magnitudes = [np.linalg.norm(vectors[each], axis=1, keepdims=True) for each in (0, 2, 3, 4, 1)]
    return np.concatenate([*vectors, *magnitudes], axis=1)


def by_chain(chain: Chain, later: int = 0) -> Compute:
    """Another chain, or windows that start later."""

    def compute(recording: Recording) -> Array:
        starts = recording.starts + later
        return recording_features(recording.samples, starts, conditioner=chain)  # type: ignore[arg-type]

    return compute


def within_windows(cut: Callable[[Recording], Array]) -> Compute:
    """Time signals that were computed in each window by itself: shape (windows, 128, 20)."""
    return lambda recording: window_features(cut(recording).transpose(0, 2, 1))


def filtered_by_window(recording: Recording) -> Array:
    pieces = sliding_window_view(recording.samples, WINDOW + 1, axis=0)[recording.starts]
    return np.stack([Chain().push(piece.T) for piece in pieces])


def jerk_by_window(recording: Recording) -> Array:
    """127 differences, and a zero behind them."""
    whole = sliding_window_view(Chain().push(recording.samples), WINDOW, axis=0)[recording.starts]
    found = []
    for window in whole.transpose(0, 2, 1):
        body, gravity, velocity = (window[:, CHANNELS[name]] for name in ("tBodyAcc", "tGravityAcc", "tBodyGyro"))
        found.append(arranged(body, gravity, forward(body), velocity, forward(velocity)))
    return np.stack(found)


def by_statistic(**others: Callable[[Samples], Array]) -> Compute:
    """Other formulas for some statistics."""

    def compute(recording: Recording) -> Array:
        with patch.dict(STATISTICS, others):
            return recording_features(recording.samples, recording.starts)

    return compute


def by_function(name: str, other: Callable[..., Array]) -> Compute:
    """Another function in place of `spectrum` or `angles`."""

    def compute(recording: Recording) -> Array:
        with patch.object(windows, name, other):
            return recording_features(recording.samples, recording.starts)

    return compute


def magnitude_of_gravity(recording: Recording) -> Array:
    with patch.dict(CHANNELS, tGravityAccMag=slice(19, 20)):
        return by_chain(Chain())(recording)


def magnitude_of_spectra(recording: Recording) -> Array:
    """The spectra of magnitudes from those of three axes, not from the magnitude."""
    x = sliding_window_view(Chain().push(recording.samples), WINDOW, axis=0)[recording.starts]
    features = window_features(x)
    for column in columns():
        if column.signal.startswith("f") and column.signal.endswith("Mag"):
            axes = spectrum(x[:, CHANNELS[f"t{column.signal[1:].removesuffix('Mag')}"]])
            magnitude = Samples(np.linalg.norm(axes, axis=1, keepdims=True))
            features[:, column.index] = STATISTICS[column.statistic](magnitude)[:, column.slot]
    return features


def transformed(x: Array, scale: float = 2 / WINDOW, bins: slice = slice(1, None)) -> Array:
    magnitude: Array = np.abs(fft.rfft(x, axis=-1)[..., bins]) * scale
    return magnitude


def entropy_of(levels: Callable[[Array], Array]) -> Callable[[Samples], Array]:
    """The package's entropy, of other levels: 0 to 255."""
    return lambda samples: PLAIN["entropy"](Samples(levels(samples.x) / 255))


def spread(x: Array) -> Array:
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1) * 255


def entropy_of_shares(samples: Samples) -> Array:
    entropy: Array = stats.entropy(np.square(samples.x), base=2, axis=-1)
    return entropy


def burg_of_order(order: int) -> Callable[[Samples], Array]:
    def first_four(samples: Samples) -> Array:
        with patch.object(statistics, "AR_ORDER", order):
            found = PLAIN["arCoeff"](samples)
        return found.reshape(*samples.x.shape[:2], order)[..., :4].reshape(len(samples.x), -1)

    return first_four


def yule_walker(samples: Samples) -> Array:
    n = samples.n
    lags = np.stack([(samples.x[..., k:] * samples.x[..., : n - k]).sum(-1) for k in range(5)], axis=-1)
    matrix = lags[..., np.abs(np.subtract.outer(np.arange(4), np.arange(4)))]
    return -np.linalg.solve(matrix, lags[..., 1:, None])[..., 0].reshape(len(samples.x), -1)


def median_deviation(samples: Samples) -> Array:
    deviation: Array = stats.median_abs_deviation(samples.x, axis=-1)
    return deviation


def quantiles(samples: Samples) -> Array:
    lower, upper = np.quantile(samples.x, [0.25, 0.75], axis=-1)
    return upper - lower


def by_power(samples: Samples) -> Array:
    power = np.square(samples.x)
    frequency: Array = power @ np.arange(1.0, samples.n + 1) / power.sum(-1)
    return frequency


def axes_together(samples: Samples) -> Array:
    found = PLAIN["bandsEnergy"](samples)
    return found.reshape(len(found), 3, -1).transpose(0, 2, 1).reshape(len(found), -1)


def magnitudes_in_bands(samples: Samples) -> Array:
    return PLAIN["bandsEnergy"](Samples(np.sqrt(samples.x)))


def cosine(mean: Array, gravity: Array) -> Array:
    found: Array = (mean * gravity).sum(-1) / np.linalg.norm(mean, axis=-1) / np.linalg.norm(gravity, axis=-1)
    return found


def affine(recording: Recording) -> Array:
    """Everything at once that only shifts or stretches a feature."""
    others: dict[str, Callable[[Samples], Array]] = {
        "std": lambda samples: samples.x.std(-1),
        "energy": lambda samples: np.square(samples.x).sum(-1),
        "sma": lambda samples: np.abs(samples.x).sum((1, 2))[:, None],
        "entropy": lambda samples: PLAIN["entropy"](samples) * np.log(2),
        "maxInds": lambda samples: samples.x.argmax(-1) * 1.0,
        "meanFreq": lambda samples: PLAIN["meanFreq"](samples) * 50 / WINDOW,
        "skewness": lambda samples: stats.skew(samples.x, axis=-1, bias=False),
        "kurtosis": lambda samples: stats.kurtosis(samples.x, axis=-1, bias=False),
    }
    found = by_statistic(**others)(recording)
    angles = [column.index for column in columns() if column.statistic == "angle"]
    found[:, angles] = np.degrees(found[:, angles])
    return found


@dataclass(frozen=True)
class Convention:
    """A convention done wrong.

    Attributes:
        right: The convention.
        said: What features_info.txt says of it.
        wrong: What is done instead.
        compute: Features of a recording's windows, done so.
    """

    right: str
    said: str
    wrong: str
    compute: Compute


NOTHING = "nothing"


def chained(right: str, said: str, wrong: str, **changes: Any) -> Convention:
    return Convention(right, said, wrong, by_chain(replace(Chain(), **changes)))


def counted(right: str, said: str, wrong: str, **others: Callable[[Samples], Array]) -> Convention:
    return Convention(right, said, wrong, by_statistic(**others))


CONVENTIONS: tuple[Convention, ...] = (
    chained("", "", "nothing"),
    chained("median of 3", "a median filter", "no median", median=1),
    chained("median of 3", "a median filter", "median of 5", median=5),
    *(
        chained("low-pass 20 Hz, order 10", "order 3", f"order {order}", noise=Butterworth(order, 20.0))
        for order in (3, 9)
    ),
    *(
        chained("gravity: 0.3 Hz, order 3", "0.3 Hz, no order", f"order {order}", gravity=Butterworth(order, 0.3))
        for order in (1, 2, 4)
    ),
    chained("drift: 0.1 Hz, order 2", NOTHING, "no drift removed", drift=None),
    chained("drift: 0.1 Hz, order 2", NOTHING, "0.3 Hz, order 3, as gravity", drift=GRAVITY),
    chained("drift: 0.1 Hz, order 2", NOTHING, "order 1", drift=Butterworth(1, 0.1)),
    chained("filters are causal", NOTHING, "zero phase (forward and backward)", run=zero_phase),
    Convention("filters run over recordings", NOTHING, "over each window", within_windows(filtered_by_window)),
    chained("jerk: x[t+1] - x[t]", "derived in time", "x[t] - x[t-1]", jerk=backward),
    chained("jerk: x[t+1] - x[t]", "derived in time", "central", jerk=lambda x: (forward(x) + backward(x)) / 2),
    chained("jerk: x[t+1] - x[t]", "derived in time", "times 50, per second", jerk=lambda x: 50 * forward(x)),
    Convention("jerk over recordings", NOTHING, "in each window", within_windows(jerk_by_window)),
    Convention("tGravityAccMag copies tBodyAccMag", "norm of gravity", "as the text says", magnitude_of_gravity),
    Convention("windows start at first - 1", NOTHING, "one sample later", by_chain(Chain(), later=1)),
    counted("mad: mean deviation from the mean", "median", "median, as the text says", mad=median_deviation),
    counted("iqr: quantiles (i - 0.5)/n", "interquartile range", "numpy's default, (i - 1)/(n - 1)", iqr=quantiles),
    counted(
        "entropy: round(255 x)", "signal entropy", "floor(256 x)",
        entropy=entropy_of(lambda x: np.floor(np.clip(x * 256, 0, 255))),
    ),
    counted("entropy: x clipped to [0, 1]", "signal entropy", "the window's range", entropy=entropy_of(spread)),
    counted("entropy of a histogram", "signal entropy", "of each value's share of energy", entropy=entropy_of_shares),
    counted(
        "arCoeff: mean not removed", NOTHING, "mean removed",
        arCoeff=lambda samples: PLAIN["arCoeff"](Samples(samples.centred)),
    ),
    counted("arCoeff: order 4", "order 4", "the first 4 of order 5", arCoeff=burg_of_order(5)),
    counted("arCoeff: Burg", "Burg", "Yule-Walker", arCoeff=yule_walker),
    counted(
        "correlation XY, XZ, YZ", NOTHING, "XY, YZ, XZ",
        correlation=lambda samples: PLAIN["correlation"](samples)[:, [0, 2, 1]],
    ),
    Convention(
        "spectrum: bins 1 to 64", "64 bins", "bins 0 to 63",
        by_function("spectrum", lambda x: transformed(x, bins=slice(0, 64))),
    ),
    Convention("spectrum times 2/128", NOTHING, "not scaled", by_function("spectrum", lambda x: transformed(x, 1))),
    Convention(
        "spectrum: magnitude", NOTHING, "power", by_function("spectrum", lambda x: np.square(transformed(x)))
    ),
    Convention(
        "spectrum: no taper", NOTHING, "Hann window",
        by_function("spectrum", lambda x: transformed(x * signal.windows.hann(WINDOW, sym=False))),
    ),
    Convention("f...Mag: spectrum of the magnitude", NOTHING, "magnitude of the spectra", magnitude_of_spectra),
    counted("meanFreq: weighted by magnitude", "weighted average", "by power", meanFreq=by_power),
    counted("bandsEnergy: sum of squares", "energy", "sum of magnitudes", bandsEnergy=magnitudes_in_bands),
    counted("bandsEnergy: axis by axis", NOTHING, "band by band", bandsEnergy=axes_together),
    Convention("angle: radians", "angle", "cosine", by_function("angles", cosine)),
    Convention(
        "units and constants", NOTHING,
        "std over n, skewness and kurtosis as sample estimates, energy and sma as sums, natural logarithm, maxInds "
        "from 0, meanFreq in Hz, angle in degrees",
        affine,
    ),
)  # fmt: skip
