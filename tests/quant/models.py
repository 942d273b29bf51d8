"""Our models, trained a little on real data, in int8: each once in a session."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.graph import Graph, deploy, trace
from mcubench.models import CNN, DSCNN, MLP, CNN1d
from mcubench.quant import IntegerGraph, quantize

STEPS, BATCH = 150, 64

MODELS = {
    "MLP on MNIST": (MLP, MNIST, {}),
    "CNN on MNIST": (CNN, MNIST, {}),
    "DSCNN on MNIST": (DSCNN, MNIST, {}),
    "MLP on HAPT": (MLP, HAPT, {}),
    "CNN1d on HAPT": (CNN1d, HAPT, {}),
    "DSCNN on HAPT": (DSCNN, HAPT, {}),
    "CNN1d with hard swish on HAPT": (CNN1d, HAPT, {"activation": "hardswish"}),
    "MLP with tanh on HAPT": (MLP, HAPT, {"activation": "tanh"}),
}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model and its data.

    Attributes:
        module: In evaluation mode.
        graph: Deployed.
        integer: Calibrated on training samples.
        x: The whole test set.
        y: Its classes.
    """

    module: nn.Module
    graph: Graph
    integer: IntegerGraph
    x: Tensor
    y: Tensor


@functools.cache
def trained(name: str, root: Path) -> Trained:
    """Trains a model for some steps with Adam and quantises it."""
    kind, data_kind, options = MODELS[name]
    data = _data(data_kind, root)
    torch.manual_seed(0)
    module: nn.Module = kind(data.input_shape, data.num_classes, **options)
    x, y = (torch.from_numpy(part.copy()) for part in data.arrays("train"))
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for rows in torch.randint(len(x), (STEPS, BATCH)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
        optimizer.step()
    module.eval()
    graph = deploy(trace(module, x[:1]))
    integer = quantize(graph, calibration=x[:512])
    test_x, test_y = (torch.from_numpy(part.copy()) for part in data.arrays("test"))
    return Trained(module, graph, integer, test_x, test_y)


@functools.cache
def _data(kind: type[TensorDataModule], root: Path) -> TensorDataModule:
    data = kind(root=str(root))
    data.prepare_data()
    data.setup()
    return data
