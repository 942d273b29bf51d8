"""Attention and norms in int8: bytes of TFLite Micro for random shapes and grids, and how near to float they are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.graph import deploy, trace
from mcubench.quant import Grid, calibrate, layer_noise
from mcubench.quant.integer import kernels, predict
from mcubench.quant.integer.gemmlowp import inverse_root
from tests.quant.test_kernels import GRIDS
from tests.quant.witness import both_of_codes, differing, one_kernel, quantized, seeded

UNIT = Grid(1 / 128, 0)


def codes(*shape: int, seed: int) -> Tensor:
    return torch.randint(-128, 128, shape, generator=torch.Generator().manual_seed(seed)).to(torch.int8)


@settings(max_examples=100)
@given(
    st.tuples(*(st.integers(1, 20) for _ in range(3))),
    st.sampled_from([(1, 1), (3, 3), (1, 3), (3, 1)]),
    st.tuples(st.booleans(), st.booleans()),
    st.tuples(GRIDS, GRIDS, GRIDS),
)
def test_products_of_random_shapes_and_grids(
    sizes: tuple[int, int, int], counts: tuple[int, int], turned: tuple[bool, bool], grids: tuple[Grid, Grid, Grid]
) -> None:
    rows, terms, columns = sizes
    left = (counts[0], *((terms, rows) if turned[0] else (rows, terms)))
    right = (counts[1], *((columns, terms) if turned[1] else (terms, columns)))
    result = (max(counts), rows, columns)
    graph = one_kernel(kernels.BatchMatmul(*turned), [(left, grids[0]), (right, grids[1])], (result, grids[2]))
    assert differing(*both_of_codes(graph, codes(4, *left, seed=1), codes(4, *right, seed=2))) == 0


@settings(max_examples=60)
@given(st.integers(1, 300), GRIDS, st.sampled_from([0.0, 0.5, 2.0, 20.0, 200.0]))
def test_rows_of_any_length_and_loudness(length: int, grid: Grid, loudness: float) -> None:
    """Rows of zeros, and of a single code beside them, too."""
    graph = one_kernel(kernels.L2Normalize(), [((5, length), grid)], ((5, length), UNIT))
    x = (loudness * seeded(4, 5, length) + grid.zero_point).round().clamp(-128, 127).to(torch.int8)
    assert differing(*both_of_codes(graph, x)) == 0


def test_inverse_roots_are_near_the_real_ones() -> None:
    x = torch.cat([torch.arange(1, 5000), torch.logspace(3, 31, 2000, 2, dtype=torch.double).long() - 1])
    multipliers, exponents = inverse_root(x)
    found = multipliers.double() * 2.0 ** (exponents.double() - 31)
    assert float((found * x.double().sqrt() - 1).abs().max()) < 1e-5
    assert [int(each) for each in inverse_root(torch.tensor([0]))] == [2**31 - 1, 0]


def decibels(wanted: Tensor, found: Tensor) -> float:
    return float(10 * torch.log10(wanted.square().sum() / (found - wanted).square().sum()))


def quality(module: nn.Module, x: Tensor) -> float:
    """Signal to noise of the whole, the rounding of its input included."""
    integer = quantized(module, x)
    found = integer.decode(*predict(integer, *integer.encode(x)))[0]
    with torch.no_grad():
        wanted = module(x)
    return decibels(wanted, found.reshape(wanted.shape))


@pytest.mark.parametrize(("length", "least"), [(16, 33), (32, 32), (64, 31), (128, 28), (256, 26)])
def test_layer_norms_are_near_to_float(length: int, least: float) -> None:
    """Less by 3 dB for twice the length, once the grid of rows of length 1 has fewer levels than that of the input."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(length)
    nn.init.normal_(norm.weight, 1, 0.2)
    nn.init.normal_(norm.bias, 0, 0.2)
    x = seeded(64, 20, length) + 0.3 * seeded(64, 20, 1, seed=1)
    assert quality(norm, x) > least


def test_quiet_rows_beside_loud_ones() -> None:
    """Rows that are eight times quieter lose what the grid of the input leaves them, and no more than 3 dB besides."""
    loudness = torch.logspace(0, -3, 4, 2)[:, None]
    x = seeded(256, 4, 32) * loudness
    integer = quantized(nn.LayerNorm(32), x)
    found = integer.decode(*predict(integer, *integer.encode(x)))[0].reshape(x.shape)
    (source,) = (each.grid for each in integer.inputs)
    for row in range(4):
        wanted, rounded = (F.layer_norm(each[:, row], (32,)) for each in (x, source.values(source.codes(x))))
        assert decibels(wanted, found[:, row]) > min(decibels(wanted, rounded) - 5, 31)


@pytest.mark.parametrize(("size", "least"), [(1e-3, 26), (1e-2, 30), (1.0, 31)])
def test_eps_counts_where_values_are_small(size: float, least: float) -> None:
    """At a standard deviation of 1e-3, a third of the root of eps, the result is a third as loud as of loud rows."""
    assert quality(nn.LayerNorm(32), size * seeded(64, 20, 32)) > least


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_is_near_to_float(heads: int, norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, heads, 32, activation="gelu", batch_first=True, norm_first=norm_first)
    assert quality(layer.eval(), seeded(64, 20, 16)) > 27


def test_norms_stay_layers_in_the_float_graph() -> None:
    """Parts have ranges, and no place in the graph that they are parts of."""
    x = seeded(16, 7, 12)
    graph = deploy(trace(nn.LayerNorm(12), x[:1]))
    ranges = {value.name: ends for value, ends in calibrate(graph, x).items()}
    assert [node.op.label for node in graph.nodes] == ["LayerNorm"]
    parts = [f"layer_norm.{part}" for part in ("mean", "centred", "unit")]
    assert list(ranges)[1:] == [*parts, "layer_norm"]
    assert ranges["layer_norm.centred"][1] == pytest.approx(float((x - x.mean(-1, keepdim=True)).max()))
    assert [each.name for each in layer_noise(graph, quantized(nn.LayerNorm(12), x), x)][-1] == "layer_norm"
