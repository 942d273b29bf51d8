"""What another compiler's C takes for the same `.tflite` files, on the same emulated core, in one run.

    python -m benchmarks.peer_compilers [--write docs/target.md]

BakeNN (PyPI, Apache-2.0) is installed in a temporary environment. It reads the files that `export --format tflite`
writes, and is asked for its fastest kernels for the Cortex-M4; what it writes is compiled as ours is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.kernels import SAMPLES, Model, models, on_core
from benchmarks.tables import table
from mcubench.export.tflite import to_tflite
from mcubench.quant.integer import predict
from mcubench.target import CORES
from mcubench.target.counting import Disassembler
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, Machine
from mcubench.target.toolchain import compile_for

_PACKAGE = "bakenn[tflite]==1.0.0"
_CORE = CORES["cortex-m4"]
_ENTRY = "bknn_model_infer"
_COUNTED = 3
_SCRIPT = """
import sys, pathlib, bakenn
options = bakenn.CBackendOptions(kernel_policy=bakenn.KernelPolicy.STATIC_PRIORITY, target=bakenn.CORTEX_M4)
bakenn.compile_tflite(pathlib.Path(sys.argv[1]), sys.argv[2], name="model", backend_options=options)
"""


@dataclass(frozen=True)
class Theirs:
    """A model in the other's C.

    Attributes:
        instructions: Of one inference.
        different: Bytes of the samples that are not those of the integer graph.
        code: Flash that instructions take, bytes.
        constants: Flash that constants take, bytes.
        arena: RAM that the caller lends, bytes.
    """

    instructions: float
    different: int
    code: int
    constants: int
    arena: int


def installed(folder: Path) -> Path:
    """An environment with the other compiler; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", _PACKAGE], check=True)
    return python


def theirs(model: Model, python: Path) -> Theirs:
    """Writes, compiles and runs a model."""
    graph, codes = model.graphs[8], model.codes[8]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(to_tflite(graph))
        out = folder / "out"
        subprocess.run([python, "-c", _SCRIPT, folder / "model.tflite", out], check=True)
        elf = compile_for(_CORE, sorted(out.rglob("*.c")), _ENTRY, folder / "model.elf", ["-std=c11", "-w"])
        header = (out / "bknn_model.h").read_text()
        image = read_image(elf)
    arena = int(header.partition("BKNN_MODEL_ARENA_SIZE ")[2].partition("u")[0])
    machine = Machine(_CORE, image)
    lent = machine.lend(arena) & ~15
    machine.map_buffers(graph.inputs[0].size, graph.outputs[0].size)
    wanted, found = predict(graph, torch.from_numpy(codes))[0].numpy(), []
    for each in codes:
        machine.write(INPUT, each.tobytes())
        machine.call(_ENTRY, lent, INPUT, OUTPUT)
        found.append(np.frombuffer(machine.read(OUTPUT, graph.outputs[0].size), np.int8))
    with machine.traced({}) as trace:
        for each in codes[:_COUNTED]:
            machine.write(INPUT, each.tobytes())
            machine.call(_ENTRY, lent, INPUT, OUTPUT)
    counted = Disassembler(machine).instructions(trace).total() / _COUNTED
    different = int((np.stack(found) != wanted.reshape(len(codes), -1)).sum())
    return Theirs(counted, different, image.code_bytes, image.constant_bytes, arena)


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        python = installed(Path(folder))
        for model in track(models(options.root, SAMPLES), "models"):
            other, ours = theirs(model, python), on_core(model, _CORE, _CORE.dialect)
            rows.append([
                model.name,
                f"{other.instructions / model.macs:.3f}",
                f"{ours.instructions / model.macs:.3f}",
                f"{ours.instructions / other.instructions:.2f}",
                f"{other.code:,}",
                f"{ours.code_bytes:,}",
                f"{other.constants:,}",
                f"{ours.constant_bytes:,}",
                f"{other.arena:,}",
                f"{ours.arena_bytes:,}",
                f"{other.different:,}",
            ])  # fmt: skip
    text = table(
        "model | BakeNN: | ours: | ratio: | code [B]: | ours: | constants [B]: | ours: | arena [B]: | ours: "
        "| its bytes that differ:",
        rows,
    )
    show(options, {"peers": text})
    return 0


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
