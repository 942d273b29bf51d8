"""Cycles of instructions at zero wait states, from the tables that Arm publishes for some of its cores.

Sources: Cortex-M4 Technical Reference Manual (Arm 100166, r0p1), table 3-1: loads and stores of one register take 2
cycles, a load or store behind a load pipelines with it and takes 1, a store whose successor does not need the bus 1;
LDM, STM, PUSH and POP 1 and one a register; a taken branch 1 and 1 to 3 that refill the pipeline; divisions 2 to 12; an
IT may be folded into its neighbour. Its unit for floats (table 7-1): 1, products that are added 3, divisions and roots
14, or 1 where no instruction of the unit follows while they run; one more where the next instruction needs the result;
loads and stores as of integers, and one more of a double. Cortex-M0 (Arm DDI 0432C), table 3-1, and Cortex-M0+ (Arm
DDI 0484C), table 3-1: loads and stores 2, LDM and the like 1 and one a register; a taken branch 3 and 2, a call 4 and
3, a return by BX 3 and 2; a MULS takes 1 or 32 cycles, by the choice of the chip's maker. None is published for
Cortex-M7 and Cortex-M33, which issue or overlap several instructions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mcubench.target.cores import Core

__all__ = ["Instruction", "Range", "block_cycles", "jump_cycles"]

Range = tuple[int, int]  # at least, at most


@dataclass(frozen=True)
class Instruction:
    """An instruction as a disassembler writes it."""

    mnemonic: str
    operands: str


_LOADS = ("ldr", "ldrb", "ldrh", "ldrsb", "ldrsh")
_STORES = ("str", "strb", "strh")
_SEVERAL = ("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")
_CONDITIONS = ["eq", "ne", "cs", "hs", "cc", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"]
_M4 = {**dict.fromkeys(_STORES, (1, 2)), "ldrd": (3, 3), "strd": (3, 3), "sdiv": (2, 12), "udiv": (2, 12)}
_FLOATS = {
    **dict.fromkeys(("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"), (3, 4)),
    **dict.fromkeys(("vdiv", "vsqrt"), (1, 15)),
    **dict.fromkeys(("vadd", "vsub", "vmul", "vnmul", "vabs", "vneg", "vcvt", "vcvtr", "vcvtb", "vcvtt"), (1, 2)),
    **dict.fromkeys(("vcmp", "vcmpe", "vmrs", "vmsr"), (1, 1)),
    **dict.fromkeys(("vmov", "vldr", "vstr"), (1, 2)),  # a vmov between floats, 1, is not told from others
}
_CALLS = {"cortex-m0": {"bl": 4, "bx": 3, "blx": 3}, "cortex-m0+": {"bl": 3, "bx": 2, "blx": 2}}
_REFILL = {"cortex-m0": 2, "cortex-m0+": 1}  # what a taken branch takes more than one that is not


def block_cycles(core: Core, block: Sequence[Instruction]) -> Range | None:
    """Cycles of a block, but for the jump at its end; ``None`` where the core's maker publishes none."""
    if core.key in _CALLS:
        each: list[Range] = [_small(core.key, instruction) for instruction in block]
    elif core.key in ("cortex-m4", "cortex-m4f"):
        each, behind = [], False
        for instruction in block:
            found = _m4(instruction, behind)
            if found is None:
                return None
            each.append(found)
            behind = _plain(instruction.mnemonic) in _LOADS
    else:
        return None
    return sum(low for low, _ in each), sum(high for _, high in each)


def jump_cycles(core: Core, last: Instruction) -> Range:
    """What it takes more that another block than the next in memory follows on an instruction."""
    name = _plain(last.mnemonic)
    if core.key in _REFILL:
        alone = name in ("bl", "bx", "blx", "pop")  # their cycles are in the table as they are
        return (0, 0) if alone else (_REFILL[core.key], _REFILL[core.key])
    return 1, 3


def _plain(mnemonic: str) -> str:
    """A mnemonic without its width, and without a condition."""
    name = mnemonic.partition(".")[0]
    for stem in (*_LOADS, *_STORES, *_FLOATS, "vpush", "vpop", "pop", "bx", "bl", "blx"):
        if name.startswith(stem) and name.removeprefix(stem) in _CONDITIONS:
            return stem
    return name


def _registers(operands: str) -> int:
    """How many words' worth are listed."""
    listed = re.search(r"\{(.*)\}", operands)
    names = [each.strip() for each in listed[1].split(",")] if listed else [""]
    return sum(2 if re.fullmatch(r"d\d+", each) else 1 for each in names)


def _m4(instruction: Instruction, behind_a_load: bool) -> Range | None:
    name, operands = _plain(instruction.mnemonic), instruction.operands
    if name.startswith(_SEVERAL):
        return 1 + _registers(operands), 1 + _registers(operands)
    if re.fullmatch("it[te]{0,3}", name):
        return 0, 1
    if name in _LOADS:
        return (1 if behind_a_load and not operands.startswith("pc") else 2), 2
    if name.startswith("v"):
        more = 1 if name in ("vldr", "vstr") and operands.startswith("d") else 0
        return (_FLOATS[name][0] + more, _FLOATS[name][1] + more) if name in _FLOATS else None
    return _M4.get(name, (1, 1))


def _small(core: str, instruction: Instruction) -> Range:
    name = _plain(instruction.mnemonic)
    if name in _LOADS or name in _STORES:
        return 2, 2
    if name.startswith(_SEVERAL):
        refill = {"cortex-m0": 3, "cortex-m0+": 2}[core] if "pc" in instruction.operands else 0
        several = 1 + _registers(instruction.operands) + refill
        return several, several
    if name in _CALLS[core]:
        return _CALLS[core][name], _CALLS[core][name]
    if name in ("mul", "muls"):
        return 1, 32
    return 1, 1
