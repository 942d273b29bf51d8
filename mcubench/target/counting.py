"""Instructions of blocks that ran, and the cycles that they take at least and at most."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mcubench.target.cores import Core
from mcubench.target.cycles import Instruction, Range, block_cycles, jump_cycles
from mcubench.target.machine import Block, EmulationError, Machine, Trace
from mcubench.target.packages import load

__all__ = ["Disassembler"]


class Disassembler:
    """Instructions of blocks, each disassembled once.

    Args:
        machine: Whose memory they are in.

    Raises:
        UserError: If the package capstone is missing.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        capstone = load("capstone")
        if machine.core.family == "arm":
            v8 = capstone.CS_MODE_V8 if machine.core.key == "cortex-m33" else 0
            self._engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | v8)
        else:
            self._engine = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC)
        self._engine.detail = True
        self._lines: dict[Block, tuple[Any, ...]] = {}
        self._found: dict[Block, tuple[Instruction, ...]] = {}

    def lines(self, block: Block) -> tuple[Any, ...]:
        """The instructions of a block as capstone describes them.

        Raises:
            EmulationError: If not all of its bytes are instructions.
        """
        if block not in self._lines:
            address, size = block
            lines = tuple(self._engine.disasm(self._machine.read(address, size), address))
            if sum(line.size for line in lines) != size:
                raise EmulationError(f"the {size} bytes at {address:#x} could not be disassembled")
            self._lines[block] = lines
        return self._lines[block]

    def __call__(self, block: Block) -> tuple[Instruction, ...]:
        """The instructions of a block."""
        if block not in self._found:
            self._found[block] = tuple(Instruction(line.mnemonic, line.op_str) for line in self.lines(block))
        return self._found[block]

    def instructions(self, trace: Trace) -> Counter[str]:
        """Instructions by layer."""
        found: Counter[str] = Counter()
        for (layer, block), times in trace.blocks.items():
            found[layer] += times * len(self(block))
        return found

    def cycles(self, trace: Trace, core: Core) -> dict[str, Range] | None:
        """Cycles by layer, at least and at most; ``None`` for a core whose maker publishes none."""
        found: dict[str, Range] = {}
        for (layer, block), times in trace.blocks.items():
            each = block_cycles(core, self(block))
            if each is None:
                return None
            jump = jump_cycles(core, self(block)[-1])
            jumps = trace.jumps[layer, block]
            low, high = found.get(layer, (0, 0))
            found[layer] = (low + times * each[0] + jumps * jump[0], high + times * each[1] + jumps * jump[1])
        return found
