"""What others' C takes for the same fitted scikit-learn models, on the same emulated cores, in one run.

    python -m benchmarks.classical_peers [--write docs/classical.md]

emlearn, m2cgen and micromlgen (PyPI) are installed in a temporary environment, and write C for models that are fitted
here. All of it is compiled by arm-none-eabi-gcc with -O2, for most of it needs functions of newlib's mathematics.
Answers are counted on this machine, from the same C; instructions on the emulated cores, where they are exact.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.classical.cases import Case, cases
from benchmarks.classical.running import on_core, on_host
from benchmarks.classical.writers import Emlearn, Environment, M2cgen, Micromlgen, Own, Peer, UnsupportedError
from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.errors import UserError
from mcubench.target import CORES

_CORES = (CORES["cortex-m0+"], CORES["cortex-m4"])
_RUN = 10  # samples that run on a core, whose answers must be this machine's
_NEEDED = ("arm-none-eabi-gcc", "gcc")
_HEAD = (
    "model | C by | as scikit-learn: | accuracy [%]: | instructions, Cortex-M0+: | Cortex-M4: | code [B], Cortex-M0+: "
    "| Cortex-M4: | constants [B]: | globals [B]: | stack [B]: | features [B]:"
)


def peers(environment: Environment, samples: Mapping[int, NDArray[Any]]) -> tuple[Peer, ...]:
    """All who write C; our own rounds to the ranges of samples, which are given by their number of features."""
    return (
        Own("int8", samples),
        Own("float32", samples),
        Emlearn(environment, "inline"),
        Emlearn(environment, "inline", closest=True),
        Emlearn(environment, "loadable"),
        M2cgen(environment),
        Micromlgen(environment),
    )


def figures(case: Case, peer: Peer) -> list[str]:
    """What a peer's C answers and takes, as cells; constants, globals and the stack are those of the last core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = peer.write(case.estimator, folder)
        answers, wanted = on_host(program, case.x, folder), case.wanted
        taken = [on_core(program, core, case.x[:_RUN], folder) for core in _CORES]
    for core, each in zip(_CORES, taken, strict=True):
        assert np.array_equal(each.answers, answers[:_RUN]), f"{case.name}, {peer.name}: {core.name} answers otherwise"
    classes = case.estimator.classes_
    known = (answers >= 0) & (answers < len(classes))  # no class is an answer, too
    right = known & (classes[np.where(known, answers, 0)] == case.y)
    last = taken[-1]
    return [
        f"{(answers == wanted).sum():,} of {len(wanted):,}",
        f"{100 * right.mean():.1f}",
        *(f"{each.instructions:,.0f}" for each in taken),
        *(f"{each.code:,}" for each in taken),
        *(f"{each:,}" for each in (last.constants, last.written, last.stack)),
        f"{program.dtype.itemsize * case.x.shape[1]:,}",
    ]


def rows(found: list[Case], environment: Environment) -> tuple[list[list[str]], list[str]]:
    """Rows, and why cells are dashes."""
    lines, reasons = [], []
    samples = {case.x.shape[1]: case.train for case in found}
    for case in track(found, "models"):
        right = 100 * (case.estimator.classes_[case.wanted] == case.y).mean()
        lines.append([case.name, "scikit-learn", "", f"{right:.1f}", *[""] * 8])
        for peer in peers(environment, samples):
            if not peer.concerns(case.estimator):
                continue
            try:
                lines.append(["", peer.name, *figures(case, peer)])
            except UnsupportedError as refused:
                if str(refused) not in reasons:
                    reasons.append(str(refused))
                lines.append(["", f"{peer.name} ({reasons.index(str(refused)) + 1})", *["–"] * 10])
    return lines, reasons


def run(options: argparse.Namespace) -> int:
    if missing := [each for each in _NEEDED if shutil.which(each) is None]:
        raise UserError(f"missing: {', '.join(missing)}; Debian's packages are gcc-arm-none-eabi and gcc")
    with tempfile.TemporaryDirectory() as folder, Environment(Path(folder)) as environment:
        lines, reasons = rows(cases(options.root), environment)
    notes = "\n".join(f"{number}. `{reason}`" for number, reason in enumerate(reasons, 1))
    show(options, {"peers": f"{table(_HEAD, lines)}\n\n{notes}"})
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
