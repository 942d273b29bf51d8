"""Each statistic against scipy.stats, numpy or a textbook's recursion, and windows together against windows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcubench.errors import UserError
from mcubench.features import columns, recording_features, select
from mcubench.features.catalogue import BANDS
from mcubench.features.statistics import STATISTICS, Samples, angles, spectrum
from mcubench.features.windows import window_features
from tests.features.recordings import recording

Array = NDArray[np.float64]


@st.composite
def windows_of(draw: st.DrawFn, n: int = 128, axes: int = 3, positive: bool = False) -> Array:
    """1 to 4 windows of noise of any size about any level, at times in few steps, so that values repeat."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = random.normal(size=(draw(st.integers(1, 4)), axes, n))
    if draw(st.booleans()):
        x = np.round(x, 1)
    x = x * draw(st.sampled_from([1e-3, 0.1, 1.0, 30.0])) + draw(st.sampled_from([0.0, 0.5, -2.0]))
    return np.abs(x) if positive else x


def burg(x: Array) -> list[float]:
    """Burg's recursion as Kay and Marple have it (Proceedings of the IEEE 69, 1981, 1380-1419), value by value."""
    forward, backward, a = list(x), list(x), [1.0]
    for order in range(1, 5):
        pairs = [(forward[t], backward[t - 1]) for t in range(order, len(x))]
        k = -2 * sum(f * b for f, b in pairs) / sum(f * f + b * b for f, b in pairs)
        a = [one + k * other for one, other in zip([*a, 0.0], [0.0, *a[::-1]], strict=True)]
        last = list(forward)
        for t in range(len(x) - 1, order - 1, -1):
            forward[t] = last[t] + k * backward[t - 1]
            backward[t] = backward[t - 1] + k * last[t]
    return a[1:]


def entropy(x: Array) -> float:
    """Of the shares of 8-bit grey levels, as of an image."""
    levels = [int(255 * min(max(value, 0.0), 1.0) + 0.5) for value in x]
    return float(scipy.stats.entropy(np.bincount(levels), base=2))


# What each is for one axis, another way.
REFERENCES: dict[str, Callable[[Array], float]] = {
    "mean": scipy.stats.tmean,
    "std": lambda x: np.std(x, ddof=1),
    "mad": lambda x: np.mean([abs(value - np.mean(x)) for value in x]),
    "max": lambda x: sorted(x)[-1],
    "min": lambda x: sorted(x)[0],
    "energy": lambda x: np.linalg.norm(x) ** 2 / len(x),
    "iqr": lambda x: scipy.stats.iqr(x, interpolation="hazen"),
    "entropy": entropy,
    "maxInds": lambda x: 1 + list(x).index(max(x)),
    "meanFreq": lambda x: np.average(np.arange(1, len(x) + 1), weights=x),
    "skewness": scipy.stats.skew,
    "kurtosis": lambda x: scipy.stats.kurtosis(x, fisher=False),
}
POSITIVE = {"maxInds", "meanFreq"}  # of spectra alone


class TestReferences:
    @pytest.mark.parametrize("name", REFERENCES)
    @pytest.mark.parametrize("n", [64, 128])
    def test_of_one_axis(self, name: str, n: int) -> None:
        @settings(max_examples=25)
        @given(x=windows_of(n, positive=name in POSITIVE))
        def check(x: Array) -> None:
            found = STATISTICS[name](Samples(x))
            expected = [[REFERENCES[name](axis) for axis in window] for window in x]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)

        check()

    @pytest.mark.parametrize("name", sorted(set(REFERENCES) - {"maxInds"}))
    def test_a_convention_beside_it_is_seen(self, name: str) -> None:
        """The references are sharp: what is often taken instead is another number."""
        beside: dict[str, Callable[[Array], float]] = {
            "mean": np.median,
            "std": np.std,
            "mad": scipy.stats.median_abs_deviation,
            "max": lambda x: np.abs(x).max(),
            "min": lambda x: np.abs(x).min(),
            "energy": lambda x: np.sum(x**2),
            "iqr": scipy.stats.iqr,
            "entropy": scipy.stats.differential_entropy,
            "meanFreq": lambda x: np.average(np.arange(len(x)), weights=x),
            "skewness": lambda x: scipy.stats.skew(x, bias=False),
            "kurtosis": scipy.stats.kurtosis,
        }
        x = np.random.default_rng(1).normal(size=(1, 1, 64)) - 0.1
        if name in POSITIVE:
            x = np.abs(x)
        found = STATISTICS[name](Samples(x)).item()
        assert found == pytest.approx(REFERENCES[name](x[0, 0]), rel=1e-9)
        assert abs(found - beside[name](x[0, 0])) > 1e-3

    @settings(max_examples=25)
    @given(x=windows_of())
    def test_area(self, x: Array) -> None:
        expected = [sum(np.abs(axis).sum() for axis in window) / 128 for window in x]
        np.testing.assert_allclose(STATISTICS["sma"](Samples(x))[:, 0], expected)

    @settings(max_examples=25)
    @given(x=windows_of())
    def test_correlation(self, x: Array) -> None:
        expected = [np.corrcoef(window)[[0, 0, 1], [1, 2, 2]] for window in x]
        np.testing.assert_allclose(STATISTICS["correlation"](Samples(x)), expected, rtol=1e-9, atol=1e-11)

    @settings(max_examples=25)
    @given(x=windows_of(64, positive=True))
    def test_bands(self, x: Array) -> None:
        found = STATISTICS["bandsEnergy"](Samples(x)).reshape(len(x), 3, 14)
        for slot, (first, last) in enumerate(BANDS):
            expected = [[sum(axis[k - 1] ** 2 for k in range(first, last + 1)) for axis in window] for window in x]
            np.testing.assert_allclose(found[:, :, slot], expected)

    def test_bands_add_up_to_the_energy(self) -> None:
        x = np.random.default_rng(0).random((2, 3, 64))
        bands = STATISTICS["bandsEnergy"](Samples(x)).reshape(2, 3, 14)
        energy = 64 * STATISTICS["energy"](Samples(x))
        np.testing.assert_allclose(bands[..., :8].sum(-1), energy)
        np.testing.assert_allclose(bands[..., 8:12].sum(-1), energy)
        np.testing.assert_allclose(bands[..., 12], bands[..., :3].sum(-1))
        np.testing.assert_allclose(bands[..., 13], bands[..., 3:6].sum(-1))


class TestEntropy:
    def test_by_hand(self) -> None:
        # All in one level: 0 bits. Half and half: 1. 64 levels of two values each: 6.
        x = np.zeros((3, 1, 128))
        x[1, 0, 64:] = 1
        x[2, 0] = np.repeat(np.arange(64), 2) / 255
        assert STATISTICS["entropy"](Samples(x)).ravel().tolist() == [0, 1, 6]

    def test_rounds_and_clips(self) -> None:
        # 0.49/255 is level 0, as all below zero; 0.51/255 is level 1; all above one is level 255.
        x = np.repeat([[-3.0, 0.49 / 255, 0.51 / 255, 7.0]], 32, axis=0).reshape(1, 1, 128)
        assert STATISTICS["entropy"](Samples(x)).item() == 1.5  # shares 1/2, 1/4, 1/4


class TestAutoregression:
    @settings(max_examples=25)
    @given(x=windows_of())
    def test_by_the_textbook(self, x: Array) -> None:
        found = STATISTICS["arCoeff"](Samples(x)).reshape(len(x), 3, 4)
        np.testing.assert_allclose(found, [[burg(axis) for axis in window] for window in x], rtol=1e-7, atol=1e-9)

    def test_known_process(self) -> None:
        """The fourth-order process of MATLAB's page on ``arburg``, from white noise."""
        process = np.array([-2.7607, 3.8106, -2.6535, 0.9238])
        noise = np.random.default_rng(0).normal(size=20_000)
        x = scipy.signal.lfilter([1], [1, *process], noise)[-16384:]
        np.testing.assert_allclose(STATISTICS["arCoeff"](Samples(x[None, None]))[0], process, atol=0.02)

    def test_two_tones_are_predicted_almost_exactly(self) -> None:
        # x[t] - 2 cos(w) x[t-1] + x[t-2] = 0 for a tone; for two, the product of both polynomials. Burg is off by the
        # tones' phases, the less the longer the window is.
        t = np.arange(4096)
        x = np.cos(0.7 * t) + np.cos(1.9 * t + 1)
        expected = np.polymul([1, -2 * np.cos(0.7), 1], [1, -2 * np.cos(1.9), 1])[1:]
        np.testing.assert_allclose(STATISTICS["arCoeff"](Samples(x[None, None]))[0], expected, atol=1e-2)

    def test_the_mean_is_not_removed(self) -> None:
        x = np.random.default_rng(0).normal(size=(1, 1, 128)) + 5
        found = STATISTICS["arCoeff"](Samples(x))[0]
        np.testing.assert_allclose(found, burg(x[0, 0]), rtol=1e-7)
        assert np.abs(found - burg(x[0, 0] - x.mean())).max() > 0.1


class TestSpectrum:
    @settings(max_examples=10)
    @given(x=windows_of())
    def test_by_the_sum(self, x: Array) -> None:
        """The transform's definition; bins 1 to 64."""
        turns = np.exp(-2j * np.pi * np.outer(np.arange(1, 65), np.arange(128)) / 128)
        np.testing.assert_allclose(spectrum(x), np.abs(x @ turns.T) / 64, atol=1e-9)

    def test_a_tone_has_its_amplitude(self) -> None:
        x = 5 + 3 * np.cos(2 * np.pi * 10 * np.arange(128) / 128 + 0.4)
        found = spectrum(x[None, None])[0, 0]
        assert found.shape == (64,)
        np.testing.assert_allclose(found, np.where(np.arange(1, 65) == 10, 3, 0), atol=1e-12)

    def test_energy(self) -> None:
        """Parseval: 64 times the energy of the spectrum is twice that of what is left without the mean."""
        x = np.random.default_rng(0).normal(size=(4, 3, 128))
        x -= x @ (-1.0) ** np.arange(128)[:, None] / 128 * (-1.0) ** np.arange(128)  # the last bin has another weight
        energy = STATISTICS["energy"](Samples(spectrum(x))) * 64
        np.testing.assert_allclose(energy, 2 * x.var(-1))


class TestAngles:
    @settings(max_examples=50)
    @given(seed=st.integers(0, 999))
    def test_by_the_tangent(self, seed: int) -> None:
        a, b = np.random.default_rng(seed).normal(size=(2, 5, 3))
        expected = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))
        np.testing.assert_allclose(angles(a, b), expected)

    def test_by_hand(self) -> None:
        gravity = np.array([[0.0, 2.0, 0.0]])
        assert [angles(axis, gravity).item() for axis in np.eye(3)] == [np.pi / 2, 0, np.pi / 2]
        assert angles(np.array([[0.0, -0.1, 0.0]]), gravity).item() == np.pi
        assert angles(np.array([[1.0, 1.0, 0.0]]), gravity).item() == pytest.approx(np.pi / 4)

    def test_a_cosine_rounded_beyond_one_is_one(self) -> None:
        random = np.random.default_rng(0)
        a = random.normal(size=(2000, 3))
        cosine = (a * (3 * a)).sum(-1) / np.sqrt(np.square(a).sum(-1) * np.square(3 * a).sum(-1))
        assert (cosine > 1).any()
        assert np.isfinite(angles(a, 3 * a)).all()


class TestUndefined:
    """A statistic that a window has none of is NaN, quietly; all others are there."""

    # Of signals that are zero: their spectra are, too.
    ZERO = ("arCoeff", "correlation", "meanFreq", "skewness", "kurtosis", "angle")

    def test_of_zeros(self) -> None:
        features = window_features(np.zeros((2, 19, 128)))
        for column in columns():
            assert np.isnan(features[:, column.index]).all() == (column.statistic in self.ZERO), column.name
            if column.statistic not in self.ZERO:
                assert (features[:, column.index] == (column.statistic == "maxInds")).all(), column.name

    def test_correlation_with_a_constant(self) -> None:
        signals = np.random.default_rng(0).normal(size=(3, 19, 128))
        signals[1, 0] = 0  # body acceleration x
        found = window_features(signals, select(["tBodyAcc-correlation"]))
        assert np.isnan(found).tolist() == [[False] * 3, [True, True, False], [False] * 3]

    def test_the_other_windows_are_as_without_it(self) -> None:
        signals = np.random.default_rng(0).normal(size=(3, 19, 128))
        right = window_features(signals)
        signals[1] = 0
        assert np.array_equal(window_features(signals)[[0, 2]], right[[0, 2]])


class TestWindows:
    @pytest.mark.parametrize("name", STATISTICS)
    def test_together_and_alone_are_the_same_bit_for_bit(self, name: str) -> None:
        n = 64 if name in {"bandsEnergy", "meanFreq", "maxInds"} else 128

        @settings(max_examples=10)
        @given(x=windows_of(n, positive=n == 64))
        def check(x: Array) -> None:
            together = STATISTICS[name](Samples(x))
            alone = np.concatenate([STATISTICS[name](Samples(window[None].copy())) for window in x])
            assert np.array_equal(together, alone, equal_nan=True)

        check()

    @settings(max_examples=10)
    @given(starts=st.lists(st.integers(0, 400 - 129), min_size=1, max_size=9))
    def test_any_starts_in_any_order(self, starts: list[int]) -> None:
        samples = recording(400)
        together = recording_features(samples, starts)
        alone = [recording_features(samples, [start])[0] for start in starts]
        assert np.array_equal(together, alone)

    @settings(max_examples=25)
    @given(indices=st.lists(st.integers(0, 560), min_size=1, max_size=12))
    def test_some_columns_are_those_of_all(self, indices: list[int]) -> None:
        samples, starts = recording(400), [0, 100, 271]
        some = recording_features(samples, starts, [columns()[index] for index in indices])
        assert np.array_equal(some, recording_features(samples, starts)[:, sorted(set(indices))])

    def test_names_lists_and_columns_choose_alike(self) -> None:
        samples, starts = recording(400), [0, 100]
        expected = recording_features(samples, starts, select(["tBodyAcc-mean", "fBodyAccMag-energy"]))
        assert expected.shape == (2, 4)
        for chosen in ("tBodyAcc-mean, fBodyAccMag-energy", ["fBodyAccMag-energy", "tBodyAcc-mean"]):
            assert np.array_equal(recording_features(samples.tolist(), starts, chosen), expected)

    @pytest.mark.parametrize(
        ("starts", "message"),
        [
            ([-1], "can start at 0 to 271 in a recording of 400 samples"),
            ([272], "can start at 0 to 271 .* got 272 to 272"),
            ([0.7], "starts must be whole numbers, one a window; got float64"),
            ([True], "starts must be whole numbers"),
            ([[0, 64]], r"one a window; got int64 of shape \(1, 2\)"),
        ],
    )
    def test_windows_that_are_none(self, starts: list[int], message: str) -> None:
        with pytest.raises(UserError, match=message):
            recording_features(recording(400), starts)

    def test_a_recording_shorter_than_a_window(self) -> None:
        with pytest.raises(UserError, match="can start nowhere in a recording of 50 samples"):
            recording_features(recording(50), [0])

    @pytest.mark.parametrize("name", sorted(STATISTICS))
    def test_no_window(self, name: str) -> None:
        wanted = select([name])
        assert recording_features(recording(400), [], wanted).shape == (0, len(wanted))
        assert recording_features(recording(5), [], wanted).shape == (0, len(wanted))
