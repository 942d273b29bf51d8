"""What C does on a core: compiled, emulated, counted."""

from mcubench.target.cores import CORES, Core, find_core
from mcubench.target.machine import EmulationError
from mcubench.target.toolchain import CompileError

__all__ = ["CORES", "CompileError", "Core", "EmulationError", "find_core"]
