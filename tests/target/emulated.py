"""Models in C on emulated cores: many in one program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcubench.target.cores import Core
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, Machine
from mcubench.target.toolchain import compile_for
from tests.codegen.host import Case

LARGEST = 1 << 16  # bytes of an input, an output or an arena


def differing(cases: Sequence[Case], core: Core, folder: Path, samples: int = 4) -> dict[str, int]:
    """Bytes that are not the integer graph's, by case; those without one are left out."""
    for each in cases:
        for name in (each.project.header, each.project.source):
            (folder / name).write_text(each.project.files[name])
    entries = [f"{each.project.name}_run" for each in cases]
    sources = [folder / each.project.source for each in cases]
    elf = compile_for(core, sources, entries[0], folder / "all.elf", [f"-Wl,-u,{entry}" for entry in entries])
    machine = Machine(core, read_image(elf))
    top = machine.lend(LARGEST) + LARGEST
    machine.map_buffers(LARGEST, LARGEST)
    found = {}
    for each, entry in zip(cases, entries, strict=True):
        expected = each.expected[:samples].reshape(min(samples, len(each.codes)), -1)
        bad = 0
        for codes, wanted in zip(each.codes, expected, strict=False):
            machine.write(INPUT, codes.tobytes())
            assert machine.call(entry, top - -(-each.project.arena // 8) * 8, INPUT, OUTPUT) == 0
            bad += int((np.frombuffer(machine.read(OUTPUT, wanted.size), np.int8) != wanted).sum())
        if bad:
            found[each.name] = bad
    return found
