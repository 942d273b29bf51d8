"""Other people's model files: what they cost, whose bytes they are, what their C takes on a core.

python -m benchmarks.files [--write docs/files.md]

The files are those of the folder ``models`` beside the data ($MCUBENCH_DATA, else ../shared/data); its README has their
sources and licences.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.codegen import generate
from mcubench.cost import count_like, profile_graph
from mcubench.errors import UserError
from mcubench.export.interpreters import run_tflm
from mcubench.graph import deploy
from mcubench.quant.integer import plan_arena, predict
from mcubench.readers import FORMATS, ModelFile, read_model
from mcubench.target import find_core
from mcubench.target.measure import measure

_SAMPLES = 200  # random codes


def folder(root: Path | None) -> Path:
    """Where the files lie."""
    data = root or Path(os.environ.get("MCUBENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")
    found = data.resolve().parent / "models"
    if not found.is_dir():
        raise UserError(f"there is no folder {found}: name that of the data beside it with --root")
    return found


def row(file: ModelFile) -> list[str]:
    """Costs and witnesses of a file."""
    report = profile_graph(file.graph, file.name, file.widths)
    nntool = count_like(deploy(file.graph), "gapflow")
    others = f"{nntool.total:,}" if nntool.total is not None else f"≥ {nntool.lower_bound:,}"
    costs = [f"{each:,}" if each is not None else "?" for each in (report.macs, report.flash_bytes)]
    return [file.name, f"{file.widths.weight}", costs[0], others, costs[1], *integers(file)]


def integers(file: ModelFile) -> list[str]:
    """RAM, bytes that differ from TFLite Micro's, instructions on a Cortex-M4; dashes where it computes in float."""
    if file.integer is None:
        return ["", "in float", "in float"]
    graph = file.integer
    codes = np.random.default_rng(0).integers(-128, 128, (_SAMPLES, *graph.inputs[0].shape[1:])).astype(np.int8)
    ours, theirs = predict(graph, torch.from_numpy(codes))[0].numpy(), run_tflm(file.content, codes)[0]
    found = [f"{plan_arena(graph).peak:,}", f"{int((ours != theirs).sum())} of {ours.size:,}"]
    core = find_core("cortex-m4")
    try:
        project = generate(graph, "model", core.dialect)
    except UserError as error:
        return [*found, str(error).partition(": ")[2].partition(";")[0]]
    on_core = measure(project, core, codes[:2], ours[:2])
    macs = profile_graph(file.graph, "", file.widths).macs or 0
    each = f", {on_core.instructions / macs:.2f} a MAC" if macs else ""
    return [*found, f"{on_core.different} bytes differ; {on_core.instructions:,.0f} instructions{each}"]


def run(options: argparse.Namespace) -> int:
    paths = sorted(path for path in folder(options.root).iterdir() if path.suffix in FORMATS)
    heads = "file | bits: | MACs: | GapFlow: | flash [B]: | RAM [B]: | bytes off TFLite Micro: | in C on a Cortex-M4"
    show(options, {"files": table(heads, [row(read_model(path)) for path in paths])})
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
