"""The statistics, each vectorised over windows and axes, as the published columns have them.

The names are those of features_info.txt. Where its text differs from what the published columns hold, it is said here;
docs/hapt.md has the agreement by the text's own words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mcubench.features.catalogue import AR_ORDER, BANDS

__all__ = ["STATISTICS", "Samples", "angles", "spectrum"]

Array = NDArray[np.float64]


class Samples:
    """One signal in windows, with what several statistics share computed once.

    Args:
        x: Shape (windows, axes, n): n is 128 samples, or 64 bins of a spectrum.
    """

    def __init__(self, x: Array) -> None:
        self.x = x
        self.n: int = x.shape[-1]

    @functools.cached_property
    def mean(self) -> Array:
        """Mean value, shape (windows, axes)."""
        return _mean(self.x)

    @functools.cached_property
    def centred(self) -> Array:
        """The samples minus their mean, shape (windows, axes, n)."""
        return self.x - self.mean[..., None]

    @functools.cached_property
    def squares(self) -> Array:
        """Sum of the squared deviations from the mean, shape (windows, axes)."""
        return _dot(self.centred, self.centred)


def spectrum(x: Array) -> Array:
    """Magnitudes of the Fourier transform: bins 1 to 64 of 128, so without the mean, times 2/128.

    Args:
        x: Shape (windows, axes, 128).

    Returns:
        Shape (windows, axes, 64).
    """
    n = x.shape[-1]
    magnitude: Array = np.abs(np.fft.rfft(x, axis=-1)[..., 1:]) * (2 / n)
    return magnitude


def angles(mean: Array, gravity: Array) -> Array:
    """Angles in radians between mean vectors and the mean of gravity.

    Args:
        mean: Means of a signal's axes, shape (windows, 3) or, for a fixed direction, (3,).
        gravity: Means of gravity's axes, shape (windows, 3).

    Returns:
        Shape (windows,).
    """
    cosine = (mean * gravity).sum(-1) / np.sqrt(np.square(mean).sum(-1) * np.square(gravity).sum(-1))
    angle: Array = np.arccos(np.clip(cosine, -1, 1))
    return angle


def _dot(a: Array, b: Array) -> Array:
    # Not a matrix product: that one rounds by how many windows come at once.
    product: Array = np.einsum("...n,...n->...", a, b)
    return product


def _mean(x: Array) -> Array:
    mean: Array = x.mean(-1)
    return mean


def _std(samples: Samples) -> Array:
    deviation: Array = np.sqrt(samples.squares / (samples.n - 1))
    return deviation


def _mad(samples: Samples) -> Array:
    """Mean absolute deviation from the mean; features_info.txt says "Median absolute deviation"."""
    return _mean(np.abs(samples.centred))


def _sma(samples: Samples) -> Array:
    """Signal magnitude area: the absolute values of all axes together, per sample."""
    area: Array = _mean(np.abs(samples.x)).sum(-1, keepdims=True)
    return area


def _energy(samples: Samples) -> Array:
    return _dot(samples.x, samples.x) / samples.n


def _iqr(samples: Samples) -> Array:
    """Interquartile range by MATLAB's ``prctile``: the sorted values are the quantiles (i - 0.5)/n, linear between."""
    quarter = samples.n // 4
    ranks = [quarter - 1, quarter, 3 * quarter - 1, 3 * quarter]
    below, lower, above, upper = np.partition(samples.x, ranks, axis=-1)[..., ranks].transpose(2, 0, 1)
    spread: Array = ((above + upper) - (below + lower)) / 2
    return spread


def _entropy(samples: Samples) -> Array:
    """Entropy in bits of the histogram that MATLAB's ``entropy`` of images takes, clipping to [0, 1] into 256 bins."""
    levels = np.floor(np.clip(samples.x, 0, 1) * 255 + 0.5).astype(np.intp)
    rows = levels.reshape(-1, samples.n) + 256 * np.arange(levels.size // samples.n)[:, None]
    counts = np.bincount(rows.ravel(), minlength=256 * len(rows)).reshape(*samples.x.shape[:2], 256)
    # H = log2 n - (1/n) sum of c log2 c over the bins' counts c
    c = np.arange(samples.n + 1)
    terms = c * np.log2(np.maximum(c, 1))
    entropy: Array = np.log2(samples.n) - terms[counts].sum(-1) / samples.n
    return entropy


def _autoregression(samples: Samples) -> Array:
    """Coefficients 1 to 4 by Burg's method (MATLAB's ``arburg``); the mean is not removed."""
    forward, backward = samples.x[..., 1:], samples.x[..., :-1]
    coefficients = np.zeros((*samples.x.shape[:-1], AR_ORDER + 1))
    coefficients[..., 0] = 1
    for step in range(1, AR_ORDER + 1):
        reflection = -2 * _dot(forward, backward) / (_dot(forward, forward) + _dot(backward, backward))
        past = coefficients[..., : step + 1]
        coefficients[..., : step + 1] = past + reflection[..., None] * past[..., ::-1]
        k = reflection[..., None]
        forward, backward = (forward + k * backward)[..., 1:], (backward + k * forward)[..., :-1]
    return coefficients[..., 1:].reshape(len(samples.x), samples.x.shape[1] * AR_ORDER)


def _correlation(samples: Samples) -> Array:
    """Pearson's coefficient of X and Y, X and Z, Y and Z."""
    first, second = [0, 0, 1], [1, 2, 2]
    products = _dot(samples.centred[:, first], samples.centred[:, second])
    correlation: Array = products / np.sqrt(samples.squares[:, first] * samples.squares[:, second])
    return correlation


def _largest_bin(samples: Samples) -> Array:
    numbers: Array = samples.x.argmax(-1) + 1.0
    return numbers


def _mean_frequency(samples: Samples) -> Array:
    """Mean of the bins' numbers, weighted by magnitude."""
    return _dot(samples.x, np.arange(1.0, samples.n + 1)) / (samples.mean * samples.n)


def _moment(samples: Samples, order: int) -> Array:
    """Standardised central moment, in population form."""
    variance = samples.squares / samples.n
    moment: Array = (samples.centred**order).mean(-1) / variance ** (order / 2)
    return moment


def _bands_energy(samples: Samples) -> Array:
    """Sums of squares over 14 bands of bins, axis by axis."""
    squares = np.square(samples.x)
    bands = [squares[..., first - 1 : last].sum(-1) for first, last in BANDS]
    return np.stack(bands, axis=-1).reshape(len(squares), squares.shape[1] * len(BANDS))


STATISTICS: dict[str, Callable[[Samples], Array]] = {
    "mean": lambda samples: samples.mean,
    "std": _std,
    "mad": _mad,
    "max": lambda samples: samples.x.max(-1),
    "min": lambda samples: samples.x.min(-1),
    "sma": _sma,
    "energy": _energy,
    "iqr": _iqr,
    "entropy": _entropy,
    "arCoeff": _autoregression,
    "correlation": _correlation,
    "maxInds": _largest_bin,
    "meanFreq": _mean_frequency,
    "skewness": lambda samples: _moment(samples, 3),
    "kurtosis": lambda samples: _moment(samples, 4),
    "bandsEnergy": _bands_energy,
}
"""Each takes a signal's `Samples` and returns shape (windows, values), in the order of the columns' slots."""
