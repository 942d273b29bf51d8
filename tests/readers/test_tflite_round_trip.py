"""What mcubench writes and reads again: the integer graph it was written from, and costs of the module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, note, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench import models
from mcubench.cost import profile_graph
from mcubench.export.tflite import to_tflite
from mcubench.graph import trace
from mcubench.quant import Grid, IntegerGraph, NotInIntegersError
from mcubench.quant.integer.ir import Filter
from mcubench.readers.tflite import Tflite, read_tflite
from tests.graph.compare import batch_like, randomised
from tests.graph.test_random_architectures import architectures
from tests.quant.nets import BEHIND, NETS
from tests.quant.test_random_architectures import REFUSED
from tests.quant.witness import quantized, seeded
from tests.readers.same import differences

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")

# A norm ends with another layer in integers; the module's own shuffle is not traced.
OTHER_MACS = {name for name in BEHIND | NETS if " norm" in name} | {"channels shuffled", "an encoder"}

MODELS = {
    "MLP": ((1, 28, 28), models.MLP),
    "CNN": ((1, 28, 28), models.CNN),
    "LeNet": ((1, 28, 28), models.LeNet),
    "DSCNN": ((1, 28, 28), models.DSCNN),
    "CNN1d": ((6, 128), models.CNN1d),
}


def check(graph: IntegerGraph) -> Tflite:
    found = read_tflite(to_tflite(graph))
    assert found.integer is not None, found.not_integer
    assert list(differences(graph, found.integer)) == []
    return found


@pytest.mark.parametrize("name", {**NETS, **BEHIND})
def test_a_net_of_a_layer_or_two(name: str) -> None:
    make, shape, _ = {**NETS, **BEHIND}[name]
    torch.manual_seed(0)
    module, x = randomised(make()), seeded(16, *shape)
    found = check(quantized(module, x))
    assert found.graph.notes == ()
    if name not in OTHER_MACS:
        assert profile_graph(found.graph, "").macs == profile_graph(trace(module, x[:1]), "").macs


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("name", MODELS)
def test_a_model(name: str, bits: int) -> None:
    shape, kind = MODELS[name]
    torch.manual_seed(0)
    model: Any = kind(input_shape=shape, num_classes=10)
    graph = quantized(randomised(model), seeded(8, *shape), bits)
    found = check(graph)
    report, wanted = profile_graph(found.graph, "", found.widths), profile_graph(trace(model, seeded(1, *shape)), "")
    assert report.macs == wanted.macs
    if bits == 8:
        assert report.flash_bytes == wanted.flash_bytes


@settings(max_examples=200)
@given(architectures(int8=True), st.sampled_from([8, 8, 4, 2]))
def test_random_architectures(drawn: tuple[nn.Module, Tensor], bits: int) -> None:
    module, example = drawn
    note(str(module))
    try:
        graph = quantized(module, batch_like(example, samples=8), bits)
    except NotInIntegersError as error:
        if not REFUSED.search(str(error)):
            raise
        reject()
    check(graph)


def one_code(filter_: Filter) -> Filter:
    codes = filter_.codes.clone()
    codes.view(-1)[0] += 1 if codes.view(-1)[0] < 0 else -1
    return replace(filter_, codes=codes)


def test_a_difference_is_seen() -> None:
    """A code, a scale, a zero point, a stride, an operand: each changed by hand."""
    torch.manual_seed(0)
    graph = quantized(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1)).eval(), seeded(8, 2, 6, 6))
    first, second = graph.nodes
    kernel: Any = first.kernel
    grid = first.output.grid
    for changed in (
        replace(first, kernel=replace(kernel, filter=one_code(kernel.filter))),
        replace(first, kernel=replace(kernel, stride=(1, 2))),
        replace(first, kernel=replace(kernel, activation=None)),
        replace(first, output=replace(first.output, grid=Grid(grid.scale * 1.01, grid.zero_point))),
        replace(first, output=replace(first.output, grid=Grid(grid.scale, grid.zero_point + 1))),
    ):
        assert list(differences(graph, replace(graph, nodes=(changed, second))))
    assert list(differences(graph, replace(graph, nodes=(second, first))))
    assert list(differences(graph, graph)) == []
