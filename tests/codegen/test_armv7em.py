"""C with assembly for the DSP extension: each family of kernels against the integer graph, in C and in assembly."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mcubench.codegen import Project, generate
from mcubench.codegen.armv7em.requantise import pair_codes
from mcubench.codegen.program import program_of
from mcubench.cost import BitWidths
from mcubench.graph import deploy, trace
from mcubench.models import DSCNN, CNN1d, LeNet
from mcubench.quant import quantize
from mcubench.quant.grid import Grid
from mcubench.quant.integer import IntegerGraph, predict
from mcubench.quant.integer.ir import Bias, Filter, IntegerNode, IntegerTensor, Kernel
from mcubench.quant.integer.kernels import AveragePool, Convolve, DepthwiseConvolve, FullyConnected, MaxPool

Shape = tuple[int, ...]
Codes = NDArray[np.int8]


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer.

    Attributes:
        name: In C.
        kind: ``convolve``, ``depthwise``, ``dense`` or ``mean``.
        x: Height, width, channels; or taps.
        outputs: Channels.
        window: Rows and columns of taps.
        uses: What the function is called that has to be in the C.
    """

    name: str
    kind: str
    x: Shape
    outputs: int
    uses: str
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    pool: tuple[int, int] | None = None
    bits: int = 8
    relu: bool = True
    zero_point: int = -128
    source_zero: int = -128
    weights: str = "random"
    bias: int = 3000
    spread: float = 1.0


_ONE = ((1, 1), (1, 1))
_PAIRS = [
    Case("pointwise", "convolve", (5, 3, 32), 32, "pairs_"),
    Case("odd_outputs", "convolve", (2, 2, 8), 7, "pairs_"),
    Case("strided", "convolve", (7, 6, 3), 5, "pairs_", (3, 3), (2, 2), _ONE, source_zero=3),
    Case("pooled_signal", "convolve", (1, 12, 6), 16, "pairs_", (1, 5), padding=((0, 0), (2, 2)), pool=(1, 2)),
    Case("pooled_image", "convolve", (12, 12, 1), 8, "pairs_", (5, 5), pool=(2, 2), source_zero=-5),
    Case("pooled_odd", "convolve", (8, 8, 8), 7, "pairs_", (5, 5), pool=(2, 2)),
    Case("pooled_padded", "convolve", (4, 4, 5), 6, "pairs_", (3, 3), padding=_ONE, pool=(2, 2)),
    Case("signed", "convolve", (4, 5, 4), 6, "pairs_", (3, 3), padding=_ONE, relu=False, zero_point=5),
    Case(
        "signed_pooled",
        "convolve",
        (4, 4, 1),
        4,
        "pairs_",
        (3, 3),
        padding=_ONE,
        pool=(2, 2),
        relu=False,
        zero_point=-9,
    ),
    Case("long", "convolve", (1, 11, 20), 4, "pairs_", (1, 9), padding=((0, 0), (4, 4))),
    Case("far_rows", "convolve", (5, 1100, 1), 2, "outputs_", (5, 5), (5, 40)),
    Case("rests", "convolve", (4, 6, 5), 4, "pairs_", (2, 2), (2, 2)),
    Case("dilated", "convolve", (7, 4, 4), 4, "pairs_", (3, 1), dilation=(2, 1), padding=((1, 1), (0, 0))),
    Case("unlike_scales", "convolve", (3, 3, 8), 8, "pairs_", spread=6.0),
    Case("most_unlike", "convolve", (3, 3, 8), 8, "pairs_", spread=90.0),
    Case("dead", "convolve", (3, 3, 8), 8, "pairs_", weights="dead"),
    Case("dead_signed", "convolve", (3, 3, 8), 8, "pairs_", weights="dead", relu=False, zero_point=3),
    Case("largest", "convolve", (3, 3, 16), 6, "pairs_", (2, 2), weights="largest", bias=30000),
]
_DENSE = [
    Case("dense", "dense", (300,), 42, "blocks_"),
    Case("dense_signed", "dense", (42,), 10, "blocks_", relu=False, zero_point=14),
    Case("dense_odd", "dense", (33,), 3, "blocks_"),
    Case("dense_one", "dense", (7,), 1, "blocks_", relu=False, zero_point=0),
    Case("dense_folded", "dense", (1100,), 6, "blocks_", weights="largest"),
    Case("dense_folded_signed", "dense", (1100,), 5, "blocks_", weights="largest", relu=False, zero_point=-7),
    Case("dense_expanded", "dense", (784,), 23, "blocks_", source_zero=3),
]
_OTHERS = [
    Case("first", "convolve", (6, 7, 1), 32, "first_", (3, 3), (2, 2), _ONE, source_zero=3),
    Case("first_odd", "convolve", (5, 5, 1), 7, "first_", (3, 3), source_zero=-128, spread=4.0),
    Case("first_biased", "convolve", (5, 6, 1), 4, "first_", (3, 3), padding=_ONE, bias=60000),
    Case("first_pooled", "convolve", (6, 8, 1), 8, "first_", (3, 3), padding=_ONE, pool=(2, 2), source_zero=9),
    Case("first_pooled_odd", "convolve", (6, 6, 1), 3, "first_", (3, 3), pool=(2, 2), weights="largest"),
    Case("first_pooled_biased", "convolve", (4, 4, 1), 6, "first_", (3, 3), padding=_ONE, pool=(2, 2), bias=60000),
    Case("depth", "depthwise", (5, 6, 8), 8, "depthwise_", (3, 3), padding=_ONE, spread=3.0),
    Case("depth_odd", "depthwise", (6, 7, 12), 12, "depthwise_", (3, 3), padding=_ONE, weights="largest"),
    Case("depth_strided", "depthwise", (6, 9, 4), 4, "depthwise_", (3, 3), (2, 2), _ONE, source_zero=11),
    Case("depth_inside", "depthwise", (3, 21, 4), 4, "depthwise_", (3, 3), (2, 1)),
    Case("depth_wide", "depthwise", (4, 24, 4), 4, "depthwise_", (3, 3), padding=_ONE),
    Case("signal_9", "depthwise", (1, 64, 8), 8, "signal_", (1, 9), padding=((0, 0), (4, 4)), spread=3.0),
    Case("signal_9_strided", "depthwise", (1, 32, 8), 8, "signal_", (1, 9), (1, 2), ((0, 0), (4, 4))),
    Case("signal_5_odd", "depthwise", (1, 13, 4), 4, "signal_", (1, 5), padding=((0, 0), (2, 2)), weights="largest"),
    Case("signal_3", "depthwise", (1, 10, 4), 4, "signal_", (1, 3), padding=((0, 0), (1, 1)), source_zero=7),
    Case("signal_7_strided", "depthwise", (1, 21, 4), 4, "signal_", (1, 7), (1, 2), ((0, 0), (3, 3))),
    Case("first_unlike", "convolve", (5, 5, 1), 8, "first_", (3, 3), spread=60.0),
    Case("first_unlike_biased", "convolve", (5, 5, 1), 8, "first_", (3, 3), spread=60.0, bias=90000),
    Case("first_pooled_unlike", "convolve", (4, 6, 1), 8, "first_", (3, 3), padding=_ONE, pool=(2, 2), spread=60.0),
    Case("depth_unlike", "depthwise", (4, 6, 8), 8, "depthwise_", (3, 3), padding=_ONE, spread=60.0),
    Case("depth_dead", "depthwise", (4, 6, 8), 8, "depthwise_", (3, 3), padding=_ONE, weights="dead"),
    Case("signal_unlike", "depthwise", (1, 12, 8), 8, "signal_", (1, 9), padding=((0, 0), (4, 4)), spread=60.0),
    Case("mean", "mean", (7, 7, 8), 8, "column_means"),
    Case("mean_most", "mean", (16, 16, 4), 4, "column_means"),
]
# What is written as for any core: odd channels in depth, a range that int8 does not saturate to.
_ELSEWHERE = [
    Case("depth_channels", "depthwise", (5, 5, 6), 6, "depthwise_sum", (3, 3), padding=_ONE),
    Case("limited", "convolve", (3, 3, 8), 4, "outputs_", zero_point=-100),
    Case("depth_signed", "depthwise", (5, 5, 8), 8, "depthwise_sum", (3, 3), relu=False, zero_point=3),
]
_UNPACKED = [each for each in (*_PAIRS, *_DENSE, *_OTHERS[:-2]) if each.relu or each.kind == "dense"]
_NARROW = [
    dataclasses.replace(each, name=f"{each.name}_{bits}", bits=bits)
    for index, each in enumerate(_UNPACKED)
    for bits in ((4, 2) if each.kind == "dense" else (4,) if index % 2 else (2,))
]


def _random_case(number: int) -> Case:
    """A layer of any shape, of which each kind comes up in turn."""
    rng = np.random.default_rng(number)

    def one_of(*choices: int) -> int:
        return int(rng.choice(choices))

    kind, uses = [("convolve", "pairs_"), ("dense", "blocks_"), ("depthwise", "depthwise_"), ("depthwise", "signal_")][
        number % 4
    ]
    bits, relu = one_of(8, 8, 4, 2), kind == "depthwise" or number % 3 > 0
    weights = ("random", "largest")[number // 4 % 2]
    case = Case(
        f"random_{number}", kind, (one_of(*range(1, 500)),), one_of(*range(3, 20)), uses if relu else "", bits=bits
    )
    case = dataclasses.replace(case, relu=relu, weights=weights, spread=float(one_of(1, 3, 9)))
    case = dataclasses.replace(case, zero_point=-128 if relu else one_of(-90, 0, 50), source_zero=one_of(-128, 3))
    if kind == "dense":
        return case
    if uses == "signal_":
        channels, taps = 4 * one_of(1, 2), one_of(3, 5, 7, 9)
        x, window, stride = (1, one_of(*range(9, 50)), channels), (1, taps), (1, one_of(1, 2))
        padding = ((0, 0), (one_of(*range(taps // 2 + 1)), taps // 2))
    elif uses == "depthwise_":
        channels = 4 * one_of(1, 2, 3)
        x, window, stride = (one_of(3, 4, 5, 6), one_of(*range(3, 12)), channels), (3, 3), (one_of(1, 2), one_of(1, 2))
        padding = ((one_of(0, 1), 1), (one_of(0, 1), 1))
    else:
        channels = one_of(1, 2, 3, 4, 5, 8)
        x, window, stride = (one_of(6, 7, 8), one_of(6, 7, 9), channels), (one_of(1, 2, 5), one_of(2, 3, 4)), (1, 1)
        padding = ((0, one_of(0, 1)), (one_of(0, 1), 0))
        case = dataclasses.replace(case, pool=[None, (2, 2), (1, 2)][one_of(0, 1, 2)])
    outputs = channels if kind == "depthwise" else case.outputs
    return dataclasses.replace(case, x=x, window=window, stride=stride, padding=padding, outputs=outputs)


_RANDOM = [_random_case(number) for number in range(24)]
CASES = [*_PAIRS, *_DENSE, *_OTHERS, *_ELSEWHERE, *_NARROW, *_RANDOM]


def _filter(case: Case, shape: Shape, axis: int, rng: np.random.Generator) -> Filter:
    limit = (1 << (case.bits - 1)) - 1
    if case.weights == "largest":
        codes = rng.choice([-limit, limit], shape)
        codes.flat[: codes.size // 2] = limit
    else:
        codes = rng.integers(-limit, limit + 1, shape)
    scales = 0.01 * case.spread ** rng.uniform(-1, 1, shape[axis])
    if case.weights == "dead":
        scales[:3] *= [1e-7, 1e-20, 1e-3]
    return Filter("w", torch.from_numpy(codes).to(torch.int8), torch.from_numpy(scales).float(), axis, case.bits)


def _graph(case: Case) -> IntegerGraph:
    """The case with the scale of its output, of several, that leaves most codes within the range."""
    graphs = [_scaled(case, 2.0**power) for power in range(-2, 9)]
    return max(graphs, key=lambda graph: _inner(predict(graph, torch.from_numpy(_samples(graph)))[0].numpy()))


def _inner(codes: Codes) -> float:
    """The share of codes that are not at an end of their range."""
    return float(((codes > -128) & (codes < 127)).mean())


def _scaled(case: Case, factor: float) -> IntegerGraph:
    rng = np.random.default_rng(sum(map(ord, case.name)))
    source = IntegerTensor("x", (1, *case.x), Grid(0.02, case.source_zero))
    if case.kind == "mean":
        height, width, channels = case.x
        output = IntegerTensor("y", (1, 1, 1, channels), source.grid)
        kernel: Kernel = AveragePool((height, width), (height, width), ((0, 0), (0, 0)))
        return IntegerGraph((IntegerNode("n", "layer", kernel, (source,), output),), (source,), (output,), (0,), (0,))
    relu = "relu" if case.relu else None
    if case.kind == "dense":
        shape, axis = (case.outputs, *case.x), 0
    elif case.kind == "depthwise":
        shape, axis = (1, *case.window, case.outputs), 3
    else:
        shape, axis = (case.outputs, *case.window, case.x[2]), 0
    filter_ = _filter(case, shape, axis, rng)
    spread = float(np.sqrt((filter_.codes.numpy().astype(float) ** 2).sum() / case.outputs)) * 74
    bound = max(2, case.bias * ((1 << (case.bits - 1)) - 1) // 127)
    bias = Bias("b", torch.from_numpy(rng.integers(-bound, bound, case.outputs)).to(torch.int32), filter_.scales * 0.02)
    grid = Grid(float(np.float32(0.02 * 0.01 * factor * (spread + bound / 2) / 60)), case.zero_point)
    if case.kind == "dense":
        output = IntegerTensor("y", (1, case.outputs), grid)
        node = IntegerNode("n", "layer", FullyConnected(filter_, bias, relu), (source,), output)
        return IntegerGraph((node,), (source,), (output,), (0,), (0,))
    kind = DepthwiseConvolve if case.kind == "depthwise" else Convolve
    sizes = [
        (case.x[axis] + sum(case.padding[axis]) - (case.window[axis] - 1) * case.dilation[axis] - 1)
        // case.stride[axis]
        + 1
        for axis in range(2)
    ]
    output = IntegerTensor("y", (1, *sizes, case.outputs), grid)
    kernel = kind(filter_, bias, case.stride, case.padding, case.dilation, relu)
    nodes = [IntegerNode("n", "layer", kernel, (source,), output)]
    if case.pool is not None:
        pooled = [size // window for size, window in zip(sizes, case.pool, strict=True)]
        last = IntegerTensor("z", (1, *pooled, case.outputs), grid)
        nodes.append(IntegerNode("p", "pool", MaxPool(case.pool, case.pool, ((0, 0), (0, 0))), (output,), last))
        output = last
    return IntegerGraph(tuple(nodes), (source,), (output,), (0,), (0,))


def _samples(graph: IntegerGraph) -> Codes:
    """Random codes, and those at the ends of their range."""
    shape = graph.inputs[0].shape[1:]
    rng = np.random.default_rng(7)
    random = rng.integers(-128, 128, (3, *shape))
    ends = [np.full(shape, -128), np.full(shape, 127), rng.choice([-128, 127], shape)]
    return np.concatenate([random, ends]).astype(np.int8)


@dataclasses.dataclass(frozen=True)
class Written:
    """A case in C, and what it has to compute."""

    case: Case
    project: Project
    inputs: Codes
    expected: Codes


@pytest.fixture(scope="module")
def written() -> list[Written]:
    """All cases."""
    found = []
    for case in CASES:
        graph = _graph(case)
        inputs = _samples(graph)
        (expected,) = predict(graph, torch.from_numpy(inputs))
        project = generate(graph, case.name, "armv7em")
        found.append(Written(case, project, inputs.reshape(len(inputs), -1), expected.numpy().reshape(len(inputs), -1)))
    return [*found, *(_whole(*each) for each in WHOLE)]


# Several layers, whose outputs lie over what is read.
WHOLE = [
    ("whole_image", DSCNN, (1, 10, 13), {"channels": 8}, 8),
    ("whole_signal", DSCNN, (3, 40), {"channels": 8}, 8),
    ("whole_pooled", CNN1d, (6, 32), {"channels": (6, 8)}, 8),
    ("whole_digits", LeNet, (1, 16, 16), {"channels": (4, 6)}, 4),
]


def _whole(name: str, kind: type[nn.Module], shape: Shape, options: dict[str, object], bits: int) -> Written:
    torch.manual_seed(0)
    module, x = kind(shape, 5, **options).train(), torch.randn(16, *shape)
    module(x)
    graph = quantize(deploy(trace(module.eval(), x[:1])), calibration=x, widths=BitWidths(bits, 8, {}))
    codes = graph.encode(x)[0][:4]
    (expected,) = predict(graph, codes)
    project = generate(graph, name, "armv7em")
    case = Case(name, "whole", shape, 5, "blocks_")
    return Written(case, project, codes.numpy().reshape(4, -1), expected.numpy().reshape(4, -1))


def _files(written: Sequence[Written], folder: Path) -> list[Path]:
    for each in written:
        for name, text in each.project.files.items():
            if name.startswith(each.case.name):
                (folder / name).write_text(text, "utf-8")
    return [folder / f"{each.case.name}.c" for each in written]


_WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wcast-align", "-pedantic", "-Werror")


def test_each_case_is_written_by_what_it_is_meant_for(written: list[Written]) -> None:
    for each in written:
        assert each.case.uses in each.project.files[f"{each.case.name}.c"], each.case.name


def test_outputs_vary(written: list[Written]) -> None:
    """A case whose codes were all at an end of their range would hide errors."""
    for each in written:
        assert _inner(each.expected) > 0.1, each.case.name


def test_in_c_on_the_host(written: list[Written], tmp_path: Path) -> None:
    compiler = ["gcc"] if shutil.which("gcc") else [sys.executable, "-m", "ziglang", "cc"]
    library = tmp_path / "all.so"
    flags = [*_WARNINGS, "-O0", "-shared", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover"]
    subprocess.run([*compiler, *flags, *map(str, _files(written, tmp_path)), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for each in written:
        arena = np.full(each.project.arena + 8, 0x55, np.uint8)
        start = -arena.ctypes.data % 4
        for codes, expected in zip(each.inputs, each.expected, strict=True):
            # The input lies at an odd address, between bytes that must not matter.
            around = np.random.default_rng(1).integers(-128, 128, codes.size + 5).astype(np.int8)
            around[1 : 1 + codes.size] = codes
            output = np.full(expected.size + 1, 0x55, np.int8)
            run = getattr(loaded, f"{each.case.name}_run")
            assert (
                run(*map(ctypes.c_void_p, (arena.ctypes.data + start, around.ctypes.data + 1, output.ctypes.data))) == 0
            )
            assert np.array_equal(output[:-1], expected), each.case.name
            assert output[-1] == 0x55, f"{each.case.name} writes behind its output"
        assert (arena[start + each.project.arena :] == 0x55).all(), f"{each.case.name} writes behind its arena"


@pytest.mark.parametrize("core", ["cortex-m4"])
def test_in_assembly_on_a_core(written: list[Written], core: str, tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    from mcubench.target.cores import find_core
    from mcubench.target.image import read_image
    from mcubench.target.machine import INPUT, OUTPUT, Machine
    from mcubench.target.toolchain import compile_for

    flags = [*_WARNINGS, "-O1", "-g0", "-Wl,--no-gc-sections"]
    elf = compile_for(find_core(core), _files(written, tmp_path), "dense_run", tmp_path / "all.elf", flags)
    machine = Machine(find_core(core), read_image(elf))
    arena = machine.lend(max(each.project.arena for each in written))
    machine.map_buffers(8192, 4096)
    for each in written:
        for index, (codes, expected) in enumerate(zip(each.inputs, each.expected, strict=True)):
            place = INPUT + index % 4
            machine.write(INPUT, b"\x55" * 8192)
            machine.write(place, codes.tobytes())
            machine.write(OUTPUT, b"\x55" * (expected.size + 1))
            assert machine.call(f"{each.case.name}_run", arena, place, OUTPUT) == 0
            found = np.frombuffer(machine.read(OUTPUT, expected.size + 1), np.int8)
            assert np.array_equal(found[:-1], expected), f"{each.case.name} at {place:#x}"
            assert found[-1] == 0x55, f"{each.case.name} writes behind its output"


@pytest.mark.parametrize("name", ["strided", "dense", "first_pooled", "depth", "signal_9", "whole_image"])
def test_words_are_loaded_from_where_a_core_can(written: list[Written], name: str) -> None:
    """`measure` refuses code in which a load of several words is not aligned; inputs lie anywhere."""
    pytest.importorskip("unicorn")
    from mcubench.target.cores import find_core
    from mcubench.target.measure import measure

    each = next(each for each in written if each.case.name == name)
    found = measure(each.project, find_core("cortex-m33"), each.inputs, each.expected)
    assert found.different == 0
    assert found.stack_bytes <= 200


def test_sums_that_have_no_room_are_written_otherwise() -> None:
    """Half words have room for sums below 2^23: above, they are folded, or another way is taken."""
    graph = _graph(Case("wide", "convolve", (1, 3, 600), 4, "", (1, 1), weights="largest"))
    (step,) = program_of(graph).steps
    assert pair_codes(step, np.full(4, (1 << 23) - 1), np.arange(4)) is not None
    assert pair_codes(step, np.full(4, 1 << 23), np.arange(4)) is None
    assert "pairs_" not in generate(graph, "wide", "armv7em").files["wide.c"]
