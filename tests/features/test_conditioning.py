"""Filters against scipy.signal and the Butterworth formula, and what they do to pulses and constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from mcubench.errors import UserError
from mcubench.features import recording_features
from mcubench.features.conditioning import CHANNELS, DRIFT, GRAVITY, NOISE, Butterworth, Conditioner
from tests.features.recordings import recording

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gain(Butterworth):
    """No filter at all, but a factor."""

    factor: float = 1.0

    def sections(self) -> Array:
        return np.array([[self.factor, 0, 0, 1, 0, 0]])


def condition(samples: Array, conditioner: Conditioner | None = None) -> dict[str, Array]:
    """Time signals of a whole recording, by name."""
    conditioner = conditioner or Conditioner()
    signals = np.concatenate([conditioner.push(samples), conditioner.finish()])
    return {name: signals[:, each] for name, each in CHANNELS.items()}


class TestMedian:
    @settings(max_examples=50)
    @given(length=st.integers(3, 60), seed=st.integers(0, 999))
    def test_is_scipys_with_zeros_at_both_ends(self, length: int, seed: int) -> None:
        samples = recording(length, seed)
        found = condition(samples, Conditioner(noise=Gain(1, 1.0), gravity=Gain(1, 1.0, factor=0.0), drift=None))
        expected = np.stack([signal.medfilt(channel, 3) for channel in samples.T], axis=1)
        # At the last sample the jerk has no value, so there is none of anything.
        assert np.array_equal(np.concatenate([found["tBodyAcc"], found["tBodyGyro"]], axis=1), expected[:-1])
        jerks = np.concatenate([found["tBodyAccJerk"], found["tBodyGyroJerk"]], axis=1)
        assert np.array_equal(jerks, np.diff(expected, axis=0))

    def test_ends_by_hand(self) -> None:
        # 0 3 1 | 3 1 2 | 1 2 5 | 2 5 0
        samples = np.zeros((4, 6))
        samples[:, 0] = [3, 1, 2, 5]
        found = condition(samples, Conditioner(noise=Gain(1, 1.0), gravity=Gain(1, 1.0, factor=0.0), drift=None))
        assert found["tBodyAcc"][:, 0].tolist() == [1, 2, 2]
        assert found["tBodyAccJerk"][:, 0].tolist() == [1, 0, 0]  # the last one, 2 - 2, knows the end

    def test_a_single_outlier_leaves_no_trace(self) -> None:
        samples = np.zeros((400, 6))
        samples[200] = 50
        assert not np.concatenate([*condition(samples).values()], axis=1).any()


@pytest.mark.parametrize(("design", "order", "hertz"), [(NOISE, 10, 20.0), (GRAVITY, 3, 0.3), (DRIFT, 2, 0.1)])
class TestResponse:
    def test_is_butterworths(self, design: Butterworth, order: int, hertz: float) -> None:
        """S. Butterworth, 1930, behind the bilinear transform: |H|^2 = 1 / (1 + (tan(pi f/fs) / tan(pi fc/fs))^2n)."""
        frequencies = np.geomspace(0.005, 24.9, 300)
        _, response = signal.sosfreqz(design.sections(), frequencies, fs=50)
        ratio = np.tan(np.pi * frequencies / 50) / np.tan(np.pi * hertz / 50)
        np.testing.assert_allclose(np.abs(response), 1 / np.sqrt(1 + ratio ** (2 * order)), rtol=1e-6)
        # Another order has other magnitudes everywhere but at the corner.
        assert np.abs(np.abs(response) - 1 / np.sqrt(1 + ratio ** (2 * order + 2))).max() > 0.01

    def test_corner(self, design: Butterworth, order: int, hertz: float) -> None:
        _, response = signal.sosfreqz(design.sections(), [hertz], fs=50)
        assert 20 * np.log10(abs(response[0])) == pytest.approx(10 * np.log10(0.5), abs=1e-6)  # -3.01 dB

    def test_gain_of_a_constant_is_one(self, design: Butterworth, order: int, hertz: float) -> None:
        sections = design.sections()
        assert np.prod(sections[:, :3].sum(1) / sections[:, 3:].sum(1)) == pytest.approx(1, abs=1e-9)

    def test_poles(self, design: Butterworth, order: int, hertz: float) -> None:
        poles = np.concatenate([np.roots(section[3:]) for section in design.sections()])
        assert sum(abs(pole) > 1e-6 for pole in poles) == order
        assert (np.abs(poles) < 1).all()


class TestSignals:
    def test_whole_chain_by_scipys_other_form(self) -> None:
        """Numerator and denominator instead of sections, medfilt, hypot; order 10 at 20 Hz rounds no worse by it."""
        samples = recording(3000, seed=1)
        b, a = signal.butter(10, 20, fs=50)
        smooth = signal.lfilter(b, a, signal.medfilt(samples, (3, 1)), axis=0)
        gravity = signal.lfilter(*signal.butter(3, 0.3, fs=50), smooth[:, :3], axis=0)
        body = smooth[:, :3] - gravity
        velocity = smooth[:, 3:] - signal.lfilter(*signal.butter(2, 0.1, fs=50), smooth[:, 3:], axis=0)
        expected = {
            "tBodyAcc": body[:-1],
            "tGravityAcc": gravity[:-1],
            "tBodyAccJerk": body[1:] - body[:-1],
            "tBodyGyro": velocity[:-1],
            "tBodyGyroJerk": velocity[1:] - velocity[:-1],
        }
        for name in ("tBodyAcc", "tBodyAccJerk", "tBodyGyro", "tBodyGyroJerk"):
            x, y, z = expected[name].T
            expected[f"{name}Mag"] = np.hypot(np.hypot(x, y), z)[:, None]
        expected["tGravityAccMag"] = expected["tBodyAccMag"]  # as published
        found = condition(samples)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-8, err_msg=name)

    def test_nothing_comes_before_its_cause(self) -> None:
        """The median looks one sample ahead, the jerk another one."""
        one = recording(300)
        other = one.copy()
        other[200:] += np.random.default_rng(1).normal(size=(100, 6)) + 9
        first, second = condition(one), condition(other)
        for name in CHANNELS:
            changed = np.flatnonzero((first[name] != second[name]).any(1))
            assert changed[0] == (198 if "Jerk" in name else 199), name

    def test_constants(self) -> None:
        """Gravity becomes what is constant, nothing is left of it in the body's signals, nor of the gyroscope's."""
        level = np.array([0.3, -0.9, 0.1, 0.02, -0.05, 0.4])
        found = condition(np.tile(level, (4000, 1)))
        # From its own end on the median has zeros; the samples before are as steady as they get in 80 s.
        late = slice(3900, 3980)
        np.testing.assert_allclose(found["tGravityAcc"][late], np.tile(level[:3], (80, 1)), atol=1e-9)
        for name in set(CHANNELS) - {"tGravityAcc"}:
            np.testing.assert_allclose(found[name][late], 0, atol=1e-9, err_msg=name)
        # And it starts from zero: filters know nothing of what was before.
        assert np.abs(found["tGravityAcc"][0]).max() < 1e-4
        without = condition(np.tile(level, (4000, 1)), Conditioner(drift=None))
        np.testing.assert_allclose(without["tBodyGyro"][late], np.tile(level[3:], (80, 1)), atol=1e-9)

    def test_body_and_gravity_add_up(self) -> None:
        samples = recording(500)
        found = condition(samples)
        smooth = signal.sosfilt(signal.butter(10, 20, fs=50, output="sos"), signal.medfilt(samples, (3, 1)), axis=0)
        np.testing.assert_allclose(found["tBodyAcc"] + found["tGravityAcc"], smooth[:-1, :3], atol=1e-12)

    def test_jerk_is_the_forward_difference(self) -> None:
        found = condition(recording(500))
        for name in ("tBodyAcc", "tBodyGyro"):
            difference = np.diff(found[name], axis=0)
            assert np.array_equal(found[f"{name}Jerk"][:-1], difference)  # not times 50
            assert not np.allclose(found[f"{name}Jerk"][1:], difference)  # not backward

    @pytest.mark.parametrize(("length", "rows"), [(0, 0), (1, 0), (2, 1), (3, 2), (50, 49)])
    def test_rows(self, length: int, rows: int) -> None:
        assert all(len(values) == rows for values in condition(recording(length)).values())


class TestErrors:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, value: float) -> None:
        samples = recording(200)
        samples[150, 4] = value
        with pytest.raises(UserError, match="samples must be finite: a filter would carry NaN or infinity"):
            Conditioner().push(samples)
        with pytest.raises(UserError, match="samples must be finite"):
            recording_features(samples, [0])

    @pytest.mark.parametrize("shape", [(200,), (200, 3), (200, 7), (6, 200), (1, 200, 6)])
    def test_wrong_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(UserError, match=r"samples must have shape \(T, 6\), accelerometer then gyroscope; got \("):
            Conditioner().push(np.zeros(shape))

    def test_what_is_refused_leaves_no_trace(self) -> None:
        samples = recording(300)
        conditioner = Conditioner()
        first = conditioner.push(samples[:100])
        with pytest.raises(UserError):
            conditioner.push(np.full((5, 6), np.nan))
        found = np.concatenate([first, conditioner.push(samples[100:])])
        assert np.array_equal(found, Conditioner().push(samples))

    @pytest.mark.parametrize(
        ("starts", "named"), [([-1], "-1 to -1"), ([0, 272], "0 to 272"), ([9999, 3], "3 to 9999")]
    )
    def test_windows_beyond_the_recording(self, starts: list[int], named: str) -> None:
        samples = recording(400)
        assert recording_features(samples, [0, 271]).shape == (2, 561)
        with pytest.raises(UserError, match=rf"start at 0 to 271 in a recording of 400 samples .* got {named}"):
            recording_features(samples, starts)
