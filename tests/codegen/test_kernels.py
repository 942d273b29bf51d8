"""Every kernel in C on the host, in every dialect: 0 bytes that are not the integer graph's.

Programs see undefined behaviour and accesses beyond their memory where gcc is there. What is wrong on purpose is
caught.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mcubench.codegen import DIALECTS, generate
from mcubench.errors import UserError
from mcubench.quant import Grid, IntegerGraph
from mcubench.quant.integer import IntegerNode, IntegerTensor, kernels
from mcubench.quant.integer.ir import Filter
from mcubench.readers.tflite import read_tflite
from tests.codegen.host import ZIG, Case, case, compiler, differing
from tests.codegen.nets import cases, graphs
from tests.quant.test_kernels import FUNCTIONS, function
from tests.quant.test_recurrent import lstm_file
from tests.quant.witness import one_kernel, quantized, seeded


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_kernel_computes_the_integer_graphs_bytes(dialect: str, tmp_path: Path) -> None:
    found = cases(dialect)
    assert {node.kernel.__class__ for each in found for node in each.graph.nodes} >= {
        *(kernels.FullyConnected, kernels.Convolve, kernels.DepthwiseConvolve, kernels.TransposeConvolve),
        *(kernels.Add, kernels.Subtract, kernels.Multiply, kernels.AveragePool, kernels.MaxPool, kernels.Softmax),
        *(kernels.Concatenate, kernels.Pad, kernels.Transpose, kernels.StridedSlice),
    }
    assert differing(found, tmp_path) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_only_files_of_others_have(dialect: str, tmp_path: Path) -> None:
    """Weights of -128, which are not symmetric, a layer with one scale for all channels, and means."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3, 2), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 8, 3)]
    x = seeded(16, 1, 13, 12)
    found = []
    for number in range(4):
        net = nn.Sequential(*layers[:number], layers[number], nn.ReLU(), nn.Flatten())
        net.append(nn.Linear(net(x).shape[1], 5))
        graph = quantized(net.eval(), x)
        graph = replace(graph, nodes=tuple(map(foreign, graph.nodes)))
        found.append(case(f"{number + 1} layers", graph, x, dialect, number))
    for number, (axes, shape) in enumerate((((1, 2), (3,)), ((1,), (1, 5, 3)), ((3,), (4, 5))), 4):
        mean = one_kernel(kernels.Mean(axes), [((4, 5, 3), Grid(1 / 16, 3))], (shape, Grid(1 / 20, -5)))
        found.append(case(f"mean over {axes}", mean, seeded(16, 4, 5, 3), dialect, number))
    assert differing(found, tmp_path) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_lstms_of_files(dialect: str, tmp_path: Path) -> None:
    """Random layers, with full cells and with clipped ones; weights of 4 and 2 bits are packed."""
    found = []
    for number in range(12):
        generator = np.random.default_rng(number)
        sizes = [int(each) for each in generator.integers(1, 10, 3)]
        clip, cell, loud = ((0.0, 2.0**-12, 1.0), (0.5, 2.0**-11, 0.1), (10.0, 2.0**-15, 30.0))[number % 3]
        graph = read_tflite(lstm_file(generator, *sizes, clip, cell, loud)).integer
        assert graph is not None
        bits = (8, 8, 4, 2)[number % 4]
        graph = replace(graph, nodes=tuple(narrowed(node, bits) for node in graph.nodes))
        x = graph.inputs[0].grid.values(torch.randint(-128, 128, (6, *sizes[:2])))
        found.append(case(f"{sizes}, {bits} bits", graph, x, dialect, number))
    assert differing(found, tmp_path) == {}


def narrowed(node: IntegerNode, bits: int) -> IntegerNode:
    """The same with codes that so many bits hold."""
    assert isinstance(node.kernel, kernels.Lstm)
    limit = 2 ** (bits - 1) - 1

    def narrow(filter_: Filter) -> Filter:
        return replace(filter_, codes=filter_.codes.clamp(-limit, limit), bits=bits)

    gates = [replace(each, input=narrow(each.input), recurrent=narrow(each.recurrent)) for each in node.kernel.gates]
    return replace(node, kernel=replace(node.kernel, gates=tuple(gates)))


def foreign(node: IntegerNode) -> IntegerNode:
    """The same layer with the first weight of each channel at -128 and, where it is a convolution, the first scale."""
    if not isinstance(node.kernel, (kernels.Convolve, kernels.DepthwiseConvolve, kernels.FullyConnected)):
        return node
    filter_ = node.kernel.filter
    codes = filter_.codes.clone()
    first = [slice(0, 1)] * codes.ndim
    first[filter_.axis] = slice(None)
    codes[tuple(first)] = -128
    scales = filter_.scales if isinstance(node.kernel, kernels.FullyConnected) else filter_.scales[:1]
    return replace(node, kernel=replace(node.kernel, filter=replace(filter_, codes=codes, scales=scales)))


@pytest.mark.slow
@pytest.mark.parametrize("command", [ZIG, ["clang"]], ids=["zig", "clang"])
def test_other_compilers_warn_of_nothing_and_compute_the_same(command: list[str], tmp_path: Path) -> None:
    if command == ["clang"] and not shutil.which("clang"):
        pytest.skip("clang is not installed")
    assert differing(cases("c99"), tmp_path, command, "-O2") == {}


def test_functions_of_every_code(tmp_path: Path) -> None:
    source, own = Grid(1 / 16, -3), Grid(1 / 20, 5)
    found = []
    for number, (name, (make, prescribed)) in enumerate(FUNCTIONS.items()):
        graph = function(make, source, prescribed or own)
        codes = torch.arange(-128, 128, dtype=torch.int8)[None].numpy()
        found.append(Case(name, graph, codes, generate(graph, f"m{number}")))
    assert differing(found, tmp_path) == {}


def at_the_ends(zero_point: int) -> tuple[IntegerGraph, torch.Tensor]:
    """A dense layer and a convolution whose weights and inputs are as large as can be."""
    module = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Flatten(), nn.Linear(96, 5))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.where(torch.rand_like(parameter) < 0.5, -1.0, 1.0))
    ends = torch.where(seeded(16, 3, 4, 4) < 0, -1.0, 1.0) * (1 if zero_point else 2)
    return quantized(module, ends + zero_point), ends + zero_point


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_ends_of_ranges(dialect: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    found = []
    for number, zero_point in enumerate((0, 1, -1)):
        graph, x = at_the_ends(zero_point)
        each = case(f"zero point {graph.inputs[0].grid.zero_point}", graph, x, dialect, number)
        codes = (torch.randint(0, 2, each.codes.shape) * 255 - 128).to(torch.int8).numpy()
        found.append(replace(each, codes=codes))
    assert differing(found, tmp_path) == {}


def test_factors_above_one(tmp_path: Path) -> None:
    """A grid of the output that is finer than sums are: the exponent shifts to the left first."""
    graph, x = graphs()["dense, 8 bits"]
    (node,) = graph.nodes
    output = IntegerTensor(node.output.name, node.output.shape, Grid(node.output.grid.scale / 4096, 3))
    fine = replace(graph, nodes=(replace(node, output=output),), outputs=(output,))
    assert differing([case("fine", fine, x, "c99")], tmp_path) == {}


# A mistake each: what in the text is replaced by what, of a net that it matters for.
MISTAKES = {
    "a weight flipped": (
        "pooled 2 x 2, 8 bits",
        r"(weights_\d+\[\d+\] = \{\n    0x)(.)",
        lambda m: f"{m[1]}{int(m[2], 16) ^ 4:x}",
    ),
    "one rounding instead of two": (
        "pooled 2 x 2, 8 bits",
        re.escape("(((high + (high >> 31)) >> ~exponent) + 1) >> 1"),
        lambda _: "high >> -exponent",
    ),
    "a zero point off by one": (
        "pooled 2 x 2, 8 bits",
        r"(window_table_\d+ = \{\n[^}]*, )(-?\d+)(\n\})",
        lambda m: f"{m[1]}{int(m[2]) + 1}{m[3]}",
    ),
    "a stride swapped": (
        "convolution, stride, 8 bits",
        r"2 \* row - 0, 1 \* column",
        lambda _: "1 * row - 0, 2 * column",
    ),
    "the largest of three": ("pooled 2 x 2, 8 bits", r"part < 4", lambda _: "part < 3"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_caught(name: str, tmp_path: Path) -> None:
    net, pattern, change = MISTAKES[name]
    graph, x = graphs()[net]
    right = case(name, graph, x, "c99")
    source = right.project.files[right.project.source]
    wrong, count = re.subn(pattern, change, source, count=1)
    assert count == 1
    assert wrong != source
    project = replace(right.project, files={**right.project.files, right.project.source: wrong})
    assert differing([replace(right, project=project)], tmp_path)


def test_a_lead_that_is_too_short_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that lies over codes that are still to be read."""
    from mcubench.codegen.c99 import depthwise

    graph, x = graphs()["separable, 8 bits"]
    right = case("right", graph, x, "c99")
    monkeypatch.setattr(depthwise, "lead", lambda *_, **__: 0)
    short = case("short", graph, x, "c99")
    assert short.project.arena < right.project.arena
    assert differing([right], tmp_path) == {}
    assert differing([short], tmp_path)


def test_null_pointers_and_a_crooked_arena_are_refused(tmp_path: Path) -> None:
    graph, _ = graphs()["separable, 8 bits"]
    project = generate(graph, "m0")
    source = tmp_path / "refusals.c"
    source.write_text(
        '#include "m0.h"\n#include <stddef.h>\n'
        "static int32_t arena[M0_ARENA_BYTES / 4 + 2]; static int8_t in[M0_INPUT_SIZE], out[M0_OUTPUT_SIZE];\n"
        "int main(void) { return m0_run(NULL, in, out) == -1 && m0_run(arena, NULL, out) == -1\n"
        "    && m0_run(arena, in, NULL) == -1 && m0_run((int8_t *)arena + 1, in, out) == -1\n"
        "    && m0_run(arena, in, out) == 0 ? 0 : 1; }\n"
    )
    for name in (project.header, project.source):
        (tmp_path / name).write_text(project.files[name])
    words = [*compiler(), "refusals.c", project.source, "-o", "refusals"]
    subprocess.run(words, cwd=tmp_path, check=True)
    assert subprocess.run([str(tmp_path / "refusals")], check=False).returncode == 0


def test_a_kernel_without_c_is_named() -> None:
    class Strange(kernels.Relu):
        pass

    x = IntegerTensor("x", (1, 4), Grid(1, 0))
    y = IntegerTensor("y", (1, 4), Grid(1, 0))
    graph = IntegerGraph((IntegerNode("n", "net.3", Strange(), (x,), y),), (x,), (y,), (0,), (0,))
    with pytest.raises(UserError, match=r"net\.3: no C is written for Strange"):
        generate(graph)
