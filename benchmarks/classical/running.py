"""Runs a model in C: on this machine for all test samples, on emulated cores for what it takes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.classical.writers import ENTRY, Program
from mcubench.target import Core
from mcubench.target.counting import Disassembler
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, Machine
from mcubench.target.toolchain import compile_for

__all__ = ["Taken", "on_core", "on_host"]

_COUNTED = 3  # samples whose instructions are counted
_MOST_STACK = 0x8000  # what the emulator looks at
_HOST = """
#include <stdint.h>
#include <stdio.h>
int32_t {entry}(const {reads} *x);
int main(void)
{{
    static {reads} x[{features}];
    while (fread(x, sizeof x, 1, stdin) == 1) {{
        int32_t found = {entry}(x);
        fwrite(&found, sizeof found, 1, stdout);
    }}
    return 0;
}}
"""


@dataclass(frozen=True)
class Taken:
    """What a model takes on a core.

    Attributes:
        answers: Indices of classes, shape (samples,).
        instructions: Of one inference, the mean of those that were counted.
        code: Flash that instructions take, bytes.
        constants: Flash that constants take, and first values of globals, bytes.
        written: RAM of globals, bytes.
        stack: RAM on the stack, bytes.
    """

    answers: NDArray[np.int64]
    instructions: float
    code: int
    constants: int
    written: int
    stack: int


def on_host(program: Program, x: NDArray[np.uint8], folder: Path) -> NDArray[np.int32]:
    """What a model answers, compiled for this machine without fused or wider arithmetic; shape (N,)."""
    main, binary = folder / "main.c", folder / "host"
    main.write_text(_HOST.format(entry=ENTRY, reads=program.reads, features=x.shape[1]))
    words = ["gcc", "-O0", "-w", "-ffp-contract=off", *_included(program), main, *program.sources, "-lm", "-o", binary]
    subprocess.run(words, check=True)
    done = subprocess.run([binary], input=program.features(x), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.int32)


def on_core(program: Program, core: Core, x: NDArray[np.uint8], folder: Path) -> Taken:
    """Runs samples on a core, and counts the first of them.

    Raises:
        CompileError: If the compiler refuses the C.
        EmulationError: If the code reaches beyond its memory.
    """
    flags = ["-w", *_included(program)]
    image = read_image(compile_for(core, program.sources, ENTRY, folder / f"{core.key}.elf", flags, "gcc"))
    machine = Machine(core, image)
    rows = [program.features(row) for row in x]
    machine.map_buffers(len(rows[0]), 4)

    def run(row: bytes) -> int:
        machine.write(INPUT, row)
        return machine.call(ENTRY, INPUT)

    with machine.stack_painted() as used:
        answers = np.array([run(row) for row in rows])
        stack = used()
    assert stack < _MOST_STACK, f"{core.name}: {stack} bytes of stack or more"
    with machine.traced({}) as trace:
        for row in rows[:_COUNTED]:
            run(row)
    first = image.sections[".data"].size if ".data" in image.sections else 0
    return Taken(
        answers=answers,
        instructions=Disassembler(machine).instructions(trace).total() / min(_COUNTED, len(rows)),
        code=image.code_bytes,
        constants=image.constant_bytes + first,
        written=image.written_bytes,
        stack=stack,
    )


def _included(program: Program) -> list[str]:
    return [f"-I{folder}" for folder in program.includes]
