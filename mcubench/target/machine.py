"""A core in emulation, with memory: calls functions of a program, and sees what they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mcubench.target.cores import Core
from mcubench.target.image import Image
from mcubench.target.packages import load

__all__ = ["Block", "EmulationError", "Machine", "Trace"]

FLASH, RAM, ARENA, INPUT, OUTPUT = 0x08000000, 0x20000000, 0x28000000, 0x30000000, 0x34000000
_RETURN = 0x1F000000  # where functions return to: memory that can be executed, and in which nothing is
_STACK_TOP = RAM + 0x100000
_STACK_BYTES = 0x8000  # that are looked at
_PAGE = 0x1000
_PAINT = 0xA5

Block = tuple[int, int]  # address and bytes of instructions that run one after the other


class EmulationError(RuntimeError):
    """A program did what a core would not let it do."""


@dataclass
class Trace:
    """What ran.

    Attributes:
        blocks: How often each block ran, by the layer that ran it and the block.
        jumps: How often another block than the next one in memory followed, by the same.
    """

    blocks: Counter[tuple[str, Block]] = field(default_factory=Counter)
    jumps: Counter[tuple[str, Block]] = field(default_factory=Counter)


class Machine:
    """A core that a program was loaded into.

    Args:
        core: Which one.
        image: The program.

    Raises:
        UserError: If the package unicorn is missing.
    """

    def __init__(self, core: Core, image: Image) -> None:
        self.core, self.image = core, image
        self._unicorn = load("unicorn")
        self._names = load("unicorn.arm_const" if core.family == "arm" else "unicorn.riscv_const")
        self._cpu = self._started()
        for section in image.sections.values():
            if section.content is not None:
                self._cpu.mem_write(section.address, section.content)
        self._arena = ARENA

    def _started(self) -> Any:
        unicorn, names = self._unicorn, self._names
        if self.core.family == "arm":
            # Without the mode for microcontrollers, in which the choice of a core is not heeded.
            cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
            assert self.core.model is not None
            model = getattr(names, self.core.model)
            cpu.ctl_set_cpu_model(model)
        else:
            cpu, model = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32), None
        cpu.mem_map(FLASH, 0x1000000, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        cpu.mem_map(_RETURN, _PAGE)
        cpu.mem_map(RAM, _STACK_TOP - RAM)
        if model is not None and cpu.ctl_get_cpu_model() != model:
            raise EmulationError(f"the emulator did not take {self.core.name}: instruction sets would differ")
        return cpu

    def lend(self, size: int) -> int:
        """Maps an arena whose end is the end of what can be written, and returns where it starts."""
        pages = -(-max(size, 1) // _PAGE) * _PAGE
        self._cpu.mem_map(ARENA, pages)
        self._arena = ARENA + pages - -(-size // 8) * 8
        return self._arena

    def map_buffers(self, input_size: int, output_size: int) -> None:
        """Maps what the caller owns: an input that can't be written, and an output."""
        self._cpu.mem_map(INPUT, -(-input_size // _PAGE) * _PAGE, self._unicorn.UC_PROT_READ)
        self._cpu.mem_map(OUTPUT, -(-output_size // _PAGE) * _PAGE)

    def write(self, address: int, content: bytes) -> None:
        """Puts bytes into memory."""
        self._cpu.mem_write(address, content)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._cpu.mem_read(address, size))

    def call(self, function: str, *arguments: int) -> int:
        """Calls a function with up to four words, and returns its result, a signed word.

        Raises:
            EmulationError: If it reaches beyond its memory, or executes what the core has not.
        """
        cpu, names = self._cpu, self._names
        start = self.image.symbols[function]
        if self.core.family == "arm":
            registers = ("UC_ARM_REG_SP", "UC_ARM_REG_LR", "UC_ARM_REG_R{}")
            start, back = start | 1, _RETURN | 1
        else:
            registers = ("UC_RISCV_REG_SP", "UC_RISCV_REG_RA", "UC_RISCV_REG_A{}")
            back = _RETURN
        stack, link, argument = registers
        cpu.reg_write(getattr(names, stack), _STACK_TOP)
        cpu.reg_write(getattr(names, link), back)
        for index, word in enumerate(arguments):
            cpu.reg_write(getattr(names, argument.format(index)), word)
        try:
            cpu.emu_start(start, _RETURN)
        except self._unicorn.UcError as error:
            raise EmulationError(f"{self.core.name}, {self._where()}: {error}") from error
        result = int(cpu.reg_read(getattr(names, argument.format(0))))
        return result - 2**32 if result >= 2**31 else result

    def _where(self) -> str:
        counter = "UC_ARM_REG_PC" if self.core.family == "arm" else "UC_RISCV_REG_PC"
        address = int(self._cpu.reg_read(getattr(self._names, counter)))
        return f"{self.image.function_at(address) or 'nowhere'} at {address:#x}"

    @contextmanager
    def stack_painted(self) -> Iterator[Callable[[], int]]:
        """Paints the stack; the function that it gives says how many bytes are no longer as painted."""
        bottom = _STACK_TOP - _STACK_BYTES
        self.write(bottom, bytes([_PAINT]) * _STACK_BYTES)

        def used() -> int:
            left = self.read(bottom, _STACK_BYTES)
            return _STACK_BYTES - (len(left) - len(left.lstrip(bytes([_PAINT]))))

        yield used

    @contextmanager
    def traced(self, layers: Mapping[int, str]) -> Iterator[Trace]:
        """Sees every block.

        Args:
            layers: Addresses of functions, and what what runs from there on is booked under.
        """
        unicorn, trace = self._unicorn, Trace()
        state: dict[str, Any] = {"layer": "", "last": None}

        def on_block(_: Any, address: int, size: int, __: Any) -> None:
            state["layer"] = layer = layers.get(address, state["layer"])
            block = (layer, (address, size))
            trace.blocks[block] += 1
            last = state["last"]
            if last is not None and last[1][0] + last[1][1] != address:
                trace.jumps[last] += 1
            state["last"] = block

        with self._hooked(unicorn.UC_HOOK_BLOCK, on_block):
            yield trace

    @contextmanager
    def watched(self, see: Callable[[int, Callable[[str], int]], None]) -> Iterator[None]:
        """Has a function see every instruction before it runs: its address, and what reads a register by its name.

        Hooks for accesses to memory would be simpler, but with one for writes unicorn 2.1.4 goes wrong behind stores
        that are conditional.
        """
        prefix = "UC_ARM_REG_" if self.core.family == "arm" else "UC_RISCV_REG_"

        def on_code(cpu: Any, address: int, _: int, __: Any) -> None:
            see(address, lambda name: int(cpu.reg_read(getattr(self._names, prefix + name.upper()))))

        with self._hooked(self._unicorn.UC_HOOK_CODE, on_code):
            yield

    @contextmanager
    def _hooked(self, kind: int, function: Callable[..., None]) -> Iterator[None]:
        self._cpu.ctl_flush_tb()  # what was translated before has no hooks in it
        hook = self._cpu.hook_add(kind, function)
        try:
            yield
        finally:
            self._cpu.hook_del(hook)
            self._cpu.ctl_flush_tb()

    def addresses(self, names: Sequence[str]) -> dict[int, str]:
        """Where functions start, without the bit that says Thumb."""
        return {self.image.symbols[name] & ~1: name for name in names}
