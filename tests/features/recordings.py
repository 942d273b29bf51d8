"""Recordings to compute features of: random ones, and the archive's, read with numpy alone."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# README.txt: the volunteers whose windows are the test set; the others' are the training set.
TEST_USERS = {2, 4, 9, 10, 12, 13, 18, 20, 24}


def recording(length: int, seed: int = 0) -> Array:
    """Noise about a steady pull, as of a phone that is shaken; shape (T, 6)."""
    noise = np.random.default_rng(seed).normal(size=(length, 6))
    return 0.3 * noise + np.array([0.2, 0.8, -0.3, 0.1, 0.0, 0.0])


@dataclass(frozen=True)
class Archive:
    """What features are computed of.

    Attributes:
        samples: Raw samples of each experiment, shape (T, 6).
        users: The volunteer of each experiment.
        starts: First samples of each experiment's windows, from 0, in the order of labels.txt.
    """

    samples: dict[int, Array]
    users: dict[int, int]
    starts: dict[int, list[int]]


def read_archive(real_data: Path, experiments: Collection[int] | None = None) -> Archive:
    """Reads some experiments, or all."""
    samples: dict[int, Array] = {}
    users: dict[int, int] = {}
    starts: dict[int, list[int]] = {}
    with zipfile.ZipFile(real_data / "HAPT" / "hapt-raw.zip") as archive:
        rows = np.loadtxt(archive.read("RawData/labels.txt").decode().splitlines(), dtype=int)
        for experiment, user, _, first, last in rows.tolist():
            if experiments is not None and experiment not in experiments:
                continue
            if experiment not in samples:
                users[experiment], starts[experiment] = user, []
                names = [f"RawData/{each}_exp{experiment:02}_user{user:02}.txt" for each in ("acc", "gyro")]
                sensors = [np.loadtxt(archive.read(name).decode().splitlines()) for name in names]
                samples[experiment] = np.concatenate(sensors, axis=1)
            # Samples are counted from 1, the last one belongs to it.
            starts[experiment] += range(first - 1, last - 128 + 1, 64)
    return Archive(samples, users, starts)
