"""What Keras does by default where PyTorch does something else, and how much each of it matters."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mcubench.graph import Graph, ops
from mcubench.graph.copying import copy_of
from mcubench.parity.backend import keras_on_cpu, load_keras
from mcubench.parity.building import Adapt
from mcubench.parity.building.padding import as_same
from mcubench.parity.naming import labels
from mcubench.parity.training.curves import Curve, DefaultEffect, Estimate
from mcubench.parity.training.optimizers import keras_optimizer, learning_rate_of
from mcubench.parity.training.side_by_side import Batch, KerasTrainer, train_torch, trainable_graph
from mcubench.parity.twin import build_model

__all__ = ["default_effects"]

# Options of layers whose defaults differ between the frameworks, with what they are called.
_OPTIONS = {
    ("BatchNormalization", "epsilon"): "batch norm: epsilon",
    ("BatchNormalization", "momentum"): "batch norm: share kept (momentum)",
    ("LayerNormalization", "epsilon"): "layer norm: epsilon",
    ("GroupNormalization", "epsilon"): "group norm: epsilon",
    ("RMSNormalization", "epsilon"): "RMS norm: epsilon",
    ("LeakyReLU", "negative_slope"): "LeakyReLU: slope",
}
# Kinds of weights: the attributes that hold their initialiser in Keras.
_INITIALISERS = {
    "kernel": ("kernel_initializer", "depthwise_initializer"),
    "recurrent": ("recurrent_initializer",),
    "embedding": ("embeddings_initializer",),
    "bias": ("bias_initializer",),
}


@dataclass(frozen=True)
class _Change:
    """One difference, and how to put it into the twin."""

    name: str
    layers: tuple[str, ...]
    pytorch: str
    keras: str
    adapt: Adapt | None = None
    initialise: tuple[str, ...] = ()  # kinds of weights that are drawn anew
    optimizer: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_random(self) -> bool:
        return any(kind != "bias" for kind in self.initialise)


def default_effects(
    module: nn.Module,
    batches: Sequence[Batch],
    optimizer: str = "adam",
    learning_rate: float | None = None,
    held_out: Batch | None = None,
    backend: str | None = None,
    seeds: int = 5,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> tuple[DefaultEffect, ...]:
    """Trains the Keras twin with one of Keras' defaults at a time, and with all of them.

    The first row is the control: PyTorch itself, from other seeds. What moves the losses less than that does not
    matter more than luck. Defaults are read from the signatures of the Keras that is installed.

    Args:
        module: A module that maps x (N, ...) to logits (N, classes).
        batches: Batches (x, classes) in order; one step each.
        optimizer: ``sgd``, ``momentum``, ``adam`` or ``adamw``.
        learning_rate: Its learning rate.
        held_out: Samples whose loss in evaluation mode is measured at the end.
        backend: Keras' backend.
        seeds: How many seeds where random numbers are drawn.
        progress: Wraps the loop over the changes, to show how far it is: ``rich.progress.track``, say.

    Raises:
        UserError: As `mcubench.parity.train_both`.
    """
    rate = learning_rate_of(optimizer, learning_rate)
    keras = load_keras(backend)
    graph = trainable_graph(module, batches)
    reference = train_torch(module, batches, optimizer, rate, held_out)
    changes = list(_changes(keras, graph, optimizer))
    changes.append(_all(changes))
    effects = []
    if again := _from_other_seeds(module, seeds):
        curves = [train_torch(each, batches, optimizer, rate, held_out) for each in again]
        effects.append(_effect("PyTorch, other seeds", (), "", "", curves, reference))
    for change in progress(changes):
        twin = build_model(keras, graph, type(module).__name__, change.adapt)
        trainer = KerasTrainer(keras, twin, graph, keras_optimizer(keras, optimizer, rate, **change.optimizer))
        curves = [
            trainer.train(batches, held_out, _drawn(keras, twin, change.initialise, seed))
            for seed in range(seeds if change.is_random else 1)
        ]
        effects.append(_effect(change.name, change.layers, change.pytorch, change.keras, curves, reference))
    return tuple(effects)


def _effect(
    name: str, layers: tuple[str, ...], pytorch: str, keras: str, curves: Sequence[Curve], reference: Curve
) -> DefaultEffect:
    held_out = [curve.held_out for curve in curves if curve.held_out is not None]
    return DefaultEffect(
        name=name,
        layers=layers,
        pytorch=pytorch,
        keras=keras,
        gap=Estimate.of([curve.gap_to(reference) for curve in curves]),
        last=Estimate.of([curve.last for curve in curves]),
        held_out=Estimate.of(held_out) if held_out else None,
    )


def _changes(keras: Any, graph: Graph, optimizer: str) -> Iterator[_Change]:
    """Every difference that concerns this model and optimiser."""
    made: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    kinds: dict[str, list[tuple[str, Any]]] = {}

    def note(label: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        for option, value in options.items():
            if (kind, option) in _OPTIONS:
                made.setdefault((kind, option), []).append((label, value))
        return options

    twin = build_model(keras, graph, "twin", note)
    for layer, label in _cells(twin):
        for weights, attributes in _INITIALISERS.items():
            for attribute in attributes:
                has_bias = weights != "bias" or getattr(layer, "bias", None) is not None
                if has_bias and getattr(layer, attribute, None) is not None:
                    kinds.setdefault(weights, []).append((label, getattr(layer, attribute)))
    for weights, found in kinds.items():
        names = " or ".join(dict.fromkeys(_words(type(initialiser).__name__) for _, initialiser in found))
        if weights == "bias" and any(getattr(layer, "unit_forget_bias", False) for layer, _ in _cells(twin)):
            names += ", 1 for an LSTM's forget gate"
        where = tuple(dict.fromkeys(label for label, _ in found))
        yield _Change(f"initial {weights}", where, "as in the module", names, initialise=(weights,))
    for (kind, option), values in made.items():
        default = inspect.signature(getattr(keras.layers, kind).__init__).parameters[option].default
        differing = tuple(dict.fromkeys(label for label, value in values if not math.isclose(value, default)))
        if differing:
            ours = "/".join(dict.fromkeys(f"{value:.6g}" for _, value in values))
            yield _Change(_OPTIONS[kind, option], differing, ours, f"{default:g}", _with_option(kind, option, default))
    if padded := _padded_otherwise(graph):
        yield _Change("padding of strided layers", padded, "as much on all sides", '"same"', _with_same(padded))
    yield from _optimizer_changes(keras, optimizer)


def _optimizer_changes(keras: Any, optimizer: str) -> Iterator[_Change]:
    if optimizer not in ("adam", "adamw"):
        return
    kind = keras.optimizers.AdamW if optimizer == "adamw" else keras.optimizers.Adam
    defaults = {name: each.default for name, each in inspect.signature(kind.__init__).parameters.items()}
    yield _Change(
        "Adam: where epsilon is added", (), "behind the correction", "before it", optimizer={"like_keras": True}
    )
    epsilon = defaults["epsilon"]
    yield _Change(
        "Adam: epsilon, and where", (), "1e-08", f"{epsilon:g}", optimizer={"like_keras": True, "epsilon": epsilon}
    )
    if optimizer == "adamw":
        decay = defaults["weight_decay"]
        yield _Change("AdamW: weight decay", (), "0.01", f"{decay:g}", optimizer={"weight_decay": decay})


def _all(changes: Sequence[_Change]) -> _Change:
    adapts = [change.adapt for change in changes if change.adapt is not None]

    def adapt(label: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        for each in adapts:
            options = each(label, kind, options)
        return options

    return _Change(
        name="all of them",
        layers=(),
        pytorch="",
        keras="",
        adapt=adapt,
        initialise=tuple(kind for change in changes for kind in change.initialise),
        optimizer={key: value for change in changes for key, value in change.optimizer.items()},
    )


def _with_option(wanted: str, option: str, value: Any) -> Adapt:
    return lambda _label, kind, options: {**options, option: value} if kind == wanted else options


def _padded_otherwise(graph: Graph) -> tuple[str, ...]:
    """Labels of strided convolutions whose output has the size that "same" gives, padded in another way."""
    found = []
    for node, label in labels(graph).items():
        if not isinstance(node.op, ops.Conv) or max(node.op.stride) == 1:
            continue
        rank = len(node.op.kernel)
        size, out = (each.shape[len(each.shape) - rank - 1 : -1] for each in (node.inputs[0], node.output))
        alike = all(-(-length // stride) == got for length, stride, got in zip(size, node.op.stride, out, strict=True))
        if alike and not as_same(size, node.op.kernel, node.op.stride, node.op.dilation, node.op.padding):
            found.append(label)
    return tuple(dict.fromkeys(found))


def _with_same(padded: tuple[str, ...]) -> Adapt:
    def adapt(label: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        if label in padded and kind.startswith("ZeroPadding"):
            return {**options, "padding": 0}
        return {**options, "padding": "same"} if label in padded and "Conv" in kind else options

    return adapt


def _cells(model: Any) -> Iterator[tuple[Any, str]]:
    """The layers that hold variables themselves, with the label of what they are in."""
    for layer in model.layers:
        if hasattr(layer, "forward_layer"):
            yield from ((way.cell, layer.name) for way in (layer.forward_layer, layer.backward_layer))
        else:
            yield getattr(layer, "cell", layer), layer.name


def _drawn(keras: Any, model: Any, kinds: tuple[str, ...], seed: int) -> list[NDArray[Any]]:
    """The model's weights, those of some kinds drawn anew by Keras' own initialisers."""
    values = {
        id(variable): np.asarray(value) for variable, value in zip(model.weights, model.get_weights(), strict=True)
    }
    attributes = {attribute for kind in kinds for attribute in _INITIALISERS[kind]}
    drawn = 0  # no two weights of any seed draw the same numbers
    with keras_on_cpu(keras):
        for layer, _ in _cells(model):
            for variable in layer.weights:
                name = _initialiser_of(variable.name)
                if name not in attributes:
                    name = "depthwise_initializer" if name == "kernel_initializer" else name
                initialiser = getattr(layer, name, None)
                if name in attributes and initialiser is not None:
                    drawn += 1
                    own = int(np.random.SeedSequence([seed, drawn]).generate_state(1)[0] >> 1)
                    values[id(variable)] = _draw(keras, layer, variable, initialiser, own)
    return [values[id(variable)] for variable in model.weights]


def _initialiser_of(variable: str) -> str:
    return {"recurrent_kernel": "recurrent_initializer"}.get(variable, f"{variable}_initializer")


def _draw(keras: Any, layer: Any, variable: Any, initialiser: Any, seed: int) -> NDArray[Any]:
    config = initialiser.get_config()
    made = type(initialiser).from_config({**config, "seed": seed} if "seed" in config else config)
    value = np.array(keras.ops.convert_to_numpy(made(variable.shape, dtype=variable.dtype)))
    if variable.name == "bias" and getattr(layer, "unit_forget_bias", False):
        value[layer.units : 2 * layer.units] = 1
    return value


def _words(name: str) -> str:
    """``GlorotUniform`` as people say it."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _from_other_seeds(module: nn.Module, seeds: int) -> list[nn.Module]:
    """Copies of the module, initialised anew; none if some parameters belong to no module that can do so."""
    resettable = {
        id(parameter)
        for each in module.modules()
        if callable(getattr(each, "reset_parameters", None))
        for parameter in each.parameters(recurse=False)
    }
    if any(id(parameter) not in resettable for parameter in module.parameters()):
        return []
    copies = []
    with torch.random.fork_rng([]):
        for seed in range(seeds):
            torch.manual_seed(seed + 1)
            copy = copy_of(module).module
            for each in copy.modules():
                if callable(reset := getattr(each, "reset_parameters", None)):
                    reset()
            copies.append(copy)
    return copies
