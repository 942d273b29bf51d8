"""Features of windows of time signals: each asked-for column, and nothing that no asked-for column needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from mcubench.errors import UserError
from mcubench.features.catalogue import ANGLE, SPECTRA, Column, columns
from mcubench.features.conditioning import CHANNELS, WINDOW, Conditioner
from mcubench.features.selection import Terms, select
from mcubench.features.statistics import STATISTICS, Samples, angles, spectrum

__all__ = ["recording_features", "window_features"]

Array = NDArray[np.float64]


def window_features(signals: Array, wanted: Sequence[Column] | None = None) -> Array:
    """Computes features of windows.

    Args:
        signals: Time signals as `Conditioner` puts them out, in windows: shape (windows, 19, 128).
        wanted: The columns; not given, all 561.

    Returns:
        Shape (windows, columns), not scaled. A statistic that a window has none of, as the correlation with zeros, is
        NaN.
    """
    signals = np.ascontiguousarray(signals)  # sums are rounded alike, however the windows were cut

    @functools.cache
    def samples(name: str) -> Samples:
        if name in SPECTRA:
            return Samples(spectrum(samples(SPECTRA[name]).x))
        return Samples(signals[:, CHANNELS[name]])

    @functools.cache
    def values(name: str, statistic: str) -> Array:
        if statistic != ANGLE:
            return STATISTICS[statistic](samples(name))
        gravity = samples("tGravityAcc").mean
        directions = np.eye(3) if name == "tGravityAcc" else (samples(name).mean,)
        return np.stack([angles(direction, gravity) for direction in directions], axis=-1)

    wanted = columns() if wanted is None else wanted
    features = np.empty((len(signals), len(wanted)))
    with np.errstate(divide="ignore", invalid="ignore"):  # of a statistic that a constant has none of
        for position, column in enumerate(wanted):
            features[:, position] = values(column.signal, column.statistic)[:, column.slot]
    return features


def recording_features(
    samples: ArrayLike,
    starts: Sequence[int] | NDArray[np.int64],
    features: Terms = None,
    conditioner: Conditioner | None = None,
) -> Array:
    """Computes features of windows of one recording.

    Args:
        samples: The whole recording, as filters run over all of it; shape (T, 6), see `Conditioner.push`.
        starts: Where windows of 128 samples start, from 0; the last may start at T - 129.
        features: Which ones, as `mcubench.features.select` takes them; not given, all 561.
        conditioner: A fresh one with other filters.

    Returns:
        Shape (windows, columns), in the order of features.txt, not scaled; NaN as in `window_features`.

    Raises:
        UserError: If a window does not lie in the recording, with the sample behind it that the jerk needs.
    """
    wanted = select(features)
    conditioner = conditioner or Conditioner()
    signals = np.concatenate([conditioner.push(samples), conditioner.finish()])
    starts = np.asarray(starts)
    if starts.ndim != 1 or (starts.size and starts.dtype.kind not in "iu"):
        raise UserError(f"starts must be whole numbers, one a window; got {starts.dtype} of shape {starts.shape}")
    last = len(signals) - WINDOW
    if starts.size and not 0 <= starts.min() <= starts.max() <= last:
        where = f"at 0 to {last}" if last >= 0 else "nowhere"
        raise UserError(
            f"windows of {WINDOW} samples can start {where} in a recording of {len(np.asarray(samples))} samples (the "
            f"jerk needs the sample behind a window); got {starts.min()} to {starts.max()}"
        )
    if not starts.size:
        return window_features(np.empty((0, signals.shape[1], WINDOW)), wanted)
    return window_features(sliding_window_view(signals, WINDOW, axis=0)[starts], wanted)
