"""What a model may cost at most, and how far it is from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcubench.cost import Device, bytes_text, find_device, parse_bytes, parse_count
from mcubench.errors import UserError

__all__ = ["Budget", "Price"]

_UNKNOWN = 1.0  # how far what can't be priced is from a limit: as far as twice of it


@dataclass(frozen=True)
class Price:
    """What a model costs; ``None`` for what is not known.

    Attributes:
        flash: Bytes of its weights, at their widths.
        ram: Bytes of its activations.
        macs: Multiply-accumulates for one sample.
    """

    flash: int | None
    ram: int | None
    macs: int | None


@dataclass(frozen=True)
class Budget:
    """Limits; ``None`` for none.

    Attributes:
        flash: Bytes.
        ram: Bytes.
        macs: Multiply-accumulates for one sample.
        latency: Seconds for one sample on the device, by the most cycles per MAC that were published of its core.
        device: The microcontroller.
    """

    flash: int | None = None
    ram: int | None = None
    macs: int | None = None
    latency: float | None = None
    device: Device | None = None

    @classmethod
    def of(
        cls, flash: str | None, ram: str | None, macs: str | None, latency: str | None, device: str | None
    ) -> Budget:
        """Reads limits as people write them; flash and RAM that are not given are the device's.

        Args:
            flash: As in ``4KiB``.
            ram: Likewise.
            macs: As in ``250k``.
            latency: Milliseconds, as in ``20``.
            device: As in ``stm32g0b1``.

        Raises:
            UserError: If one is not of that form, there is no such device, or its speed is needed and not known.
        """
        part = None if device is None else find_device(device)
        if latency is not None and (part is None or part.cycles_per_mac is None):
            raise UserError(
                "budget.latency is a time on a device whose cycles per MAC are known: give --budget.device with it, as "
                "stm32f446" + ("" if part is None else f"; of the core of {part.name}, {part.core}, none are published")
            )
        return cls(
            flash=parse_bytes(flash, "budget.flash") if flash is not None else part.flash if part else None,
            ram=parse_bytes(ram, "budget.ram") if ram is not None else part.ram if part else None,
            macs=None if macs is None else parse_count(macs, "budget.macs"),
            latency=None if latency is None else _seconds(latency),
            device=part,
        )

    @property
    def most_macs(self) -> int | None:
        """The multiply-accumulates that both limits on them allow."""
        found = [] if self.macs is None else [self.macs]
        if self.latency is not None:
            assert self.device is not None
            assert self.device.cycles_per_mac is not None
            found.append(int(self.latency * self.device.clock_hz / self.device.cycles_per_mac.high))
        return min(found, default=None)

    @property
    def limits(self) -> dict[str, int | None]:
        """What each cost may be at most."""
        return {"flash": self.flash, "ram": self.ram, "macs": self.most_macs}

    def excess(self, price: Price) -> dict[str, float]:
        """How far each cost is beyond its limit, as a share of that: 0 and less is within, 1 is twice as much."""
        found = {}
        for name, limit in self.limits.items():
            value = getattr(price, name)
            if limit is not None:
                found[name] = _UNKNOWN if value is None else value / limit - 1
        return found

    def problem(self, price: Price) -> str | None:
        """What is over, in words; ``None`` if nothing is."""
        over = [name for name, value in self.excess(price).items() if value > 0]
        told = [
            f"{_NAMES[name]} {_told(name, getattr(price, name))} of {_told(name, self.limits[name])}" for name in over
        ]
        return ", ".join(told) or None

    def __str__(self) -> str:
        told = [f"{_NAMES[name]} {_told(name, limit)}" for name, limit in self.limits.items() if limit is not None]
        return ", ".join(told) or "none"

    def as_dict(self) -> Mapping[str, int | float | str | None]:
        """The limits as plain values."""
        return {**self.limits, "latency": self.latency, "device": None if self.device is None else self.device.key}


_NAMES = {"flash": "flash", "ram": "RAM", "macs": "MACs"}


def _told(name: str, value: int | None) -> str:
    if value is None:
        return "?"
    return f"{value:,}" if name == "macs" else bytes_text(value)


def _seconds(milliseconds: str) -> float:
    try:
        found = float(milliseconds) / 1000
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UserError(f"budget.latency must be a number of milliseconds above 0; got {milliseconds!r}")
    return found
