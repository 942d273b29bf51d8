"""HAPT's features in C: what they take on an emulated core, and how far they are from double precision.

    python -m benchmarks.feature_c [--root PATH] [--write docs/hapt.md]

Instructions are those of 64 samples and the row behind them, counted exactly. The C computes all features of all
labelled windows on the host, which has the bits of the core (a test sees to it), from the recordings as floats; what
`load_features` computes in double precision is what they are compared with, in units of each feature's range over the
training windows. Classifiers are trained on these, and classify the test windows by both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.codegen.features import FeatureProject, generate_features
from mcubench.datamodules import HAPT
from mcubench.datamodules.hapt_archive import find_or_fetch
from mcubench.datamodules.hapt_features import load_features
from mcubench.datamodules.hapt_windows import Walk, each_recording, part_labels
from mcubench.datamodules.roots import data_root
from mcubench.datamodules.scaling import MinMax
from mcubench.features import STEP, WINDOW, Column, columns, feature_cost, select
from mcubench.target import CORES, Core
from mcubench.target.counting import Disassembler
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, Machine
from mcubench.target.toolchain import compile_for
from tests.codegen.feature_host import build, windows

Rows = NDArray[np.float64]
JUMPING = ("entropy", "maxInds")  # of levels and of bins: another one is far off, however near the values were
UNITS = {"accelerometer_unit": 1 / 720, "gyroscope_unit": 3.0543e-4}


@dataclass(frozen=True)
class Measured:
    """A row's price on a core."""

    instructions: int
    cycles: tuple[int, int] | None
    code: int
    constants: int
    stack: int


def measured(project: FeatureProject, core: Core, samples: NDArray[np.float32]) -> Measured:
    """Pushes samples until the first row, paints the stack, and counts the 64 of the second."""
    entry = f"{project.name}_push_f32"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in project.files.items():
            (folder / file).write_text(text, "utf-8")
        kept = [f"-Wl,-u,{project.name}_{each}" for each in ("reset", "push")]
        image = read_image(compile_for(core, [folder / project.source], entry, folder / "f.elf", kept))
    machine = Machine(core, image)
    state = machine.lend(project.state_bytes + project.scratch_bytes)
    machine.map_buffers(24, 4 * project.count)
    machine.call(f"{project.name}_reset", state)

    def push(some: NDArray[np.float32]) -> int:
        for sample in some:
            machine.write(INPUT, sample.tobytes())
            ready = machine.call(entry, state, state + project.state_bytes, INPUT, OUTPUT)
        return ready

    assert push(samples[: WINDOW + 2]) == 1
    with machine.traced(machine.addresses([entry])) as trace, machine.stack_painted() as used:
        assert push(samples[WINDOW + 2 : WINDOW + 2 + STEP]) == 1
        stack = used()
    disassembler = Disassembler(machine)
    instructions, cycles = disassembler.instructions(trace), disassembler.cycles(trace, core)
    return Measured(
        sum(instructions.values()),
        None if cycles is None else (sum(low for low, _ in cycles.values()), sum(high for _, high in cycles.values())),
        image.code_bytes,
        image.constant_bytes,
        stack,
    )


def in_c(root: Path) -> tuple[Rows, Rows]:
    """All features of the training and the test windows by C."""
    archive = find_or_fetch(root)
    walk, project = Walk.of(archive), generate_features(**UNITS)
    found = np.empty((len(walk.starts), len(columns())))
    with tempfile.TemporaryDirectory() as name:
        program = build([project], Path(name), optimise="-O2")
        for recording in each_recording(archive, walk, "features in C"):
            found[recording.rows] = windows(program, project, recording.samples.astype(np.float32), recording.starts)
    subjects = (part_labels(archive, part)[1] for part in ("Train", "Test"))
    train, test = (found[np.isin(walk.subjects, each)] for each in subjects)
    return train, test


def subsets(root: Path) -> dict[str, tuple[Column, ...]]:
    best = {f"{k} best": HAPT(root=str(root), inputs="features", k_best=k) for k in (40, 20)}
    return {
        "all 561": columns(),
        "time signals only": select(["t*"]),
        **{name: data.columns for name, data in best.items()},
        "mean of tGravityAcc": select(["tGravityAcc-mean"]),
    }


def costs(chosen: dict[str, tuple[Column, ...]], samples: NDArray[np.float32]) -> str:
    lines = []
    for name, wanted in track(chosen.items(), "cores"):
        project, cost = generate_features(wanted, "f", **UNITS), feature_cost(wanted)
        with_unit, without = (measured(project, CORES[key], samples) for key in ("cortex-m4f", "cortex-m4"))
        assert with_unit.cycles is not None
        ram = project.state_bytes + project.scratch_bytes + 4 * project.count
        assert ram == cost.memory.total
        low, high = (f"{each / 1000:,.0f}" for each in with_unit.cycles)
        counts = (cost.operations.macs + cost.operations.other, with_unit.instructions, without.instructions)
        sizes = (with_unit.code, with_unit.constants, project.state_bytes, project.scratch_bytes, with_unit.stack, ram)
        operations, *instructions = (f"{each / 1000:,.0f}" for each in counts)
        lines.append(
            [name, len(wanted), operations, *instructions, f"{low} to {high}", *(f"{each:,}" for each in sizes)]
        )
    heads = ("operations [k]:", "instructions [k]:", "without unit [k]:", "cycles [k]:", "code [B]:", "constants [B]:")
    rest = ("state [B]:", "scratch [B]:", "stack [B]:", "RAM as priced [B]:")
    return table(" | ".join(("features", "number:", *heads, *rest)), lines)


def differences(found: Rows, expected: Rows, train: Rows) -> Rows:
    """Largest of each feature, in units of its range over the training windows."""
    largest: Rows = np.abs(found - expected).max(0) / np.ptp(train, axis=0)
    return largest


def worst(largest: Rows, of: Sequence[Column]) -> str:
    if not of:
        return ""
    column = max(of, key=lambda each: largest[each.index])
    return f"{largest[column.index]:.1e} ({column.name})"


CLASSIFIERS = {
    "logistic regression": lambda: LogisticRegression(max_iter=1000),
    "linear SVM": lambda: SVC(kernel="linear", C=1),
    "decision tree": lambda: DecisionTreeClassifier(random_state=0),
    "random forest": lambda: RandomForestClassifier(random_state=0),
    "MLP(42)": lambda: MLPClassifier((42,), max_iter=60, random_state=0),
}


def run(options: argparse.Namespace) -> int:
    warnings.filterwarnings("ignore")
    root = data_root(options.root)
    archive = find_or_fetch(root)
    train, test = load_features(archive)
    chosen = subsets(root)
    recording = next(each_recording(archive, Walk.of(archive), "samples"))
    start = int(recording.starts[0])
    found = {"feature c": costs(chosen, recording.samples[start : start + 200].astype(np.float32))}
    of_train, of_test = in_c(root)
    largest = differences(np.concatenate([of_train, of_test]), np.concatenate([train.x, test.x]), train.x)
    lines = []
    for name, wanted in track(chosen.items(), "classifiers"):
        scaling = MinMax.fit(train.x, [column.index for column in wanted], "train")
        changed = []
        for make in CLASSIFIERS.values():
            model = make().fit(scaling(train.x), train.y)
            changed.append(int((model.predict(scaling(of_test)) != model.predict(scaling(test.x))).sum()))
        smooth = [column for column in wanted if column.statistic not in JUMPING]
        jumping = [column for column in wanted if column.statistic in JUMPING]
        lines.append([name, worst(largest, smooth), worst(largest, jumping), *changed])
    heads = " | ".join(f"{name}:" for name in CLASSIFIERS)
    found["feature c classes"] = table(f"features | largest difference | entropy, maxInds | {heads}", lines)
    by_statistic = []
    for statistic in dict.fromkeys(column.statistic for column in columns()):
        gravity = [each for each in columns() if each.statistic == statistic and each.signal == "tGravityAcc"]
        others = [each for each in columns() if each.statistic == statistic and each.signal != "tGravityAcc"]
        by_statistic.append([statistic, worst(largest, others), worst(largest, gravity)])
    found["feature c statistics"] = table("statistic | largest difference | of tGravityAcc", by_statistic)
    show(options, found)
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
