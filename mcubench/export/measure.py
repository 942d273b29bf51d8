"""Runs a model in float, fake-quantised, in integers and in TFLite Micro, on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mcubench.cost import BitWidths, profile_graph
from mcubench.errors import UserError
from mcubench.export.backend import installed
from mcubench.export.interpreters import recorded_arena, run_tflm, smallest_arena
from mcubench.export.report import Flash, QuantizationReport, Ram, changes, form
from mcubench.export.stored import packed_bytes, stored
from mcubench.export.tflite import to_tflite
from mcubench.export.unrolled import planned_arena
from mcubench.graph import Graph
from mcubench.quant.fake import interpret_fake
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import predict
from mcubench.quant.noise import layer_noise

__all__ = ["Progress", "measure"]

Progress = Callable[[Iterable[int], str], Iterable[int]]

_BATCH = 256
_NOISE_SAMPLES = 256  # of the same samples: all values of both graphs are kept at once


def measure(
    model: nn.Module,
    graph: Graph,
    integer: IntegerGraph,
    widths: BitWidths,
    ranges: str,
    samples: tuple[Tensor, Tensor],
    data: str,
    class_names: Mapping[int, str],
    progress: Progress = lambda steps, _: steps,
) -> QuantizationReport:
    """Measures what quantisation does to a model.

    Args:
        model: The float model.
        graph: Its deployed graph.
        integer: The integer graph made of it.
        widths: Bits.
        ranges: How the ranges came about.
        samples: x (N, *shape) as the model takes it, and its classes, int64, shape (N,).
        data: Where the samples are from.
        class_names: Names by number.
        progress: Wraps loops over batches and samples, with a word on what is done.

    Raises:
        UserError: If the model is no classifier of these samples, or ai-edge-litert is not installed.
    """
    x, y = samples
    content = to_tflite(integer)
    exact = _float_outputs(model, x, y, progress)
    fake = _joined(lambda part: interpret_fake(graph, integer, part)[0], x, "fake-quantised", progress)
    codes = integer.encode(x)
    whole = _joined(lambda part: predict(integer, part)[0], codes[0], "integer graph", progress)
    true, in_float, in_integers = y.numpy(), _classes(exact), _classes(whole)
    forms = [
        form("float", in_float, in_float, true),
        form("fake-quantised", _classes(fake), in_float, true),
        form("integer graph", in_integers, in_float, true),
    ]
    recorded, smallest, mismatches = None, None, None
    if installed("tflite_micro"):
        (output,) = run_tflm(content, codes[0].numpy(), progress=lambda steps: progress(steps, "TFLite Micro"))
        micro = torch.from_numpy(output)
        forms.append(form("TFLite Micro", _classes(micro), in_float, true))
        mismatches = int((micro.flatten() != whole.flatten()).sum()), whole.numel()
        recorded, smallest = recorded_arena(content), smallest_arena(content)
    report = profile_graph(graph, type(model).__name__, widths)
    return QuantizationReport(
        model=type(model).__name__,
        data=data,
        samples=len(y),
        ranges=ranges,
        widths=str(widths),
        forms=tuple(forms),
        mismatches=mismatches,
        changes=changes(true, in_float, in_integers, class_names),
        layers=tuple(layer_noise(graph, integer, x[:_NOISE_SAMPLES])),
        flash=Flash(stored(content), packed_bytes(integer), report.flash_bytes),
        ram=Ram(planned_arena(integer).peak, recorded, smallest, report.ram_bytes),
    )


def _float_outputs(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            outputs = _joined(model, x, "float", progress)
    finally:
        model.train(was_training)
    classes = outputs.flatten(1).shape[1]
    if int(y.max()) >= classes:
        raise UserError(f"{type(model).__name__} has {classes} outputs, the labels go up to {int(y.max())}")
    return outputs


def _joined(run: Callable[[Tensor], Any], x: Tensor, what: str, progress: Progress) -> Tensor:
    return torch.cat([run(x[start : start + _BATCH]) for start in progress(range(0, len(x), _BATCH), what)])


def _classes(outputs: Tensor) -> Any:
    return outputs.flatten(1).argmax(1).numpy()
