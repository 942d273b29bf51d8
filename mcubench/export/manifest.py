"""``model.json``: what feeds an exported model, from the raw sample to the name of a class, and what it costs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcubench.cost import BitWidths
from mcubench.files import atomic_path
from mcubench.quant.integer.ir import IntegerGraph, IntegerTensor
from mcubench.quant.integer.kernels import Lstm, RecurrentKernel

__all__ = [
    "SCHEMA_VERSION",
    "Source",
    "file_entry",
    "float_tensors",
    "keeps_state",
    "quantization",
    "save_manifest",
    "state_in_file",
    "stored_tensors",
]

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


def state_in_file(graph: IntegerGraph) -> dict[str, Any]:
    """Whether a model as a ``.tflite`` file goes on from where its last call ended; nothing for one without a state."""
    if not any(isinstance(node.kernel, RecurrentKernel) for node in graph.nodes):
        return {}
    kept = keeps_state(graph)
    return {"state": {"kept_between_calls": kept, "reset": "tflite::MicroInterpreter::Reset" if kept else None}}


def keeps_state(graph: IntegerGraph) -> bool:
    """Whether TFLite Micro goes on from where the last call ended: its LSTM does, and a GRU's steps begin at 0."""
    return any(isinstance(node.kernel, Lstm) for node in graph.nodes)


def stored_tensors(graph: IntegerGraph) -> dict[str, Any]:
    """Inputs and outputs of an integer graph: ``value = scale * (code - zero_point)``; of float32 the values."""
    read = [
        {**_described(each), "permutation": _channels_last(moved)}
        for each, moved in zip(graph.inputs, graph.input_axes_moved, strict=True)
    ]
    return {**_side("input", read), **_side("output", [_described(each) for each in graph.outputs])}


def _described(tensor: IntegerTensor) -> dict[str, Any]:
    described = {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
    if tensor.real:
        return described
    return {**described, "scale": tensor.grid.scale, "zero_point": tensor.grid.zero_point}


def _side(name: str, tensors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One tensor by itself; several as a list, by their names and in the order of the file's."""
    if len(tensors) == 1:
        return {name: tensors[0]}
    return {f"{name}s": [{"name": f"{name}_{index}", **each} for index, each in enumerate(tensors)]}


Shape = tuple[int | None, ...]


def float_tensors(
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
    axes_moved: Sequence[int] | None = None,
    dtypes: tuple[Sequence[str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Inputs and outputs of a float model.

    Args:
        inputs: Shapes, as the model takes them, the batch in front; ``None`` stands for any number.
        outputs: Shapes of what it gives.
        axes_moved: For each input the number of spatial axes that the channels of a raw sample are moved behind for it.
        dtypes: Of inputs and outputs; float32 by default.
    """
    taken, given = dtypes or (["float32"] * len(inputs), ["float32"] * len(outputs))
    read = [
        {"dtype": dtype, "shape": list(shape), "permutation": _channels_last(moved)}
        for shape, dtype, moved in zip(inputs, taken, axes_moved or [0] * len(inputs), strict=True)
    ]
    made = [{"dtype": dtype, "shape": list(shape)} for shape, dtype in zip(outputs, given, strict=True)]
    return {**_side("input", read), **_side("output", made)}


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
