"""What our kernels take on emulated cores, beside CMSIS-NN's for the same models, in one run.

    python -m benchmarks.kernels [--write docs/target.md] [--compiler gcc]

Every model is trained for 150 steps on real data and quantised with ranges from 512 training samples. CMSIS-NN is
compiled by gcc with -Ofast where arm-none-eabi-gcc is installed, else by zig as ours is; its sources are downloaded
from PyPI. Counts are exact: instructions do not depend on the machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from benchmarks import cmsis_nn
from benchmarks.command_line import page_command, show
from benchmarks.int8_witnesses import CALIBRATION, quickly_trained
from benchmarks.tables import table
from mcubench.codegen import Project, generate
from mcubench.cost import BitWidths, profile_graph
from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.graph import deploy, trace
from mcubench.models import CNN, DSCNN, MLP, Classifier, CNN1d, LeNet
from mcubench.quant import IntegerGraph, quantize
from mcubench.quant.integer import plan_arena, predict
from mcubench.target import CORES, Core
from mcubench.target.counting import Disassembler
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, Machine
from mcubench.target.measure import OnCore, measure
from mcubench.target.toolchain import Compiler, compile_for

MODELS: tuple[tuple[type[Classifier], type[TensorDataModule]], ...] = (
    (MLP, MNIST), (CNN, MNIST), (LeNet, MNIST), (DSCNN, MNIST), (CNN1d, HAPT), (DSCNN, HAPT),
)  # fmt: skip
COMPARED = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m0+")
SAMPLES = 10


@dataclass(frozen=True)
class Model:
    """A model to count.

    Attributes:
        name: Of the model and its data.
        graphs: In integers, by the bits of its weights.
        codes: Of test samples, int8.
        macs: Multiply-accumulates.
        flash: What ``profile`` estimates at 8 bits.
    """

    name: str
    graphs: dict[int, IntegerGraph]
    codes: dict[int, NDArray[np.int8]]
    macs: int
    flash: int


def models(root: Path | None, samples: int) -> list[Model]:
    """The six models, quickly trained."""
    data = {kind: kind(root=None if root is None else str(root)) for kind in (MNIST, HAPT)}
    found = []
    for kind, source in track(MODELS, "training"):
        module = quickly_trained(kind, data[source])
        x = torch.from_numpy(data[source].arrays("test")[0][:samples].copy())
        training = torch.from_numpy(data[source].arrays("train")[0][:CALIBRATION].copy())
        graph = deploy(trace(module, x[:1]))
        graphs = {bits: quantize(graph, calibration=training, widths=BitWidths(bits)) for bits in (8, 4, 2)}
        codes = {bits: each.encode(x)[0].numpy() for bits, each in graphs.items()}
        report = profile_graph(graph, kind.__name__)
        assert report.macs is not None
        assert report.flash_bytes is not None
        found.append(Model(f"{kind.__name__}, {source.__name__}", graphs, codes, report.macs, report.flash_bytes))
    return found


def on_core(model: Model, core: Core, dialect: str, bits: int = 8) -> OnCore:
    """A model on a core; its bytes must be right."""
    project: Project = generate(model.graphs[bits], "model", dialect)
    expected = predict(model.graphs[bits], torch.from_numpy(model.codes[bits]))[0].numpy()
    found = measure(project, core, model.codes[bits], expected)
    assert found.different == 0, f"{model.name} on {core.name}: {found.different} bytes differ"
    return found


def cmsis_instructions(model: Model, core: Core, root: Path, compiler: Compiler) -> float:
    """Instructions of one inference by CMSIS-NN."""
    calls = cmsis_nn.write(model.graphs[8], "model")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.c"
        source.write_text(calls.text)
        flags = [*cmsis_nn.flags(root), *(["-Ofast"] if compiler == "gcc" else [])]
        elf = compile_for(core, [source, *cmsis_nn.sources(root)], "model_run", Path(folder) / "m.elf", flags, compiler)
        machine = Machine(core, read_image(elf))
    graph = model.graphs[8]
    machine.map_buffers(graph.inputs[0].size, graph.outputs[0].size)
    with machine.traced({}) as trace_:
        for codes in model.codes[8][:3]:
            machine.write(INPUT, codes.tobytes())
            assert machine.call("model_run", 0, INPUT, OUTPUT) == 0
    return Disassembler(machine).instructions(trace_).total() / 3


def compared(found: list[Model], root: Path, compiler: Compiler) -> list[list[str]]:
    """Instructions a MAC, ours and CMSIS-NN's, and their ratio."""
    rows = []
    for key in COMPARED:
        core = CORES[key]
        for model in track(found, core.name):
            theirs = cmsis_instructions(model, core, root, compiler) / model.macs
            ours, plain = (on_core(model, core, each).instructions / model.macs for each in (core.dialect, "c99"))
            ratios = f"{ours / theirs:.2f}", f"{plain / theirs:.2f}"
            rows.append([core.name, model.name, f"{theirs:.3f}", f"{ours:.3f}", ratios[0], f"{plain:.3f}", ratios[1]])
    return rows


def memory(found: list[Model]) -> list[list[str]]:
    """Code, constants, arena and stack on the Cortex-M4, beside what was estimated."""
    rows = []
    for model in found:
        each = on_core(model, CORES["cortex-m4"], CORES["cortex-m4"].dialect)
        planned, size = plan_arena(model.graphs[8]).peak, model.graphs[8].inputs[0].size
        ram = each.arena_bytes + size
        rows.append([
            model.name,
            f"{each.code_bytes:,}",
            f"{each.constant_bytes:,}",
            f"{model.flash:,}",
            f"{each.constant_bytes / model.flash:.2f}",
            f"{each.arena_bytes:,}",
            f"{planned:,}",
            f"{ram / planned:.2f}",
            f"{each.stack_bytes:,}",
        ])  # fmt: skip
    return rows


def narrow(found: list[Model]) -> list[list[str]]:
    """Instructions a MAC and constants at fewer bits."""
    rows = []
    for key in ("cortex-m4", "cortex-m0+"):
        for model in track(found, f"{CORES[key].name}, fewer bits"):
            cells = []
            for bits in (8, 4, 2):
                each = on_core(model, CORES[key], CORES[key].dialect, bits)
                cells += [f"{each.instructions / model.macs:.3f}", f"{each.constant_bytes:,}"]
            rows.append([CORES[key].name, model.name, *cells])
    return rows


def bounds(found: list[Model]) -> list[list[str]]:
    """Cycles a MAC at least and at most, where Arm publishes them."""
    rows = []
    for model in found:
        cells = []
        for key in ("cortex-m4", "cortex-m0+", "cortex-m0"):
            cycles = on_core(model, CORES[key], CORES[key].dialect).cycles
            assert cycles is not None
            cells.append(" to ".join(f"{each / model.macs:.2f}" for each in cycles))
        rows.append([model.name, *cells])
    return rows


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    compiler: Compiler = options.compiler or ("gcc" if shutil.which("arm-none-eabi-gcc") else "zig")
    found = models(options.root, SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        rows = compared(found, cmsis_nn.fetch(Path(folder)), compiler)
    by = "gcc -Ofast" if compiler == "gcc" else "zig -O2"
    tables = {
        "kernels": table(f"core | model | CMSIS-NN, {by}: | ours: | ratio: | plain C99: | ratio:", rows),
        "memory": table(
            "model | code [B]: | constants [B]: | flash by `profile` [B]: | ratio: | arena [B]: "
            "| planned for TFLite Micro [B]: | arena and input, ratio: | stack [B]:",
            memory(found),
        ),
        "narrow": table("core | model | 8 bits: | [B]: | 4 bits: | [B]: | 2 bits: | [B]:", narrow(found)),
        "cycles": table("model | Cortex-M4: | Cortex-M0+: | Cortex-M0:", bounds(found)),
    }
    show(options, tables)
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compiler", choices=["gcc", "zig"], help="of CMSIS-NN; not set, gcc where it is installed")


def main() -> int:
    """The command line."""
    return page_command(run, __doc__, _add_options)


if __name__ == "__main__":
    sys.exit(main())
