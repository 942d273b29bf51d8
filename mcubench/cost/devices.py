"""Which microcontrollers a model fits, and what latency others' measurements suggest there.

The table is ``devices.toml``, beside this file. Flash and RAM are compared with what the model alone needs (weights and
activations): the runtime's code (interpreter and kernels), the stack, the drivers (HAL) and the rest of a firmware come
on top and are not counted. A latency is a range seen with optimised runtimes on other nets, not a bound.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcubench.errors import UserError, did_you_mean

__all__ = ["CyclesPerMac", "Device", "Fit", "devices", "find_device"]


@dataclass(frozen=True)
class CyclesPerMac:
    """How many clock cycles a core was seen to spend on one int8 multiply-accumulate, over whole nets.

    Attributes:
        low: The fewest cycles per MAC.
        high: The most.
        source: Whose measurements these are, and how the figures follow from them.
    """

    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Device:
    """A microcontroller, or a board where the flash is a chip of its own.

    Attributes:
        key: The name on the command line, lower case.
        name: The exact part or board.
        core: The processor core, such as ``cortex-m4``.
        clock_hz: The highest clock, in hertz.
        flash: The whole flash, in bytes.
        ram: The whole RAM, in bytes.
        source: The vendor's document for the clock and the sizes.
        note: What the figures don't say, if anything.
        cycles_per_mac: The speed of the core, or None where nobody has published one.
    """

    key: str
    name: str
    core: str
    clock_hz: int
    flash: int
    ram: int
    source: str
    note: str | None
    cycles_per_mac: CyclesPerMac | None

    def latency(self, macs: int) -> tuple[float, float] | None:
        """The ends of the range for one int8 inference in seconds: MACs x cycles per MAC / clock; None if unknown."""
        if self.cycles_per_mac is None:
            return None
        return macs * self.cycles_per_mac.low / self.clock_hz, macs * self.cycles_per_mac.high / self.clock_hz


@dataclass(frozen=True)
class Fit:
    """A model held against a device. The runtime's code, stack and drivers are in neither `flash` nor `ram`.

    Attributes:
        device: The device.
        flash: What the model's weights take, in bytes.
        ram: What its activations take at their peak, in bytes.
        macs: Multiply-accumulates of one inference; ``None`` if it does much else, which cycles per MAC say nothing of.
        cycles: Of one inference on the core at zero wait states, at least and at most, where they were counted.
    """

    device: Device
    flash: int
    ram: int
    macs: int | None
    cycles: tuple[float, float] | None = None

    @property
    def fits(self) -> bool:
        """Whether neither flash nor RAM is exceeded; that leaves no promise of room for the runtime."""
        return self.flash <= self.device.flash and self.ram <= self.device.ram

    @property
    def flash_share(self) -> float:
        """The model's part of the flash; over 1 if it does not fit."""
        return self.flash / self.device.flash

    @property
    def ram_share(self) -> float:
        """The model's part of the RAM; over 1 if it does not fit."""
        return self.ram / self.device.ram

    @property
    def latency(self) -> tuple[float, float] | None:
        """The range for one int8 inference in seconds; None without published figures or MACs that say it."""
        if self.cycles is not None:
            return self.cycles[0] / self.device.clock_hz, self.cycles[1] / self.device.clock_hz
        return None if self.macs is None else self.device.latency(self.macs)

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain values."""
        return {
            "device": self.device.key,
            "fits": self.fits,
            "flash_share": self.flash_share,
            "ram_share": self.ram_share,
            "latency_seconds": self.latency,
        }

    def describe(self) -> str:
        """One line: whether it fits (or what is over, and by how much), the shares of the memories, the latency."""
        flash = f"flash {_usage(self.flash, self.device.flash)}"
        ram = f"RAM {_usage(self.ram, self.device.ram)}"
        return f"{self.device.name}: {self._verdict()}; {flash}, {ram}; {self._latency_text()}"

    def _verdict(self) -> str:
        over = {"flash": self.flash - self.device.flash, "RAM": self.ram - self.device.ram}
        excesses = [f"{memory} is {_size(excess)} over" for memory, excess in over.items() if excess > 0]
        return f"does not fit, {' and '.join(excesses)}" if excesses else "fits"

    def _latency_text(self) -> str:
        cycles, seconds = self.device.cycles_per_mac, self.latency
        if self.cycles is not None and seconds is not None:
            clock = f"{self.device.clock_hz / 1e6:g} MHz"
            return f"at least {_span(*seconds)} at {clock} (emulated; a bound at zero wait states)"
        if self.macs is None:
            return "latency ? (cycles per MAC say nothing of comparisons and functions)"
        if cycles is None or seconds is None:
            return f"latency ? (no published cycles per MAC for the core {self.device.core})"
        return (
            f"{_span(*seconds)} at {self.device.clock_hz / 1e6:g} MHz "
            f"({cycles.low:g} to {cycles.high:g} int8 cycles per MAC, MLPerf Tiny logs)"
        )


@functools.cache
def devices() -> dict[str, Device]:
    """All devices of the table by their keys, in the table's order."""
    table = tomllib.loads(Path(__file__).with_name("devices.toml").read_text(encoding="utf-8"))
    cores = {core: CyclesPerMac(**row) for core, row in table["cores"].items()}
    return {
        key: Device(
            key=key,
            name=row["name"],
            core=row["core"],
            clock_hz=row["clock_mhz"] * 1_000_000,
            flash=row["flash_kib"] * 1024,
            ram=row["ram_kib"] * 1024,
            source=row["source"],
            note=row.get("note"),
            cycles_per_mac=cores.get(row["core"]),
        )
        for key, row in table["devices"].items()
    }


def find_device(name: str) -> Device:
    """The device of that key; case, hyphens, underscores and spaces don't matter.

    Raises:
        UserError: If the table has no such device; it names those it has.
    """
    key = name.lower().translate(str.maketrans("", "", "-_ "))
    if key not in devices():
        raise UserError(f"Unknown device {name!r}; known are {', '.join(devices())}.{did_you_mean(key, devices())}")
    return devices()[key]


def _size(count: int) -> str:
    return f"{count / 1024:,.1f} KiB" if count >= 1024 else f"{count} byte{'' if count == 1 else 's'}"


def _usage(used: int, whole: int) -> str:
    return f"{_size(used)} of {whole // 1024:,} KiB ({_percent(used / whole)} %)"


def _percent(share: float) -> str:
    # Rounding must not show something as nothing, nearly full as full, or too much as full.
    for low, high, text in ((0, 0.01, "< 1"), (0.99, 1, "> 99"), (1, 1.01, "> 100")):
        if low < share < high:
            return text
    return f"{share * 100:,.0f}"


def _span(low: float, high: float) -> str:
    unit, scale = ("s", 1.0) if high >= 1 else ("ms", 1e3) if high >= 1e-3 else ("µs", 1e6)
    # Two significant digits, and no exponent: 130, not 1.3e+02.
    return f"{float(f'{low * scale:.2g}'):,g} to {float(f'{high * scale:.2g}'):,g} {unit}"
