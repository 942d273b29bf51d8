"""The streaming form against the features of the whole recording: any chunks, the same bits."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcubench.errors import UserError
from mcubench.features import HaptFeatures, columns, recording_features, select, streaming
from mcubench.features.conditioning import Conditioner
from tests.features.recordings import recording

Array = NDArray[np.float64]
SUBSET = ["tGravityAcc-mean", "fBodyGyro-energy", "tBodyAccJerkMag", "angle"]


def starts_in(length: int, first: int) -> list[int]:
    """Windows of 128 every 64, each with a sample behind it."""
    return list(range(first, length - 128, 64))


def stream(samples: Array, chunks: list[int], first: int = 0, features: list[str] | None = None) -> Array:
    """Pushes chunks of some lengths, over and over, to the end of the recording, and ends it."""
    form, rows, begin = HaptFeatures(features, first), [], 0
    while begin < len(samples):
        for chunk in chunks:
            rows.append(form.push(samples[begin : begin + chunk]))
            begin += chunk
    return np.concatenate([*rows, form.finish()])


class TestChunks:
    @settings(max_examples=40)
    @given(
        chunks=st.lists(st.integers(0, 200) | st.sampled_from([0, 1, 2, 63, 64, 65, 128, 130]), min_size=1, max_size=6),
        length=st.integers(1, 600),
        first=st.integers(0, 150),
    )
    @example(chunks=[600], length=600, first=0)
    @example(chunks=[1], length=330, first=0)
    @example(chunks=[1], length=129, first=0)  # a window that only the end completes
    @example(chunks=[1], length=128, first=0)  # none: the jerk of its last sample is missing
    def test_give_the_rows_of_the_whole_recording(self, chunks: list[int], length: int, first: int) -> None:
        if not any(chunks):
            chunks = [*chunks, 1]
        samples = recording(length, seed=length)
        found, starts = stream(samples, chunks, first, SUBSET), starts_in(length, first)
        assert len(found) == len(starts)
        if starts:
            assert np.array_equal(found, recording_features(samples, starts, select(SUBSET)))

    @pytest.mark.parametrize("chunks", [[1], [0, 7, 1], [333], [64], [128, 2]])
    @pytest.mark.parametrize("first", [0, 5])
    def test_all_features(self, chunks: list[int], first: int) -> None:
        samples = recording(460)
        expected = recording_features(samples, starts_in(460, first))
        assert len(expected) > 4
        assert np.array_equal(stream(samples, chunks, first), expected)

    def test_state_that_is_lost_between_windows_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The guard above bites: filters that start anew with every push give other rows."""
        samples = recording(460)

        def push(self: Conditioner, piece: Array) -> Array:
            return right(Conditioner(), piece)

        right = Conditioner.push
        expected = recording_features(samples, starts_in(460, 0))
        monkeypatch.setattr(Conditioner, "push", push)
        found = stream(samples, [200])
        assert found.shape != expected.shape or not np.allclose(found, expected)

    def test_some_are_columns_of_all(self) -> None:
        samples = recording(400)
        indices = [column.index for column in select(SUBSET)]
        assert np.array_equal(stream(samples, [50], features=SUBSET), stream(samples, [50])[:, indices])
        assert HaptFeatures(SUBSET).columns == tuple(columns()[index] for index in indices)
        assert HaptFeatures().columns == columns()


class TestTime:
    @pytest.mark.parametrize("first", [0, 1, 100])
    def test_a_row_comes_two_samples_behind_its_window(self, first: int) -> None:
        samples = recording(first + 128 + 64 * 3 + 2)
        form = HaptFeatures(["mean"], first)
        came = [number for number, sample in enumerate(samples, 1) for _ in form.push(sample)]
        assert came == [first + 128 + 64 * window + 2 for window in range(4)]
        assert form.finish().shape == (0, 33)

    @pytest.mark.parametrize(("length", "rows"), [(128, 0), (129, 1), (130, 0), (192, 0), (193, 1), (194, 0)])
    def test_finish_completes_a_window_that_was_a_sample_short(self, length: int, rows: int) -> None:
        samples = recording(length)
        form = HaptFeatures(first=0)
        form.push(samples)
        found = form.finish()
        assert found.shape == (rows, 561)
        if rows:
            assert np.array_equal(found, recording_features(samples, [length - 129]))

    def test_several_windows_at_once(self) -> None:
        assert HaptFeatures().push(recording(1000)).shape == ((998 - 128) // 64 + 1, 561)

    def test_memory_does_not_grow(self) -> None:
        form = HaptFeatures(["tBodyAcc-mean"])
        for _ in range(40):
            form.push(recording(100))
            assert len(form._signals) < 128
            assert len(form._conditioner._raw) <= 2
            assert len(form._conditioner._base) <= 1


class TestErrors:
    def test_a_recording_ends_once(self) -> None:
        form = HaptFeatures(["tBodyAcc-mean"])
        form.push(recording(129))
        assert len(form.finish()) == 1
        assert sum(len(form.finish()) for _ in range(200)) == 0
        with pytest.raises(UserError, match="this recording was finished"):
            form.push(recording(1))

    def test_what_is_no_samples(self) -> None:
        form = HaptFeatures()
        for wrong in (["a"] * 6, [[1, 2], [3]]):
            with pytest.raises(UserError, match=r"samples must be numbers, shape \(T, 6\)"):
                form.push(wrong)
        assert form.push([]).shape == (0, 561)
        with pytest.raises(UserError, match=r"first must be a number of samples, 0 or more; got 1\.5"):
            HaptFeatures(first=1.5)  # type: ignore[arg-type]

    def test_negative_first(self) -> None:
        with pytest.raises(UserError, match="first must be a number of samples, 0 or more; got -3"):
            HaptFeatures(first=-3)

    @pytest.mark.parametrize("shape", [(5,), (10, 3), (2, 10, 6)])
    def test_wrong_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(UserError, match=r"samples must have shape \(T, 6\)"):
            HaptFeatures().push(np.zeros(shape))

    def test_not_finite(self) -> None:
        with pytest.raises(UserError, match="samples must be finite"):
            HaptFeatures().push([0.0, 0.0, np.nan, 0.0, 0.0, 0.0])

    def test_unknown_feature(self) -> None:
        with pytest.raises(UserError, match="no feature is named 'tBodyAc'"):
            HaptFeatures(["tBodyAc"])


def test_example_in_the_docstring() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    examples = finder.find(HaptFeatures, "HaptFeatures", streaming)
    found = [runner.run(each) for each in examples]
    assert [(each.attempted, each.failed) for each in found] == [(2, 0)]
