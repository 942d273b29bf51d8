"""Compiles C for a core, by the compiler inside the package ziglang, or by gcc where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import platformdirs

from mcubench.errors import UserError
from mcubench.target.cores import Core
from mcubench.target.packages import load

__all__ = ["CompileError", "Compiler", "compile_for"]

Compiler = Literal["zig", "gcc"]

_GCC = "arm-none-eabi-gcc"
_TRIPLES = {"arm": "thumb-freestanding-eabi", "riscv": "riscv32-freestanding-none"}
_FLAGS = (
    *("-std=c99", "-O2", "-ffreestanding", "-fomit-frame-pointer", "-ffunction-sections", "-fdata-sections"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-g", "-Wl,--gc-sections"),
)


class CompileError(RuntimeError):
    """The compiler refused a source."""


def compile_for(
    core: Core,
    sources: Sequence[Path],
    entry: str,
    output: Path,
    flags: Sequence[str] = (),
    compiler: Compiler = "zig",
    layout: Path | None = None,
) -> Path:
    """Compiles and links a program that starts by itself nowhere.

    Args:
        core: What it is to run on.
        sources: C files.
        entry: The function that nothing else calls.
        output: The ELF file to write.
        flags: More for the compiler.
        compiler: ``zig`` has no C library, and gets functions for copies; ``gcc`` takes newlib's.
        layout: The linker's script; ``None`` for that of the emulator's memory.

    Returns:
        `output`.

    Raises:
        CompileError: If a source does not compile.
        UserError: If the compiler is not installed.
    """
    here = resources.files("mcubench.target")
    with (
        resources.as_file(here.joinpath("runtime.c")) as runtime,
        resources.as_file(here.joinpath("layout.ld")) as own,
    ):
        start, behind = _zig(core, runtime) if compiler == "zig" else _gcc(core)
        linked = [f"-Wl,-e,{entry}", f"-Wl,-T,{layout or own}"]
        command = [*start, *_FLAGS, *linked, *flags, *map(str, sources), *behind, "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)  # noqa: S603
    if done.returncode:
        raise CompileError(f"{core.name}: {done.stderr.strip()[-4000:]}")
    return output


def _zig(core: Core, runtime: Path) -> tuple[list[str], list[str]]:
    """What the command begins and ends with."""
    load("ziglang")
    triple = _TRIPLES[core.family] + ("hf" if core.floats else "")
    target = ["-target", triple, f"-mcpu={core.cpu}", "-fno-sanitize=all"]
    return [sys.executable, "-m", "ziglang", "cc", *target], [str(runtime)]


def _gcc(core: Core) -> tuple[list[str], list[str]]:
    if core.family != "arm" or shutil.which(_GCC) is None:
        raise UserError(f"there is no {_GCC} for {core.name}; Debian's package is gcc-arm-none-eabi")
    cpu = core.cpu.replace("_", "-").partition("+")[0]
    floats = ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"] if core.floats else ["-mfloat-abi=soft"]
    return [_GCC, f"-mcpu={cpu}", "-mthumb", *floats, "-nostartfiles"], ["-lm", "-lc", "-lgcc"]


def _environment() -> dict[str, str]:
    """The compiler keeps what it has compiled of its own library in a cache, which takes a while the first time."""
    cache = str(platformdirs.user_cache_path("mcubench") / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache, **os.environ}
