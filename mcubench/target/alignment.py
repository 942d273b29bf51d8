"""Accesses to memory that a real core faults on and the emulator lets pass: words and halves that are not aligned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mcubench.target.counting import Disassembler
from mcubench.target.machine import Machine, Trace

__all__ = ["faults"]

# Of Thumb: sizes that must be aligned on cores that want it always, and those that all want.
_HALVES = ("ldrh", "ldrsh", "strh")
_WORDS = ("ldr", "str")
_ALWAYS = ("ldm", "stm", "ldrd", "strd")
_RISCV_OPERAND = re.compile(r"(-?\w+)?\((\w+)\)$")
_RISCV = {"lw": 4, "sw": 4, "c.lw": 4, "c.sw": 4, "c.lwsp": 4, "c.swsp": 4, "lh": 2, "lhu": 2, "sh": 2}


def faults(machine: Machine, disassembler: Disassembler, trace: Trace, run: Callable[[], None]) -> list[str]:
    """Runs once more and looks at the addresses of everything that needs an aligned one.

    Args:
        machine: The core.
        disassembler: Of its program.
        trace: What ran before, and will run again.
        run: Runs it.

    Returns:
        A sentence for each instruction that would fault.
    """
    needed = {
        line.address: (line, size)
        for _, block in trace.blocks
        for line in disassembler.lines(block)
        if (size := _needed(machine.core.words_only, line))
    }
    found: dict[int, str] = {}

    def see(address: int, register: Callable[[str], int]) -> None:
        if address not in needed:
            return
        line, size = needed[address]
        target = _address(line, register)
        if target % size:
            where = machine.image.function_at(address)
            found[address] = f"{where}: {line.mnemonic} {line.op_str} at {target:#x}"

    with machine.watched(see):
        run()
    return list(found.values())


def _needed(words_only: bool, line: Any) -> int:
    """Bytes that the address of an instruction must be a multiple of; 0 if it reaches no memory, or any."""
    name = line.mnemonic.partition(".")[0] if not line.mnemonic.startswith("c.") else line.mnemonic
    if name in _RISCV:
        return _RISCV[name]
    if name.startswith(_ALWAYS):
        return 4
    if words_only and name.startswith(_HALVES):
        return 2
    if words_only and name.startswith(_WORDS) and not name.startswith(("ldrb", "ldrsb", "strb")):
        return 4
    return 0


def _address(line: Any, register: Callable[[str], int]) -> int:
    """Where an instruction reaches: of a load or store its operand in brackets, of one of several its first."""
    if (found := _RISCV_OPERAND.search(line.op_str)) is not None:
        return (int(found[1] or "0", 0) + register(found[2])) & 0xFFFFFFFF
    for operand in line.operands:
        if operand.type == _MEMORY:
            return _in_brackets(line, operand, register)
    return register(line.reg_name(line.operands[0].reg))


_MEMORY = 3  # CS_OP_MEM, of every architecture
_ALIASES: Mapping[str, str] = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12"}


def _in_brackets(line: Any, operand: Any, register: Callable[[str], int]) -> int:
    def value(number: int) -> int:
        name = line.reg_name(number)
        return register(_ALIASES.get(name, name))

    base = value(operand.mem.base)
    if line.reg_name(operand.mem.base) == "pc":
        base = (line.address + 4) & ~3
    post = getattr(line, "post_index", False)
    total = base + (0 if post else operand.mem.disp)
    index = getattr(operand.mem, "index", 0)
    if index:
        total += value(index) << operand.shift.value
    return total & 0xFFFFFFFF
