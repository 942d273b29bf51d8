"""HAPT's features in C on the host against `recording_features`, in double precision, on real recordings."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from mcubench.codegen.features import FeatureProject, generate_features
from mcubench.codegen.features.table import EMITTERS, Sheet, name_of
from mcubench.datamodules.hapt_archive import find_or_fetch
from mcubench.datamodules.hapt_windows import Walk, each_recording
from mcubench.datamodules.scaling import MinMax
from mcubench.errors import UserError
from mcubench.features import Column, HaptFeatures, columns, feature_cost, recording_features, select
from mcubench.features.conditioning import GRAVITY
from mcubench.features.steps import Step
from tests.codegen.feature_host import COMPILER, build, rows, windows
from tests.codegen.host import WARNINGS, ZIG, compiler
from tests.features.recordings import TEST_USERS, read_archive, recording

ACCELEROMETER, GYROSCOPE = 1 / 720, 3.0543e-4  # g and rad/s
EXPERIMENTS, SAMPLES = (1, 31), 5000  # standing, walking, stairs, lying of two people
SUBSETS = [
    *(
        "tBodyAcc-mean-X",
        "tGravityAcc-arCoeff-Y-4",
        "fBodyGyro-iqr-Z",
        "tBodyGyroJerkMag-entropy",
        "tGravityAcc-angle-Z",
    ),
    *("tBodyAccJerk-angle", "fBodyAccMag-sma", "fBodyAcc-bandsEnergy-Y-25-48", "tGravityAccMag-std", "tBodyGyro-sma"),
    *("tBodyAcc-correlation-XZ", "fBodyAccJerk-meanFreq-X"),
]


def generated(features: object = None, name: str = "f", **options: object) -> FeatureProject:
    return generate_features(features, name, accelerometer_unit=ACCELEROMETER, gyroscope_unit=GYROSCOPE, **options)


def some() -> list[FeatureProject]:
    """All, single ones, and three random handfuls."""
    drawn = random.Random(0)
    handfuls = [[columns()[index] for index in drawn.sample(range(561), size)] for size in (3, 20, 60)]
    return [generated(each, f"f{index}") for index, each in enumerate((None, *SUBSETS, *handfuls))]


@dataclass(frozen=True)
class Built:
    program: Path
    projects: list[FeatureProject]

    def rows(self, samples: NDArray[np.float32 | np.int16], number: int = 0, before: int = 0) -> NDArray[np.float32]:
        return rows(self.program, self.projects[number], samples, number, before)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    projects = some()
    return Built(build(projects, tmp_path_factory.mktemp("features")), projects)


@pytest.fixture(scope="module")
def real(real_data: Path) -> list[NDArray[np.float32]]:
    found = read_archive(real_data, EXPERIMENTS).samples
    return [found[each][:SAMPLES].astype(np.float32) for each in EXPERIMENTS]


@pytest.fixture(scope="module")
def expected(real: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    return np.concatenate([reference(each) for each in real])


def reference(samples: NDArray[np.float32], before: int = 0) -> NDArray[np.float64]:
    return recording_features(samples.astype(np.float64), np.arange(-before % 64, len(samples) - 129, 64))


# Largest differences in units of a feature's range over these windows. Entropy jumps where a value comes to another of
# 256 levels; autoregressions and correlations of gravity, which hardly moves, are of the last digits of its values.
BOUNDS = {
    "entropy": 2e-2,
    "arCoeff": 3e-3,
    "correlation": 3e-3,
    "angle": 1e-3,
    "meanFreq": 5e-4,
    "skewness": 5e-4,
    "kurtosis": 5e-4,
    "min": 5e-4,  # of spectra and of magnitudes, which come near zero
    "iqr": 1e-4,
    "bandsEnergy": 1e-4,
}


def too_far(
    found: NDArray[np.float32], expected: NDArray[np.float64], wanted: tuple[Column, ...] = columns()
) -> dict[str, float]:
    """Features that differ by more than their statistic may, and by how much; of what is expected, all are given."""
    expected = expected[:, [column.index for column in wanted]]
    difference = np.abs(found - expected).max(0) / np.ptp(expected, axis=0)
    bounds = np.array([BOUNDS.get(column.statistic, 1e-5) for column in wanted])
    wrong = ~(difference <= bounds)
    return {wanted[index].name: float(difference[index]) for index in np.flatnonzero(wrong)}


@pytest.mark.real_data
def test_all_features_on_real_recordings(
    built: Built, real: list[NDArray[np.float32]], expected: NDArray[np.float64]
) -> None:
    found = np.concatenate([built.rows(each) for each in real])
    assert found.shape == expected.shape == (2 * ((SAMPLES - 130) // 64 + 1), 561)
    assert too_far(found, expected) == {}


MISTAKES = [
    ("fBodyAcc-energy", "* 0x1p-7f;\n        b[0]", "* 0x1p-6f;\n        b[0]"),  # bins below and above 32 scaled apart
    ("tBodyAcc-std", "kept[0] = kept[1] + section[1] * x", "kept[0] = kept[1] - section[1] * x"),
    ("tBodyAcc-arCoeff", "kept->count == 130 ? 0 : 64", "0"),  # every other window turned by half
    ("tBodyAcc-max", "(kept->count + 126) & 127", "(kept->count + 126) & 63"),
    ("tBodyAccJerk-mean", "_X[0] - signal_tBodyAcc_X", "_X[0] + signal_tBodyAcc_X"),
    ("tGravityAcc-arCoeff", "remainders[x] - remainders[y]", "remainders[y] - remainders[x]"),
    ("tBodyAcc-iqr", "to[i].i = first ? b : a;", "to[i].i = first ? a : b;"),
    ("tBodyAccMag-entropy", "255.0f * clipped + 0.5f", "255.0f * clipped"),
]


@pytest.mark.real_data
def test_mistakes_are_seen(real: list[NDArray[np.float32]], expected: NDArray[np.float64], tmp_path: Path) -> None:
    """Each in a source of its own, of features that it is a mistake for."""
    projects = []
    for index, (features, right, wrong) in enumerate(MISTAKES):
        project = generated(features, f"m{index}")
        assert right in project.files[project.source], right
        files = {name: text.replace(right, wrong) for name, text in project.files.items()}
        projects.append(dataclasses.replace(project, files=files))
    program = build(projects, tmp_path)
    for number, (project, (_, right, _)) in enumerate(zip(projects, MISTAKES, strict=True)):
        found = np.concatenate([rows(program, project, each, number) for each in real])
        assert too_far(found, expected, project.columns), right


CLASSIFIERS = {
    "logistic regression": lambda: LogisticRegression(max_iter=300),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "MLP": lambda: MLPClassifier((20,), max_iter=30, random_state=0),
}


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_classes_are_those_of_double_precision(real_data: Path, tmp_path: Path) -> None:
    """Trained on three people, of two others every window; benchmarks/feature_c.py has the whole test set."""
    archive, project = find_or_fetch(real_data), generated()
    program = build([project], tmp_path)
    x, classes, x_test, in_c = [], [], [], []
    for each in itertools.islice(each_recording(archive, Walk.of(archive), "recordings"), 10):
        features = recording_features(each.samples, each.starts)
        if any(f"user{user:02}" in each.name for user in TEST_USERS):
            x_test.append(features)
            in_c.append(windows(program, project, each.samples.astype(np.float32), each.starts))
        else:
            x.append(features)
            classes.append(each.activities)
    scaling = MinMax.fit(np.concatenate(x), range(561), "train")
    train, test, ours = (scaling(np.concatenate(each)) for each in (x, x_test, in_c))
    assert len(test) == len(ours) > 600
    for name, make in CLASSIFIERS.items():
        model = make().fit(train, np.concatenate(classes))
        assert len(set(model.predict(test))) > 6
        changed = model.predict(test) != model.predict(ours)
        assert changed.sum() <= 1, name
        below, best = np.sort(model.predict_proba(test)[changed])[:, -2:].T
        assert (best - below < 1e-3).all(), name  # one that lies between sitting and standing, by logistic regression


@pytest.mark.real_data
def test_the_plain_form_of_slow_filters_is_not_enough(
    real: list[NDArray[np.float32]], expected: NDArray[np.float64], tmp_path: Path
) -> None:
    """Gravity by sections in transposed direct form II: what `samples.gravity` says of it."""

    def plain(step: Step, sheet: Sheet) -> str:
        sections = GRAVITY.sections()
        table = sheet.floats(sections[:, [0, 1, 2, 4, 5]] * [1, 1, 1, -1, -1], "gravity")
        return f"low_passed({table}, 2, {sheet.keep(name_of(step), 5)}, {name_of(step._replace(kind='noise'))})"

    wanted = select(["tGravityAcc"])
    with patch.dict(EMITTERS, {"gravity": plain}):
        project = generated(wanted)
    program = build([project], tmp_path)
    wrong = too_far(np.concatenate([rows(program, project, each) for each in real]), expected, wanted)
    assert wrong["tGravityAcc-mean-X"] > 1e-5
    assert wrong["tGravityAcc-arCoeff-X-4"] > 1


def test_a_subset_has_the_bits_of_all(built: Built) -> None:
    samples = recording(400).astype(np.float32)
    whole = built.rows(samples)
    for number, project in enumerate(built.projects):
        chosen = [column.index for column in project.columns]
        assert np.array_equal(built.rows(samples, number), whole[:, chosen], equal_nan=True), project.columns


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc with its sanitizers")
def test_sanitizers_see_nothing(built: Built, tmp_path: Path) -> None:
    """Another compiler without optimisation, and the same bits; memory of just the sizes that the headers say."""
    program = build(built.projects, tmp_path, compiler(), "-O0")
    samples = recording(260, seed=1).astype(np.float32)
    for number, project in enumerate(built.projects):
        found = rows(program, project, samples, number)
        assert len(found) == 3
        assert np.array_equal(found, built.rows(samples, number), equal_nan=True)


def test_what_is_not_needed_is_not_written() -> None:
    source = generated(["tBodyAcc-mean-X"]).files["f.c"]
    functions = set(re.findall(r"^(?:APART|INLINE)[^;{]*?(\w+)\(", source, re.MULTILINE))
    assert functions - {"take_sample", "write_row"} == {
        "middle_of",
        "low_passed",
        "slow_single",
        "fine_pair",
        "total_of",
    }
    assert set(re.findall(r"\bsample\[(\d)\]", source.partition("static int take(")[0])) == {"0"}
    assert "drift" in generated(["tBodyGyro-mean-X"]).files["f.c"]


def test_copies_are_copied() -> None:
    project = generated(["tBodyAccMag-iqr", "tGravityAccMag-iqr"])
    assert project.files["f.c"].count("quartiles_of(kept") == 1
    assert "features[1] = features[0];" in project.files["f.c"]


@pytest.mark.parametrize("samples", [129, 130, 193, 194, 400])
def test_rows_come_when_those_of_the_stream_do(samples: int, built: Built) -> None:
    pushed = recording(samples)
    assert len(built.rows(pushed.astype(np.float32))) == len(HaptFeatures(["tBodyAcc-mean-X"]).push(pushed))


def test_zeros_before_a_recording_are_nothing_but_another_beginning(built: Built) -> None:
    """Of windows without such zeros the rows are those of windows that begin elsewhere; and a reset forgets all."""
    samples = recording(500).astype(np.float32)
    found = built.rows(samples, before=23)[1:]
    assert np.allclose(found, reference(samples, before=23), rtol=1e-2, atol=1e-3)
    assert np.array_equal(found, built.rows(samples, before=23)[1:])


def test_raw_numbers_are_multiples_of_the_units(built: Built) -> None:
    raw = np.random.default_rng(0).integers(-2000, 2000, (300, 6)).astype(np.int16)
    units = np.repeat(np.array([ACCELEROMETER, GYROSCOPE], np.float32), 3)
    assert np.array_equal(built.rows(raw), built.rows(raw.astype(np.float32) * units))


def test_scaled_as_the_data_module_does(tmp_path: Path) -> None:
    """`MinMax` of the recording's own features; one of no width is shifted."""
    wanted = select(["tBodyAcc-mean", "f*-energy", "tGravityAcc"])
    samples = recording(600).astype(np.float32)
    features = reference(samples)
    features[:, wanted[0].index] = features[0, wanted[0].index]
    scaling = MinMax.fit(features, [column.index for column in wanted], "train")
    project = generated(wanted, scaling=scaling.describe())
    found = rows(build([project], tmp_path), project, samples)
    assert np.abs(found - scaling(reference(samples))).max() < 1e-2
    assert np.median(np.abs(found - scaling(reference(samples)))) < 1e-6
    with pytest.raises(UserError, match="minimum and maximum of 561 features"):
        generated(scaling=scaling.describe())


@pytest.mark.parametrize("number", range(len(SUBSETS) + 1))
def test_memory_is_what_features_are_said_to_cost(number: int, built: Built) -> None:
    """The compiler agrees about the state's size, or it would refuse the source."""
    project = built.projects[number]
    memory = feature_cost(project.columns).memory
    header = project.files[project.header]
    assert project.state_bytes == memory.state + memory.buffers
    assert project.scratch_bytes == memory.scratch
    assert f"_STATE_BYTES {project.state_bytes}\n" in header
    assert f"_SCRATCH_BYTES {project.scratch_bytes}\n" in header
    assert f"_COUNT {project.count}\n" in header


REFUSALS = """
#include "f.h"
#include <stddef.h>
static uint32_t state[F_STATE_BYTES / 4 + 1], scratch[F_SCRATCH_BYTES / 4 + 1];
int main(void)
{
    float row[F_COUNT + 1], sample[7] = { 0 };
    int16_t raw[7] = { 0 };
    char *const s = (char *)state + 1, *const w = (char *)scratch + 2, *const r = (char *)raw + 1;
    void *const f = (char *)row + 1, *const x = (char *)sample + 2;
    int bad = f_reset(NULL) != -1 || f_reset(s) != -1 || f_reset(state) != 0;
    bad |= f_push(NULL, scratch, raw, row) != -1 || f_push(s, scratch, raw, row) != -1;
    bad |= f_push(state, NULL, raw, row) != -1 || f_push(state, w, raw, row) != -1;
    bad |= f_push(state, scratch, NULL, row) != -1 || f_push(state, scratch, (int16_t *)(void *)r, row) != -1;
    bad |= f_push(state, scratch, raw, NULL) != -1 || f_push(state, scratch, raw, (float *)f) != -1;
    bad |= f_push_f32(state, scratch, NULL, row) != -1 || f_push_f32(state, scratch, (float *)x, row) != -1;
    return bad || f_push(state, scratch, raw, row) != 0 || f_push_f32(state, scratch, sample, row) != 0;
}
"""


def compiled(sources: dict[str, str], folder: Path, *flags: str) -> Path:
    for name, text in sources.items():
        (folder / name).write_text(text)
    names = [name for name in sources if name.endswith(".c")]
    words = [*COMPILER, "-O1", *WARNINGS, *flags, *names, "-o", "program"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return folder / "program"


def test_pointers_are_looked_at(tmp_path: Path) -> None:
    project = generated(["tBodyAcc-iqr"])
    program = compiled({**project.files, "main.c": REFUSALS}, tmp_path, "-Wno-cast-align")
    assert subprocess.run([str(program)], check=False).returncode == 0


FUNCTIONS = """
#include <stdio.h>
int main(void)
{
    float x[2];
    while (fread(x, 4, 1, stdin) == 1) {
        x[1] = x[0] < -1.0f || x[0] > 1.0f ? 0.0f : arccosine(x[0]);
        x[0] = root_of(x[0]);
        fwrite(x, 8, 1, stdout);
    }
    return 0;
}
"""


def test_root_and_arccosine(tmp_path: Path) -> None:
    """numpy's root is rounded to nearest; its arccosine is taken in double precision."""
    source = generated(["tGravityAcc-angle"]).files["f.c"]
    begin, end = source.index("/* A float and its bits"), source.index("struct kept")
    head = source[source.index("#if defined(__GNUC__)") : begin]
    program = compiled(
        {"main.c": f"#include <stdint.h>\n{head}{source[begin:end]}{FUNCTIONS}"}, tmp_path, "-Wno-unused"
    )
    drawn = np.random.default_rng(0)
    bits = drawn.integers(0, 0x7F800000, 20000, np.uint32).view(np.float32)  # of all exponents, denormal ones too
    special = np.array([0, 1e-45, 1.1754942e-38, 1.17549435e-38, 3.4028235e38, np.inf, 1, 4, 2], np.float32)
    near_one = np.nextafter(np.float32(1), np.float32([0, 2]))
    x = np.concatenate([bits, special, near_one, drawn.uniform(-1, 1, 20000).astype(np.float32), [-1, 0.5, -0.5]])
    x = x.astype(np.float32)
    done = subprocess.run([str(program)], input=x.tobytes(), capture_output=True, check=True)
    root, angle = np.frombuffer(done.stdout, np.float32).reshape(-1, 2).T
    positive = x >= 0
    assert np.array_equal(root[positive], np.sqrt(x[positive]))
    inside = np.abs(x) <= 1
    assert np.abs(angle[inside] - np.arccos(x[inside].astype(np.float64))).max() < 3e-7


def test_units_are_positive() -> None:
    with pytest.raises(UserError, match="above 0"):
        generate_features(accelerometer_unit=0.0, gyroscope_unit=1.0)


def test_header_and_source_are_cplusplus_too(tmp_path: Path) -> None:
    """Of features that take every helper."""
    wanted = select(["tBodyAccJerk", "tGravityAcc", "fBodyGyro", "tBodyAccJerkMag", "angle"])
    ends = {"minimum": [0.0] * len(wanted), "maximum": [1.0] * len(wanted)}
    project = generated(wanted, scaling=ends)
    assert project.files["f.c"].count("APART") == generated().files["f.c"].count("APART") + 1  # and the scaling
    for name, text in project.files.items():
        (tmp_path / name).write_text(text)
    words = [*ZIG, "-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4", "-xc++", "-std=c++17", "-Wall", "-Wextra"]
    done = subprocess.run([*words, "-Werror", "-c", "f.c"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
