"""The 561 columns against features.txt, against hand counts, and their copies against values."""

from __future__ import annotations

import itertools
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from mcubench.features import SIGNALS, Column, columns, original, recording_features
from mcubench.features.catalogue import BANDS, SPECTRA
from mcubench.features.conditioning import CHANNELS
from mcubench.features.statistics import STATISTICS
from tests.features.recordings import read_archive, recording

NAMED = {column.name: column for column in columns()}


@pytest.mark.real_data
def test_published_names(real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "HAPT" / "hapt-raw.zip") as archive:
        published = [line.strip() for line in archive.read("features.txt").decode().splitlines()]
    assert [column.published for column in columns()] == published
    assert len(published) == 561
    assert len(set(published)) < 561  # so columns need names of their own


def test_names_are_distinct() -> None:
    assert len(NAMED) == 561
    assert len({name.lower() for name in NAMED}) == 561
    assert [column.index for column in columns()] == list(range(561))


@pytest.mark.parametrize(
    ("number", "name"),
    # Lines of features.txt, from 1: the 201-213 and 214-226, and some whose place is counted by hand: 5 signals
    # of 40 columns, 5 of 13, 3 of 79, 4 of 13, 7 angles.
    [
        (1, "tBodyAcc-mean-X"),
        (16, "tBodyAcc-sma"),
        (26, "tBodyAcc-arCoeff-X-1"),
        (40, "tBodyAcc-correlation-YZ"),
        (41, "tGravityAcc-mean-X"),
        (200, "tBodyGyroJerk-correlation-YZ"),
        (201, "tBodyAccMag-mean"),
        (213, "tBodyAccMag-arCoeff-4"),
        (214, "tGravityAccMag-mean"),
        (226, "tGravityAccMag-arCoeff-4"),
        (265, "tBodyGyroJerkMag-arCoeff-4"),
        (266, "fBodyAcc-mean-X"),
        (266 + 25, "fBodyAcc-maxInds-X"),
        (266 + 28, "fBodyAcc-meanFreq-X"),
        (266 + 31, "fBodyAcc-skewness-X"),
        (266 + 32, "fBodyAcc-kurtosis-X"),
        (266 + 33, "fBodyAcc-skewness-Y"),
        (266 + 37, "fBodyAcc-bandsEnergy-X-1-8"),
        (266 + 37 + 14, "fBodyAcc-bandsEnergy-Y-1-8"),
        (502, "fBodyGyro-bandsEnergy-Z-25-48"),
        (503, "fBodyAccMag-mean"),
        (554, "fBodyGyroJerkMag-kurtosis"),
        (555, "tBodyAcc-angle"),
        (558, "tBodyGyroJerk-angle"),
        (559, "tGravityAcc-angle-X"),
        (561, "tGravityAcc-angle-Z"),
    ],
)
def test_places(number: int, name: str) -> None:
    assert columns()[number - 1].name == name


def test_columns_per_statistic() -> None:
    # 5 time signals and 3 spectra of 3 axes, 5 and 4 magnitudes: 33 of each statistic of an axis, of 20 time axes and
    # 13 spectra; 17 areas; 4 coefficients; 3 correlations of 5; 14 bands of 9 axes; 4 angles of signals, 3 of axes.
    shared = dict.fromkeys(("mean", "std", "mad", "max", "min", "energy", "iqr", "entropy"), 33)
    spectral = dict.fromkeys(("maxInds", "meanFreq", "skewness", "kurtosis"), 13)
    rest = {"sma": 17, "arCoeff": 4 * 20, "correlation": 3 * 5, "bandsEnergy": 14 * 9, "angle": 4 + 3}
    assert Counter(column.statistic for column in columns()) == shared | spectral | rest


def test_columns_per_signal() -> None:
    # 8 statistics of 3 axes, an area, 12 coefficients, 3 correlations: 40. 8 of one, an area, 4: 13. 8 of 3, an area,
    # 4 of 3, 42 bands: 79. 8, an area, 4: 13. And angles: of 4 signals one, of gravity 3.
    expected = {name: (79 if name in SPECTRA else 40) if each.axes == 3 else 13 for name, each in SIGNALS.items()}
    for name in ("tBodyAcc", "tBodyAccJerk", "tBodyGyro", "tBodyGyroJerk"):
        expected[name] += 1
    expected["tGravityAcc"] += 3
    assert Counter(column.signal for column in columns()) == expected
    assert sum(expected.values()) == 561


def test_slots() -> None:
    """Every statistic of every signal has its values numbered from 0, as many as it returns."""
    slots: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for column in columns():
        slots[column.signal, column.statistic].append(column.slot)
    assert all(found == list(range(len(found))) for found in slots.values())
    assert {statistic for _, statistic in slots} == STATISTICS.keys() | {"angle"}


def test_bands() -> None:
    """8 of 8 bins and 4 of 16 tile 1 to 64; the last two have 24."""
    tiles = [[*range(first, last + 1)] for first, last in BANDS]
    for tiling in (tiles[:8], tiles[8:12]):
        assert [*itertools.chain(*tiling)] == list(range(1, 65))
    assert [len(tile) for tile in tiles] == [8] * 8 + [16] * 4 + [24] * 2
    assert BANDS[12:] == ((1, 24), (25, 48))


def test_spectra_have_time_signals() -> None:
    assert all(SIGNALS[name].axes == SIGNALS[source].axes for name, source in SPECTRA.items())
    assert set(SIGNALS) - set(SPECTRA) == set(CHANNELS)
    assert all(SIGNALS[name].axes == each.stop - each.start for name, each in CHANNELS.items())


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("tBodyAcc-mean-Y", ("Y",)),
        ("tBodyAcc-sma", ("X", "Y", "Z")),
        ("tBodyAcc-arCoeff-Z-3", ("Z",)),
        ("tBodyAcc-correlation-XZ", ("X", "Z")),
        ("fBodyGyro-bandsEnergy-X-1-8", ("X",)),
        ("tBodyAcc-angle", ("X", "Y", "Z")),
        ("tGravityAcc-angle-Z", ("Z",)),
        ("tBodyAccMag-mean", ("",)),
        ("tBodyAccMag-arCoeff-2", ("",)),
    ],
)
def test_axes(name: str, axes: tuple[str, ...]) -> None:
    assert NAMED[name].axes == axes


def equal_groups(features: NDArray[np.float64]) -> set[frozenset[str]]:
    """Names of columns that hold the same bits."""
    groups: defaultdict[bytes, set[str]] = defaultdict(set)
    for column in columns():
        groups[features[:, column.index].tobytes()].add(column.name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def named_groups() -> set[frozenset[str]]:
    """The same by `original`."""
    groups: defaultdict[Column, set[str]] = defaultdict(set)
    for column in columns():
        groups[original(column)].add(column.name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


class TestCopies:
    def test_by_hand(self) -> None:
        # 13 of gravity's magnitude; the area of 8 other magnitudes is their mean.
        copies = [column for column in columns() if original(column) != column]
        assert len(copies) == 21
        assert sum(column.signal == "tGravityAccMag" for column in copies) == 13
        areas = [column for column in copies if column.signal != "tGravityAccMag"]
        assert len(areas) == 8
        assert all(column.name == f"{column.signal}-sma" and SIGNALS[column.signal].axes == 1 for column in areas)
        assert all(original(original(column)) == original(column) for column in copies)
        assert all(original(column).index < column.index for column in copies)

    def test_pairs(self) -> None:
        # Mean and area of both magnitudes are one group of 4: 6 pairs. 11 other statistics of both: 11. 7 more areas.
        groups = named_groups()
        assert sorted(map(len, groups)) == [2] * 18 + [4]
        assert sum(len(list(itertools.combinations(group, 2))) for group in groups) == 6 + 11 + 7 == 24

    def test_of_random_samples_hold_the_same_bits_and_no_others_do(self) -> None:
        features = recording_features(recording(2000), range(0, 1800, 64))
        assert equal_groups(features) == named_groups()

    @pytest.mark.real_data
    def test_of_real_samples_hold_the_same_bits_and_no_others_do(self, real_data: Path) -> None:
        archive = read_archive(real_data, experiments=[1, 30])
        features = [recording_features(archive.samples[each], archive.starts[each]) for each in (1, 30)]
        assert equal_groups(np.concatenate(features)) == named_groups()

    def test_a_magnitude_of_gravity_would_be_seen(self) -> None:
        with patch.dict(CHANNELS, {"tGravityAccMag": slice(16, 17)}):
            features = recording_features(recording(2000), range(0, 1800, 64))
        assert equal_groups(features) != named_groups()
