"""All costs of a model in one report, by layer and in total."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcubench.cost.counts import ToolCount
from mcubench.cost.macs import MacCount, Unsupported
from mcubench.cost.memory import MemoryPlan
from mcubench.cost.size import BitWidths, FlashSize
from mcubench.files import atomic_path
from mcubench.graph.ops.common import by

__all__ = ["CostReport", "LayerCost"]


@dataclass(frozen=True)
class LayerCost:
    """One step of the deployed model.

    Attributes:
        path: The module; empty for the outermost one.
        op: What is computed, with what was fused into it.
        output_shape: Of one sample, channels last.
        params: Elements of the module's parameters that are used here first.
        macs: Multiply-accumulates; ``None`` if they are not known.
        flash_bytes: What is stored for it; ``None`` if that is not known.
        ram_bytes: What all activations that are needed in this step occupy.
        comparisons: Of a classical model, at worst; activations and pooling count none. ``None`` if not known.
        functions: Exponentials, powers, hyperbolic tangents, cosines, roots and divisions of a classical model; those
            of a network's activations count none. ``None`` if not known.
    """

    path: str
    op: str
    output_shape: tuple[int, ...]
    params: int
    macs: int | None
    flash_bytes: int | None
    ram_bytes: int
    comparisons: int | None = 0
    functions: int | None = 0


@dataclass(frozen=True)
class CostReport:
    """What a model costs on a microcontroller, for one sample.

    Attributes:
        model: Name of the module's class.
        inputs: Shapes of the inputs, channels last where they feed convolutions.
        widths: The bit widths that it was priced at.
        layers: The steps in order.
        params: Elements of all parameters of the module.
        mac_count: The MACs, and the operators that have no count.
        flash: What is stored, line by line.
        memory: The plan of the activation arena.
        notes: What is worth knowing.
        mean_comparisons: Of trees, for the samples that were given; ``None`` without.
        counts: What other tools would count, layer by layer, if that was asked for.
    """

    model: str
    inputs: tuple[tuple[int, ...], ...]
    widths: BitWidths
    layers: tuple[LayerCost, ...]
    params: int
    mac_count: MacCount
    flash: FlashSize
    memory: MemoryPlan
    notes: tuple[str, ...]
    mean_comparisons: float | None = None
    counts: tuple[ToolCount, ...] = ()

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates; ``None`` if some operator has no count."""
        return None if self.mac_count.unsupported else self.mac_count.counted

    @property
    def comparisons(self) -> int | None:
        """Comparisons of a classical model at worst, 0 for a network; ``None`` if some operator has no count."""
        return None if self.mac_count.unsupported else sum(layer.comparisons or 0 for layer in self.layers)

    @property
    def functions(self) -> int | None:
        """Other functions of a classical model, 0 for a network; ``None`` if some operator has no count."""
        return None if self.mac_count.unsupported else sum(layer.functions or 0 for layer in self.layers)

    @property
    def flash_bytes(self) -> int | None:
        """Bytes that are stored; ``None`` if some node was not understood."""
        return None if self.flash.unsupported else self.flash.total

    @property
    def ram_bytes(self) -> int | None:
        """Bytes of the activation arena; ``None`` if some node was not understood."""
        return None if self.memory.unsupported else self.memory.peak

    @property
    def unsupported(self) -> tuple[Unsupported, ...]:
        """Every operator that some cost does not cover, each once for a module."""
        found = {(each.op, each.path): each for each in (*self.mac_count.unsupported, *self.flash.unsupported)}
        return tuple(found.values())

    @property
    def unused_params(self) -> int:
        """Elements of parameters that the forward does not use."""
        return self.params - sum(layer.params for layer in self.layers)

    @property
    def peak_layer(self) -> str:
        """Where RAM is needed most, as path and operation."""
        step = self.memory.peak_step
        if step == 0:
            return "the input"
        layer = self.layers[step - 1]
        return f"{layer.path or '(root)'}: {layer.op}"

    def conventions(self) -> list[str]:
        """What the figures mean, in a line each."""
        bits, activation = self.widths.weight, self.widths.activation
        others = "".join(f", {path}: {each} bits" for path, each in self.widths.per_layer.items())
        stored = (
            f"weights packed at {bits} bits{others}, int32 biases, multiplier and shift (8 B) for each output channel"
            if bits <= 8
            else "weights as 16-bit integers, int64 biases, multiplier and shift (8 B) for each output channel"
            if self.widths.int16
            else f"weights and biases as {bits}-bit floats{others}"
        )
        classical = []
        if self.comparisons:
            classical.append("Compares: comparisons at worst; a tree takes its depth, the choice among C scores C - 1")
        if self.functions:
            classical.append("Functions: exp, pow, tanh, cos, roots and divisions, one each whatever it takes")
        return [
            "MACs: multiply-accumulates for one sample; biases, activations, pooling, normalisation, elementwise: 0",
            f"Flash: {stored}; batch norm folded where it can be; no code",
            f"RAM: arena of activations at {activation} bits, input and output included, planned greedily as TFLite "
            f"Micro does (no plan takes less than {self.memory.lower_bound:,} B); no stack, no scratch of kernels"
            + (", which unpack weights of less than 8 bits there in TFLite Micro" if bits < 8 else ""),
            *classical,
        ]

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON; ``null`` stands for what is not known, with the reason in ``unsupported``."""
        return {
            "model": self.model,
            "inputs": [list(shape) for shape in self.inputs],
            "macs": self.macs,
            "comparisons": self.comparisons,
            "mean_comparisons": self.mean_comparisons,
            "functions": self.functions,
            "params": self.params,
            "unused_params": self.unused_params,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "ram_lower_bound": self.memory.lower_bound,
            "ram_peak_at": self.peak_layer,
            "weight_bits": self.widths.weight,
            "activation_bits": self.widths.activation,
            "bits_per_layer": dict(self.widths.per_layer),
            "unsupported": [asdict(each) for each in self.unsupported],
            "layers": self._rows(),
            "flash": [asdict(line) for line in self.flash.lines],
            "counts": {count.tool: count.as_dict() for count in self.counts},
            "notes": list(self.notes),
            "conventions": self.conventions(),
        }

    def save_json(self, target: Path, **more: Any) -> None:
        """Writes the report as JSON, with `more` beside its own entries."""
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps({**self.as_dict(), **more}, indent=2) + "\n", "utf-8")

    def save_csv(self, target: Path) -> None:
        """Writes one row a layer."""
        with atomic_path(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*LayerCost.__dataclass_fields__, *(count.tool for count in self.counts)])
            for layer, found in zip(self.layers, self._rows(), strict=True):
                row = {**found, "output_shape": by(layer.output_shape)}
                writer.writerow("" if value is None else value for value in row.values())

    def _rows(self) -> list[dict[str, Any]]:
        """The layers, each with the counts of the other tools."""
        others = {count.tool: count.by_layer for count in self.counts}
        return [
            {**asdict(layer), **{tool: counted[index] for tool, counted in others.items()}}
            for index, layer in enumerate(self.layers)
        ]
