"""A compiled program: its bytes, where they lie, and its functions."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from pathlib import Path

from mcubench.target.packages import load

__all__ = ["Image", "read_image"]

_ALLOCATED = 2  # SHF_ALLOC


@dataclass(frozen=True)
class Section:
    """A part of a program that occupies memory.

    Attributes:
        address: Where it starts.
        size: Bytes.
        content: Those, ``None`` where they are zeros that the start-up code makes.
    """

    address: int
    size: int
    content: bytes | None


@dataclass(frozen=True)
class Image:
    """A program as it lies in memory.

    Attributes:
        sections: By name.
        symbols: Addresses by name.
        functions: (address, name) of all functions, in order.
    """

    sections: dict[str, Section]
    symbols: dict[str, int]
    functions: tuple[tuple[int, str], ...]

    @property
    def code_bytes(self) -> int:
        """Bytes of instructions, and of constants that compilers put between them."""
        return self._size(".text")

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants."""
        return self._size(".rodata")

    @property
    def written_bytes(self) -> int:
        """Bytes of globals that can be written; of a model there are none."""
        return self._size(".data") + self._size(".bss")

    def _size(self, name: str) -> int:
        return self.sections[name].size if name in self.sections else 0

    def function_at(self, address: int) -> str | None:
        """The function that an address lies in."""
        index = bisect.bisect_right(self.functions, (address, "\uffff")) - 1
        return self.functions[index][1] if index >= 0 else None


def read_image(path: Path) -> Image:
    """Reads an ELF file.

    Args:
        path: The file.

    Raises:
        ValueError: If it has no code.
    """
    with path.open("rb") as file:
        elf = load("elftools.elf.elffile").ELFFile(file)
        sections = {
            each.name: Section(
                each["sh_addr"], each["sh_size"], None if each["sh_type"] == "SHT_NOBITS" else bytes(each.data())
            )
            for each in elf.iter_sections()
            if each["sh_flags"] & _ALLOCATED and each["sh_size"]
        }
        symbols, functions = {}, []
        for each in elf.get_section_by_name(".symtab").iter_symbols():
            if each.name and each["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE"):
                symbols[each.name] = each["st_value"]
                if each["st_info"]["type"] == "STT_FUNC":
                    functions.append((each["st_value"] & ~1, each.name))
    if ".text" not in sections:
        raise ValueError(f"{path} has no code")
    return Image(sections, symbols, tuple(sorted(functions)))
