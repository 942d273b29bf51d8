"""Features as a device computes them: samples in as they come, a row of features out at the end of each window."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from mcubench.errors import UserError
from mcubench.features.conditioning import STEP, WINDOW, Conditioner
from mcubench.features.selection import Terms, select
from mcubench.features.windows import window_features

__all__ = ["HaptFeatures"]

Array = NDArray[np.float64]


class HaptFeatures:
    """HAPT's features of one recording, window by window, with the filters' state carried on.

    A window of 128 samples is complete two samples behind its end, as the median and the jerk look one sample ahead
    each. The rows are those that `recording_features` gives for the whole recording, bit for bit.

    Example:
        >>> stream = HaptFeatures(["tBodyAcc-mean", "tGravityAcc-mean"])
        >>> for sample in np.zeros((200, 6)):
        ...     for features in stream.push(sample):
        ...         print(features.shape)
        (6,)
        (6,)

    Args:
        features: What to compute, as `mcubench.features.select` takes it; not given, all 561.
        first: Sample at which the first window starts, from 0; one starts every 64 samples from there on.

    Attributes:
        columns: What the features are, in order.
    """

    def __init__(self, features: Terms = None, first: int = 0) -> None:
        if type(first) is not int or first < 0:
            raise UserError(f"first must be a number of samples, 0 or more; got {first!r}")
        self.columns = select(features)
        self._conditioner = Conditioner()
        self._skip = first
        self._signals = self._conditioner.push(np.empty((0, 6)))

    def push(self, samples: ArrayLike) -> Array:
        """Takes further samples.

        Args:
            samples: Shape (6,) or (T, 6): acceleration x, y, z in g, angular velocity x, y, z in rad/s, at 50 Hz.

        Returns:
            A row for each window that is now complete, shape (windows, columns), not scaled; mostly there is none. A
            statistic that a window has none of, as the correlation of a sensor that gives zeros, is NaN.

        Raises:
            UserError: If the shape is another one, a value is not finite, or the recording was finished.
        """
        return self._complete(self._conditioner.push(samples))

    def finish(self) -> Array:
        """Ends the recording: the row of a window that was one sample short of complete, if there is one."""
        return self._complete(self._conditioner.finish())

    def _complete(self, signals: Array) -> Array:
        skipped = min(self._skip, len(signals))
        self._skip -= skipped
        self._signals = np.concatenate([self._signals, signals[skipped:]])
        ready = max((len(self._signals) - WINDOW) // STEP + 1, 0)
        if not ready:
            return np.empty((0, len(self.columns)))
        windows = sliding_window_view(self._signals, WINDOW, axis=0)[: ready * STEP : STEP]
        self._signals = self._signals[ready * STEP :].copy()
        return window_features(windows, self.columns)
