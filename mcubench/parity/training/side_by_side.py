"""Training parity: both frameworks from the same weights, on the same batches, with the same optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.graph import Graph, one_sample, ops
from mcubench.graph.copying import copy_of, in_float
from mcubench.parity.backend import keras_on_cpu, load_keras
from mcubench.parity.comparing.compare import keras_inputs
from mcubench.parity.naming import labels
from mcubench.parity.training.curves import Curve, TrainingParity
from mcubench.parity.training.optimizers import keras_optimizer, learning_rate_of, torch_optimizer
from mcubench.parity.twin import as_graph, build_model, graph_for_keras

__all__ = [
    "TRAIN_RTOL",
    "Batch",
    "Curve",
    "KerasTrainer",
    "TrainingParity",
    "train_both",
    "train_torch",
    "trainable_graph",
]

TRAIN_RTOL = 1e-3

Batch = tuple[Tensor, Tensor]


def train_both(
    module: nn.Module,
    batches: Sequence[Batch],
    optimizer: str = "adam",
    learning_rate: float | None = None,
    held_out: Batch | None = None,
    backend: str | None = None,
    rtol: float = TRAIN_RTOL,
) -> TrainingParity:
    """Trains a copy of a module and its Keras twin side by side, with cross-entropy on the module's output.

    Both begin with the module's weights. Dropout is switched off on both sides: no seed makes two frameworks draw the
    same masks.

    Args:
        module: A module that maps x (N, ...) to logits (N, classes).
        batches: Batches (x, classes) in order; one step each.
        optimizer: ``sgd``, ``momentum``, ``adam`` or ``adamw``.
        learning_rate: Its learning rate; the usual one of the optimiser by default.
        held_out: Samples whose loss in evaluation mode is compared at the end.
        backend: Keras' backend.
        rtol: The largest relative gap of the losses that agrees.

    Raises:
        UserError: If the module's training can't be compared: the text says why.
        TraceError: If the module can't be traced.
    """
    rate = learning_rate_of(optimizer, learning_rate)
    keras = load_keras(backend)
    batches = [(in_float(x), target.long()) for x, target in batches]
    held_out = None if held_out is None else (in_float(held_out[0]), held_out[1].long())
    graph = trainable_graph(module, batches)
    ours = train_torch(module, batches, optimizer, rate, held_out)
    twin = build_model(keras, graph, type(module).__name__)
    theirs = KerasTrainer(keras, twin, graph, keras_optimizer(keras, optimizer, rate)).train(batches, held_out)
    return TrainingParity(
        model=type(module).__name__,
        backend=keras.backend.backend(),
        optimizer=optimizer,
        learning_rate=rate,
        batch_size=len(batches[0][0]),
        rtol=rtol,
        torch=ours,
        keras=theirs,
        rounded=train_torch(module, batches, optimizer, rate, held_out, rounded=True),
        notes=tuple(_notes(module, graph)),
    )


def _notes(module: nn.Module, graph: Graph) -> list[str]:
    notes = []
    if any(_is_dropout(each) for each in module.modules()):
        notes.append("dropout is switched off on both sides: the two draw other masks from any seed")
    if any(isinstance(node.op, ops.BatchNorm) for node in graph.nodes):
        notes.append(
            "PyTorch's running variance is unbiased, n / (n - 1), Keras' is not: with few values a batch the held-out "
            "losses part, the training losses do not"
        )
    if any(isinstance(node.op, (ops.LSTM, ops.RNN)) and node.op.cells[0].bias_ih is not None for node in graph.nodes):
        notes.append(
            "PyTorch trains two biases for each gate of a recurrent layer, Keras one: the same step moves their sum "
            "twice as far, so the losses part"
        )
    return notes


def trainable_graph(module: nn.Module, batches: Sequence[Batch]) -> Graph:
    """The graph of a module, channels last, if its weights can be trained in Keras one by one.

    Raises:
        UserError: If not.
    """
    if not batches:
        raise UserError("there are no batches to train on")
    graph = graph_for_keras(as_graph(module, one_sample(batches[0][0])))
    if len(graph.outputs) != 1 or len(graph.outputs[0].shape) != 1:
        raise UserError(f"training is compared on logits of shape (N, classes); {type(module).__name__} gives others")
    classes = graph.outputs[0].shape[0]
    for _, target in batches:
        if target.shape != batches[0][1].shape[:1] and target.ndim != 1:
            raise UserError("training is compared on classes of shape (N,)")
        if int(target.min()) < 0 or int(target.max()) >= classes:
            raise UserError(
                f"{type(module).__name__} gives {classes} classes, and the data has class "
                f"{int(target.max() if target.min() >= 0 else target.min())}: they count from 0"
            )
    if any(isinstance(node.op, ops.BatchNorm) and node.op.momentum == 0 for node in graph.nodes):
        raise UserError("batch norm with momentum=None averages over all batches, which Keras can't do")
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    if frozen:
        raise UserError(f"{frozen[0]} is frozen: training is compared with all parameters trained")
    users: dict[str, set[str]] = {}
    for node, label in labels(graph).items():
        for _, weight in node.op.weights():
            for source in weight.sources:
                users.setdefault(source, set()).add(label)
            if weight.sources and weight.name not in weight.sources:
                raise UserError(f"{label}: its weight is computed from {weight.sources[0]}, which Keras can't train")
    shared = next((source for source, names in users.items() if len(names) > 1), None)
    if shared is not None:
        raise UserError(f"{shared} is shared by {' and '.join(sorted(users[shared]))}: Keras would train it twice")
    return graph


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd)


def train_torch(
    module: nn.Module,
    batches: Sequence[Batch],
    optimizer: str,
    rate: float,
    held_out: Batch | None = None,
    rounded: bool = False,
) -> Curve:
    """Trains a copy of a module; if `rounded`, from weights that are the next larger numbers.

    Raises:
        UserError: If the module draws random numbers in training, or fails on a batch.
    """
    copied = copy_of(module)
    with copied.running():
        return _trained(copied.module, type(module).__name__, batches, optimizer, rate, held_out, rounded)


def _trained(
    copy: nn.Module,
    name: str,
    batches: Sequence[Batch],
    optimizer: str,
    rate: float,
    held_out: Batch | None,
    rounded: bool,
) -> Curve:
    for each in copy.modules():
        each.training = not _is_dropout(each)
    for parameter in copy.parameters():
        if rounded:
            parameter.copy_(torch.nextafter(parameter, torch.full_like(parameter, torch.inf)))
        parameter.requires_grad = True
    x, _ = batches[0]
    with torch.no_grad():  # running statistics of batch norm move, and do not matter while training
        state = {name: value.clone() for name, value in copy.state_dict().items()}
        try:
            first, second = copy(x), copy(x)
        except UserError:
            raise
        except Exception as error:  # somebody's forward may raise anything
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"{name} fails on a batch of {len(x)} samples ({type(error).__name__}: {reason}): training is compared "
                "on batches"
            ) from error
        copy.load_state_dict(state)
    if not isinstance(first, Tensor):
        raise UserError(f"{name} gives a {type(first).__name__} in training: logits are needed")
    if not first.isfinite().all():
        raise UserError(f"{name} gives values that are not finite for the first batch")
    if not torch.equal(first, second):
        raise UserError(
            f"{name} draws random numbers in training (functional dropout, noise?), so that no two "
            "trainings agree: switch it off"
        )
    stepper = torch_optimizer(optimizer, copy.parameters(), rate)
    losses = []
    for x, target in batches:
        stepper.zero_grad()
        loss = nn.functional.cross_entropy(copy(x), target)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    held_out_loss = None
    if held_out is not None:
        for each in copy.modules():
            each.training = False
        with torch.no_grad():
            held_out_loss = nn.functional.cross_entropy(copy(held_out[0]), held_out[1]).item()
    return Curve(tuple(losses), held_out_loss)


def _cross_entropy(keras: Any) -> Callable[[Any, Any], Any]:
    """Cross-entropy of logits, for each sample.

    Keras' own loss looks behind its back on tensorflow: logits that a Softmax made are replaced by what it was given.
    """

    def loss(target: Any, logits: Any) -> Any:
        logarithms = keras.ops.log_softmax(logits, axis=-1)
        hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(target, (-1,)), "int32"), logits.shape[-1])
        return -keras.ops.sum(logarithms * hot, axis=-1)

    return loss


class KerasTrainer:
    """Trains a Keras model again and again, from any weights; it is compiled once.

    Args:
        keras: The module.
        model: A model that gives logits.
        graph: The graph that it was built from, which says how it takes its inputs.
        optimizer: A Keras optimiser.
    """

    def __init__(self, keras: Any, model: Any, graph: Graph, optimizer: Any) -> None:
        self.keras = keras
        self.model = model
        self.graph = graph
        with keras_on_cpu(keras):
            optimizer.build(model.trainable_variables)
            # XLA would compile for longer than tiny models train.
            model.compile(optimizer, _cross_entropy(keras), jit_compile=False)
        self._fresh = [np.array(keras.ops.convert_to_numpy(each)) for each in optimizer.variables]
        self.weights: list[NDArray[Any]] = model.get_weights()

    def train(
        self, batches: Sequence[Batch], held_out: Batch | None = None, weights: list[NDArray[Any]] | None = None
    ) -> Curve:
        """Trains from the given weights, else from those that the model had at first."""
        self.model.set_weights(self.weights if weights is None else weights)
        for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        with keras_on_cpu(self.keras):
            losses = [float(self.model.train_on_batch(*self._ready(batch))) for batch in batches]
            after = None if held_out is None else float(self.model.test_on_batch(*self._ready(held_out)))
        return Curve(tuple(losses), after)

    def _ready(self, batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
        (x,) = keras_inputs(self.graph, batch[0])
        return x.numpy(), batch[1].numpy()
