"""The integer graph that a verb about a file is about: the file's own, or one that is made of a float file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcubench.cli.files.options import FileParser, given_array
from mcubench.cost import BitWidths
from mcubench.errors import UserError
from mcubench.export.tflite import operators_of, to_tflite
from mcubench.graph import deploy
from mcubench.quant import quantize
from mcubench.quant.grid import WEIGHT_BITS
from mcubench.readers import ModelFile

__all__ = ["add_calibration_options", "quantised"]


def add_calibration_options(parser: FileParser) -> None:
    """The options that say how a float file becomes integers."""
    text = "of a float file: samples of its training data, (N, *shape), to observe ranges on"
    parser.add_argument("--calibration", type=Path, metavar="FILE.npy", help=text)
    parser.add_argument("--weight_bits", type=int, help="of a float file: bits of a weight, 8, 4 or 2; not set, 8")


def quantised(file: ModelFile, calibration: Path | None, weight_bits: int | None) -> ModelFile:
    """A file in integers: itself if it is in int8, else what a float file becomes, with the ``.tflite`` of it.

    What was made of a float file still says, in `not_integer`, that the file is none itself.

    Args:
        file: The file.
        calibration: Samples to observe ranges on, for a float file.
        weight_bits: Bits of its weights; 8 by default.

    Raises:
        UserError: If a float file comes without samples, an int8 one with them, they do not fit, or something has no
            integer kernel.
    """
    if file.integer is not None:
        if calibration is not None or weight_bits is not None:
            raise UserError(f"{file.name} is in int8 as it is: leave out --calibration and --weight_bits")
        return file
    if calibration is None or file.widths.activation <= 16:
        hint = "" if file.widths.activation <= 16 else "; --calibration FILE.npy quantises it"
        raise UserError(f"{file.name}: {file.not_integer}{hint}")
    bits = 8 if weight_bits is None else weight_bits
    if bits not in WEIGHT_BITS:
        raise UserError(f"--weight_bits must be 8, 4 or 2; got {bits}")
    graph, widths = deploy(file.graph), BitWidths(bits)
    try:
        integer = quantize(graph, calibration=_samples(file, calibration), widths=widths)
    except UserError as error:
        raise UserError(f"{file.name}: {error}") from error
    return replace(
        file,
        content=to_tflite(integer, file.name),
        graph=graph,
        widths=widths,
        integer=integer,
        supplied=("INT8",) * len(integer.inputs),
        given=("INT8",) * len(integer.outputs),
        operators=tuple(operators_of(integer)),
    )


def _samples(file: ModelFile, path: Path) -> Tensor:
    """Samples as the file takes them."""
    if len(file.graph.inputs) != 1:
        raise UserError(f"--calibration is for one input; it has {len(file.graph.inputs)}")
    shape, array = file.graph.inputs[0].shape, given_array(path, "calibration")
    if array.dtype.kind != "f" or array.ndim < 1 or not len(array) or array.shape[1:] not in (shape, (1, *shape)):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"--calibration {path} holds {array.dtype} of {array.shape}; wanted are floats, (N, {wanted})")
    return torch.from_numpy(array.reshape(len(array), *shape).astype(np.float32))
