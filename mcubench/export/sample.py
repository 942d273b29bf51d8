"""A raw sample, and how it becomes an input: in words and numbers that need no mcubench to be followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcubench.datamodules import TensorDataModule

__all__ = ["describe_sample"]


def describe_sample(data: object, shape: Sequence[object]) -> dict[str, Any]:
    """Shape, units and scaling of a raw sample.

    Args:
        data: The data module, or whatever stands for it.
        shape: Of one sample, as the model takes it; a shape for each input, where it takes several.

    Returns:
        ``shape``, ``units``, ``dtype`` (``uint8`` or ``float32``; ``None`` where it is not known) and ``scaling``,
        whose ``kind`` is one of ``standardise`` (``mean`` and ``std`` of each channel: ``(x - mean) / std`` in
        float32), ``range`` (``minimum`` and ``maximum`` of each feature:
        ``2 (x - minimum) / (maximum - minimum) - 1`` in float64, where 1 divides if both are equal), ``none``, or
        ``unknown`` for data that does not say it. For features also their names.
    """
    if not isinstance(data, TensorDataModule):
        return {"shape": list(shape), "units": None, "dtype": None, "scaling": {"kind": "unknown"}}
    described = data.describe()["inputs"]
    return {
        "shape": described["shape"],
        "units": data.units,
        "dtype": data.raw_dtype,
        "scaling": _scaling(described["scaling"]),
        **{key: described[key] for key in ("source", "features") if key in described},
    }


def _scaling(described: Mapping[str, Any] | None) -> dict[str, Any]:
    if described is None:
        return {"kind": "none"}
    if {"mean", "std"} <= described.keys():
        return {"kind": "standardise", **described}
    if {"minimum", "maximum"} <= described.keys():
        return {"kind": "range", **described}
    return {"kind": "unknown", **described}
