"""Small ``.onnx`` files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

__all__ = ["Weights", "file", "node"]

Weights = dict[str, Any]


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """An operator; ``-`` stands for an input that is left out."""
    given = [name.replace("-", "") for name in inputs.split()]
    return onnx.helper.make_node(
        operator, given, outputs.split(), f"{operator}_{outputs.split(maxsplit=1)[0]}", **attributes
    )


def file(nodes: Sequence[Any], weights: Weights, shape: Sequence[Any], opset: int = 17, outputs: str = "y") -> bytes:
    """A file with an input ``x``; of weights that are shapes, random numbers are taken."""
    rng = np.random.default_rng(0)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    tensors = []
    for name, given in weights.items():
        array = rng.normal(size=given).astype(np.float32) if isinstance(given, tuple) else np.asarray(given)
        tensors.append(onnx.numpy_helper.from_array(array, name))
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs.split()],
        tensors,
    )
    opsets = [helper.make_operatorsetid("", opset)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content
