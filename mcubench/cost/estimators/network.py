"""scikit-learn's multi-layer perceptron: the network that it is, priced through the graph by the rules of networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from torch import nn

from mcubench.cost.estimators.stages import (
    NotPricedError,
    Numbers,
    Stage,
    Stages,
    Stored,
    affine,
    argmax,
    classifying,
    kept,
)
from mcubench.cost.macs import count_macs
from mcubench.cost.size import FlashLine, flash_size
from mcubench.graph import Graph, deploy, ops, trace
from mcubench.graph.ir import Op

__all__ = ["perceptron_stages"]

_FUNCTIONS: dict[str | None, Callable[[NDArray[Any]], NDArray[Any]]] = {
    None: lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),  # 1 / (1 + exp(-z)) could overflow
}
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": None}


@classifying.register
def _classifier(estimator: MLPClassifier) -> Stages:
    if estimator.n_outputs_ > 1 and estimator.out_activation_ != "softmax":
        raise NotPricedError("it predicts several outputs")
    return perceptron_stages(estimator)


def perceptron_stages(estimator: Any) -> Stages:
    """Stages of a perceptron up to its scores, and the choice among them; what follows the scores keeps their order.

    Args:
        estimator: Has ``coefs_``, one matrix (inputs, outputs) a layer, ``intercepts_``, and ``activation`` of the
            hidden layers.
    """
    layers: list[nn.Module] = []
    kind = _ACTIVATIONS[estimator.activation]
    for weight, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": torch.from_numpy(weight.T), "bias": torch.from_numpy(bias)})
        layers += [linear] if kind is None else [linear, kind()]
    network = nn.Sequential(*(layers if kind is None else layers[:-1]))
    graph = deploy(trace(network, torch.zeros(1, len(estimator.coefs_[0]))))
    lines = flash_size(graph).lines
    arrays = {"weight": iter(estimator.coefs_), "bias": iter(estimator.intercepts_)}
    stages = []
    for node in graph.nodes:
        alone = Graph((node,), (), ())
        macs = count_macs(alone).total
        stages.append(
            Stage(
                node.op.label,
                outputs=node.output.size,
                macs=macs,
                bias_adds=count_macs(alone, count_bias=True).total - macs,
                stored=tuple(_stored(each, arrays) for each in lines if each.node == node.name),
                in_place=isinstance(node.op, ops.Activation),
                path=node.path,
                compute=_compute(node.op),
            )
        )
    return (*stages[:-1], replace(stages[-1], comparisons=argmax(stages[-1].outputs)))


def _stored(line: FlashLine, arrays: Mapping[str, Iterator[NDArray[Any]]]) -> Stored:
    """A line of the graph's flash, with the next layer's numbers."""
    if line.role not in arrays:
        return Stored(line.name, line.role, line.count)
    values = next(arrays[line.role])
    return kept(line.role, values.T if line.role == "weight" else values, line.role)


def _compute(op: Op) -> Callable[[NDArray[Any], Numbers], NDArray[Any]]:
    """A dense layer, an activation, or one with the other behind it."""
    function = _FUNCTIONS[op.kind if isinstance(op, ops.Activation) else getattr(op, "activation", None)]
    if isinstance(op, ops.Activation):
        return lambda x, _: function(x)
    return lambda x, numbers: function(affine(x, numbers))
