"""Whether a second emulator counts the same instructions, and computes the same bytes: QEMU's boards.

    python -m benchmarks.second_emulator [--write docs/target.md]

Needs qemu-system-arm. The program is that of `emulate` behind a vector table; it compares its output with the integer
graph's and says so by its exit code. QEMU runs one instruction at a time and logs each; those between the entry of
`model_run` and its return are counted.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.kernels import Model, models
from benchmarks.tables import table
from mcubench.codegen import generate
from mcubench.errors import UserError
from mcubench.quant.integer import predict
from mcubench.target import CORES, Core
from mcubench.target.image import read_image
from mcubench.target.measure import measure
from mcubench.target.toolchain import compile_for


@dataclass(frozen=True)
class Board:
    """A machine of QEMU's.

    Attributes:
        name: As QEMU knows it.
        flash: Where its vectors are read from.
        ram: Where it has memory that can be written.
        size: Of that memory.
    """

    name: str
    flash: int
    ram: int
    size: int


BOARDS = {
    "cortex-m0": Board("microbit", 0, 0x20000000, 0x4000),
    "cortex-m3": Board("mps2-an385", 0, 0x20000000, 0x100000),
    "cortex-m4": Board("mps2-an386", 0, 0x20000000, 0x100000),
    "cortex-m7": Board("mps2-an500", 0, 0x20000000, 0x100000),
    "cortex-m33": Board("mps2-an505", 0x10000000, 0x38000000, 0x100000),
}

_LAYOUT = """
SECTIONS {{
  . = {flash:#x};
  .vectors : {{ KEEP(*(.vectors)) }}
  .text : {{ *(.text .text.*) }}
  .rodata : {{ *(.rodata .rodata.*) }}
  . = {ram:#x};
  .data : {{ *(.data .data.*) }}
  .bss : {{ *(.bss .bss.* COMMON) }}
  /DISCARD/ : {{ *(.comment) *(.ARM.exidx*) *(.ARM.extab*) *(.eh_frame*) }}
}}
"""

_START = """
#include "model.h"
static const int8_t input[] = {{ {input} }}, expected[] = {{ {expected} }};
static int32_t arena[MODEL_ARENA_BYTES / 4 + 1];
static volatile int8_t output[sizeof expected];

/* Exit code 0 by semihosting if all is as expected, else 1. */
void start(void)
{{
    int failed = model_run(arena, input, (int8_t *)output);
    for (unsigned i = 0; i < sizeof expected; i++)
        failed |= output[i] != expected[i];
    register unsigned operation __asm__("r0") = 0x18, reason __asm__("r1") = failed ? 0x20023u : 0x20026u;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(reason) : "memory");
    for (;;)
        ;
}}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {{ (void *){top:#x}, (void *)start }};
"""

_EXECUTED = re.compile(r"^Trace .*?\[[0-9a-f]+/([0-9a-f]+)/")


def ran(model: Model, core: Core) -> tuple[bool, int]:
    """Whether the bytes of a sample are right on a board, and instructions of its inference."""
    board, graph, codes = BOARDS[core.key], model.graphs[8], model.codes[8][:1]
    project = generate(graph, "model", core.dialect)
    expected = predict(graph, torch.from_numpy(codes))[0].numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in (project.header, project.source):
            (folder / Path(each).name).write_text(project.files[each], "utf-8")
        values = {key: ", ".join(map(str, each.ravel())) for key, each in (("input", codes), ("expected", expected))}
        (folder / "start.c").write_text(_START.format(**values, top=board.ram + board.size), "utf-8")
        (folder / "board.ld").write_text(_LAYOUT.format(flash=board.flash, ram=board.ram), "utf-8")
        sources = [folder / "model.c", folder / "start.c"]
        elf = compile_for(core, sources, "start", folder / "model.elf", layout=folder / "board.ld")
        symbols = read_image(elf).symbols
        log = folder / "log"
        command = ["qemu-system-arm", "-M", board.name, "-nographic", "-semihosting", "-kernel", str(elf)]
        command += ["-singlestep", "-d", "nochain,exec", "-D", str(log)]
        done = subprocess.run(command, capture_output=True, timeout=600, check=False)
        with log.open() as lines:
            return done.returncode == 0, _counted(lines, symbols["model_run"] & ~1)


def _counted(log: Iterable[str], entry: int) -> int:
    """Instructions from the entry of a function on, until the one behind its call."""
    count, last, behind = 0, 0, -1
    for line in log:
        if (found := _EXECUTED.match(line)) is None:
            continue
        address = int(found[1], 16)
        if address == behind:
            return count
        if address == entry and behind < 0:
            behind = last + 4  # the call is a BL
        count += behind >= 0
        last = address
    raise AssertionError("model_run was not seen to return")


def run(options: argparse.Namespace) -> int:
    if shutil.which("qemu-system-arm") is None:
        raise UserError("there is no qemu-system-arm; Debian's package is of the same name")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    rows, equal = [], True
    found = models(options.root, 1)
    for key, board in BOARDS.items():
        for model in track(found, CORES[key].name):
            right, count = ran(model, CORES[key])
            project = generate(model.graphs[8], "model", CORES[key].dialect)
            expected = predict(model.graphs[8], torch.from_numpy(model.codes[8]))[0].numpy()
            ours = round(measure(project, CORES[key], model.codes[8], expected).instructions)
            equal &= right and count == ours
            bytes_ = "equal" if right else "DIFFER"
            rows.append([CORES[key].name, board.name, model.name, bytes_, f"{count:,}", f"{ours:,}"])
    text = table("core | board | model | bytes | QEMU counts: | `emulate` counts:", rows)
    show(options, {"qemu": text})
    return int(not equal)


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
