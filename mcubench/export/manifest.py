"""``model.json``: what feeds an exported model, from the raw sample to the name of a class, and what it costs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcubench.cost import BitWidths
from mcubench.files import atomic_path
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["SCHEMA_VERSION", "Source", "file_entry", "float_tensors", "int8_tensors", "quantization", "save_manifest"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Source:
    """Where an exported model comes from, and what it was trained to read.

    Attributes:
        model: Name of its class.
        run: Name of the run's folder; ``None`` where the checkpoint lies in none.
        checkpoint: Name of the checkpoint's file.
        git_commit: Of the run, if it was in a repository.
        data: Name of the data module's class; ``None`` without one.
        sample: Shape, units and scaling of a raw sample.
        class_names: In order of the outputs; ``None`` where the data has no names.
    """

    model: str
    run: str | None
    checkpoint: str | None
    git_commit: str | None
    data: str | None
    sample: Mapping[str, Any]
    class_names: tuple[str, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values: the part of ``model.json`` that also stands inside an exported file."""
        names = None if self.class_names is None else list(self.class_names)
        return {
            "schema_version": SCHEMA_VERSION,
            "mcubench": importlib.metadata.version("mcubench"),
            **{name: getattr(self, name) for name in ("model", "data", "run", "checkpoint", "git_commit")},
            "sample": dict(self.sample),
            "class_names": names,
        }


def quantization(ranges: str, widths: BitWidths) -> dict[str, Any]:
    """How a model became integers.

    Args:
        ranges: How the ranges of values came about.
        widths: Bits.
    """
    return {
        "ranges": ranges,
        "weight_bits": widths.weight,
        "bits_per_layer": dict(widths.per_layer),
        "activation_bits": widths.activation,
    }


def int8_tensors(graph: IntegerGraph) -> dict[str, Any]:
    """Input and output of an integer graph with one of each: ``value = scale * (code - zero_point)``."""
    (read,), (made,), (moved,) = graph.inputs, graph.outputs, graph.input_axes_moved
    return {
        "input": {
            "dtype": "int8",
            "shape": list(read.shape),
            "permutation": _channels_last(moved),
            "scale": read.grid.scale,
            "zero_point": read.grid.zero_point,
        },
        "output": {
            "dtype": "int8",
            "shape": list(made.shape),
            "scale": made.grid.scale,
            "zero_point": made.grid.zero_point,
        },
    }


def float_tensors(shape: tuple[int, ...], outputs: tuple[int, ...], axes_moved: int = 0) -> dict[str, Any]:
    """Input and output of a float model for any number of samples.

    Args:
        shape: Of one sample, as the model takes it.
        outputs: Of what it gives for one.
        axes_moved: The number of spatial axes that the channels of a raw sample are moved behind for it.
    """
    return {
        "input": {"dtype": "float32", "shape": [None, *shape], "permutation": _channels_last(axes_moved)},
        "output": {"dtype": "float32", "shape": [None, *outputs]},
    }


def _channels_last(axes_moved: int) -> list[int] | None:
    """Axes (N, channels, *spatial) in the order in which a model that takes the channels last reads them."""
    return [0, *range(2, axes_moved + 2), 1] if axes_moved else None


def file_entry(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Name, size and sha256 of a file that was written, with its input and output."""
    content = path.read_bytes()
    return {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **tensors}


def save_manifest(manifest: Mapping[str, Any], target: Path) -> None:
    """Writes a manifest to a file, which is there whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n", "utf-8")
