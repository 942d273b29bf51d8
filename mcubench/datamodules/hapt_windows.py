"""HAPT's windows: cut from the recordings exactly as the data set's authors cut them, and computed on, once."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from rich import progress

from mcubench.datamodules.base import Arrays
from mcubench.datamodules.hapt_archive import HaptArchive
from mcubench.datamodules.hapt_tables import parse_table
from mcubench.errors import CorruptDataError
from mcubench.features import STEP, WINDOW
from mcubench.files import atomic_path, cache_folder

__all__ = ["Recording", "each_recording", "load_windows", "on_windows", "part_labels"]

log = logging.getLogger(__name__)

_RECORDING = re.compile(r"RawData/acc_exp(\d+)_user(\d+)\.txt")


@dataclass(frozen=True)
class Recording:
    """One recording and its windows.

    Attributes:
        name: Its accelerometer's file.
        user: Subject, 1 to 30.
        samples: float64, shape (T, 6): acceleration x, y, z in g, angular velocity x, y, z in rad/s, at 50 Hz.
        rows: Where its windows stand among all, in the order of ``labels.txt``, int64, shape (windows,).
        starts: Sample that each starts at, from 0.
        activities: 1 to 12.
    """

    name: str
    user: int
    samples: NDArray[np.float64]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    activities: NDArray[np.int64]


@dataclass(frozen=True)
class _Windows:
    """All labelled windows in the order of ``labels.txt``: x (N, ...), activity and subject int64, shape (N,)."""

    x: NDArray[Any]
    activity: NDArray[np.int64]
    subject: NDArray[np.int64]


def load_windows(archive: HaptArchive) -> tuple[Arrays, Arrays]:
    """Cuts the raw windows; see `on_windows`.

    Returns:
        7,767 training and 3,162 test windows, x float32 of shape (6, 128).
    """
    return on_windows(archive, "windows-v1", _cut, "read HAPT's recordings")


def on_windows(
    archive: HaptArchive,
    name: str,
    compute: Callable[[Recording], NDArray[Any]],
    description: str,
) -> tuple[Arrays, Arrays]:
    """Computes something of every window, and splits it by the authors' training and test subjects.

    Windows are checked row by row against ``y_*.txt`` and ``subject_id_*.txt``. What was computed is kept in the user's
    cache folder, once everything was.

    Args:
        archive: A copy of HAPT.
        name: What the cached file is called; count its version up when what is computed changes.
        compute: Takes a recording and returns a row for each of its windows.
        description: What the progress bar says.

    Returns:
        7,767 training and 3,162 test samples, classes 0 to 11.

    Raises:
        CorruptDataError: If a file is missing, altered, not numeric or not finite, or windows and labels disagree.
    """
    cached = cache_folder() / f"hapt-{name}-{archive.fingerprint()[:16]}.npz"
    windows = _read_cache(cached)
    if windows is None:
        windows = _compute(archive, compute, description)
        try:
            with atomic_path(cached) as temporary, temporary.open("wb") as file:
                np.savez(file, x=windows.x, activity=windows.activity, subject=windows.subject)
        except OSError as error:  # the cache saves time, nothing else
            log.warning("%s is not cached: %s", cached.name, error)
    parts = []
    for part in ("Train", "Test"):
        activity, subject = part_labels(archive, part)
        rows = np.isin(windows.subject, subject)
        if not (np.array_equal(windows.activity[rows], activity) and np.array_equal(windows.subject[rows], subject)):
            raise CorruptDataError(f"the windows cut from {archive.path} do not agree with {part}/y_{part.lower()}.txt")
        parts.append(Arrays(windows.x[rows], activity - 1, subject))
    return parts[0], parts[1]


def part_labels(archive: HaptArchive, part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Activities 1 to 12 and subjects 1 to 30 of the windows of ``Train`` or ``Test``."""
    names = f"{part}/y_{part.lower()}.txt", f"{part}/subject_id_{part.lower()}.txt"
    activity, subject = (parse_table(archive.read(name), name, 1).astype(np.int64).ravel() for name in names)
    return activity, subject


def each_recording(archive: HaptArchive, description: str) -> Iterator[Recording]:
    """Walks ``labels.txt``: windows lie wholly inside a segment ``[first, last]``, 1-based and inclusive.

    Args:
        archive: A copy of HAPT.
        description: What the progress bar says.

    Yields:
        All recordings, by experiment.

    Raises:
        CorruptDataError: As `on_windows` does.
    """
    segments = parse_table(archive.read("RawData/labels.txt"), "RawData/labels.txt", 5).astype(np.int64)
    walk = [
        (experiment, user, activity, start)
        for experiment, user, activity, first, last in segments.tolist()
        for start in range(first - 1, last - WINDOW + 1, STEP)
    ]
    windows = np.array(walk, dtype=np.int64).reshape(-1, 4)
    names = sorted(name for name in archive.hashes if _RECORDING.fullmatch(name))
    for name in progress.track(names, description=description, transient=True):
        match = _RECORDING.fullmatch(name)
        assert match is not None
        experiment, user = int(match[1]), int(match[2])
        (rows,) = np.nonzero((windows[:, 0] == experiment) & (windows[:, 1] == user))
        starts = windows[rows, 3]
        samples = _samples(archive, name, name.replace("/acc_", "/gyro_"))
        if rows.size and starts.max() + WINDOW > len(samples):
            raise CorruptDataError(f"{name} ends at line {len(samples)}, labels.txt goes on behind it")
        yield Recording(name, user, samples, rows, starts, windows[rows, 2])


def _samples(archive: HaptArchive, *names: str) -> NDArray[np.float64]:
    acceleration, velocity = (parse_table(archive.read(name), name, 3) for name in names)
    if len(acceleration) != len(velocity):
        raise CorruptDataError(
            f"{names[0]} ends at line {len(acceleration)}, {names[1]} at line {len(velocity)}; they must be equally "
            "long"
        )
    return np.concatenate([acceleration, velocity], axis=1)


def _compute(
    archive: HaptArchive,
    compute: Callable[[Recording], NDArray[Any]],
    description: str,
) -> _Windows:
    recordings = [
        (recording.rows, recording.activities, recording.user, compute(recording))
        for recording in each_recording(archive, description)
        if recording.rows.size
    ]
    order = np.argsort(np.concatenate([rows for rows, *_ in recordings]))
    x = np.concatenate([values for *_, values in recordings])[order]
    activity = np.concatenate([activities for _, activities, *_ in recordings])[order]
    subject = np.concatenate([np.full(len(rows), user) for rows, _, user, _ in recordings])[order]
    return _Windows(x, activity, subject)


def _cut(recording: Recording) -> NDArray[np.float32]:
    return sliding_window_view(recording.samples.astype(np.float32), WINDOW, axis=0)[recording.starts]


def _read_cache(path: Path) -> _Windows | None:
    """What was computed before, or ``None`` if there is nothing or the file can't be read (it is then made again)."""
    try:
        with np.load(path, allow_pickle=False) as cached:
            return _Windows(cached["x"], cached["activity"], cached["subject"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
