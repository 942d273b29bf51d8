"""Costs and values against an evaluation in plain loops that counts (plain.py), and RAM against hand counts."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcubench.errors import UserError
from mcubench.features import Column, Operations, columns, feature_cost, recording_features, select, steps
from mcubench.features.steps import Rule, Step
from tests.features.counting import Counted, Tally, sqrt
from tests.features.plain import Integrators, LowPass, Plain, median_of_3, quartile_ends, stage, transform
from tests.features.recordings import read_archive, recording

# The first window of a random recording: a sample behind it for the jerk, another for the median.
SAMPLES = recording(128 + 2)


def stated(wanted: tuple[Column, ...] | list[Column]) -> dict[str, Operations]:
    return {each.name: each.operations for each in feature_cost(wanted).stages}


@functools.cache
def counted(wanted: tuple[Column, ...]) -> dict[str, Operations]:
    plain = Plain(SAMPLES.tolist())
    plain.row(wanted)
    return plain.counts


def differences(wanted: tuple[Column, ...] | list[Column]) -> dict[str, tuple[Operations | None, Operations | None]]:
    """Stages whose counts differ: what is stated, what was counted."""
    one, other = stated(wanted), counted(tuple(wanted))
    return {name: (one.get(name), other.get(name)) for name in {**one, **other} if one.get(name) != other.get(name)}


class TestCounting:
    """The counting itself, by hand."""

    @staticmethod
    def done(tally: Tally) -> Operations:
        return Operations(**tally.running)

    def test_operations(self) -> None:
        tally = Tally()
        a, b, c = (Counted(value, tally) for value in (2.0, 3.0, 4.0))
        assert float(a + b * c) == 14
        assert self.done(tally) == Operations(macs=1)
        assert float(a * b - c * a) == -2  # a product and a MAC
        assert self.done(tally) == Operations(macs=2, multiplications=1)
        assert float(1 + a - c) == -1
        assert self.done(tally) == Operations(macs=2, multiplications=1, additions=2)
        assert float(a * b * c) == 24  # the second product is no sum
        assert self.done(tally) == Operations(macs=2, multiplications=3, additions=2)
        assert float(max(a, min(b, c))) == 3
        assert float(abs(a)) == 2
        assert float((a / c).sqrt()) == math.sqrt(0.5)
        assert float((a / c).acos()) == math.acos(0.5)
        assert self.done(tally) == Operations(2, 3, 2, comparisons=3, divisions=2, roots=1, arccosines=1)

    def test_a_product_is_one_mac_only(self) -> None:
        tally = Tally()
        a, b = Counted(2.0, tally), Counted(3.0, tally)
        product = a * b
        assert float((a + product) + (b + product)) == 17
        assert self.done(tally) == Operations(macs=1, additions=2)

    def test_a_stored_product_is_none(self) -> None:
        class Quantity(Plain):
            @stage("mean")
            def product(self) -> Counted:
                return self.number(2.0) * 3.0

            @stage("std")
            def total(self) -> Counted:
                return self.product() + self.product() + 1.0

        quantity = Quantity([[0.0] * 6] * 3)
        assert float(quantity.total()) == 13
        assert quantity.counts == {"mean": Operations(multiplications=1), "std": Operations(additions=2)}

    @given(values=st.lists(st.floats(-9, 9), min_size=3, max_size=3))
    def test_median_takes_three_comparisons(self, values: list[float]) -> None:
        tally = Tally()
        assert float(median_of_3(*(Counted(value, tally) for value in values))) == sorted(values)[1]
        assert self.done(tally) == Operations(comparisons=3)

    @pytest.mark.parametrize(("n", "comparisons"), [(8, 18), (64, 322), (128, 770)])
    def test_quartiles(self, n: int, comparisons: int) -> None:
        """Of 8: four pairs, eight to merge them, and three from each end of the runs of four."""
        for seed in range(20):
            x = np.random.default_rng(seed).integers(-9, 9, n).astype(float).tolist()
            tally = Tally()
            lower, upper = quartile_ends([Counted(value, tally) for value in x])
            assert [float(each) for each in lower] == sorted(x)[: n // 4 + 1]
            assert [float(each) for each in upper] == sorted(x)[-n // 4 - 1 :]
            assert self.done(tally) == Operations(comparisons=comparisons)

    def test_transform(self) -> None:
        x = np.random.default_rng(0).normal(size=128)
        re, im = transform(x.tolist())
        np.testing.assert_allclose(np.array(re) + 1j * np.array(im), np.fft.fft(x[::2] + 1j * x[1::2]), atol=1e-12)

    def test_root(self) -> None:
        assert sqrt(9.0) == 3 == float(sqrt(Counted(9.0, Tally())))


class TestValues:
    @pytest.mark.parametrize("start", [0, 64, 200])
    def test_of_a_random_recording(self, start: int) -> None:
        samples = recording(400, seed=start)
        found = Plain(samples[: start + 130].tolist()).row(columns())
        np.testing.assert_allclose(found, recording_features(samples, [start])[0], rtol=1e-9, atol=1e-11)

    @pytest.mark.real_data
    def test_of_a_real_recording(self, real_data: Path) -> None:
        samples = read_archive(real_data, experiments=[1]).samples[1]
        for start in (249, 7600):  # the first labelled window, standing; walking
            found = Plain(samples[: start + 130].tolist()).row(columns())
            np.testing.assert_allclose(found, recording_features(samples, [start])[0], rtol=1e-8, atol=1e-10)

    def test_alone_and_together_are_the_same(self) -> None:
        together = Plain(SAMPLES.tolist()).row(columns())
        for column in columns()[::17]:
            assert Plain(SAMPLES.tolist()).row([column]) == [together[column.index]], column.name

    def test_are_scaled(self) -> None:
        wanted = columns()[:3]
        row = Plain(SAMPLES.tolist()).row(wanted)
        scaled = Plain(SAMPLES.tolist()).row(wanted, offset=0.5, factor=4.0)
        assert scaled == [(value - 0.5) * 4 for value in row]


class TestCounts:
    def test_of_all(self) -> None:
        assert not differences(columns())

    def test_of_every_column_alone(self) -> None:
        wrong = {}
        for column in columns():
            found = differences([column])
            if found:
                wrong[column.name] = found
        assert not wrong

    @settings(max_examples=30)
    @given(indices=st.sets(st.integers(0, 560), min_size=1, max_size=30))
    def test_of_some(self, indices: set[int]) -> None:
        assert not differences([columns()[index] for index in sorted(indices)])

    @pytest.mark.parametrize(
        "terms", [["mean"], ["energy", "angle"], ["tGravityAccMag"], ["f*"], ["tBodyGyroJerkMag-*", "fBodyAcc-iqr"]]
    )
    def test_of_groups(self, terms: list[str]) -> None:
        assert not differences(select(terms))

    def test_entropy(self) -> None:
        # Of each value: two comparisons, a MAC (times 255, a half added), one added to its bin. Then 256 terms of the
        # table added, and one MAC, as their sum's 1/n is taken from log2 n. 19 times 128 values, 13 times 64.
        each, once = Operations(comparisons=2, macs=1, additions=1), Operations(additions=256, macs=1)
        assert counted(columns())["entropy"] == each * (19 * 128 + 13 * 64) + once * 32

    def test_total(self) -> None:
        assert feature_cost().operations == sum(counted(columns()).values(), Operations())

    @pytest.mark.parametrize("kind", sorted(set(steps._RULES) - {"buffer"}))
    def test_any_rule_off_by_one_is_seen(self, kind: str) -> None:
        """An addition more in any rule, and its stage differs."""
        right = steps._RULES[kind]

        def wrong(step: Step) -> Rule:
            rule = right(step)
            return Rule(rule.operations + Operations(additions=1), rule.needs, rule.kept, rule.scratch)

        with patch.dict(steps._RULES, {kind: wrong}):
            assert differences(columns())

    @pytest.mark.parametrize(("kind", "columns_of"), [("correlation", "tBodyAcc-correlation"), ("std", "tBodyAcc-std")])
    def test_a_missing_need_is_seen(self, kind: str, columns_of: str) -> None:
        right = steps._RULES[kind]
        with patch.dict(steps._RULES, {kind: lambda step: Rule(right(step).operations)}):
            assert differences(select([columns_of])).keys() >= {"median of 3", "mean"}

    def test_a_copy_that_is_paid_for_is_seen(self) -> None:
        def itself(column: Column) -> Column:
            return column

        with patch("mcubench.features.catalogue.original", itself), patch("mcubench.features.cost.original", itself):
            assert "max" in differences(select(["tBodyAccMag-max", "tGravityAccMag-max"]))


class TestHandCounts:
    def test_a_mean(self) -> None:
        # 64 samples through the median and 5 sections of second order; gravity's of first order: a difference, a share
        # of it added, added again; of second order: a difference of three, two sums of two products, two numbers added
        # with their remainders (3 additions for each remainder), twice a number less another. 128 added.
        assert stated(select(["tGravityAcc-mean-X"])) == {
            "median of 3": Operations(comparisons=64 * 3),
            "low-pass 20 Hz": Operations(macs=64 * 5 * 4, multiplications=64 * 5),
            "low-pass 0.3 Hz": Operations(macs=64 * (1 + 3), multiplications=64 * 2, additions=64 * (2 + 2 + 2 * 4)),
            "mean": Operations(additions=128, multiplications=1),
            "scaling": Operations(additions=1, multiplications=1),
        }

    def test_an_energy_of_a_spectrum(self) -> None:
        # 6 stages of 32 butterflies: a complex product (2 MACs, 2 multiplications), 2 complex sums. 32 pairs of bins
        # unpacked: 4 complex sums, a complex product; their magnitudes: a product, a MAC, a root, a scale. The last
        # bin: a difference, its absolute value, a scale.
        found = stated(select(["fBodyGyro-energy-Y"]))
        assert found["spectra"] == Operations(
            macs=192 * 2 + 32 * (2 + 2),
            multiplications=192 * 2 + 32 * (2 + 2 * 2) + 1,
            additions=192 * 4 + 32 * 8 + 1,
            comparisons=1,
            roots=64,
        )
        assert found["energy"] == Operations(macs=64, multiplications=1)
        assert found["low-pass 0.1 Hz"] == Operations(macs=64 * 3, multiplications=64 * 2, additions=64 * 3)
        assert found["body, jerk, magnitudes"] == Operations(additions=64)

    def test_nothing_is_an_error(self) -> None:
        with pytest.raises(UserError, match="features is empty"):
            feature_cost([])

    def test_a_column_named_twice_is_paid_once(self) -> None:
        assert feature_cost(["tBodyAcc-mean", "tBodyAcc", "tBodyAcc-mean-X"]) == feature_cost(["tBodyAcc"])


class TestMemory:
    """State, buffers, scratch and features, in floats of 4 B, by hand."""

    @pytest.mark.parametrize(
        ("terms", "state", "buffers", "scratch", "features"),
        [
            # 6 channels of 2 for the median and 10 for 20 Hz, 3 of 1 + 4 for gravity, 3 of 2 for drift, 9 of 1 that
            # wait for the jerk, the count: 72 + 15 + 6 + 9 + 1 = 103. 5 signals of 3 axes and 4 magnitudes, as that of
            # gravity is a copy: 19 of 128, and 3 of 128 bytes of gravity. Burg's forward and backward errors: 256.
            (None, 4 * 103, 4 * 19 * 128 + 3 * 128, 4 * 256, 4 * 561),
            # 2 + 10 + 5 + 1 and the count; its own 128; nothing.
            (["tGravityAcc-mean-X"], 4 * 19, 4 * 128, 0, 4),
            # 2 + 10 + 5 + 1 and the count; body acceleration; the transform's 64 complex points.
            (["fBodyAcc-energy-X"], 4 * 19, 4 * 128, 4 * 128, 4),
            # 2 + 10 + 2 + 1 and the count; angular velocity; runs of 64 to and fro beside the 64 bins; 256 counters of
            # 1 B beside them are 128, as the transform.
            (["fBodyGyro-iqr-Z"], 4 * 16, 4 * 128, 4 * 192, 4),
            (["fBodyGyro-entropy-Z"], 4 * 16, 4 * 128, 4 * 128, 4),
            # 3 channels of 2 + 10 + 2 + 1, and the count; one magnitude; runs of 128 to and fro.
            (["tBodyGyroJerkMag-iqr"], 4 * 46, 4 * 128, 4 * 256, 4),
            # Angle of jerk and gravity: 3 of 2 + 10 + 5 + 2, and the count; jerk and gravity, three axes each.
            (["tBodyAccJerk-angle"], 4 * 58, 4 * 6 * 128, 0, 4),
            # The copy and what it copies: 3 of 2 + 10 + 5 + 1, and the count; one buffer, two features.
            (["tBodyAccMag-mean", "tGravityAccMag-mean"], 4 * 55, 4 * 128, 0, 8),
        ],
    )
    def test_by_hand(self, terms: list[str] | None, state: int, buffers: int, scratch: int, features: int) -> None:
        memory = feature_cost(select(terms)).memory
        assert (memory.state, memory.buffers, memory.scratch, memory.features) == (state, buffers, scratch, features)
        assert memory.total == state + buffers + scratch + features

    def test_of_all_in_bytes(self) -> None:
        assert feature_cost().memory.total == 412 + 10112 + 1024 + 2244 == 13792

    def test_filters_hold_what_is_stated(self) -> None:
        # States of the plain filters that are ever other than zero.
        low_pass, gravity, drift = LowPass(10, 20.0), Integrators(3, 0.3, fine=True), Integrators(2, 0.1)
        for value in np.float32(SAMPLES[:, 0]):
            for each in (low_pass, gravity, drift):
                each(np.float32(value))
        assert sum(each != 0 for state in low_pass.states for each in state) == 10
        assert sum(each != 0 for state in (gravity.single, *gravity.states) for each in state) + 1 == 5  # and the rest
        assert gravity.rest != 0
        assert sum(each != 0 for state in drift.states for each in state) == 2


class TestRecord:
    def test_of_all(self) -> None:
        cost = feature_cost()
        found = json.loads(json.dumps(cost.as_dict()))
        assert found["features"] == 561
        assert len(found["copies"]) == 21  # test_catalogue.py has which
        assert found["copies"]["tGravityAccMag-arCoeff-3"] == "tBodyAccMag-arCoeff-3"
        assert found["copies"]["tGravityAccMag-sma"] == "tBodyAccMag-mean"
        assert found["ram_bytes"] == sum(found["ram"].values()) == 13792
        assert found["operations"] == asdict(cost.operations)
        for operation, total in found["operations"].items():
            assert sum(each[operation] for each in found["stages"]) == total
        assert cost.operations.other == sum(found["operations"].values()) - found["operations"]["macs"]

    def test_stages_are_in_the_order_of_the_work(self) -> None:
        assert [each.name for each in feature_cost().stages] == [
            *("median of 3", "low-pass 20 Hz", "low-pass 0.3 Hz", "low-pass 0.1 Hz", "body, jerk, magnitudes"),
            *("spectra", "mean", "std", "mad", "max", "min", "sma", "energy", "iqr", "entropy", "arCoeff"),
            *("correlation", "maxInds", "meanFreq", "skewness", "kurtosis", "bandsEnergy", "angle", "scaling"),
        ]

    def test_a_copy_costs_its_scaling(self) -> None:
        one, both = (feature_cost(select(["tBodyAccMag-iqr", *more])) for more in ([], ["tGravityAccMag-iqr"]))
        assert both.operations == one.operations + Operations(multiplications=1, additions=1)
        assert (one.copies, both.copies) == ({}, {"tGravityAccMag-iqr": "tBodyAccMag-iqr"})

    def test_a_copy_alone_repeats_nothing(self) -> None:
        alone, other = (feature_cost(select([f"{name}-iqr"])) for name in ("tGravityAccMag", "tBodyAccMag"))
        assert alone.copies == {}
        assert (alone.operations, alone.memory) == (other.operations, other.memory)

    def test_two_copies_of_what_is_not_chosen(self) -> None:
        # Both are the mean of the body's magnitude, that nobody asked for.
        assert feature_cost(select(["sma"])).copies == {"tGravityAccMag-sma": "tBodyAccMag-sma"}
