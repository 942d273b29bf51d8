"""The published features: 249 rows of the original matrix, and which of them wrong conventions break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from mcubench.features import SIGNALS, Column, columns, conditioning, recording_features, windows
from mcubench.features.catalogue import BANDS
from mcubench.features.conditioning import Butterworth, Conditioner
from mcubench.features.statistics import STATISTICS, Samples
from tests.features.recordings import TEST_USERS, Archive, read_archive

Array = NDArray[np.float64]
pytestmark = pytest.mark.real_data
ALL = frozenset(columns())


def read_rows(real_data: Path) -> tuple[NDArray[np.int64], Array]:
    """Numbers of the original rows, from 0, and the rows: scaled to [-1, 1], so known up to an affine map a column."""
    table = np.loadtxt(real_data / "HAPT" / "x_train_rows_2_to_250.csv", delimiter=",")
    return table[:, 0].astype(int) - 1, table[:, 1:]


def agreement(found: Array, published: Array) -> Array:
    """Pearson's r, column by column."""
    a, b = found - found.mean(0), published - published.mean(0)
    with np.errstate(invalid="ignore"):  # of a constant
        r: Array = (a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return r


@pytest.fixture(scope="module")
def found(real_data: Path) -> tuple[Array, Array]:
    """Features of all windows, and those of training."""
    archive = read_archive(real_data)
    assert len(archive.samples) == 61
    features = {each: recording_features(archive.samples[each], archive.starts[each]) for each in archive.samples}
    train = [rows for each, rows in features.items() if archive.users[each] not in TEST_USERS]
    return np.concatenate(list(features.values())), np.concatenate(train)


class TestAllWindows:
    def test_there_are_as_many_as_published(self, found: tuple[Array, Array]) -> None:
        everything, train = found
        assert everything.shape == (10929, 561)
        assert train.shape == (7767, 561)
        assert np.isfinite(everything).all()

    def test_original_rows(self, found: tuple[Array, Array], real_data: Path) -> None:
        everything, train = found
        numbers, published = read_rows(real_data)
        assert numbers.tolist() == list(range(1, 250))
        r = agreement(train[numbers], published)
        assert {column.name: value for column, value in zip(columns(), r, strict=True) if not value >= 0.999999} == {}
        low, high = everything.min(0), everything.max(0)
        scaled = 2 * (train[numbers] - low) / (high - low) - 1
        assert np.abs(scaled - published).max() <= 1e-6

    def test_scaling_is_of_train_and_test_windows(self, found: tuple[Array, Array], real_data: Path) -> None:
        """By the training windows' minimum and maximum, many columns differ."""
        _, train = found
        numbers, published = read_rows(real_data)
        low, high = train.min(0), train.max(0)
        scaled = 2 * (train[numbers] - low) / (high - low) - 1
        assert (np.abs(scaled - published).max(0) > 1e-3).sum() > 100

    def test_published_rows_hold_the_copies(self, real_data: Path) -> None:
        _, published = read_rows(real_data)
        assert np.array_equal(published[:, 213:226], published[:, 200:213])  # tGravityAccMag, tBodyAccMag


class One(NamedTuple):
    """The recordings of subject 1, and the original rows of their windows."""

    archive: Archive
    numbers: NDArray[np.int64]
    published: Array

    def broken(self, conditioner: Callable[[], Conditioner] = Conditioner, shift: int = 0) -> frozenset[Column]:
        """The columns that do not agree."""
        found = [
            recording_features(samples, np.array(self.archive.starts[each]) + shift, conditioner=conditioner())
            for each, samples in self.archive.samples.items()
        ]
        r = agreement(np.concatenate(found)[self.numbers], self.published)
        return frozenset(column for column in columns() if not r[column.index] >= 0.999999)


@pytest.fixture(scope="module")
def one(real_data: Path) -> One:
    return One(read_archive(real_data, experiments=[1, 2]), *read_rows(real_data))


def of(*signals: str) -> frozenset[Column]:
    return frozenset(column for column in columns() if column.signal in signals)


def with_statistic(*statistics: str) -> frozenset[Column]:
    return frozenset(column for column in columns() if column.statistic in statistics)


SPECTRAL = of(*(name for name in SIGNALS if name.startswith("f")))
GYRO = of(*(name for name in SIGNALS if "Gyro" in name))
JERK = of(*(name for name in SIGNALS if "Jerk" in name))
GRAVITY = of("tGravityAcc")
ANGLES = with_statistic("angle")


def test_right_conventions(one: One) -> None:
    assert one.broken() == frozenset()


class Altered(Conditioner):
    """Changes the time signals; a recording comes in one piece."""

    def alter(self, signals: Array) -> Array:
        raise NotImplementedError

    def push(self, samples: Array) -> Array:
        self.signals = super().push(samples)
        return self.alter(self.signals.copy())[:0]

    def finish(self) -> Array:
        return self.alter(np.concatenate([self.signals, super().finish()]))


JERKS = np.r_[6:9, 12:15, 16, 18]  # columns of what a conditioner puts out


class TestFilters:
    def test_noise_of_order_3(self, one: One) -> None:
        """The order that features_info.txt states: no column agrees."""
        assert one.broken(lambda: Conditioner(noise=Butterworth(3, 20.0))) == ALL

    @pytest.mark.parametrize("order", [9, 11])
    def test_noise_of_other_orders(self, one: One, order: int) -> None:
        broken = one.broken(lambda: Conditioner(noise=Butterworth(order, 20.0)))
        assert broken >= with_statistic("mad", "iqr", "entropy", "arCoeff", "correlation", "meanFreq", "bandsEnergy")

    @pytest.mark.parametrize("gravity", [Butterworth(2, 0.3), Butterworth(4, 0.3), Butterworth(3, 0.25)])
    def test_gravity_of_another_order_or_corner(self, one: One, gravity: Butterworth) -> None:
        broken = one.broken(lambda: Conditioner(gravity=gravity))
        whole = of("tBodyAcc", "tGravityAcc", "tBodyAccMag", "tGravityAccMag", "fBodyAcc", "fBodyAccMag")
        assert broken >= whole | ANGLES
        assert not broken & (GYRO - ANGLES)

    @pytest.mark.parametrize("drift", [None, Butterworth(1, 0.1), Butterworth(3, 0.1), Butterworth(2, 0.3)])
    def test_no_drift_removed_or_another_one(self, one: One, drift: Butterworth | None) -> None:
        broken = one.broken(lambda: Conditioner(drift=drift))
        assert broken >= of("tBodyGyro", "tBodyGyroMag", "fBodyGyro", "fBodyGyroMag")
        assert broken <= GYRO

    def test_filters_on_the_window_alone(self, one: One) -> None:
        """Zero state at each window's beginning, instead of the recording's."""
        cuts = [(each, start) for each, starts in one.archive.starts.items() for start in starts]
        some = slice(None, None, 8)
        found = [
            recording_features(one.archive.samples[each][start : start + 129], [0])
            for each, start in (cuts[number] for number in one.numbers[some])
        ]
        r = agreement(np.concatenate(found), one.published[some])
        assert not (r >= 0.999999).any()

    def test_windows_a_sample_later(self, one: One) -> None:
        broken = one.broken(shift=1)
        assert broken >= with_statistic("mean", "std", "energy", "entropy", "arCoeff", "correlation", "bandsEnergy")


class TestJerkAndMagnitudes:
    def test_backward_differences(self, one: One) -> None:
        class Backward(Altered):
            def alter(self, signals: Array) -> Array:
                late = signals.copy()
                late[1:, JERKS] = signals[:-1, JERKS]
                late[0, JERKS] = 0
                return late

        broken = one.broken(Backward)
        assert broken <= JERK
        assert broken >= JERK & with_statistic("mean", "std", "mad", "energy", "entropy", "bandsEnergy", "angle")

    def test_times_the_rate(self, one: One) -> None:
        """Seen in the entropy alone, as all else is scaled."""

        class PerSecond(Altered):
            def alter(self, signals: Array) -> Array:
                signals[:, JERKS] *= 50
                return signals

        assert one.broken(PerSecond) == JERK & with_statistic("entropy")

    def test_magnitude_of_gravity(self, one: One) -> None:
        """The magnitude that features_info.txt describes: the published one is the body's once more."""

        class Gravity(Altered):
            def alter(self, signals: Array) -> Array:
                return np.concatenate([signals, np.linalg.norm(signals[:, 3:6], axis=1, keepdims=True)], axis=1)

        with patch.dict(conditioning.CHANNELS, {"tGravityAccMag": slice(19, 20)}):
            assert one.broken(Gravity) == of("tGravityAccMag")


def quantiles(method: str) -> Callable[[Samples], Array]:
    return lambda samples: np.subtract(*np.quantile(samples.x, [0.75, 0.25], axis=-1, method=method))


def floored_entropy(samples: Samples) -> Array:
    levels = np.floor(np.clip(samples.x, 0, 1) * 255)
    shares = (levels[..., None] == np.arange(256)).mean(-2)
    entropy: Array = -(shares * np.log2(np.where(shares, shares, 1))).sum(-1)
    return entropy


def bands_first(samples: Samples) -> Array:
    """All axes of a band, then of the next one."""
    bands = [np.square(samples.x[..., first - 1 : last]).sum(-1) for first, last in BANDS]
    return np.concatenate(bands, axis=-1)


# A statistic, what it is instead, and the least r that the published columns have with that.
WRONG: dict[str, tuple[str, Callable[[Samples], Array]]] = {
    "median absolute deviation": ("mad", lambda s: np.median(np.abs(s.x - np.median(s.x, -1, keepdims=True)), -1)),
    "numpy's quantiles": ("iqr", quantiles("linear")),
    "quantiles by n + 1": ("iqr", quantiles("weibull")),
    "entropy by floor": ("entropy", floored_entropy),
    "autoregression without the mean": ("arCoeff", lambda s: STATISTICS["_burg"](Samples(s.centred))),
    "mean frequency by power": ("meanFreq", lambda s: (s.x**2 * np.arange(1, 65)).sum(-1) / (s.x**2).sum(-1)),
    "third moment, not standardised": ("skewness", lambda s: (s.centred**3).mean(-1)),
    "fourth moment, not standardised": ("kurtosis", lambda s: (s.centred**4).mean(-1)),
    "root of the energy": ("energy", lambda s: np.sqrt((s.x**2).mean(-1))),
    "magnitudes of bands": ("bandsEnergy", lambda s: np.sqrt(STATISTICS["_bands"](s))),
    "variance": ("std", lambda s: s.x.var(-1)),
    "covariance": ("correlation", lambda s: np.stack([np.cov(x)[[0, 0, 1], [1, 2, 2]] for x in s.x])),
}


class TestStatistics:
    @pytest.fixture(autouse=True)
    def _kept(self) -> Iterator[None]:
        """The right ones stay within reach of the wrong ones that use them."""
        kept = {"_burg": STATISTICS["arCoeff"], "_bands": STATISTICS["bandsEnergy"]}
        with patch.dict(STATISTICS, kept):
            yield

    @pytest.mark.parametrize("convention", WRONG)
    def test_another_convention_breaks_every_column_of_it_and_no_other(self, one: One, convention: str) -> None:
        statistic, wrong = WRONG[convention]
        with patch.dict(STATISTICS, {statistic: wrong}):
            assert one.broken() == with_statistic(statistic)

    def test_bands_in_another_order(self, one: One) -> None:
        with patch.dict(STATISTICS, {"bandsEnergy": bands_first}):
            broken = one.broken()
        # The first band of X and the last of Z stand where they stood.
        assert len(broken) == 126 - 3 * 2
        assert broken < with_statistic("bandsEnergy")

    def test_area_of_the_axes_sum(self, one: One) -> None:
        with patch.dict(STATISTICS, {"sma": lambda s: np.abs(s.x.sum(1, keepdims=True)).mean(-1)}):
            # Spectra and magnitudes have no negative values.
            assert {column.name for column in one.broken()} == {
                f"t{name}-sma" for name in ("BodyAcc", "GravityAcc", "BodyAccJerk", "BodyGyro", "BodyGyroJerk")
            }

    def test_cosines_instead_of_angles(self, one: One) -> None:
        right = windows.angles
        with patch.object(windows, "angles", lambda mean, gravity: np.cos(right(mean, gravity))):
            assert one.broken() == ANGLES

    def test_published_rows_cannot_tell_a_scale(self, one: One) -> None:
        """As an affine map is all that is lost: of n or n - 1, of excess or not, the rows know nothing."""
        scaled = {
            "std": lambda s: s.x.std(-1),
            "energy": lambda s: (s.x**2).sum(-1),
            "skewness": lambda s, right=STATISTICS["skewness"]: right(s) * np.sqrt(64 * 63) / 62,
            "kurtosis": lambda s, right=STATISTICS["kurtosis"]: right(s) - 3,
        }
        with patch.dict(STATISTICS, scaled):
            assert one.broken() == frozenset()


class TestSpectrum:
    def test_with_the_mean(self, one: One) -> None:
        """Bins 0 to 63."""
        with patch.object(windows, "spectrum", lambda x: np.abs(np.fft.rfft(x, axis=-1)[..., :64]) * (2 / 128)):
            assert one.broken() == SPECTRAL

    def test_not_scaled(self, one: One) -> None:
        """Seen in the entropy alone."""
        with patch.object(windows, "spectrum", lambda x: np.abs(np.fft.rfft(x, axis=-1)[..., 1:])):
            assert one.broken() == SPECTRAL & with_statistic("entropy")

    def test_power(self, one: One) -> None:
        right = windows.spectrum
        with patch.object(windows, "spectrum", lambda x: right(x) ** 2):
            # The largest bin stays the largest.
            assert one.broken() == SPECTRAL - with_statistic("maxInds")

    def test_weighted_by_a_window(self, one: One) -> None:
        right = windows.spectrum
        with patch.object(windows, "spectrum", lambda x: right(x * np.hamming(128))):
            assert one.broken() == SPECTRAL
