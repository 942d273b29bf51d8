"""From a raw sample to codes of the input: C that computes what ``model.json`` says in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.text import fill, hex_float
from mcubench.codegen.unit import Unit

if TYPE_CHECKING:
    from mcubench.quant.grid import Grid
    from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["Encoder", "Encoders", "encoders"]

_KINDS = ("none", "range", "standardise")  # of scaling; another one is not known well enough

_TABLES = """
void $name_encode_u8(const uint8_t *raw, $ctype *codes)
{
    int32_t i;
    for (i = 0; i < $size; i++)
        codes[i] = $table[$channel256 * (i % $channels) + raw[i]];
}
"""
_ONE_TABLE = """
void $name_encode_u8(const uint8_t *raw, $ctype *codes)
{
    int32_t i;
    for (i = 0; i < $size; i++)
        codes[i] = $table[raw[i]];
}
"""
_REAL = """
$constants
static float code_of(float value, int32_t channel)
{
    (void)channel;
    return $scaled;
}
"""
_CODES = """
$constants
/* The nearest code of a value, of two as near the even one; the sum with 1.5 * 2^52 has no digits behind the point. */
static $ctype code_of(float value, int32_t channel)
{
    const float scaled = $scaled;
    const double code = (double)scaled / $scale;
    (void)channel;
    if (!(code > $low))
        return $lowest;
    if (code > $high)
        return $highest;
    return ($ctype)((int32_t)((code + 6755399441055744.0) - 6755399441055744.0) + $zero_point);
}
"""
_FLOATS = """
void $name_encode_f32(const float *raw, $ctype *codes)
{
    int32_t i;
    for (i = 0; i < $size; i++)
        codes[i] = code_of(raw[i], i % $channels);
}

void $name_encode_i16(const int16_t *raw, float unit, $ctype *codes)
{
    int32_t i;
    for (i = 0; i < $size; i++)
        codes[i] = code_of((float)raw[i] * unit, i % $channels);
}
"""


@dataclass(frozen=True)
class Encoder:
    """A function that encodes raw samples.

    Attributes:
        suffix: What follows ``encode_`` in its name.
        ctype: Type of a raw number.
        comment: What it takes.
        parameters: What it takes beside the raw numbers.
    """

    suffix: str
    ctype: str
    comment: str
    parameters: str = ""


@dataclass(frozen=True)
class Encoders:
    """The functions that encode raw samples, the one that classifies with first.

    Attributes:
        functions: What they are.
        text: Their definitions.
    """

    functions: tuple[Encoder, ...]
    text: str


def encoders(sample: Mapping[str, Any], tensor: IntegerTensor, name: str, unit: Unit) -> Encoders | None:
    """C that makes an input of a raw sample, exactly as data module and grid do; ``None`` where that is unknown.

    Args:
        sample: ``sample`` of ``model.json``: how raw numbers are scaled, and their ``dtype``.
        tensor: The input, channels last.
        name: What names begin with.
        unit: Where tables are written.
    """
    scaling = sample["scaling"]
    if scaling["kind"] not in _KINDS:
        return None
    grid, size, channels, ctype = tensor.grid, tensor.size, tensor.shape[-1], tensor.ctype
    constants = _constants(scaling, channels)
    if constants is None:
        return None
    if sample.get("dtype") == "uint8":
        tables = _tables(constants, grid)
        one = bool((tables == tables[0]).all())
        text = fill(
            _ONE_TABLE if one else _TABLES,
            name_encode_u8=f"{name}_encode_u8",
            size=size,
            channels=channels,
            channel256=256,
            ctype=ctype,
            table=unit.array(ctype, tables[0] if one else tables, "codes"),
        )
        return Encoders((Encoder("u8", "uint8_t", "bytes, as the sensor gives them"),), text)
    values = {
        "constants": _float_constants(constants),
        "scaled": _expression(constants),
        "scale": hex_float(grid.scale),
        "low": f"{grid.ends[0] - grid.zero_point}.0",
        "high": f"{grid.ends[1] - grid.zero_point}.0",
        "lowest": grid.ends[0],
        "highest": grid.ends[1],
        "ctype": ctype,
        "zero_point": grid.zero_point,
        "size": size,
        "channels": channels,
    }
    text = fill(
        (_REAL if tensor.real else _CODES) + _FLOATS,
        **values,
        name_encode_f32=f"{name}_encode_f32",
        name_encode_i16=f"{name}_encode_i16",
    )
    return Encoders(
        (
            Encoder("f32", "float", "numbers in the units of the training data"),
            Encoder("i16", "int16_t", "numbers that times unit are in the units of the training data", "float unit, "),
        ),
        text,
    )


@dataclass(frozen=True)
class _Constants:
    """(x - shift) / width in float32, or with `stretched` 2 (x - shift) / width - 1 in float64; by channel."""

    shift: NDArray[Any]
    width: NDArray[Any]
    stretched: bool


def _constants(scaling: Mapping[str, Any], channels: int) -> _Constants | None:
    if scaling["kind"] == "none":
        return _Constants(np.zeros(1, np.float32), np.ones(1, np.float32), stretched=False)
    if scaling["kind"] == "standardise":
        mean, std = (np.asarray(scaling[key], np.float32) for key in ("mean", "std"))
        constants = _Constants(mean, std, stretched=False)
    else:
        low, high = (np.asarray(scaling[key], np.float64) for key in ("minimum", "maximum"))
        constants = _Constants(low, np.where(high > low, high - low, 1), stretched=True)
    return constants if len(constants.shift) in (1, channels) else None


def _tables(constants: _Constants, grid: Grid) -> NDArray[Any]:
    """What an input holds for each byte, for each channel."""
    import torch

    raw = np.arange(256)[None]
    shift, width = constants.shift[:, None], constants.width[:, None]
    if constants.stretched:
        scaled = (2 * (raw - shift) / width - 1).astype(np.float32)
    else:
        scaled = np.subtract(raw, shift, dtype=np.float32) / width
    codes: NDArray[Any] = grid.codes(torch.from_numpy(scaled)).numpy()
    return codes


def _float_constants(constants: _Constants) -> str:
    ctype, suffix = ("double", "") if constants.stretched else ("float", "f")
    lines = []
    for name, numbers in (("shifts", constants.shift), ("widths", constants.width)):
        literals = ", ".join(hex_float(float(number), suffix) for number in numbers)
        lines.append(f"static const {ctype} {name}[{len(numbers)}] = {{ {literals} }};")
    return "\n".join(lines)


def _expression(constants: _Constants) -> str:
    index = "channel" if len(constants.shift) > 1 else "0"
    if constants.stretched:
        return f"(float)(2 * ((double)value - shifts[{index}]) / widths[{index}] - 1)"
    return f"(value - shifts[{index}]) / widths[{index}]"
