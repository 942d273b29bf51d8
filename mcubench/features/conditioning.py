"""From raw samples to the time signals: filters, gravity and drift removed, jerk and magnitudes, with state carried.

Every step is causal, but for one sample that the median looks ahead and one that the jerk does. A device can do all of
it sample by sample, and so does `Conditioner`; a whole recording takes the same path in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from mcubench.errors import UserError

__all__ = [
    "CHANNELS",
    "DRIFT",
    "GRAVITY",
    "NOISE",
    "RATE",
    "STEP",
    "WINDOW",
    "Butterworth",
    "Conditioner",
]

Array = NDArray[np.float64]

# README.txt of the data set: windows of 2.56 s that overlap by half
RATE = 50.0  # Hz
WINDOW = 128  # samples
STEP = 64


@dataclass(frozen=True)
class Butterworth:
    """A causal Butterworth low-pass filter.

    Attributes:
        order: Its order.
        hertz: Its corner frequency, -3 dB.
    """

    order: int
    hertz: float

    def sections(self) -> Array:
        """Second-order sections, shape (sections, 6), by the bilinear transform with prewarping."""
        sections: Array = signal.butter(self.order, self.hertz, fs=RATE, output="sos")
        return sections


# features_info.txt: "a median filter and a 3rd order low pass Butterworth filter with a corner frequency of 20 Hz". The
# corner holds; the published values are those of order 10 (docs/hapt.md has the agreement with order 3).
NOISE = Butterworth(10, 20.0)
# features_info.txt has the corner, "0.3 Hz", and no order.
GRAVITY = Butterworth(3, 0.3)
# Not in features_info.txt: what is slower than this is taken from the gyroscope's signal.
DRIFT = Butterworth(2, 0.1)

# Where the time signals stand in what a conditioner puts out. The published tGravityAccMag is a copy of tBodyAccMag in
# all 13 columns, not the magnitude of gravity that features_info.txt describes.
CHANNELS: dict[str, slice] = {
    "tBodyAcc": slice(0, 3),
    "tGravityAcc": slice(3, 6),
    "tBodyAccJerk": slice(6, 9),
    "tBodyGyro": slice(9, 12),
    "tBodyGyroJerk": slice(12, 15),
    "tBodyAccMag": slice(15, 16),
    "tGravityAccMag": slice(15, 16),
    "tBodyAccJerkMag": slice(16, 17),
    "tBodyGyroMag": slice(17, 18),
    "tBodyGyroJerkMag": slice(18, 19),
}


class Conditioner:
    """Turns raw samples into time signals, in pieces of any length.

    All filters start from zeros, and run over a recording as a whole, not over windows.

    Args:
        noise: Low-pass behind the median.
        gravity: Low-pass whose output is gravity.
        drift: Low-pass whose output is the gyroscope's drift; ``None`` removes none.
    """

    def __init__(
        self, noise: Butterworth = NOISE, gravity: Butterworth = GRAVITY, drift: Butterworth | None = DRIFT
    ) -> None:
        self._noise, self._gravity = _Cascade(noise, 6), _Cascade(gravity, 3)
        self._drift = None if drift is None else _Cascade(drift, 3)
        self._raw = np.zeros((1, 6))  # the median's memory; zeros stand before the first sample
        self._finished = False
        self._base = np.empty((0, 9))  # body acceleration, gravity and angular velocity that the jerk has not passed

    def push(self, samples: ArrayLike) -> Array:
        """Takes further samples.

        Args:
            samples: Shape (T, 6) or (6,): acceleration x, y, z in g, angular velocity x, y, z in rad/s, at 50 Hz.

        Returns:
            The time signals at every sample that is now known, shape (T', 19), columns as in `CHANNELS`. In all there
            are two fewer than samples, as the median and the jerk look ahead.

        Raises:
            UserError: If the shape is another one, a value is not finite, or the recording was finished.
        """
        try:
            raw = np.atleast_2d(np.asarray(samples, dtype=np.float64))
        except (ValueError, TypeError) as error:
            raise UserError(f"samples must be numbers, shape (T, 6): {error}") from None
        raw = raw if raw.size else np.empty((0, 6))
        if raw.ndim != 2 or raw.shape[1] != 6:
            raise UserError(f"samples must have shape (T, 6), accelerometer then gyroscope; got {raw.shape}")
        if not np.isfinite(raw).all():
            raise UserError("samples must be finite: a filter would carry NaN or infinity into everything that follows")
        if self._finished:
            raise UserError("this recording was finished: another one needs a new object, as filters start from zeros")
        return self._differentiate(self._filter(np.concatenate([self._raw, raw])))

    def finish(self) -> Array:
        """Ends the recording: the last sample that the jerk is known at, shape (1, 19) or (0, 19).

        Behind the last raw sample the median takes a zero, as before the first. A recording ends once.
        """
        if self._finished:
            return np.empty((0, CHANNELS["tBodyGyroJerkMag"].stop))
        self._finished = True
        end = np.zeros((min(len(self._raw) - 1, 1), 6))
        return self._differentiate(self._filter(np.concatenate([self._raw, end])))

    def _filter(self, raw: Array) -> Array:
        """Filters what has a neighbour on both sides; (T, 6) gives (max(T - 2, 0), 9)."""
        self._raw = raw[-2:].copy()
        median = np.median([raw[:-2], raw[1:-1], raw[2:]], axis=0) if len(raw) > 2 else np.empty((0, 6))
        smooth = self._noise(median)
        acceleration, velocity = smooth[:, :3], smooth[:, 3:]
        gravity = self._gravity(acceleration)
        if self._drift is not None:
            velocity = velocity - self._drift(velocity)
        return np.concatenate([acceleration - gravity, gravity, velocity], axis=1)

    def _differentiate(self, base: Array) -> Array:
        """Adds jerk and magnitudes to all samples but the last, which waits for its successor."""
        known = np.concatenate([self._base, base])
        self._base = known[-1:].copy()
        # Forward differences, not multiplied by the rate.
        body, gravity, velocity = known[:-1, :3], known[:-1, 3:6], known[:-1, 6:]
        steps = np.diff(known, axis=0)
        vectors = [body, gravity, steps[:, :3], velocity, steps[:, 6:]]
        magnitudes = [np.sqrt(np.square(vectors[each]).sum(1, keepdims=True)) for each in (0, 2, 3, 4)]
        return np.concatenate(vectors + magnitudes, axis=1)


class _Cascade:
    """A filter's second-order sections over several channels, with their state."""

    def __init__(self, design: Butterworth, channels: int) -> None:
        self._sections = design.sections()
        self._state = np.zeros((len(self._sections), 2, channels))

    def __call__(self, x: Array) -> Array:
        if not len(x):
            return x
        y, self._state = signal.sosfilt(self._sections, x, axis=0, zi=self._state)
        filtered: Array = y
        return filtered
