"""Ways to train one epoch of the exercise's two nets on MNIST, each as its users would write it.

Every path takes the same 54,000 images, batch 100, Adam with learning rate 1e-3, and gives seconds and the loss of the
validation part after it. The nets are MLP 784-42-10 and CNN (convolution 3 x 3 to 32 channels, max-pooling, linear).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mcubench.callbacks import EpochTimer, LastCheckpoint, RandomState
from mcubench.datamodules import MNIST
from mcubench.models import CNN, MLP, Classifier
from mcubench.seeds import StackedClassifiers, StackedData

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed

__all__ = ["BATCH", "KERAS_PATHS", "MODELS", "SEEDS", "TORCH_PATHS", "Epoch", "start_keras", "train_keras", "trained"]

BATCH = 100
RATE = 1e-3
SEEDS = 8
CLASSES = 10
MODELS: dict[str, type[Classifier]] = {"MLP": MLP, "CNN": CNN}


@dataclass(frozen=True)
class Epoch:
    """What an epoch took, and came to.

    Attributes:
        seconds: Of the epoch, without start-up and compilation.
        loss: Cross-entropy of the validation part after it.
        preparing: Seconds of compilation.
    """

    seconds: float
    loss: float
    preparing: float = 0.0


def tensors(data: MNIST) -> tuple[Tensor, Tensor]:
    x, y = (torch.tensor(array) for array in data.arrays("train"))
    return x, y


def plain_net(model: str) -> nn.Module:
    """The net as one writes it down first: activation, then pooling."""
    torch.manual_seed(0)
    if model == "MLP":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 42), nn.ReLU(), nn.Linear(42, CLASSES))
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6272, CLASSES)
    )


def loss_of(net: Callable[[Tensor], Tensor], data: MNIST) -> float:
    x, y = (torch.tensor(array) for array in data.arrays("val"))
    with torch.inference_mode():
        return float(nn.functional.cross_entropy(net(x), y))


def step(net: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One update as the exercise writes it."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()


def exercise_loop(model: str, data: MNIST) -> Epoch:
    net = plain_net(model)
    loader = DataLoader(list(zip(*tensors(data), strict=True)), shuffle=True, batch_size=BATCH)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    start = time.perf_counter()
    for x, y in loader:
        step(net, optimizer, x, y)
    return Epoch(time.perf_counter() - start, loss_of(net, data))


def over_slices(net: nn.Module, forward: Callable[[Tensor], Tensor], data: MNIST) -> Epoch:
    x, y = tensors(data)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    start = time.perf_counter()
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
        step(forward, optimizer, x_batch, y_batch)
    return Epoch(time.perf_counter() - start, loss_of(net, data))


def bare_loop(model: str, data: MNIST) -> Epoch:
    net = plain_net(model)
    return over_slices(net, net, data)


def compiled_loop(model: str, data: MNIST) -> Epoch:
    net = plain_net(model)
    torch.compiler.reset()
    start = time.perf_counter()
    compiled = torch.compile(net)
    x, y = (part[:BATCH] for part in tensors(data))
    nn.functional.cross_entropy(compiled(x), y).backward()
    preparing = time.perf_counter() - start
    epoch = over_slices(net, compiled, data)
    return Epoch(epoch.seconds, epoch.loss, preparing)


def by_hand(model: str, data: MNIST) -> Epoch:
    """The MLP's gradients and Adam written out on one vector of parameters, without autograd: the floor."""
    assert model == "MLP"
    x, y = tensors(data)
    x = x.flatten(1)
    net = plain_net(model)
    parameters = torch.cat([parameter.detach().flatten() for parameter in net.parameters()])
    gradient, mean, square = (torch.zeros_like(parameters) for _ in range(3))

    def parts(vector: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        w1, b1, w2, b2 = vector.split([42 * 784, 42, CLASSES * 42, CLASSES])
        return w1.view(42, 784), b1, w2.view(CLASSES, 42), b2

    (w1, b1, w2, b2), (dw1, db1, dw2, db2) = parts(parameters), parts(gradient)
    start = time.perf_counter()
    order = torch.randperm(len(x))
    onehot = torch.eye(CLASSES)
    for number, indices in enumerate(order.split(BATCH), 1):
        batch, target = x.index_select(0, indices), y.index_select(0, indices)
        hidden = torch.addmm(b1, batch, w1.t()).relu_()
        delta = torch.addmm(b2, hidden, w2.t()).softmax(1).sub_(onehot.index_select(0, target)).div_(len(indices))
        torch.mm(delta.t(), hidden, out=dw2)
        torch.sum(delta, 0, out=db2)
        back = torch.mm(delta, w2).mul_(hidden > 0)
        torch.mm(back.t(), batch, out=dw1)
        torch.sum(back, 0, out=db1)
        mean.lerp_(gradient, 0.1)
        square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        spread = square.sqrt().div_((1 - 0.999**number) ** 0.5).add_(1e-8)
        parameters.addcdiv_(mean, spread, value=-RATE / (1 - 0.9**number))
    seconds = time.perf_counter() - start
    return Epoch(seconds, loss_of(lambda x: torch.addmm(b1, x.flatten(1), w1.t()).relu() @ w2.t() + b2, data))


def classifier(model: str, steps: int) -> Classifier:
    return MODELS[model]((1, 28, 28), CLASSES, learning_rate=RATE, schedule="constant", steps_per_execution=steps)


def trained(module: pl.LightningModule, data: pl.LightningDataModule, batches: float = 1.0) -> float:
    """Seconds of one epoch as ``python -m mcubench fit`` runs it, without validation."""
    timer = EpochTimer()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            limit_train_batches=batches,
            limit_val_batches=0,
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[timer, RandomState(), LastCheckpoint()],
        )
        trainer.fit(module, data)
    return timer.epochs[0]


def fit(steps: int) -> Callable[[str, MNIST], Epoch]:
    def run(model: str, data: MNIST) -> Epoch:
        torch.manual_seed(0)
        module = classifier(model, steps)
        seconds = trained(module, data)
        return Epoch(seconds, loss_of(module.eval(), data))

    return run


def seeds_at_once(model: str, data: MNIST) -> Epoch:
    modules = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        modules.append(classifier(model, steps=50))
    stacked = StackedClassifiers(modules, range(SEEDS))
    seconds = trained(stacked, StackedData(data, range(SEEDS)))
    stacked.stack.copy_to(modules[0], 0)
    return Epoch(seconds, loss_of(modules[0].eval(), data))


def seeds_in_turn(model: str, data: MNIST) -> Epoch:
    total = 0.0
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        module = classifier(model, steps=50)
        total += trained(module, data)
    return Epoch(total, loss_of(module.eval(), data))


TORCH_PATHS: dict[str, Callable[[str, MNIST], Epoch]] = {
    "(a) the exercise's DataLoader loop": exercise_loop,
    "(b) bare loop over slices": bare_loop,
    "(b) the same, torch.compile": compiled_loop,
    "(d) gradients by hand": by_hand,
    "(e) mcubench, steps_per_execution 1": fit(1),
    "(e) mcubench, steps_per_execution 50": fit(50),
    f"(f) mcubench, {SEEDS} seeds at once": seeds_at_once,
    f"(f) mcubench, {SEEDS} seeds in turn": seeds_in_turn,
}

KERAS_PATHS = {"(c) Keras": 1, "(c) Keras, steps_per_execution 50": 50}


def start_keras(threads: int) -> None:
    """Limits TensorFlow to some threads, which only a fresh process can."""
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def train_keras(model: str, steps: int, parts: list[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> Epoch:
    """The second epoch, as the first one compiles; the loss after the first.

    Args:
        model: Name of the net.
        steps: Steps per execution.
        parts: Training and validation part, as `MNIST.arrays` has them.
    """
    import keras

    keras.utils.set_random_seed(0)
    (x, y), (x_val, y_val) = ((x.transpose(0, 2, 3, 1), y) for x, y in parts)
    head = [keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    body = [keras.layers.Conv2D(32, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    if model == "MLP":
        head.insert(1, keras.layers.Dense(42, activation="relu"))
        body = []
    net = keras.Sequential([keras.Input((28, 28, 1)), *body, *head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(RATE, epsilon=1e-8), loss, steps_per_execution=steps)
    start = time.perf_counter()
    net.fit(x, y, batch_size=BATCH, verbose=0)
    first = time.perf_counter() - start
    after = float(net.evaluate(x_val, y_val, batch_size=500, verbose=0))
    start = time.perf_counter()
    net.fit(x, y, batch_size=BATCH, verbose=0)
    seconds = time.perf_counter() - start
    return Epoch(seconds, after, preparing=first - seconds)
