"""Another way to int8: parity's Keras model with TensorFlow's fake quantisation at the same ranges, converted.

Its converter chooses scales by itself, from the ranges in the model: they must equal ours to float32, and its weights
our codes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mcubench.graph import Graph, deploy, trace
from mcubench.parity import load_keras
from mcubench.parity.twin import build_model
from mcubench.quant import calibrate, quantize
from mcubench.quant.integer import IntegerGraph
from tests.quant.models import trained
from tests.quant.witness import seeded

pytestmark = pytest.mark.slow


def fake_quantised(graph: Graph, integer: IntegerGraph) -> Any:
    """The deployed graph in Keras, a fake quantisation behind its input and every layer, at the grids' ends."""
    import tensorflow as tf

    keras = load_keras("tensorflow")
    plain = build_model(keras, graph, "twin")
    grids = {tensor.name: tensor.grid for tensor in (*integer.inputs, *(node.output for node in integer.nodes))}
    by_layer = {node.path: grids[node.output.name] for node in graph.nodes if node.output.name in grids}

    def rounded(x: Any, grid: Any) -> Any:
        low, high = (np.float32(grid.scale) * (end - grid.zero_point) for end in (-128, 127))
        return keras.layers.Lambda(lambda y: tf.quantization.fake_quant_with_min_max_args(y, float(low), float(high)))(
            x
        )

    x = plain.inputs[0]
    y = rounded(x, integer.inputs[0].grid)
    for layer in plain.layers[1:]:
        y = layer(y)
        path = layer.name.partition("-")[0]
        last = not any(other.name.partition("-")[0] == path for other in plain.layers[plain.layers.index(layer) + 1 :])
        if last and path in by_layer:
            y = rounded(y, by_layer[path])
    return keras.Model(x, y)


def converted(model: Any) -> bytes:
    """TFLite's own conversion to int8, ranges from the fake quantisation."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    found: bytes = converter.convert()
    return found


def quantised_tensors(model: bytes) -> list[tuple[tuple[int, ...], NDArray[np.float32], Any]]:
    """Shape, scales and data (if constant) of every quantised tensor of a file."""
    from ai_edge_litert import schema_py_generated as schema

    read = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    found = []
    for tensor in read.subgraphs[0].tensors:
        scales = None if tensor.quantization is None else tensor.quantization.scale
        if scales is not None and len(scales):
            kind = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}.get(tensor.type)
            data = read.buffers[tensor.buffer].data
            constant = None if data is None or kind is None else np.frombuffer(bytes(data), kind)
            found.append((tuple(tensor.shape), np.asarray(scales, np.float32), constant))
    return found


def compare(graph: Graph, integer: IntegerGraph) -> None:
    tensors = quantised_tensors(converted(fake_quantised(graph, integer)))
    values = {scales[0] for _, scales, data in tensors if data is None}
    for tensor in (*integer.inputs, *(node.output for node in integer.nodes)):
        assert np.float32(tensor.grid.scale) in values, f"the converter has another scale for {tensor.name}"
    layers = [(scales, data) for _, scales, data in tensors if data is not None and data.dtype == np.int8]
    filters = [filter_ for node in integer.nodes for filter_ in node.kernel.filters()]
    assert len(layers) == len(filters)
    for filter_ in filters:
        codes = filter_.codes.numpy().flatten()
        scales, data = next(each for each in layers if len(each[1]) == len(codes))
        assert np.array_equal(scales, filter_.scales.numpy()), filter_.name
        differing = np.abs(data.astype(int) - codes)  # a weight halfway between two levels may go to either
        assert differing.max() <= 1, filter_.name
        assert (differing > 0).mean() <= 1e-4, filter_.name


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_the_converter_finds_our_scales_and_codes(kind: str) -> None:
    nets = {
        "dense": (lambda: nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)), (12,)),
        "convolution": (
            lambda: nn.Sequential(
                nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
            ),
            (2, 8, 8),
        ),
    }
    make, shape = nets[kind]
    torch.manual_seed(0)
    x = seeded(64, *shape)
    graph = deploy(trace(make().eval(), x[:1]))
    compare(graph, quantize(graph, calibrate(graph, x)))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["MLP on HAPT", "CNN on MNIST"])
def test_so_it_does_for_trained_models(name: str, real_data: Path) -> None:
    model = trained(name, real_data)
    compare(model.graph, model.integer)
