"""The same optimiser in both frameworks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch

from mcubench.errors import UserError, did_you_mean

__all__ = ["OPTIMIZERS", "Optimizer", "keras_optimizer", "learning_rate_of", "torch_optimizer"]

Optimizer = Literal["sgd", "momentum", "adam", "adamw"]
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)

_MOMENTUM = 0.9
_EPSILON = 1e-8  # torch.optim.Adam's
_WEIGHT_DECAY = 1e-2  # torch.optim.AdamW's
# Of SGD, both frameworks' documentation takes 0.01; of Adam, 0.001 is the default of both.
_LEARNING_RATES = {"sgd": 1e-2, "momentum": 1e-2, "adam": 1e-3, "adamw": 1e-3}


def learning_rate_of(optimizer: str, given: float | None = None) -> float:
    """The learning rate that was given, else the usual one.

    Raises:
        UserError: If there is no such optimiser, or the rate is not positive.
    """
    if optimizer not in _LEARNING_RATES:
        raise UserError(
            f"there is no optimizer {optimizer!r}; there are {', '.join(OPTIMIZERS)}."
            f"{did_you_mean(optimizer, OPTIMIZERS)}"
        )
    if given is not None and not given > 0:
        raise UserError(f"the learning rate must be above 0, got {given}")
    return _LEARNING_RATES[optimizer] if given is None else given


def torch_optimizer(name: str, parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """PyTorch's optimiser, with its own defaults."""
    if name in ("sgd", "momentum"):
        return torch.optim.SGD(parameters, rate, momentum=_MOMENTUM if name == "momentum" else 0.0)
    return (torch.optim.AdamW if name == "adamw" else torch.optim.Adam)(parameters, rate)


def keras_optimizer(keras: Any, name: str, rate: float, *, like_keras: bool = False, **options: Any) -> Any:
    """Keras' optimiser with the same formula and the same constants.

    Keras adds Adam's epsilon before the second moment's bias is corrected (the "epsilon hat" of Kingma and Ba,
    arXiv:1412.6980, section 2), PyTorch after it: the same number acts up to 1 / sqrt(1 - beta_2) = 32 times stronger
    in Keras' first step. No epsilon makes the two equal, so the formula is PyTorch's here.

    Args:
        keras: The module.
        name: One of `OPTIMIZERS`.
        rate: The learning rate.
        like_keras: Take Keras' own formula.
        **options: Other constants than PyTorch's.
    """
    if name in ("sgd", "momentum"):
        return keras.optimizers.SGD(rate, **{"momentum": _MOMENTUM if name == "momentum" else 0.0, **options})
    if name == "adamw":
        options = {"weight_decay": _WEIGHT_DECAY, **options}
    made = keras.optimizers.Adam if like_keras else _adam_as_in_pytorch(keras)
    return made(rate, **{"epsilon": _EPSILON, **options})


def _adam_as_in_pytorch(keras: Any) -> Any:
    ops = keras.ops
    base: Any = keras.optimizers.Adam  # with weight_decay it is AdamW: Keras decays apart from the gradient in both

    class PyTorchAdam(base):  # type: ignore[misc]  # keras has no types
        """Adam with PyTorch's place for epsilon.

        Source: the algorithm in the documentation of ``torch.optim.Adam``.
        """

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            rate, gradient = (ops.cast(each, variable.dtype) for each in (learning_rate, gradient))
            step = ops.cast(self.iterations + 1, variable.dtype)
            first, second = (1 - ops.power(ops.cast(beta, variable.dtype), step) for beta in (self.beta_1, self.beta_2))
            index = self._get_variable_index(variable)
            m, v = self._momentums[index], self._velocities[index]
            self.assign_add(m, (gradient - m) * (1 - self.beta_1))
            self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
            root = ops.sqrt(v) / ops.sqrt(second) + self.epsilon
            self.assign_sub(variable, rate * (m / first) / root)

    return PyTorchAdam
