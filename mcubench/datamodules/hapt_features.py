"""HAPT's 561 features: the official matrices where the copy has them, computed from the recordings where it has not."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mcubench.datamodules.base import Arrays
from mcubench.datamodules.hapt_archive import FEATURE_BLOBS, HaptArchive
from mcubench.datamodules.hapt_tables import parse_table
from mcubench.datamodules.hapt_windows import Recording, on_windows, part_labels
from mcubench.errors import CorruptDataError
from mcubench.features import WINDOW, columns, recording_features

__all__ = ["CACHED", "Source", "load_features", "source_of"]

CACHED = "features-v1"  # counted up when features change, or old ones would be read; a test holds it

Source = Literal["official", "recomputed"]


def source_of(archive: HaptArchive) -> Source:
    """Whether a copy of HAPT has the two official matrices."""
    return "official" if all(name in archive for name in FEATURE_BLOBS) else "recomputed"


def load_features(archive: HaptArchive) -> tuple[Arrays, Arrays]:
    """Reads or computes the 561 features of every window.

    Args:
        archive: A copy of HAPT.

    Returns:
        7,767 training and 3,162 test samples, x float64 of shape (561,), classes 0 to 11. Official features come scaled
        to [-1, 1] over training and test set together, as they were published; recomputed ones in their own units.

    Raises:
        CorruptDataError: If a file is missing, altered, not numeric or not finite, or windows and labels disagree.
    """
    if source_of(archive) == "official":
        return _official(archive, "Train"), _official(archive, "Test")
    return on_windows(archive, CACHED, _recomputed, "compute HAPT's features")


def _recomputed(recording: Recording) -> NDArray[np.float64]:
    length = len(recording.samples)
    if recording.starts.max() + WINDOW >= length:
        raise CorruptDataError(
            f"{recording.name} ends at line {length}: the jerk needs a sample behind the last window"
        )
    features = recording_features(recording.samples, recording.starts)
    undefined = np.argwhere(~np.isfinite(features))
    if undefined.size:
        window, column = undefined[0]
        name, first = columns()[column].name, int(recording.starts[window])
        file = recording.name.replace("/acc_", "/gyro_") if "Gyro" in name else recording.name
        raise CorruptDataError(
            f"{file}, lines {first + 1} to {first + WINDOW}: {name} is not defined: a signal is constant"
        )
    return features


def _official(archive: HaptArchive, part: str) -> Arrays:
    name = f"{part}/X_{part.lower()}.txt"
    activity, subject = part_labels(archive, part)
    x = parse_table(archive.read(name), name, len(columns()))
    if len(x) != len(activity):
        raise CorruptDataError(f"{name} in {archive.path} has {len(x)} rows, y_{part.lower()}.txt {len(activity)}")
    return Arrays(x, activity - 1, subject)
