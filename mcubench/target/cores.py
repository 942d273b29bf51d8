"""The cores that code is compiled for and run on."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.errors import UserError, did_you_mean

__all__ = ["CORES", "Core", "find_core"]


@dataclass(frozen=True)
class Core:
    """A processor core.

    Attributes:
        key: The name on the command line and in the table of devices.
        name: As its maker writes it.
        family: ``arm`` or ``riscv``: which emulator runs it.
        dialect: What C is written for it.
        cpu: The name that the compiler knows it by.
        model: The constant of the emulator that selects it; ``None`` where there is but one.
        words_only: Whether words and halves must be aligned, whatever loads them.
        floats: Whether it has a unit for floats of single precision, and passes them in its registers.
    """

    key: str
    name: str
    family: str
    dialect: str
    cpu: str
    model: str | None = None
    words_only: bool = False
    floats: bool = False


CORES = {
    core.key: core
    for core in (
        Core("cortex-m0", "Cortex-M0", "arm", "armv6m", "cortex_m0", "UC_CPU_ARM_CORTEX_M0", words_only=True),
        # The emulator has no M0+ of its own: it is an M0 with a shorter pipeline and the same instructions.
        Core("cortex-m0+", "Cortex-M0+", "arm", "armv6m", "cortex_m0plus", "UC_CPU_ARM_CORTEX_M0", words_only=True),
        Core("cortex-m3", "Cortex-M3", "arm", "c99", "cortex_m3", "UC_CPU_ARM_CORTEX_M3"),
        Core("cortex-m4", "Cortex-M4", "arm", "armv7em", "cortex_m4", "UC_CPU_ARM_CORTEX_M4"),
        # An M4 with the unit for floats, which the emulator's has always: code for one without it never uses it.
        Core("cortex-m4f", "Cortex-M4F", "arm", "armv7em", "cortex_m4+vfp4d16sp", "UC_CPU_ARM_CORTEX_M4", floats=True),
        Core("cortex-m7", "Cortex-M7", "arm", "armv7em", "cortex_m7", "UC_CPU_ARM_CORTEX_M7"),
        Core("cortex-m33", "Cortex-M33", "arm", "armv7em", "cortex_m33+dsp", "UC_CPU_ARM_CORTEX_M33"),
        Core("rv32imc", "RV32IMC", "riscv", "c99", "generic_rv32+m+c", words_only=True),
    )
}


def find_core(key: str) -> Core:
    """The core of that name.

    Raises:
        UserError: If there is none.
    """
    if key.lower() not in CORES:
        raise UserError(f"there is no core {key!r}.{did_you_mean(key.lower(), CORES)} There are {', '.join(CORES)}")
    return CORES[key.lower()]
