"""The whole test sets of MNIST (10,000) and HAPT (3,162): TFLite Micro's bytes, LiteRT's within a level.

Mistakes that are injected are caught. The models are trained for a few seconds: enough for weights and ranges as real
ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mcubench.export.interpreters import recorded_arena, run_litert, run_tflm
from mcubench.export.tflite import to_tflite
from mcubench.quant import Grid, IntegerGraph, layer_noise
from mcubench.quant.integer import plan_arena, predict
from tests.quant.models import MODELS, trained

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.mark.parametrize("name", MODELS)
def test_every_byte_is_tflite_micros(name: str, real_data: Path) -> None:
    model = trained(name, real_data)
    (codes,) = model.integer.encode(model.x)
    (ours,) = predict(model.integer, codes)
    (theirs,) = run_tflm(to_tflite(model.integer), codes.numpy())
    assert theirs.shape[0] == {"MNIST": 10_000, "HAPT": 3_162}[name.rpartition(" ")[2]]
    assert (ours.numpy() != theirs).sum() == 0


@pytest.mark.parametrize("name", MODELS)
def test_litert_reference_is_at_most_a_level_off(name: str, real_data: Path) -> None:
    model = trained(name, real_data)
    codes = model.integer.encode(model.x[:2000])[0]
    ours = predict(model.integer, codes)[0].numpy().astype(int)
    assert np.abs(ours - run_litert(to_tflite(model.integer), codes.numpy())[0]).max() <= 1


@pytest.mark.parametrize("name", MODELS)
def test_int8_is_near_float(name: str, real_data: Path) -> None:
    """Post-training quantisation of models that have barely been trained: more than 95 % of the answers stay."""
    model = trained(name, real_data)
    x = model.x[:2000]
    with torch.no_grad():
        wanted = model.module(x).argmax(1)
    found = predict(model.integer, *model.integer.encode(x))[0].reshape(len(x), -1).argmax(1)
    assert float((found == wanted).float().mean()) > 0.95
    noise = layer_noise(model.graph, model.integer, x[:200])
    assert min(each.sqnr for each in noise) > 15


@pytest.mark.parametrize("name", MODELS)
def test_the_arena_is_as_planned(name: str, real_data: Path) -> None:
    model = trained(name, real_data)
    assert plan_arena(model.integer).peak == recorded_arena(to_tflite(model.integer)).head


def flipped_weight(graph: IntegerGraph) -> IntegerGraph:
    """One weight of the first layer with another sign: that with the largest code."""
    layer = next(node for node in graph.nodes if any(node.kernel.filters()))
    (filter_,) = layer.kernel.filters()
    codes = filter_.codes.clone()
    place = codes.flatten().abs().argmax()
    codes.view(-1)[place] *= -1
    kernel = replace(layer.kernel, filter=replace(filter_, codes=codes))  # type: ignore[type-var]
    return replace(graph, nodes=tuple(replace(each, kernel=kernel) if each is layer else each for each in graph.nodes))


def wrong_zero_point(graph: IntegerGraph) -> IntegerGraph:
    """The zero point of the input, and of all that has its grid, off by one; the codes are supplied with the right one.

    Shifted on both sides of a value, it would change nothing but where codes are clipped.
    """
    right = graph.inputs[0].grid
    wrong = Grid(right.scale, right.zero_point + 1)
    made: dict[object, object] = {}

    def shifted(tensor: Any) -> Any:
        return made.setdefault(tensor, replace(tensor, grid=wrong) if tensor.grid == right else tensor)

    nodes = [
        replace(node, inputs=tuple(map(shifted, node.inputs)), output=shifted(node.output)) for node in graph.nodes
    ]
    return replace(
        graph,
        nodes=tuple(nodes),
        inputs=tuple(map(shifted, graph.inputs)),
        outputs=tuple(map(shifted, graph.outputs)),
    )


@pytest.mark.parametrize("mistake", [flipped_weight, wrong_zero_point])
@pytest.mark.parametrize("name", ["MLP on HAPT", "CNN on MNIST", "DSCNN on MNIST"])
def test_a_mistake_in_the_file_is_caught(
    name: str, mistake: Callable[[IntegerGraph], IntegerGraph], real_data: Path
) -> None:
    model = trained(name, real_data)
    (codes,) = model.integer.encode(model.x[:200])
    (ours,) = predict(model.integer, codes)
    (theirs,) = run_tflm(to_tflite(mistake(model.integer)), codes.numpy())
    assert (ours.numpy() != theirs).sum() > 0


@pytest.mark.parametrize("name", ["MLP on HAPT", "CNN on MNIST", "CNN1d on HAPT", "DSCNN on MNIST"])
def test_a_single_rounding_is_caught(name: str, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of the interpreters that are not the reference: x * multiplier / 2^n, rounded once."""

    def rounded_once(x: Tensor, multiplier: Tensor | int, exponent: Tensor | int) -> Tensor:
        exponents = 31 - torch.as_tensor(exponent)
        return (x * multiplier + (1 << (exponents - 1))) >> exponents

    model = trained(name, real_data)
    (codes,) = model.integer.encode(model.x[:1000])
    (theirs,) = run_tflm(to_tflite(model.integer), codes.numpy())
    monkeypatch.setattr("mcubench.quant.integer.kernels.common.rescaled", rounded_once)
    (ours,) = predict(model.integer, codes)
    assert (ours.numpy() != theirs).sum() > 0
    assert int(np.abs(ours.numpy().astype(int) - theirs).max()) <= 2
