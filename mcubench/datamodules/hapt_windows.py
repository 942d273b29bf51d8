"""HAPT's windows: 128 samples of six channels, cut from the recordings exactly as the data set's authors cut them."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from rich import progress

from mcubench.datamodules.base import Arrays
from mcubench.datamodules.hapt_archive import FEATURE_BLOBS, HaptArchive
from mcubench.errors import CorruptDataError, UserError
from mcubench.files import atomic_path, cache_folder

__all__ = ["FEATURES", "STEP", "WINDOW", "load_features", "load_windows"]

WINDOW = 128  # samples at 50 Hz: 2.56 s (README.txt of the data set)
STEP = 64  # 50 % overlap
FEATURES = 561

# Part of the name of cached files: count it up when what is cached changes.
_CACHE_VERSION = 1

log = logging.getLogger(__name__)

_RECORDING = re.compile(r"RawData/acc_exp(\d+)_user(\d+)\.txt")


@dataclass(frozen=True)
class _Windows:
    """All labelled windows in the order of ``labels.txt``: x (N, 6, 128) float32, activity and subject (N,) int64."""

    x: NDArray[np.float32]
    activity: NDArray[np.int64]
    subject: NDArray[np.int64]


def load_windows(archive: HaptArchive) -> tuple[Arrays, Arrays]:
    """Cuts the raw windows and splits them by the authors' training and test subjects.

    Channels are the accelerometer's x, y, z in g, then the gyroscope's in rad/s. Windows are checked row by row
    against ``y_*.txt`` and ``subject_id_*.txt``. They are cached in the user's cache folder.

    Args:
        archive: A copy of HAPT.

    Returns:
        7,767 training and 3,162 test windows, x of shape (6, 128), classes 0 to 11.

    Raises:
        CorruptDataError: If a file is altered, not numeric or not finite, or windows and labels disagree.
    """
    cached = cache_folder() / f"hapt-windows-v{_CACHE_VERSION}-{archive.fingerprint()[:16]}.npz"
    windows = _read_cache(cached)
    if windows is None:
        windows = _cut(archive)
        try:
            with atomic_path(cached) as temporary, temporary.open("wb") as file:
                np.savez(file, x=windows.x, activity=windows.activity, subject=windows.subject)
        except OSError as error:  # the cache saves time, nothing else
            log.warning("HAPT's windows are not cached: %s", error)
    parts = []
    for part in ("Train", "Test"):
        activity, subject = _labels(archive, part)
        rows = np.isin(windows.subject, subject)
        if not (np.array_equal(windows.activity[rows], activity) and np.array_equal(windows.subject[rows], subject)):
            raise CorruptDataError(f"the windows cut from {archive.path} do not agree with {part}/y_{part.lower()}.txt")
        parts.append(Arrays(windows.x[rows], activity - 1, subject))
    return parts[0], parts[1]


def load_features(archive: HaptArchive) -> tuple[Arrays, Arrays]:
    """Reads the published 561 features of every window, scaled to [-1, 1] by the data set's authors.

    Args:
        archive: A copy of HAPT.

    Returns:
        7,767 training and 3,162 test samples, x of shape (561,), classes 0 to 11.

    Raises:
        UserError: If this copy lacks the two feature files.
        CorruptDataError: If a file is altered or not numeric.
    """
    absent = [name for name in FEATURE_BLOBS if name not in archive]
    if absent:
        raise UserError(
            f"inputs 'features' needs {' and '.join(absent)}, which {archive.path} lacks (it is a raw-only copy). Use "
            "--data.inputs raw, or UCI's own zip (data set 341)."
        )
    parts = []
    for part in ("Train", "Test"):
        name = f"{part}/X_{part.lower()}.txt"
        activity, subject = _labels(archive, part)
        x = _table(archive.read(name), name, FEATURES).astype(np.float32)
        if len(x) != len(activity):
            raise CorruptDataError(f"{name} in {archive.path} has {len(x)} rows, y_{part.lower()}.txt {len(activity)}")
        parts.append(Arrays(x, activity - 1, subject))
    return parts[0], parts[1]


def _labels(archive: HaptArchive, part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Activities 1 to 12 and subjects 1 to 30 of one part's windows."""
    names = f"{part}/y_{part.lower()}.txt", f"{part}/subject_id_{part.lower()}.txt"
    activity, subject = (_table(archive.read(name), name, 1).astype(np.int64).ravel() for name in names)
    return activity, subject


def _cut(archive: HaptArchive) -> _Windows:
    """Walks ``labels.txt``: windows lie wholly inside a segment ``[first, last]``, 1-based and inclusive."""
    segments = _table(archive.read("RawData/labels.txt"), "RawData/labels.txt", 5).astype(np.int64)
    recordings = {}
    names = sorted(name for name in archive.hashes if _RECORDING.fullmatch(name))
    for name in progress.track(names, description="read HAPT's recordings", transient=True):
        pair = [_table(archive.read(path), path, 3) for path in (name, name.replace("/acc_", "/gyro_"))]
        if len(pair[0]) != len(pair[1]):
            raise CorruptDataError(f"{name} and its gyroscope file have {len(pair[0])} and {len(pair[1])} samples")
        match = _RECORDING.fullmatch(name)
        assert match is not None
        recordings[int(match[1]), int(match[2])] = np.concatenate(pair, axis=1).astype(np.float32)
    x, activity, subject = [], [], []
    for experiment, user, label, first, last in segments.tolist():
        segment = recordings[experiment, user][first - 1 : last]
        if len(segment) < WINDOW:
            continue
        cut = sliding_window_view(segment, WINDOW, axis=0)[::STEP]  # (windows, 6, 128)
        x.append(cut)
        activity += [label] * len(cut)
        subject += [user] * len(cut)
    return _Windows(np.concatenate(x), np.array(activity), np.array(subject))


def _table(content: bytes, name: str, columns: int) -> NDArray[np.float64]:
    """Parses whitespace-separated numbers, all finite, `columns` a row."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file is a warning to numpy
            table = np.loadtxt(io.BytesIO(content), dtype=np.float64, ndmin=2)
    except (ValueError, UserWarning) as error:
        raise CorruptDataError(f"{name} is not a table of numbers: {error}") from None
    if table.shape[1] != columns:
        raise CorruptDataError(f"{name} has {table.shape[1]} columns, expected {columns}")
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        row, column = bad[0]
        raise CorruptDataError(
            f"{name}, line {row + 1}, column {column + 1}: {table[row, column]} is not a finite number"
        )
    return table


def _read_cache(path: Path) -> _Windows | None:
    """The cached windows, or ``None`` if there are none or the file can't be read (it is then made again)."""
    try:
        with np.load(path, allow_pickle=False) as cached:
            return _Windows(cached["x"], cached["activity"], cached["subject"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
