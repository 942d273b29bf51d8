"""scikit-learn's multi-layer perceptron: the network that it is, priced through the graph by the rules of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier
from torch import nn

from mcubench.cost.estimators.stages import (
    FUNCTIONS,
    Affine,
    Computation,
    NotPricedError,
    Numbers,
    Stage,
    Stages,
    Stored,
    argmax,
    classifying,
    kept,
)
from mcubench.cost.macs import count_macs
from mcubench.cost.size import FlashLine, flash_size
from mcubench.graph import Graph, deploy, ops, trace
from mcubench.graph.ir import Op

__all__ = ["Activation", "perceptron_stages"]

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


@dataclass(frozen=True)
class Activation:
    """A function of `FUNCTIONS`, element by element."""

    function: str

    def __call__(self, x: NDArray[Any], _numbers: Numbers) -> NDArray[Any]:
        """The results (N, elements)."""
        return FUNCTIONS[self.function](x)


def _compute(op: Op) -> Computation:
    """A dense layer, an activation, or one with the other behind it."""
    return Activation(op.kind) if isinstance(op, ops.Activation) else Affine(getattr(op, "activation", None))
