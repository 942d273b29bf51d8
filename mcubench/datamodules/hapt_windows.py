"""HAPT's windows: cut from the recordings exactly as the data set's authors cut them, and computed on, once."""

from __future__ import annotations

import hashlib
import io
import logging
import re
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

__all__ = ["Recording", "Walk", "each_recording", "load_windows", "on_windows", "part_labels"]

log = logging.getLogger(__name__)

_LABELS = "RawData/labels.txt"
_RECORDING = re.compile(r"RawData/acc_exp(\d+)_user(\d+)\.txt")


@dataclass(frozen=True)
class Recording:
    """One recording and its windows.

    Attributes:
        name: Its accelerometer's file.
        samples: float64, shape (T, 6): acceleration x, y, z in g, angular velocity x, y, z in rad/s, at 50 Hz.
        rows: Where its windows stand among all, in the order of ``labels.txt``, int64, shape (windows,).
        starts: Sample that each starts at, from 0.
        activities: 1 to 12.
    """

    name: str
    samples: NDArray[np.float64]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    activities: NDArray[np.int64]


@dataclass(frozen=True)
class Walk:
    """All labelled windows in the order of ``labels.txt``, each array int64 of shape (windows,).

    Attributes:
        experiments: Which recording each lies in, together with its subject.
        subjects: 1 to 30.
        activities: 1 to 12.
        starts: Sample that it starts at, from 0.
    """

    experiments: NDArray[np.int64]
    subjects: NDArray[np.int64]
    activities: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, archive: HaptArchive) -> Walk:
        """Walks ``labels.txt``: windows lie wholly inside a segment ``[first, last]``, 1-based and inclusive.

        Raises:
            CorruptDataError: If a line is no segment of a recording.
        """
        table = parse_table(archive.read(_LABELS), _LABELS, 5)
        recordings = set(_recordings(archive))
        walk = []
        for line, row in enumerate(table.tolist(), 1):
            experiment, user, activity, first, last = map(int, row)
            if [experiment, user, activity, first, last] != row or not (1 <= first <= last and 1 <= activity <= 12):
                raise CorruptDataError(f"{_LABELS}, line {line}: no experiment, user, activity 1 to 12, first and last")
            if (experiment, user) not in recordings:
                raise CorruptDataError(
                    f"{_LABELS}, line {line}: no recording is of experiment {experiment}, user {user}"
                )
            walk += [(experiment, user, activity, start) for start in range(first - 1, last - WINDOW + 1, STEP)]
        experiments, subjects, activities, starts = np.array(walk, dtype=np.int64).reshape(-1, 4).T
        return cls(experiments, subjects, activities, starts)


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
    cached = cache_folder() / f"hapt-{name}-{archive.fingerprint()[:16]}.npy"
    walk = Walk.of(archive)
    parts = {part: part_labels(archive, part) for part in ("Train", "Test")}
    rows = {part: np.isin(walk.subjects, subject) for part, (_, subject) in parts.items()}
    for part, (activity, subject) in parts.items():
        chosen = rows[part]
        if not (np.array_equal(walk.activities[chosen], activity) and np.array_equal(walk.subjects[chosen], subject)):
            raise CorruptDataError(f"the windows cut from {archive.path} do not agree with {part}/y_{part.lower()}.txt")
    x = _read_cache(cached, len(walk.starts))
    if x is None:
        x = _compute(archive, walk, compute, description)
        try:
            _write_cache(cached, x)
        except OSError as error:  # the cache saves time, nothing else
            log.warning("%s is not cached: %s", cached.name, error)
    train, test = (Arrays(x[rows[part]], activity - 1, subject) for part, (activity, subject) in parts.items())
    return train, test


def part_labels(archive: HaptArchive, part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Activities 1 to 12 and subjects 1 to 30 of the windows of ``Train`` or ``Test``."""
    names = f"{part}/y_{part.lower()}.txt", f"{part}/subject_id_{part.lower()}.txt"
    activity, subject = (parse_table(archive.read(name), name, 1).astype(np.int64).ravel() for name in names)
    return activity, subject


def each_recording(archive: HaptArchive, walk: Walk, description: str) -> Iterator[Recording]:
    """Reads the recordings that have windows.

    Args:
        archive: A copy of HAPT.
        walk: Its windows.
        description: What the progress bar says.

    Yields:
        The recordings, by experiment.

    Raises:
        CorruptDataError: As `on_windows` does.
    """
    names = _recordings(archive)
    for experiment, user in progress.track(sorted(names), description=description, transient=True):
        name = names[experiment, user]
        (rows,) = np.nonzero((walk.experiments == experiment) & (walk.subjects == user))
        if not rows.size:
            continue
        samples, starts = _samples(archive, name, name.replace("/acc_", "/gyro_")), walk.starts[rows]
        if starts.max() + WINDOW > len(samples):
            raise CorruptDataError(f"{name} ends at line {len(samples)}, {_LABELS} goes on behind it")
        yield Recording(name, samples, rows, starts, walk.activities[rows])


def _recordings(archive: HaptArchive) -> dict[tuple[int, int], str]:
    """The accelerometer's file of each experiment and user."""
    matches = filter(None, map(_RECORDING.fullmatch, archive.hashes))
    return {(int(match[1]), int(match[2])): match[0] for match in matches}


def _samples(archive: HaptArchive, *names: str) -> NDArray[np.float64]:
    acceleration, velocity = (parse_table(archive.read(name), name, 3) for name in names)
    if len(acceleration) != len(velocity):
        raise CorruptDataError(
            f"{names[0]} ends at line {len(acceleration)}, {names[1]} at line {len(velocity)}; they must be equally "
            "long"
        )
    return np.concatenate([acceleration, velocity], axis=1)


def _compute(
    archive: HaptArchive, walk: Walk, compute: Callable[[Recording], NDArray[Any]], description: str
) -> NDArray[Any]:
    """What is computed of every window, in the order of the walk."""
    computed = [(each.rows, compute(each)) for each in each_recording(archive, walk, description)]
    x = np.empty((len(walk.starts), *computed[0][1].shape[1:]), computed[0][1].dtype)
    for rows, values in computed:
        x[rows] = values
    return x


def _cut(recording: Recording) -> NDArray[np.float32]:
    return sliding_window_view(recording.samples.astype(np.float32), WINDOW, axis=0)[recording.starts]


def _write_cache(path: Path, x: NDArray[Any]) -> None:
    """Writes an array as .npy and its sha256 behind it, where numpy does not look."""
    content = io.BytesIO()
    np.save(content, x)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content.getbuffer())
        file.write(hashlib.sha256(content.getbuffer()).digest())


def _read_cache(path: Path, windows: int) -> NDArray[Any] | None:
    """What was computed before; ``None`` if there is nothing or its hash is another (it is then made again)."""
    try:
        whole = path.read_bytes()
        content = memoryview(whole)[: -hashlib.sha256().digest_size]
        if hashlib.sha256(content).digest() != whole[len(content) :]:
            return None
        x: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return x if x.shape[:1] == (windows,) else None
