"""Classical models of the suite exercise3 in C: the same answers on whole test sets, and what a core takes for them.

    python -m benchmarks.classical_c [--write docs/classical.md] [--runs FOLDER] [--rows TEXT]

Each row is fitted with seed 0 as ``compare --suite exercise3`` fits it, unless it lies in the folder of runs already.
Its C is compiled for the PC and runs the whole test set, number by number beside what the run is scored by; then it is
compiled for cores and runs some samples there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench import baselines
from mcubench.cli.fitting.lightning import run_verb
from mcubench.cli.options.names import BASELINES
from mcubench.codegen import generate
from mcubench.cost.estimators import profile_estimator
from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.suites import PlannedRun, find_suite
from mcubench.target import CORES
from mcubench.target.measure import OnCore, measure
from tests.codegen.classical import answers, build, computed, encoded

_CORES = ("cortex-m4", "cortex-m0+")
_EMULATED = 20  # samples


@dataclass(frozen=True)
class Row:
    """A model in C.

    Attributes:
        run: Where it comes from.
        form: What its numbers are.
        samples: Of the test set.
        different: Numbers of the outputs, here and on cores, that are not those of what is scored.
        accuracy: On the test set, by the C.
        same: Share of samples that get the class which scikit-learn's estimator gives them in float.
        macs: Multiply-accumulates.
        comparisons: Mean of the test samples where it depends on them.
        flash: Bytes by formula.
        ram: Bytes by formula.
        lent: Bytes of input and output.
        found: What was measured, by core.
    """

    run: PlannedRun
    form: str
    samples: int
    different: int
    accuracy: float
    same: float
    macs: int | None
    comparisons: float | None
    flash: int | None
    ram: int | None
    lent: int
    found: dict[str, OnCore]

    def answers(self) -> tuple[object, ...]:
        """A line of the table of answers."""
        shares = (f"{100 * share:.2f}" for share in (self.accuracy, self.same))
        return (self.run.table, self.run.row, self.form, f"{self.samples:,}", self.different, *shares)

    def costs(self) -> tuple[object, ...]:
        """A line of the table of costs."""
        m4, m0 = (self.found[key] for key in _CORES)
        numbers = (
            *(self.macs, self.comparisons, m4.instructions, m0.instructions),
            *(self.flash, m4.constant_bytes, m4.code_bytes, self.ram, m4.arena_bytes + self.lent, m4.stack_bytes),
        )
        return (self.run.table, self.run.row, self.form, *("-" if each is None else f"{each:,.0f}" for each in numbers))


def examined(run: PlannedRun, data: TensorDataModule) -> Row:
    """Fits a row, writes it in C, compiles that and runs it."""
    if not run.is_done:
        shutil.rmtree(run.folder, ignore_errors=True)  # an attempt that did not come to its end
        run.folder.mkdir(parents=True)
        with redirect_stdout(sys.stderr):
            run_verb("fit", [*run.words, "--trainer.enable_progress_bar", "false"], run.folder)
    checkpoint = next(run.folder.rglob("best.ckpt"))
    model: Any = getattr(baselines, _model(run)).load_from_checkpoint(checkpoint, weights_only=True)
    graph = model.rounded.on_device()
    x, y = data.arrays("test")
    x = x.reshape(len(x), -1)
    codes = encoded(graph, x)
    expected = computed(graph, codes).reshape(len(codes), -1)
    with tempfile.TemporaryDirectory() as folder:
        given = answers(build(graph, Path(folder), command=["gcc"], optimise="-O2"), graph, codes)
    classes = graph.classes(torch.from_numpy(given.copy())).numpy()
    few = slice(_EMULATED)
    found = {
        key: measure(generate(graph, "model", CORES[key].dialect), CORES[key], codes[few], expected[few])
        for key in _CORES
    }
    report = profile_estimator(model.estimator, x, widths=model.widths)
    return Row(
        run=run,
        form=model.rounded.form,
        samples=len(x),
        different=int((given != expected).sum()) + sum(each.different for each in found.values()),
        accuracy=float(np.mean(classes == y)),
        same=float(np.mean(classes == model.float_estimator.predict(x))),
        macs=report.macs,
        comparisons=report.comparisons if report.mean_comparisons is None else report.mean_comparisons,
        flash=report.flash_bytes,
        ram=report.ram_bytes,
        lent=graph.inputs[0].bytes + graph.outputs[0].bytes,
        found=found,
    )


def _model(run: PlannedRun) -> str:
    return run.words[run.words.index("--model") + 1]


def _data(name: str) -> TensorDataModule:
    data: TensorDataModule = MNIST() if name == "MNIST" else HAPT(inputs="features")
    data.setup()
    return data


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    planned = [run for run in find_suite("exercise3").runs(options.runs) if run.seed == 0 and _model(run) in BASELINES]
    known: dict[str, TensorDataModule] = {}
    for run in track([run for run in planned if options.rows in str(run)], description="in C"):
        if run.table not in known:
            known[run.table] = _data(run.table)
        yield examined(run, known[run.table])


def _run(options: argparse.Namespace) -> int:
    rows = list(_rows(options))
    answers_ = table(
        "data | model | form | test samples: | numbers that differ: | accuracy [%]: | class of float [%]:",
        (each.answers() for each in rows),
    )
    costs = table(
        "data | model | form | MACs: | comparisons: | instructions, M4: | M0+: | flash by formula [B]: | constants: "
        "| code: | RAM by formula [B]: | arena, input, output: | stack:",
        (each.costs() for each in rows),
    )
    show(options, {"classical_answers": answers_, "classical_costs": costs})
    return int(any(row.different for row in rows))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, default=Path("results"), help="where the suite's runs lie, or are put")
    parser.add_argument("--rows", default="", help="only rows whose names have this in them, as 'HAPT, linear'")


if __name__ == "__main__":
    sys.exit(page_command(_run, __doc__, _options))
