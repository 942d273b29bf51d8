"""The GRU in integers: a second implementation, TFLite Micro's operators step by step, and the float layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mcubench.export.interpreters import run_tflm
from mcubench.export.tflite import operators_of, to_tflite
from mcubench.export.unrolled import unrolled
from mcubench.graph import deploy, trace
from mcubench.quant import quantize
from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer import IntegerGraph, IntegerNode, IntegerTensor, Stream, kernels, predict
from mcubench.quant.integer.ir import Bias, Filter
from mcubench.quant.integer.kernels.recurrent import GATE
from tests.quant.recurrent_nets import codes_for, gru_graph, plain_gru

SIZES = st.tuples(st.integers(1, 14), st.integers(1, 9), st.integers(1, 9))


def drawn(seed: int, sizes: tuple[int, int, int], loud: float, biased: bool) -> tuple[IntegerGraph, torch.Tensor]:
    generator = np.random.default_rng(seed)
    graph = gru_graph(generator, *sizes, loud=loud, biased=biased)
    return graph, codes_for(graph, generator, 3)


@settings(max_examples=40)
@given(st.integers(0, 2**16), SIZES, st.sampled_from([0.1, 1.0, 30.0]), st.booleans())
def test_plain_integers_give_the_same(seed: int, sizes: tuple[int, int, int], loud: float, biased: bool) -> None:
    graph, codes = drawn(seed, sizes, loud, biased)
    (ours,) = predict(graph, codes)
    assert ours.tolist() == [plain_gru(graph, sample) for sample in codes.tolist()]


@settings(max_examples=40)
@given(st.integers(0, 2**16), SIZES, st.sampled_from([0.1, 1.0, 30.0]), st.booleans())
def test_tflite_micros_operators_give_the_same(
    seed: int, sizes: tuple[int, int, int], loud: float, biased: bool
) -> None:
    """Step by step, in its interpreter and in ours."""
    graph, codes = drawn(seed, sizes, loud, biased)
    (ours,) = predict(graph, codes)
    assert torch.equal(predict(unrolled(graph), codes)[0], ours)
    (theirs,) = run_tflm(to_tflite(graph), codes.numpy())
    assert (ours.numpy() != theirs).sum() == 0


def test_more_steps_than_one_concatenation_takes() -> None:
    """CONCATENATION takes ten: 128 states are joined in three rounds."""
    graph, codes = drawn(0, (128, 3, 4), 1.0, True)
    assert (run_tflm(to_tflite(graph), codes.numpy())[0] != predict(graph, codes)[0].numpy()).sum() == 0
    assert len(unrolled(graph).nodes) <= 20 * 128 + 16


def test_operators_that_are_needed() -> None:
    found = set(operators_of(drawn(0, (4, 3, 4), 1.0, True)[0]))
    assert found == {
        *("QUANTIZE", "STRIDED_SLICE", "FULLY_CONNECTED", "LOGISTIC", "TANH", "MUL", "ADD", "SUB", "CONCATENATION")
    }


class OneLayer(nn.Module):
    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sequence: torch.Tensor = self.layer(x)[0]
        return sequence


def test_states_at_both_ends_are_those_of_the_float_layer() -> None:
    """Kept states near 1 and new values near -1: a product with the difference, of up to 2, has no room in 16 bits."""
    torch.manual_seed(0)
    layer = nn.GRU(1, 2, batch_first=True)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([[0.0], [0.0], [-3.0], [3.0], [6.0], [-6.0]]))
        layer.weight_hh_l0.zero_()
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    x = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, 0.2, 1.0, -1.0]).reshape(1, 8, 1)
    module = OneLayer(layer).eval()
    integer = quantize(deploy(trace(module, x)), calibration=x)
    found = integer.decode(*predict(integer, *integer.encode(x)))[0]
    assert (found - module(x)).abs().max() < 2 * integer.outputs[0].grid.scale


def test_ten_thousand_steps_one_by_one_are_the_whole() -> None:
    graph, codes = drawn(1, (10_000, 3, 4), 1.0, True)
    whole, stream = predict(graph, codes[:1])[0], Stream(graph)
    steps = torch.cat([stream.step(each)[0] for each in codes[:1].split(1, 1)], 1)
    assert torch.equal(steps, whole)
    assert len(whole[0, 5_000:].unique()) > 10  # it has not come to rest


FULL = [127] * 160 + [1]  # codes that make any sum up to 2.5 million with some weights


def weights_for(sums: list[int]) -> torch.Tensor:
    """Codes whose products with `FULL` have these sums, (sums, 161)."""
    rows = []
    for total in sums:
        left, row = round(total / 127), []
        for _ in FULL[:-1]:
            row.append(max(-127, min(127, left)))
            left -= row[-1]
        rows.append([*row, total - 127 * round(total / 127)])
    return torch.tensor(rows, dtype=torch.int8)


@pytest.mark.parametrize("kind", ["dense", "dense in 16 bits", "product"])
def test_the_factor_of_products_is_one_in_double_precision(kind: str) -> None:
    """Sums at which a product of scales in single precision would round otherwise: TFLite Micro's wheel has none."""
    bits = 16 if "16" in kind else 8
    generator, chosen = np.random.default_rng(0), torch.empty(0)
    sums = torch.arange(-(10**5), 10**5) if bits == 16 else torch.arange(-2_400_000, 2_400_000)
    while not len(chosen):
        source = Grid(float(np.float32(generator.uniform(0.005, 0.01))), 0, bits)
        scales = torch.tensor([generator.uniform(0.001, 0.01)], dtype=torch.float32)
        double = source.scale * float(scales[0])
        target = GATE if bits == 16 else Grid(float(np.float32(double * generator.uniform(22_000, 26_000))), 0)
        single = float((scales * torch.tensor(source.scale, dtype=torch.float32))[0])
        a, b = (rescaled(sums, *multiplier_of(each / target.scale)).clamp(*target.ends) for each in (single, double))
        chosen, expected = sums[a != b][:40], b[a != b][:40]
    weights, count = weights_for(chosen.tolist()), len(chosen)
    assert torch.equal(weights.long() @ torch.tensor(FULL), chosen)
    x = IntegerTensor("x", (1, 1, len(FULL)), source, width=bits // 8)
    y = IntegerTensor("y", (1, 1, count), target, width=bits // 8)
    codes = [torch.tensor(FULL, dtype=source.dtype)[None, None]]
    if kind == "product":
        other = IntegerTensor("other", (1, len(FULL), count), Grid(float(scales[0]), 0))
        kernel: kernels.BatchMatmul | kernels.FullyConnected = kernels.BatchMatmul()
        inputs, codes = (x, other), [*codes, weights.T[None].contiguous()]
    else:
        bias = Bias("b", torch.zeros(count, dtype=torch.int32), scales * source.scale) if bits == 16 else None
        kernel, inputs = kernels.FullyConnected(Filter("w", weights, scales, 0, 8), bias), (x,)  # type: ignore[assignment]
    graph = IntegerGraph((IntegerNode("n", "n", kernel, inputs, y),), inputs, (y,), (0,) * len(inputs), (0,))
    (theirs,) = run_tflm(to_tflite(graph), *(each.numpy() for each in codes))
    assert theirs.ravel().tolist() == expected.tolist()
    assert torch.equal(predict(graph, *codes)[0].flatten().long(), expected)


def test_a_state_that_is_not_reset_is_another_result() -> None:
    """The guard of the streaming test: what is kept matters."""
    graph, codes = drawn(2, (6, 3, 4), 1.0, True)
    stream = Stream(graph)
    first = [stream.step(each)[0] for each in codes.split(1, 1)]
    again = [stream.step(each)[0] for each in codes.split(1, 1)]
    stream.reset()
    anew = [stream.step(each)[0] for each in codes.split(1, 1)]
    assert not torch.equal(torch.cat(first), torch.cat(again))
    assert torch.equal(torch.cat(first), torch.cat(anew))


def test_unrolled_leaves_other_graphs_alone() -> None:
    graph = gru_graph(np.random.default_rng(0), 3, 2, 2)
    plain = replace(graph, nodes=())
    assert unrolled(plain).nodes == ()
