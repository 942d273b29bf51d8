"""The integer graph against TFLite Micro: the same bytes for the same model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import currently_in_test_context, note
from numpy.typing import NDArray
from torch import Tensor, nn

from mcubench.cost import BitWidths
from mcubench.export.interpreters import recorded_arena, run_tflm
from mcubench.export.tflite import to_tflite
from mcubench.export.unrolled import planned_arena
from mcubench.graph import deploy, trace
from mcubench.quant import Grid, IntegerGraph, interpret_fake, quantize
from mcubench.quant.integer import IntegerNode, IntegerTensor, kernels, predict
from mcubench.quant.integer.ir import Kernel


def quantized(module: nn.Module, x: Tensor, bits: int = 8) -> IntegerGraph:
    """A module in int8, its ranges those of the samples."""
    return quantize(trace(module.eval(), x[:1]), calibration=x, widths=BitWidths(bits))


Described = tuple[tuple[int, ...], Grid]


def one_kernel(kernel: Kernel, inputs: Sequence[Described], output: Described) -> IntegerGraph:
    """A graph of a kernel for tensors of some shapes, without the batch, and grids."""
    xs = tuple(IntegerTensor(f"x{number}", (1, *shape), grid) for number, (shape, grid) in enumerate(inputs))
    y = IntegerTensor("y", (1, *output[0]), output[1])
    return IntegerGraph((IntegerNode("f", "", kernel, xs, y),), xs, (y,), (0,) * len(xs), (0,))


def both(graph: IntegerGraph, x: Tensor) -> tuple[list[NDArray[np.int8]], list[NDArray[np.int8]]]:
    """Output codes of the integer graph, and of TFLite Micro for the file that is written from it."""
    return both_of_codes(graph, *graph.encode(x))


def both_of_codes(graph: IntegerGraph, *codes: Tensor) -> tuple[list[NDArray[np.int8]], list[NDArray[np.int8]]]:
    """The same for inputs that are codes."""
    ours = [each.numpy() for each in predict(graph, *codes)]
    return ours, list(run_tflm(to_tflite(graph), *(each.numpy() for each in codes)))


def mismatches(graph: IntegerGraph, x: Tensor) -> int:
    """How many bytes differ."""
    return differing(*both(graph, x))


def differing(ours: list[NDArray[np.int8]], theirs: list[NDArray[np.int8]]) -> int:
    """How many bytes of the same outputs differ."""
    assert [each.shape for each in ours] == [each.shape for each in theirs]
    return sum(int((a != b).sum()) for a, b in zip(ours, theirs, strict=True))


def check(module: nn.Module, x: Tensor, bits: int = 8) -> None:
    """Bytes and arena are TFLite Micro's, and outputs are near those of the float graph with rounded values."""
    graph = deploy(trace(module.eval(), x[:1]))
    integer = quantize(graph, calibration=x, widths=BitWidths(bits))
    if currently_in_test_context():
        note(str(integer))
    codes, file = integer.encode(x), to_tflite(integer)
    ours = predict(integer, *codes)
    theirs = run_tflm(file, *(each.numpy() for each in codes))
    assert differing([each.numpy() for each in ours], list(theirs)) == 0
    assert planned_arena(integer).peak == recorded_arena(file).head
    # A random sum may cancel: what is left has a finer grid than the errors of its parts.
    sums = any(isinstance(node.kernel, (kernels.Add, kernels.Subtract)) for node in integer.nodes)
    if not (sums and currently_in_test_context()):
        near(graph, integer, x, ours)


def near(graph: object, integer: IntegerGraph, x: Tensor, codes: Sequence[Tensor]) -> None:
    """The integer graph rounds what the float graph computes: no wrong axis, no missing bias, no lost activation."""
    wanted = interpret_fake(graph, integer, x)  # type: ignore[arg-type]
    for exact, rounded, tensor in zip(wanted, integer.decode(*codes), integer.outputs, strict=True):
        step = tensor.grid.scale
        if currently_in_test_context():  # what is drawn may cancel as well: its grid is finer than what it is made of
            made_of = (each for node in integer.nodes if node.output is tensor for each in node.inputs)
            step = max(step, *(each.grid.scale for each in made_of if isinstance(each, IntegerTensor)), 0.0)
        error = (rounded.reshape(exact.shape) - exact).abs() / step
        # Half a level for each rounding between; layers can make it more, but not for most of the elements.
        assert float(error.median()) <= 2, f"{tensor.name}: off by {float(error.median()):.1f} levels"


def seeded(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal samples."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
