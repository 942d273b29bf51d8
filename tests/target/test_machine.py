"""Cores in emulation: the one that was asked for, counted exactly, and stopped where a real one would fault.

References are programs of a few instructions, counted by hand, and Arm's tables of cycles.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mcubench.target import CORES, CompileError, EmulationError
from mcubench.target.alignment import faults
from mcubench.target.counting import Disassembler
from mcubench.target.cycles import Instruction, block_cycles, jump_cycles
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, Machine
from mcubench.target.toolchain import compile_for

M4 = CORES["cortex-m4"]


def machine(core: str, source: str, folder: Path, entry: str = "go") -> Machine:
    (folder / "go.c").write_text(f"#include <stdint.h>\n{source}")
    return Machine(CORES[core], read_image(compile_for(CORES[core], [folder / "go.c"], entry, folder / "go.elf")))


LOOP = """
__attribute__((naked)) int go(int n)
{
    __asm__ volatile("1: subs r0, r0, #1\\n bne 1b\\n movs r0, #7\\n bx lr\\n");
}
"""


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0", "cortex-m0+"])
def test_a_loop_is_counted_to_the_instruction(core: str, tmp_path: Path) -> None:
    """Ten rounds of two instructions, and two behind; a taken branch refills the pipeline."""
    found = machine(core, LOOP, tmp_path)
    with found.traced(found.addresses(["go"])) as trace:
        assert found.call("go", 10) == 7
    disassembler = Disassembler(found)
    assert disassembler.instructions(trace) == {"go": 22}
    low, high = disassembler.cycles(trace, found.core)["go"]  # type: ignore[index]
    taken = {"cortex-m4": (1, 3), "cortex-m0": (2, 2), "cortex-m0+": (1, 1)}[core]
    back = {"cortex-m4": (1, 1), "cortex-m0": (3, 3), "cortex-m0+": (2, 2)}[core]  # bx
    assert (low, high) == (21 + 9 * taken[0] + back[0], 21 + 9 * taken[1] + back[1])


def test_the_core_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    """A Cortex-M0 has no SMLAD: it stops, where an M4 goes on."""
    smlad = '__attribute__((naked)) int go(int a) { __asm__(".inst.w 0xfb20f000\\n bx lr"); }'
    assert machine("cortex-m4", smlad, tmp_path).call("go", 3) == 9
    small = Machine(CORES["cortex-m0"], read_image(tmp_path / "go.elf"))
    with pytest.raises(EmulationError, match="Cortex-M0, go at 0x8000"):
        small.call("go", 3)


def test_constants_and_inputs_cannot_be_written(tmp_path: Path) -> None:
    source = "int go(int8_t *p) { *(volatile int8_t *)p = 1; return 0; }"
    found = machine("cortex-m4", source, tmp_path)
    arena = found.lend(8)
    found.map_buffers(4, 4)
    assert found.call("go", OUTPUT) == 0
    assert found.call("go", arena + 7) == 0
    for address in (0x08000000, INPUT, arena + 8):
        with pytest.raises(EmulationError, match="WRITE"):
            found.call("go", address)


@pytest.mark.parametrize(
    ("core", "source", "offset", "fault"),
    [
        ("cortex-m4", '__asm__ volatile("ldm r0, {r2, r3}" ::: "r2", "r3"); return (int)p;', 4, False),
        ("cortex-m4", '__asm__ volatile("ldm r0, {r2, r3}" ::: "r2", "r3"); return (int)p;', 2, True),
        ("cortex-m4", '__asm__ volatile("ldrd r2, r3, [r0, #4]" ::: "r2", "r3"); return (int)p;', 1, True),
        ("cortex-m4", '__asm__ volatile("ldr r2, [r0]" ::: "r2"); return (int)p;', 1, False),
        ("cortex-m0", '__asm__ volatile("ldrb r2, [r0]" ::: "r2"); return (int)p;', 1, False),
        ("rv32imc", '__asm__ volatile("lw a2, 4(a0)" ::: "a2"); return (int)p;', 2, True),
        ("rv32imc", '__asm__ volatile("lw a2, 4(a0)" ::: "a2"); return (int)p;', 4, False),
    ],
)
def test_accesses_that_would_fault(core: str, source: str, offset: int, fault: bool, tmp_path: Path) -> None:
    found = machine(core, f"int go(int8_t *p) {{ {source} }}", tmp_path)
    arena = found.lend(64)

    def run() -> None:
        found.call("go", arena + offset)

    with found.traced(found.addresses(["go"])) as trace:
        run()
    assert bool(faults(found, Disassembler(found), trace, run)) == fault


@pytest.mark.parametrize("load", ["ldr", "ldrh"])
def test_a_small_core_stops_at_once(load: str, tmp_path: Path) -> None:
    source = f'int go(int8_t *p) {{ __asm__ volatile("{load} r2, [r0]" ::: "r2"); return (int)p; }}'
    found = machine("cortex-m0", source, tmp_path)
    arena = found.lend(64)
    assert found.call("go", arena) == arena
    with pytest.raises(EmulationError, match="EXCEPTION"):
        found.call("go", arena + 1)


def test_the_stack_is_seen(tmp_path: Path) -> None:
    """40 words of 1, summed; the paint is no 1."""
    source = "int go(int n) { volatile int32_t a[40]; int i, s = 0; for (i = 0; i < 40; i++) a[i] = 1;\n"
    found = machine("cortex-m4", source + "for (i = 0; i < n; i++) s += a[i]; return s; }", tmp_path)
    with found.stack_painted() as used:
        assert found.call("go", 40) == 40
        assert 160 <= used() <= 176


def test_a_source_that_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="unknown type name"):
        machine("cortex-m4", "nonsense go(void);", tmp_path)


# Arm's tables: Cortex-M4 3-1, Cortex-M0 3-1, Cortex-M0+ 3-1. Instruction, and at least and at most on each.
CYCLES = [
    ("ldr", "r0, [r1]", (2, 2), (2, 2), (2, 2)),
    ("str", "r0, [r1]", (1, 2), (2, 2), (2, 2)),
    ("ldm", "r0!, {r1, r2, r3}", (4, 4), (4, 4), (4, 4)),
    ("push", "{r4, r5, lr}", (4, 4), (4, 4), (4, 4)),
    ("pop", "{r4, r5, pc}", (4, 4), (7, 7), (6, 6)),
    ("muls", "r0, r1, r0", (1, 1), (1, 32), (1, 32)),
    ("bl", "#0x100", (1, 1), (4, 4), (3, 3)),
    ("bx", "lr", (1, 1), (3, 3), (2, 2)),
    ("smlad", "r0, r1, r2, r3", (1, 1), None, None),
    ("ldrd", "r0, r1, [r2]", (3, 3), None, None),
    ("sdiv", "r0, r1, r2", (2, 12), None, None),
    ("itt", "gt", (0, 1), None, None),
    ("ldrsbne.w", "r1, [r2, #2]", (2, 2), None, None),
]


@pytest.mark.parametrize(("name", "operands", "m4", "m0", "m0plus"), CYCLES)
def test_cycles_are_those_of_arms_tables(
    name: str, operands: str, m4: tuple[int, int], m0: tuple[int, int] | None, m0plus: tuple[int, int] | None
) -> None:
    block = [Instruction(name, operands)]
    assert block_cycles(M4, block) == m4
    if m0 is not None:
        assert block_cycles(CORES["cortex-m0"], block) == m0
        assert block_cycles(CORES["cortex-m0+"], block) == m0plus


# Cortex-M4, table 7-1, and its notes on results that the next instruction needs.
FLOATS = [
    ("vadd.f32", "s0, s1, s2", (1, 2)),
    ("vmovgt.f32", "s0, s1", (1, 2)),
    ("vfma.f32", "s0, s1, s2", (3, 4)),
    ("vsqrt.f32", "s0, s1", (1, 15)),
    ("vcmp.f32", "s0, #0", (1, 1)),
    ("vldr", "s0, [r0]", (1, 2)),
    ("vldr", "d0, [r0]", (2, 3)),
    ("vpush", "{d8, d9}", (5, 5)),
    ("vldm", "r0, {s0, s1, s2}", (4, 4)),
    ("vsel.f32", "s0, s1, s2", None),  # of a later core
]


@pytest.mark.parametrize(("name", "operands", "cycles"), FLOATS)
def test_cycles_of_floats(name: str, operands: str, cycles: tuple[int, int] | None) -> None:
    assert block_cycles(CORES["cortex-m4f"], [Instruction(name, operands)]) == cycles


@pytest.mark.parametrize(("core", "calls"), [("cortex-m4f", False), ("cortex-m4", True)])
def test_floats_in_a_unit_and_in_a_library(core: str, calls: bool, tmp_path: Path) -> None:
    """2 * 9.0 + 1.5; without the unit the compiler calls functions of its own."""
    source = "int go(int n) { volatile float x = 9.0f; return (int)((float)n * x + 1.5f); }"
    found = machine(core, source, tmp_path)
    assert found.call("go", 2) == 19
    assert any("mul" in name for _, name in found.image.functions) == calls


def test_loads_behind_each_other_overlap() -> None:
    load = Instruction("ldr", "r0, [r1]")
    assert block_cycles(M4, [load, load, load]) == (4, 6)


def test_none_are_published_for_the_m7_and_the_m33() -> None:
    for key in ("cortex-m7", "cortex-m33", "rv32imc"):
        assert block_cycles(CORES[key], [Instruction("nop", "")]) is None
    assert jump_cycles(M4, Instruction("b", "#0x10")) == (1, 3)
