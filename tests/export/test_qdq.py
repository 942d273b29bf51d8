"""ONNX: onnx's checker and onnxruntime are the witnesses, the integer graph is the reference."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench.cost import BitWidths
from mcubench.graph import Graph, deploy, trace
from mcubench.models import CNN, DSCNN, MLP, CNN1d
from mcubench.quant import interpret_fake, quantize
from mcubench.quant.integer import IntegerGraph, predict
from tests.quant.test_embedding import TOKENS, Tokens

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from mcubench.export.qdq import METADATA, to_onnx  # noqa: E402

SAMPLES = 200


class Residual(nn.Module):
    """Adds, concatenates, multiplies, with a transposed convolution and a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(12, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x).relu()
        b = self.second(a) + a
        y = self.up(torch.cat([a, b * torch.sigmoid(a)], 1))
        return self.head(y.mean((2, 3)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Attention, norms, and the mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(12, 1, 16, activation="gelu", batch_first=True).eval()
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))  # type: ignore[no-any-return]


CASES = [
    pytest.param(lambda: MLP((1, 8, 8), 10), (1, 8, 8), 8, id="MLP"),
    pytest.param(lambda: CNN((1, 8, 8), 10, channels=8), (1, 8, 8), 4, id="CNN"),
    pytest.param(lambda: CNN1d((6, 32), 5), (6, 32), 2, id="CNN1d", marks=pytest.mark.slow),
    pytest.param(lambda: DSCNN((1, 12, 12), 10), (1, 12, 12), 8, id="DSCNN", marks=pytest.mark.slow),
    pytest.param(Residual, (3, 8, 8), 8, id="residual"),
    pytest.param(Encoder, (10, 12), 8, id="encoder"),
]


def made(make: Any, shape: tuple[int, ...], bits: int) -> tuple[Graph, IntegerGraph, Tensor]:
    torch.manual_seed(0)
    module, x = make(), torch.randn(SAMPLES, *shape)
    graph = deploy(trace(module, x[:1]))
    return graph, quantize(graph, calibration=x, widths=BitWidths(bits)), x


def session(content: bytes) -> Any:
    """A session whose kernels are those of the file: fused int8 ones saturate in 16 bits on CPUs without VNNI."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options)


@pytest.mark.parametrize(("make", "shape", "bits"), CASES)
def test_onnxruntime_agrees(make: Any, shape: tuple[int, ...], bits: int) -> None:
    graph, integer, x = made(make, shape, bits)
    content = to_onnx(graph, integer, {"what": "a test"})
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert {each.key: json.loads(each.value) for each in model.metadata_props} == {METADATA: {"what": "a test"}}
    running = session(content)
    assert [(each.name, each.shape[1:]) for each in running.get_inputs()] == [("input", list(shape))]
    # any number of samples
    (theirs,) = running.run(None, {"input": x.numpy()})
    (first,) = running.run(None, {"input": x[:1].numpy()})
    np.testing.assert_allclose(first, theirs[:1], atol=1e-6)
    (fake,) = interpret_fake(graph, integer, x)
    step = integer.outputs[0].grid.scale
    assert np.abs(theirs - fake.numpy()).max() <= 2.01 * step  # sums in another order, and so another rounding
    (decoded,) = integer.decode(*predict(integer, *integer.encode(x)))
    ours = decoded.flatten(1).numpy()
    assert np.abs(theirs - ours).max() <= 2.01 * step
    assert (theirs.argmax(1) == ours.argmax(1)).mean() >= 0.97


def test_onnxruntime_looks_vectors_up() -> None:
    graph = deploy(trace(Tokens(), TOKENS[:1]))
    integer = quantize(graph, calibration=TOKENS)
    (theirs,) = session(to_onnx(graph, integer)).run(None, {"input": TOKENS.numpy()})
    (ours,) = integer.decode(*predict(integer, *integer.encode(TOKENS)))
    assert np.abs(theirs - ours.flatten(1).numpy()).max() <= 2.01 * integer.outputs[0].grid.scale


def test_its_scales_are_those_of_the_integer_graph() -> None:
    graph, integer, _ = made(Residual, (3, 8, 8), 8)
    model = onnx.load_from_string(to_onnx(graph, integer))
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    constants |= {
        node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant"
    }
    found = [
        (float(constants[node.input[1]]), int(constants[node.input[2]]))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    ]
    names = {value.name for value in (*graph.inputs, *(node.output for node in graph.nodes))}
    tensors = [*integer.inputs, *(node.output for node in integer.nodes)]
    expected = [(each.grid.scale, each.grid.zero_point) for each in tensors if each.name in names]
    assert found == expected
    weights = {
        tuple(constants[node.input[1]].ravel().tolist())
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and constants[node.input[1]].ndim
    }
    filters = {tuple(each.scales.tolist()) for node in integer.nodes for each in node.kernel.filters()}
    assert weights == filters
