"""Whether two integer graphs are the same, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mcubench.quant.integer.ir import Bias, Constant, Filter, IntegerGraph, IntegerNode

# What a file does not tell: names of nodes and layers of the model that it was made of, of constants, the width that
# weights were made for, and where the channels of an input stood.
_NOT_STORED = {
    IntegerNode: {"name", "path"},
    Filter: {"name", "bits"},
    Bias: {"name"},
    Constant: {"name"},
    IntegerGraph: {"input_axes_moved", "output_axes_moved", "notes"},
}


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two differ, in words."""
    if is_dataclass(one) and type(one) is type(other):
        hidden = _NOT_STORED.get(type(one), set())  # type: ignore[arg-type]
        if isinstance(one, Filter) and len(one.scales) == 1:
            hidden = {*hidden, "axis"}
        for field in fields(one):
            if field.name not in hidden:
                yield from differences(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")
    elif isinstance(one, (tuple, list)) and type(one) is type(other) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{path}[{place}]")
    elif not _equal(one, other):
        yield f"{path}: {one} and {other}"


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return np.float32(one) == np.float32(other) if isinstance(one, float) else bool(one == other)
