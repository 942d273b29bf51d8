"""Layers for ARMv6-M against the integer graph: the twins in C on the host, and the assembly on an emulated core."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mcubench.codegen import Project, generate
from mcubench.codegen.armv6m import convolution
from mcubench.codegen.armv6m.factors import factors_of
from mcubench.codegen.program import program_of
from mcubench.quant import Grid, IntegerGraph
from mcubench.quant.fixed_point import rescaled
from mcubench.quant.integer import IntegerNode, IntegerTensor, kernels, predict
from mcubench.quant.integer.ir import Bias, Filter, Kernel
from mcubench.quant.integer.kernels.common import same_padding
from mcubench.target import find_core
from tests.codegen.host import Case
from tests.codegen.host import differing as on_host
from tests.target.emulated import differing as on_core

CORE = "cortex-m0"
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wcast-align", "-pedantic", "-Werror"]
NONE = ((0, 0), (0, 0))


class Net:
    """A graph in the making, whose weights are random or all of one size."""

    def __init__(
        self, shape: tuple[int, ...], zero_point: int = -128, bits: int = 8, full: bool = False, seed: int = 0
    ):
        self.bits, self.full, self.random = bits, full, np.random.default_rng(seed)
        self.first = self.last = IntegerTensor("x", (1, *shape), Grid(0.02, zero_point))
        self.nodes: list[IntegerNode] = []

    def filter(self, shape: tuple[int, ...], axis: int) -> Filter:
        limit = 2 ** (self.bits - 1) - 1
        codes = self.random.integers(-limit, limit + 1, shape)
        if self.full:
            codes = np.where(codes < 0, -limit, limit)
        scales = self.random.uniform(0.01, 0.02, shape[axis])
        return Filter(
            "w", torch.tensor(codes, dtype=torch.int8), torch.tensor(scales, dtype=torch.float32), axis, self.bits
        )

    def add(self, kernel: Kernel, shape: tuple[int, ...], grid: Grid) -> Net:
        output = IntegerTensor(f"t{len(self.nodes)}", (1, *shape), grid)
        self.nodes.append(IntegerNode(f"n{len(self.nodes)}", f"layers.{len(self.nodes)}", kernel, (self.last,), output))
        self.last = output
        return self

    def layer(
        self,
        make: Callable[[Filter, Bias], Kernel],
        shape: tuple[int, ...],
        weight: tuple[int, ...],
        taps: int,
        zero_point: int,
        axis: int = 0,
    ) -> Net:
        filter_ = self.filter(weight, axis)
        outputs = weight[axis]
        bias = Bias("b", torch.tensor(self.random.integers(-2000, 2000, outputs), dtype=torch.int32), filter_.scales)
        spread = (taps**0.5) * 75 * (0.6 * 2 ** (self.bits - 1)) * 0.015 * self.last.grid.scale
        return self.add(make(filter_, bias), shape, Grid(float(np.float32(spread / 70)), zero_point))

    def convolve(
        self,
        outputs: int,
        window: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        same: bool = False,
        dilation: tuple[int, int] = (1, 1),
        zero_point: int = -128,
        activation: str | None = "relu",
        depth: int = 0,
    ) -> Net:
        _, height, width, channels = self.last.shape
        padding = same_padding((height, width), window, stride, dilation) if same else NONE
        down, across = (
            (length + sum(around) - (taps - 1) * spread - 1) // step + 1
            for length, around, taps, spread, step in zip(
                (height, width), padding, window, dilation, stride, strict=True
            )
        )
        kind = kernels.DepthwiseConvolve if depth else kernels.Convolve
        weight = (1, *window, channels * depth) if depth else (outputs, *window, channels)
        taps = window[0] * window[1] * (1 if depth else channels)
        return self.layer(
            lambda filter_, bias: kind(filter_, bias, stride, padding, dilation, activation),
            (down, across, weight[3] if depth else outputs),
            weight,
            taps,
            zero_point,
            3 if depth else 0,
        )

    def depthwise(
        self,
        window: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        same: bool = True,
        multiple: int = 1,
        **options: object,
    ) -> Net:
        return self.convolve(0, window, stride, same, depth=multiple, **options)  # type: ignore[arg-type]

    def pool(self, window: tuple[int, int]) -> Net:
        _, height, width, channels = self.last.shape
        shape = height // window[0], width // window[1], channels
        return self.add(kernels.MaxPool(window, window, NONE), shape, self.last.grid)

    def mean(self) -> Net:
        _, height, width, channels = self.last.shape
        return self.add(kernels.AveragePool((height, width), (height, width), NONE), (1, 1, channels), self.last.grid)

    def dense(self, outputs: int, zero_point: int = -128, activation: str | None = "relu") -> Net:
        taps = self.last.size
        if self.last.shape != (1, taps):
            self.add(kernels.Reshape(), (taps,), self.last.grid)
        return self.layer(
            lambda filter_, bias: kernels.FullyConnected(filter_, bias, activation),
            (outputs,),
            (outputs, taps),
            taps,
            zero_point,
        )

    def graph(self) -> IntegerGraph:
        return IntegerGraph(tuple(self.nodes), (self.first,), (self.last,), (0,), (0,))


NETS: dict[str, Callable[[], Net]] = {
    "images of one channel, pooled": lambda: Net((12, 14, 1), 3).convolve(5, (3, 3), same=True).pool((2, 2)).dense(11),
    "taps in parts, pooled": lambda: Net((12, 12, 8)).convolve(3, (5, 5)).pool((2, 2)).dense(3, 7, None),
    "taps in three parts": lambda: Net((5, 5, 31)).convolve(2, (4, 4)),
    "columns in parts": lambda: Net((1, 12, 40)).convolve(3, (1, 5), same=True),
    "signals, pooled, odd": lambda: Net((1, 38, 5), -9).convolve(7, (1, 5), same=True).pool((1, 2)).convolve(3, (1, 9)),
    "one position left over": lambda: Net((7, 7, 9), -128).convolve(6, (1, 1)).mean().dense(9, -3, None),
    "strides, zeros around": (
        lambda: Net((13, 9, 3), 20).convolve(6, (3, 4), (2, 3), True).convolve(5, (2, 2), same=True)
    ),
    "apart": (
        lambda: Net((11, 12, 3), 0).convolve(4, (3, 2), dilation=(2, 3)).convolve(2, (2, 2), (1, 2), dilation=(3, 1))
    ),
    "codes below that of 0": lambda: Net((6, 9, 4), 12).convolve(5, (3, 3), same=True, zero_point=4, activation=None),
    "limits on both sides": lambda: Net((6, 9, 4), 12).convolve(5, (3, 3), zero_point=-20, activation="relu6"),
    "depth": lambda: Net((9, 14, 3)).depthwise((3, 3)).depthwise((3, 3), (2, 2)).depthwise((2, 5), same=False).mean(),
    "depth, signals": (
        lambda: Net((1, 70, 4), 5).depthwise((1, 9)).depthwise((1, 9), (1, 2)).depthwise((1, 3), multiple=2)
    ),
    "depth, apart, many taps": (
        lambda: Net((9, 9, 2), -100).depthwise((7, 7)).depthwise((3, 3), dilation=(2, 3), multiple=3)
    ),
    "depth, codes below that of 0": lambda: Net((6, 6, 3)).depthwise((3, 3), zero_point=3, activation=None),
    "all weights of one size": (
        lambda: Net((8, 8, 4), 2, full=True).convolve(6, (3, 3)).depthwise((3, 3)).dense(5, 0, None)
    ),
    "dense": lambda: Net((301,), 3).dense(42).dense(10, 14, None),
    "dense, much": lambda: Net((2000,), 100, full=True).dense(3),
    "4 bits": (
        lambda: Net((7, 9, 5), 2, 4).convolve(6, (3, 3), same=True).depthwise((3, 3)).convolve(5, (1, 1)).dense(9, 3)
    ),
    "4 bits, taps in parts": lambda: Net((9, 9, 9), bits=4, full=True).convolve(3, (5, 5)).dense(12, 9, None),
    "2 bits": (
        lambda: Net((7, 9, 5), 2, 2).convolve(6, (3, 3), same=True).depthwise((3, 3)).convolve(5, (1, 1)).dense(9, 3)
    ),
    "2 bits, taps in parts": lambda: Net((9, 9, 9), bits=2, full=True).convolve(3, (5, 5)).dense(12, 9, None),
}


def random_net(seed: int) -> Net:
    """Two or three layers of random kinds, shapes and widths."""
    random = np.random.default_rng(seed)

    def any_of(*choices: int) -> int:
        return int(random.choice(choices))

    height, width = any_of(1, 3, 5, 8, 11), any_of(4, 7, 10, 13, 40)
    shape = height, width, any_of(1, 2, 3, 4, 7, 12)
    net = Net(shape, any_of(-128, -128, 5, 127), any_of(8, 8, 4, 2), bool(random.integers(2)), seed)
    for _ in range(any_of(1, 2)):
        _, height, width, channels = net.last.shape
        window = min(any_of(1, 2, 3, 5), height), min(any_of(1, 2, 3, 5), width)
        spread = (1, 1) if random.integers(3) else (2, 2)
        same = bool(random.integers(2)) or any(
            (taps - 1) * step >= length for taps, step, length in zip(window, spread, (height, width), strict=True)
        )
        options = {"same": same, "dilation": spread, "zero_point": any_of(-128, -128, -100)}
        stride = (any_of(1, 1, 2), any_of(1, 1, 2))
        if random.integers(3):
            net.convolve(any_of(1, 3, 4, 6), window, stride, **options)
            pool = any_of(1, 2), any_of(1, 2)
            if net.last.shape[1] >= pool[0] and net.last.shape[2] >= pool[1] and random.integers(2):
                net.pool(pool)
        else:
            net.depthwise(window, stride, multiple=any_of(1, 1, 2) if channels < 8 else 1, **options)
    return net.dense(any_of(1, 3, 10, 13), 0, None) if random.integers(2) else net


NETS |= {f"random {seed}": lambda seed=seed: random_net(seed) for seed in range(6)}


def samples(graph: IntegerGraph) -> torch.Tensor:
    """Random codes, both ends, and both ends side by side."""
    shape = graph.inputs[0].shape[1:]
    random = torch.randint(-128, 128, (2, *shape), generator=torch.Generator().manual_seed(1))
    ends = torch.where(torch.arange(random[0].numel()) % 2 == 0, -128, 127).reshape(shape)
    return torch.cat([random, torch.full((1, *shape), -128), torch.full((1, *shape), 127), ends[None]]).to(torch.int8)


def written(folder: Path, project: Project) -> str:
    for name, text in project.files.items():
        (folder / name).write_text(text)
    return str(folder / f"{project.name}.c")


@pytest.mark.parametrize("name", NETS)
def test_twins_give_the_bytes_of_the_graph_wherever_the_input_lies(name: str, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    graph = NETS[name]().graph()
    project = generate(graph, "net", "armv6m")
    command = [compiler, "-O1", "-shared", "-fPIC", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover"]
    subprocess.run([*command, written(tmp_path, project), "-o", str(tmp_path / "net.so")], check=True)
    run = ctypes.CDLL(str(tmp_path / "net.so")).net_run
    codes = samples(graph)
    expected = predict(graph, codes)[0].reshape(len(codes), -1).numpy()
    arena = np.zeros(project.arena // 4 + 2, np.int32)
    source, found = np.zeros(codes[0].numel() + 4, np.int8), np.zeros(expected.shape[1] + 1, np.int8)
    for number, sample in enumerate(codes.reshape(len(codes), -1).numpy()):
        start = number % 4
        source[start : start + len(sample)] = sample
        arena[:], found[:] = 0x55555555, 0x55
        pointers = arena.ctypes.data, source.ctypes.data + start, found.ctypes.data
        assert run(*map(ctypes.c_void_p, pointers)) == 0
        np.testing.assert_array_equal(found[:-1], expected[number])
        assert found[-1] == 0x55
        assert (arena[-(-project.arena // 4) :] == 0x55555555).all()


@pytest.mark.parametrize("name", NETS)
def test_assembly_gives_the_bytes_of_the_graph(name: str) -> None:
    pytest.importorskip("unicorn")
    pytest.importorskip("ziglang")
    from mcubench.target import find_core
    from mcubench.target.measure import measure

    graph = NETS[name]().graph()
    codes = samples(graph)
    found = measure(generate(graph, "net", "armv6m"), find_core(CORE), codes.numpy(), predict(graph, codes)[0].numpy())
    assert found.different == 0
    assert found.stack_bytes <= 240


@pytest.mark.parametrize(("bits", "activation"), [(8, "relu"), (8, None), (4, "relu6"), (2, None)])
def test_factors_put_every_step_where_two_roundings_have_it(bits: int, activation: str | None) -> None:
    net = Net((3, 3, 8), -7, bits).convolve(
        24, (3, 3), zero_point=-128 if activation == "relu" else 11, activation=activation
    )
    factors = factors_of(program_of(net.graph()).steps[0])
    assert factors is not None
    scaling = factors.rescaling
    top = (1 << (32 - factors.split)) - 1
    sums = torch.arange(0 if factors.rectified else -top, top + 1)
    for channel, (both, start) in enumerate(factors.words.astype(np.int64).tolist()):
        exact = rescaled(sums, int(scaling.multipliers[channel]), int(scaling.exponents[channel]))
        size = sums.abs()
        steps = (size * (both >> 16) + ((size * (both & 0xFFFF)) >> factors.split) + start) >> factors.shift
        found = torch.where(sums < 0, -steps, steps) + scaling.zero_point
        limits = scaling.low, scaling.high
        reached = steps < 1 << (32 - factors.shift)  # beyond, sums are larger than any that the layer can have
        assert torch.equal(found.clamp(*limits)[reached], (exact + scaling.zero_point).clamp(*limits)[reached])


def test_what_is_not_written_in_assembly_is_written_in_c99() -> None:
    net = Net((6, 6, 3)).convolve(4, (3, 3)).pool((3, 1)).graph()
    assert generate(net, "net", "armv6m").files["net.c"].replace("armv6m", "c99") == generate(net, "net").files["net.c"]


def test_layers_without_factors_round_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no factors put every step in its place, sums are still made in assembly, and codes as the kernels do."""
    monkeypatch.setattr(convolution, "factors_of", lambda _: None)
    found = []
    for number, net in enumerate(
        (
            Net((6, 6, 3)).convolve(8, (3, 3)).graph(),
            Net((8, 8, 4), -7).convolve(6, (3, 3), zero_point=11, activation=None).graph(),
            Net((8, 8, 4)).convolve(6, (3, 3)).pool((2, 2)).graph(),
        )
    ):
        codes = torch.randint(-128, 128, (6, *net.inputs[0].shape[1:]), dtype=torch.int8).numpy()
        project = generate(net, f"m{number}", "armv6m")
        assert "exact_codes(" in project.files[project.source]
        found.append(Case(f"net {number}", net, codes, project))
    assert on_host(found, tmp_path) == {}
    assert on_core(found, find_core(CORE), tmp_path) == {}
