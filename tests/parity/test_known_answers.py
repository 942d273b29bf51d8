"""Every hand-counted model, built in Keras: it computes what torch computes, layer by layer, at the cost counted."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization as ao
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear  # which attention reads the weights of
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.graph import Graph, trace
from mcubench.parity import ParityReport, compare, to_keras
from tests.graph.compare import batch_like, randomised
from tests.known_answers import KNOWN_ANSWERS, OURS, REFERENCES, KnownAnswer, prepared_for_quantisation

BOUND = 1e-5  # the largest relative error measured in any layer of any row is 8e-7
BUILDABLE = [row for row in KNOWN_ANSWERS if row.name != "prepared-for-quantisation"]
TRAINABLE = [row for row in BUILDABLE if not row.tokens and row.params]

# Parameters that Keras has beside the module's or lacks, by hand, where they differ; with what the notes must say.
# An LSTM and a plain recurrent layer have one bias for each gate, the sum of PyTorch's two.
KERAS_PARAMS = {
    **dict.fromkeys(
        ("lstm-6x128", "lstm-classifier", "lstm", "lstm-sequence-first", "conv1d-lstm"), (-4 * 32, "second biases")
    ),
    "lstm-3x6x5-two-layers-bidirectional": (-2 * 2 * 4 * 8, "second biases"),
    "lstm-two-layers-bidirectional": (-2 * 2 * 4 * 32, "second biases"),
    "rnn": (-32, "second biases"),
    "lstm-cell": (-4 * 32 + 2 * 32, "second biases"),  # and both initial states, which are constants
    "gru-cell": (32, "constants"),
    "low-rank-weight": (12 * 16 - (12 * 2 + 2 * 16), "computed from others"),
    "weight-norm": (-8, "computed from others"),  # a magnitude for each output
    "unused-layer": (-(12 * 5 + 5), "does not use"),
    "tied-weights": (50 * 8, "weights that layers share"),  # the table, once more as a kernel
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@functools.cache
def built(name: str) -> tuple[nn.Module, tuple[Any, ...], Graph, Any]:
    """A row's module, a sample, the graph and the Keras model; built once for all tests."""
    torch.manual_seed(0)
    row = next(row for row in KNOWN_ANSWERS if row.name == name)
    module, example = randomised(row.make()), row.inputs()
    graph = trace(module, example, row.batch_dim)
    return module, example, graph, to_keras(graph)


def statistics(module: nn.Module) -> int:
    """Elements of the running statistics."""
    return sum(2 * each.num_features for each in module.modules() if isinstance(each, _BatchNorm))


def assert_same(report: ParityReport) -> None:
    assert report.passed, f"{report.verdict()}; {report.structure}"
    assert report.worst <= BOUND
    assert all(layer.difference is not None for layer in report.layers)


@pytest.mark.parametrize("samples", [1, 7])
@pytest.mark.parametrize("row", BUILDABLE, ids=str)
def test_every_layer_agrees(row: KnownAnswer, samples: int) -> None:
    module, example, graph, model = built(row.name)
    report = compare(module, model, batch_like(example, row.batch_dim, samples), BOUND, row.batch_dim, graph=graph)
    assert_same(report)
    assert report.samples == samples
    assert report.macs == (row.macs, row.macs)
    have = row.params + statistics(module)
    more, why = KERAS_PARAMS.get(row.name, (0, ""))
    assert report.params == (have, have + more)
    assert why in " ".join(report.notes)
    assert any("parameters" in note for note in report.notes) == bool(why), report.notes


@pytest.mark.parametrize("row", BUILDABLE, ids=str)
def test_every_module_with_weights_gives_its_layer_its_name(row: KnownAnswer) -> None:
    module, _, _, model = built(row.name)
    names = {layer.name for layer in model.layers}
    for path in weighted(module):
        # A module that multiplies more than once, as attention does, has layers behind its name.
        inside = any(name == path or name.startswith(f"{path}.") for name in names)
        assert inside == (path not in UNUSED.get(row.name, ())), f"{path} in {sorted(names)}"


UNUSED = {"unused-layer": ("part1",)}


def weighted(module: nn.Module) -> Iterator[str]:
    """Paths of the modules with weights of their own, which are called as modules."""
    for path, each in module.named_modules():
        is_called = "parametrizations" not in path and not isinstance(each, NonDynamicallyQuantizableLinear)
        if path and is_called and any(True for _ in each.parameters(recurse=False)):
            yield path


def trained(module: nn.Module, example: tuple[Any, ...], batch_dim: int, steps: int = 3) -> nn.Module:
    """The module after some steps on noise, large enough to move weights and running statistics."""
    module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        batch = batch_like(example, batch_dim, 8)
        loss = sum(output.square().mean() for output in _outputs(module(*batch)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval()


def _outputs(result: Any) -> list[Tensor]:
    leaves = pytree.tree_leaves(result)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]


@pytest.mark.parametrize("row", [row for row in [*OURS, *REFERENCES] if row in TRAINABLE], ids=str)
def test_trained_models_agree(row: KnownAnswer) -> None:
    module, example = row.make(), row.inputs()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
    trained(module, example, row.batch_dim)
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, module.state_dict()[name])]
    assert any("running_var" in name for name in moved) == bool(statistics(module))
    assert moved, "nothing was trained"
    model = to_keras(module, example, batch_dim=row.batch_dim)
    report = compare(module, model, batch_like(example, row.batch_dim, 5), BOUND, row.batch_dim)
    assert_same(report)
    assert report.macs == (row.macs, row.macs)


def test_rounding_to_integers_is_named() -> None:
    module = randomised(prepared_for_quantisation())
    with pytest.raises(UserError, match=re.escape("0.activation_post_process: FakeQuantize")):
        to_keras(module, torch.zeros(1, 1, 8, 8))


def rounding_by_modules() -> nn.Module:
    """A linear layer with fake quantisation around it, in the older form, which is a module of operators."""
    net = nn.Sequential(ao.QuantStub(), nn.Linear(6, 4), nn.ReLU(), ao.DeQuantStub())
    net.train().qconfig = ao.get_default_qat_qconfig("x86", version=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and in use
        return ao.prepare_qat(net)


@pytest.mark.parametrize(
    ("make", "shape", "macs"),
    [
        pytest.param(rounding_by_modules, (6,), 6 * 4, id="modules"),
        pytest.param(prepared_for_quantisation, (1, 8, 8), 64 * 9 * 8 + 128 * 10, id="fused"),
    ],
)
def test_rounding_switched_off_computes_as_the_float_model(make: Any, shape: tuple[int, ...], macs: int) -> None:
    module = make()
    with torch.no_grad():
        module.train()(torch.randn(8, *shape))  # observers want to have seen something
    module = randomised(module).apply(ao.disable_fake_quant)
    x = torch.randn(5, *shape)
    report = compare(module, to_keras(module, x[:1]), x, BOUND)
    assert_same(report)
    assert report.macs == (macs, macs)
