"""Whole test sets on emulated cores: are all bytes those of the integer graph?

    python -m benchmarks.core_bytes [--write docs/target.md]

The six models of `benchmarks.kernels` at 8, 4 and 2 bits: all test samples of MNIST and HAPT on Cortex-M4 and
Cortex-M0+, 100 on each of the other cores.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import torch
from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.kernels import Model, models
from benchmarks.tables import table
from mcubench.codegen import generate
from mcubench.quant.integer import predict
from mcubench.target import CORES, Core
from mcubench.target.measure import measure

WHOLE = ("cortex-m4", "cortex-m0+")
ELSEWHERE = 100


def row(model: Model, core: Core) -> list[str]:
    """Samples, and bytes that differ at each width, on a core."""
    cells, start = [], time.perf_counter()
    for bits, graph in model.graphs.items():
        codes = model.codes[bits][: None if core.key in WHOLE else ELSEWHERE]
        expected = predict(graph, torch.from_numpy(codes))[0].numpy()
        found = measure(generate(graph, "model", core.dialect), core, codes, expected)
        cells.append(f"{found.different:,} of {expected.size:,}")
    seconds = time.perf_counter() - start
    return [core.name, model.name, f"{len(codes):,}", *cells, f"{seconds:.0f}"]


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    found = models(options.root, 10_000)
    todo = [(model, core) for core in CORES.values() for model in found]
    rows = [row(model, core) for model, core in track(todo, "cores")]
    head = "core | model | samples: | 8 bits: | 4 bits: | 2 bits: | seconds:"
    text = table(head, rows)
    show(options, {"bytes": text})
    return int(any(not cell.startswith("0 of") for each in rows for cell in each[3:6]))


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
