"""``quantize FILE``: the bytes that a ``.tflite`` makes here and in TFLite Micro."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mcubench.cli.files.options import (
    FileParser,
    add_input_options,
    codes_for,
    given_array,
)
from mcubench.cli.files.quantization import add_calibration_options, quantised
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.export.interpreters import recorded_arena, run_tflm
from mcubench.export.unrolled import planned_arena
from mcubench.files import atomic_path
from mcubench.graph import interpret
from mcubench.quant.integer.ir import IntegerGraph, IntegerTensor
from mcubench.quant.integer.run import predict
from mcubench.readers import ModelFile, read_model

__all__ = ["run_quantize"]

_DIFFERENT = 1  # exit code, as of diff and cmp


def run_quantize(args: Sequence[str]) -> int:
    """Runs a file here and in TFLite Micro and prints, and perhaps writes, how many bytes differ.

    Args:
        args: The words after ``quantize``, the file's name first.

    Returns:
        0, or 1 if a byte differs.

    Raises:
        UserError: For every mistake in the options, a package that is missing, and a file that is not in int8.
    """
    given = _parser().parse_args(list(args))
    check_targets(vars(given), {"json": None})
    found = quantised(read_model(given.file), given.calibration, given.weight_bits)
    graph, console = found.in_integers(), Console()
    codes = codes_for(graph, given)
    if given.labels is not None and given.inputs is None:
        raise UserError("--labels are the classes of --inputs: give both")
    classes = graph.outputs[0].size
    labels = None if given.labels is None else _labels(given.labels, len(codes[0]), classes)
    ours = [each.numpy() for each in predict(graph, *codes)]

    def progress(steps: Iterable[int]) -> Iterable[int]:
        return track(list(steps), description="TFLite Micro", console=console, transient=True)

    theirs = _in_tflm(found, codes, progress)
    wrong = sum(int((one != other).sum()) for one, other in zip(ours, theirs, strict=True))
    largest = ours[0].reshape(len(codes[0]), -1).argmax(1)
    figures = {
        "file": found.name,
        "samples": len(codes[0]),
        "inputs": "random codes" if given.inputs is None else str(given.inputs),
        "bytes": sum(each.size for each in ours),
        "different": wrong,
        "accuracy": None if labels is None else float((largest == labels).mean()),
        "float": _in_float(found, codes, largest, labels) if found.not_integer else None,
        "arena": {"planned": planned_arena(graph).peak, "recorded": asdict(recorded_arena(found.content))},
    }
    _print(figures, graph, console)

    def save(target: Path) -> None:
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")

    for target in write_targets(vars(given), {"json": save}):
        say(console, f"wrote {target}")
    return _DIFFERENT if wrong else 0


def _in_float(
    found: ModelFile, codes: Sequence[Tensor], largest: NDArray[Any], labels: NDArray[Any] | None
) -> dict[str, float | None]:
    """What the file gave before it was quantised, for what the codes stand for."""
    values = [tensor.grid.values(each) for each, tensor in zip(codes, found.in_integers().inputs, strict=True)]
    shaped = [x.reshape(len(x), *value.shape) for x, value in zip(values, found.graph.inputs, strict=True)]
    before = interpret(found.graph, *shaped)[0].flatten(1).argmax(1).numpy()
    accuracy = None if labels is None else float((before == labels).mean())
    return {"accuracy": accuracy, "same_class": float((before == largest).mean())}


def _in_tflm(
    found: ModelFile, codes: Sequence[Tensor], progress: Callable[[Iterable[int]], Iterable[int]]
) -> list[NDArray[np.int8]]:
    """What TFLite Micro makes of the file itself, as codes."""
    graph = found.in_integers()
    supplied = [
        _supplied(each, tensor, kind) for each, tensor, kind in zip(codes, graph.inputs, found.supplied, strict=True)
    ]
    outputs = run_tflm(found.content, *supplied, progress=progress)
    ends = zip(outputs, graph.outputs, found.given, strict=True)
    return [_codes(each, tensor, kind) for each, tensor, kind in ends]


def _supplied(codes: Tensor, tensor: IntegerTensor, kind: str) -> NDArray[Any]:
    if kind == "FLOAT32":
        return np.asarray(tensor.grid.values(codes).numpy())
    if kind == "UINT8":
        return np.asarray((codes.short() + 128).numpy().astype(np.uint8))
    return np.asarray(codes.numpy())


def _codes(given: NDArray[Any], tensor: IntegerTensor, kind: str) -> NDArray[np.int8]:
    if kind == "FLOAT32":
        return np.asarray(tensor.grid.codes(torch.from_numpy(np.array(given))).numpy())
    return (given.astype(np.int16) - 128).astype(np.int8) if kind == "UINT8" else np.asarray(given)


def _labels(path: Path, count: int, classes: int) -> NDArray[Any]:
    labels = given_array(path, "labels")[:count]
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(f"--labels {path} has {labels.dtype} of shape {labels.shape}; wanted are {count} whole numbers")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"--labels {path} goes from {labels.min()} to {labels.max()}; the model has {classes} outputs")
    return labels


def _print(figures: dict[str, Any], graph: IntegerGraph, console: Console) -> None:
    wrong, total, arena = figures["different"], figures["bytes"], figures["arena"]
    say(console, f"{figures['file']}, {figures['samples']:,} samples ({figures['inputs']})", style="bold")
    line = f"integer graph and TFLite Micro: {wrong:,} of {total:,} bytes of output differ"
    say(console, line, style="red bold" if wrong else "green")
    before = figures["float"]
    if figures["accuracy"] is not None:
        beside = "" if before is None else f", {100 * before['accuracy']:.2f} % in float"
        say(console, f"accuracy {100 * figures['accuracy']:.2f} %{beside}")
    if before is not None:
        say(console, f"same largest output as in float: {100 * before['same_class']:.2f} %")
    taken = arena["recorded"]["head"]
    say(console, f"RAM: {arena['planned']:,} B of activations planned; TFLite Micro takes {taken:,} B")
    for note in graph.notes:
        say(console, note, style="dim")


def _parser() -> FileParser:
    parser = FileParser("quantize")
    add_input_options(parser)
    add_calibration_options(parser)
    parser.add_argument("--labels", type=Path, metavar="FILE.npy", help="classes of --inputs, for the accuracy")
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    return parser
