"""What a model does on a core, for people and programs: beside what was estimated without running it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcubench.cost.devices import Device
from mcubench.files import atomic_path
from mcubench.target.measure import LayerCount, OnCore

__all__ = ["DeviceReport", "macs_by_layer", "macs_in_order"]

# Kernels that sum up products; others of the same module don't share its multiply-accumulates.
_PRODUCTS = {"Convolve", "DepthwiseConvolve", "FullyConnected", "TransposeConvolve", "BatchMatmul", "Lstm", "Gru"}
_PRODUCTS |= {"DenseWide", "DenseFloat", "GaussianScores", "Neighbours", "PairDecisions", "UnitLength", "VectorKernel"}


def macs_by_layer(
    layers: Iterable[LayerCount], kernels: Iterable[tuple[str, str]], macs: Mapping[str, int]
) -> tuple[int, ...]:
    """Multiply-accumulates of each layer of a program, whose order is that of the kernels that it was made from.

    Args:
        layers: As they were measured.
        kernels: The class and the name of each kernel of the integer graph.
        macs: The multiply-accumulates of those that have some, by name; kernels of one name, as the two directions of a
            recurrent layer, have equal shares.
    """
    names = [name for kind, name in kernels if kind in _PRODUCTS]
    return macs_in_order(layers, [macs.get(name, 0) // names.count(name) for name in names])


def macs_in_order(layers: Iterable[LayerCount], macs: Iterable[int]) -> tuple[int, ...]:
    """Multiply-accumulates of each layer, from those of the layers that have some, in their order."""
    counts = iter(macs)
    return tuple(next(counts) if layer.kind in _PRODUCTS else 0 for layer in layers)


@dataclass(frozen=True)
class DeviceReport:
    """A model on a core of a microcontroller.

    Attributes:
        model: Name of the model.
        data: Name of the data; ``None`` where samples were made up.
        found: What was measured.
        accuracy: Share of samples that the core classified rightly; ``None`` without classes.
        device: The microcontroller; ``None`` for a core alone.
        macs: Multiply-accumulates of each layer that was measured.
        input_bytes: What the caller lends for the input.
        output_bytes: The same for the output.
        flash_estimate: What ``profile`` says that weights take.
        ram_planned: The arena that was planned, input and output included; ``None`` where that is not known.
        ram_origin: Where that figure comes from.
        limits: Bytes that ``flash`` and ``ram`` may take, of those that are limited.
    """

    model: str
    data: str | None
    found: OnCore
    accuracy: float | None
    device: Device | None
    macs: Sequence[int]
    input_bytes: int
    output_bytes: int
    flash_estimate: int | None
    ram_planned: int | None
    limits: Mapping[str, int]
    ram_origin: str = "planned for TFLite Micro"

    @property
    def total_macs(self) -> int:
        """Of one inference."""
        return sum(self.macs)

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.found.code_bytes + self.found.constant_bytes

    @property
    def ram_bytes(self) -> int:
        """Arena, state, stack, input and output."""
        lent = self.found.arena_bytes + (self.found.state_bytes or 0)
        return lent + self.found.stack_bytes + self.input_bytes + self.output_bytes

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Of one inference at the device's clock, at least and at most, if its memories never made the core wait."""
        if self.device is None or self.found.cycles is None:
            return None
        low, high = self.found.cycles
        return low / self.device.clock_hz, high / self.device.clock_hz

    @property
    def fits(self) -> bool | None:
        """Whether flash and RAM of the device hold the model; ``None`` for a core alone."""
        if self.device is None:
            return None
        return self.flash_bytes <= self.device.flash and self.ram_bytes <= self.device.ram

    @property
    def over_budget(self) -> dict[str, int]:
        """By how many bytes ``flash`` and ``ram`` are over budget, of those that are."""
        taken = {"flash": self.flash_bytes, "ram": self.ram_bytes}
        return {name: taken[name] - limit for name, limit in self.limits.items() if taken[name] > limit}

    def as_dict(self) -> dict[str, Any]:
        """All figures as plain values: ``measured`` of ``result.json``, and what ``--json`` writes."""
        found = self.found
        return {
            "core": found.core.key,
            "device": None if self.device is None else self.device.key,
            "dialect": found.dialect,
            "samples": found.samples,
            "different_bytes": found.different,
            "accuracy": self.accuracy,
            "macs": self.total_macs,
            "instructions": round(found.instructions),
            "cycles": None if found.cycles is None else list(found.cycles),
            "seconds": None if self.seconds is None else list(self.seconds),
            "code_bytes": found.code_bytes,
            "constant_bytes": found.constant_bytes,
            "arena_bytes": found.arena_bytes,
            "state_bytes": found.state_bytes,
            "stack_bytes": found.stack_bytes,
            "input_bytes": self.input_bytes,
            "output_bytes": self.output_bytes,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "limits": dict(self.limits),
            "layers": [
                {
                    "path": layer.path,
                    "kernel": layer.kind or None,
                    "macs": macs or None,
                    "instructions": layer.instructions,
                    "cycles": None if layer.cycles is None else list(layer.cycles),
                }
                for layer, macs in zip(found.layers, self.macs, strict=True)
            ],
        }

    def save_json(self, target: Path) -> None:
        """Writes all figures to a file."""
        content = {"model": self.model, "data": self.data, **self.as_dict()}
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", "utf-8")
