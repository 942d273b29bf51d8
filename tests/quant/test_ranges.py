"""Kernels at the ends of their ranges, on any grids: 0 bytes off TFLite Micro."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mcubench.quant import Grid, IntegerGraph
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import Kernel
from tests.graph.compare import randomised
from tests.quant.nets import BEHIND, NETS
from tests.quant.test_kernels import GRIDS
from tests.quant.witness import both_of_codes, differing, one_kernel, quantized, seeded

CODES = torch.arange(-128, 128)
PAIRS = torch.cartesian_prod(CODES, CODES).to(torch.int8)

ON_ANY_GRIDS: dict[str, Callable[[], Kernel]] = {
    "ADD": kernels.Add,
    "SUB": kernels.Subtract,
    "MUL": kernels.Multiply,
    "PRELU": kernels.PRelu,
}
ON_ONE_GRID: dict[str, Callable[[], Kernel]] = {"MAXIMUM": kernels.Maximum, "MINIMUM": kernels.Minimum}


def off(graph: IntegerGraph, *codes: Tensor) -> int:
    """How many bytes differ."""
    return differing(*both_of_codes(graph, *codes))


def ends(*shape: int) -> Tensor:
    """The smallest and the largest code at random."""
    return (torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(0)) * 255 - 128).to(torch.int8)


@pytest.mark.parametrize("name", ON_ANY_GRIDS)
@settings(max_examples=20)
@given(first=GRIDS, second=GRIDS, target=GRIDS)
def test_every_pair_of_codes(name: str, first: Grid, second: Grid, target: Grid) -> None:
    shape = (len(PAIRS),)
    graph = one_kernel(ON_ANY_GRIDS[name](), [(shape, first), (shape, second)], (shape, target))
    assert off(graph, PAIRS[None, :, 0], PAIRS[None, :, 1]) == 0


@pytest.mark.parametrize("name", ON_ONE_GRID)
def test_every_pair_of_codes_on_one_grid(name: str) -> None:
    grid, shape = Grid(1 / 16, 3), (len(PAIRS),)
    graph = one_kernel(ON_ONE_GRID[name](), [(shape, grid), (shape, grid)], (shape, grid))
    assert off(graph, PAIRS[None, :, 0], PAIRS[None, :, 1]) == 0


@given(source=GRIDS)
@settings(max_examples=20)
def test_relu6_of_every_code(source: Grid) -> None:
    assert off(one_kernel(kernels.Relu6(), [((256,), source)], ((256,), source)), CODES.to(torch.int8)[None]) == 0


@pytest.mark.parametrize("kernel", [kernels.Sum, kernels.Mean])
@settings(max_examples=20)
@given(source=GRIDS, target=GRIDS, size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kept=st.booleans())
def test_sums_and_means_of_the_ends(
    kernel: type[kernels.Sum | kernels.Mean], source: Grid, target: Grid, size: tuple[int, int], kept: bool
) -> None:
    graph = one_kernel(kernel((1, 2)), [((*size, 3), source)], ((1, 1, 3) if kept else (3,), target))
    codes = torch.cat([ends(6, *size, 3), torch.full((1, *size, 3), -128), torch.full((1, *size, 3), 127)])
    assert off(graph, codes.to(torch.int8)) == 0


@settings(max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.booleans())
def test_images_of_the_ends_resized(sizes: list[int], align_corners: bool) -> None:
    grid, (height, width, down, across) = Grid(1 / 16, 3), sizes
    graph = one_kernel(kernels.ResizeBilinear(align_corners), [((height, width, 3), grid)], ((down, across, 3), grid))
    assert off(graph, ends(8, height, width, 3)) == 0


@pytest.mark.parametrize(
    ("name", "bits"), [*((name, bits) for name in NETS for bits in (8, 4, 2)), *((name, 8) for name in BEHIND)]
)
def test_weights_and_inputs_at_their_ends(name: str, bits: int) -> None:
    """All weights are of one size, so that their codes are the largest there are: +-127, +-7, +-1."""
    make, shape, _ = (NETS | BEHIND)[name]
    torch.manual_seed(0)
    module = randomised(make())
    with torch.no_grad():
        for each in module.parameters():
            each.copy_(torch.where(torch.rand_like(each) < 0.5, -1.0, 1.0))
    graph = quantized(module, 2 * seeded(32, *shape), bits)
    assert off(graph, ends(32, *graph.inputs[0].shape[1:])) == 0


def test_a_factor_that_is_off_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, shape = Grid(1 / 16, 3), (len(PAIRS),)
    graph = one_kernel(kernels.Multiply(), [(shape, grid), (shape, grid)], (shape, Grid(1 / 2, 0)))
    right = kernels.elementwise.product_factor
    monkeypatch.setattr(
        kernels.elementwise, "product_factor", lambda *grids: (right(*grids)[0] + (1 << 16), right(*grids)[1])
    )
    assert off(graph, PAIRS[None, :, 0], PAIRS[None, :, 1]) > 0
