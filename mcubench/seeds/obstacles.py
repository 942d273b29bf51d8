"""What keeps seeds from being trained at once with the results of separate runs, in a few words; or nothing."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from mcubench.datamodules import TensorDataModule
from mcubench.models import Classifier
from mcubench.seeds.stack import Stack

__all__ = ["obstacle_in_data", "obstacle_in_models"]

_SAMPLES = 8  # that a forward is tried with
_STACKED = {"forward", "loss", "channels_last", "search_space"}  # what a subclass of Classifier may bring along
_BATCHES = {"train_dataloader", "val_dataloader", "transfer_batch_to_device"}
_BATCHES |= {"on_before_batch_transfer", "on_after_batch_transfer"}
_CONVOLUTIONS = ("aten::convolution", "aten::mkldnn_convolution")


def obstacle_in_data(data: object) -> str | None:
    """Why a data module's batches can't be stacked; it is set up to see.

    Args:
        data: The data module, or ``None`` if the model brings its own data.
    """
    if data is None:
        return "the model brings its own data"
    name = type(data).__name__
    if not isinstance(data, TensorDataModule):
        return f"the order of {name}'s batches is not known: it is no TensorDataModule"
    if own := _own(type(data), TensorDataModule) & _BATCHES:
        return f"{name} has its own {min(own)}"
    before = _random_states()
    data.setup("fit")
    return f"{name} draws random numbers when it is set up" if _random_states() != before else None


def obstacle_in_models(models: Sequence[pl.LightningModule]) -> str | None:
    """Why modules can't be trained as one; what their forward does is seen by running it on made-up samples.

    Args:
        models: Modules of one class and options, one a seed, in training mode; they stay as they are.
    """
    first = models[0]
    name = type(first).__name__
    if not isinstance(first, Classifier):
        return f"{name} is no Classifier"
    if own := _own(type(first), Classifier) - _STACKED:
        return f"{name} has its own {min(own)}"
    if own := vars(first).keys() & {name for name in dir(Classifier) if callable(getattr(Classifier, name, None))}:
        return f"{name} sets its own {min(own)}"
    if any(each._backward_hooks or each._post_accumulate_grad_hooks for each in first.parameters()):
        return f"{name} has hooks on its gradients"
    x = torch.randn(_SAMPLES, *first.input_shape, generator=torch.Generator().manual_seed(0))
    return _obstacle_in_forward(first, x) or _difference(models, x)


def _own(kind: type, base: type) -> set[str]:
    """Names that a subclass has of its own, and its base, too."""
    between = kind.__mro__[: kind.__mro__.index(base)]
    return {name for each in between for name in vars(each) if hasattr(base, name) and not name.startswith("__")}


def _obstacle_in_forward(model: Classifier, x: Tensor) -> str | None:
    name = type(model).__name__
    tried = copy.deepcopy(model)
    before = _random_states(), _numbers(dict(tried.named_buffers()))
    with torch.no_grad(), _Operators() as operators:
        for training in (True, False):
            tried.train(training)(x)
    if _random_states() != before[0]:
        return f"{name} draws random numbers in forward, as dropout does"
    if _numbers(dict(tried.named_buffers())) != before[1]:
        return f"{name} changes its buffers in forward, as batch norm does"
    if operators.seen.intersection(_CONVOLUTIONS):
        return "convolutions are not faster stacked, where it was measured (CPU)"
    return None


def _difference(models: Sequence[pl.LightningModule], x: Tensor) -> str | None:
    """Whether the stack computes what the modules compute: outputs, and losses of them, which all have the first's."""
    first = models[0]
    assert isinstance(first, Classifier)
    target = torch.arange(len(x)) % first.num_classes
    try:
        with torch.no_grad():
            alone = torch.stack([model(x) for model in models])
            own = torch.stack([model.loss(each, target) for model, each in zip(models, alone, strict=True)])  # type: ignore[operator]
            stack = Stack(models)
            for shared in (False, True):
                together = stack(x if shared else x.expand(len(models), *x.shape), shared)
                losses = vmap(first.loss, in_dims=(0, None))(together, target)
                if losses.shape != own.shape or not (_close(together, alone) and _close(losses, own)):
                    return f"{type(first).__name__} stacked gives other outputs or losses"
    except RuntimeError as error:
        return f"{type(first).__name__} can't be stacked ({str(error).partition(chr(10))[0]})"
    return None


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


class _Operators(TorchDispatchMode):
    """Notes the names of all operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.add(func.name())
        return func(*args, **(kwargs or {}))


def _random_states() -> tuple[object, ...]:
    """The states of all global generators of the CPU, comparable."""
    _, keys, position, *_ = np.random.get_state(legacy=True)  # noqa: NPY002 - the global state is what may change
    return random.getstate(), np.asarray(keys).tobytes(), position, torch.get_rng_state().numpy().tobytes()


def _numbers(buffers: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: buffer.detach().cpu().numpy().tobytes() for name, buffer in buffers.items()}
