"""Any torch module, or a function that returns one, in the place of one of our models."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import types
import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from mcubench.errors import UserError, did_you_mean
from mcubench.graph.failing import failed_forward, in_words
from mcubench.models.base import Classifier

__all__ = ["Network", "made", "made_to_train"]

_SUMS_TO_ONE = 1e-4
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)


def made(net: str, arguments: dict[str, Any] | None = None) -> nn.Module:
    """A module by the path of what makes it.

    Args:
        net: A class, a function that returns a module, or a module, as in ``my_file.MyNet``.
        arguments: What it is called with, by name.

    Raises:
        UserError: If it takes no such arguments, needs others, or gives no module.
    """
    return _made(net, arguments or {}, {})


def made_to_train(net: str, arguments: dict[str, Any] | None = None) -> pl.LightningModule:
    """The same of a function that returns a LightningModule.

    Args:
        net: The function, as in ``my_file.make_net``.
        arguments: What it is called with, by name.

    Raises:
        UserError: As `made` does, and if it is none.
    """
    found = _made(net, arguments or {}, {})
    if not isinstance(found, pl.LightningModule):
        raise UserError(f"{net} says that it gives a LightningModule, and gives a {type(found).__name__}")
    return found


class Network(Classifier):
    """Any torch module, trained as a classifier.

    The module keeps its own name in tables, and its parameters begin with ``net.``.

    Args:
        input_shape: Shape of one sample, channels first; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        net: What makes it: a class or a function, as in ``my_file.MyNet``. Where that takes ``input_shape`` or
            ``num_classes``, it gets those of the data.
        arguments: What else it is made with, by name.
        **training: Options of `Classifier`.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        net: str,
        arguments: dict[str, Any] | None = None,
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **training)
        known = {"input_shape": self.input_shape, "num_classes": self.num_classes}
        self.net = _made(net, arguments or {}, known)
        if isinstance(self.net, pl.LightningModule):
            raise UserError(
                f"{net} gives a LightningModule, which trains itself: name its class, or annotate what the function "
                f"returns, as in -> {type(self.net).__name__}"
            )

        self.__class__ = _named(net.rpartition(".")[2])  # tables say what a model is by the name of its class

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (type(self).__name__,), self.__dict__

    def setup(self, stage: str) -> None:
        """Sees before a fit that the module gives a score for each class.

        Raises:
            UserError: If it does not.
        """
        super().setup(stage)
        if stage == "fit":
            self._check_scores()

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, num_classes) of x (N, *input_shape)."""
        scores: Tensor = self.net(x)
        return scores

    def _check_scores(self) -> None:
        training, x = self.net.training, self.example_input_array.to(self.device)
        self.net.eval()
        try:
            if (error := failed_forward(self.net, (x,))) is not None:
                problem = in_words(error, self.net)
                raise UserError(f"{type(self).__name__} can't be trained on samples of {self.input_shape}: {problem}")
            with torch.no_grad():
                scores = self.net(x)
        finally:
            self.net.train(training)
        if not isinstance(scores, Tensor) or scores.shape != (1, self.num_classes):
            form = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise UserError(
                f"{type(self).__name__} is trained as a classifier, and its forward gives {form} for one sample of "
                f"shape {self.input_shape}; it must give (1, {self.num_classes}), a score for each class"
            )
        if scores.min() >= 0 and (scores.sum() - 1).abs() < _SUMS_TO_ONE:
            warnings.warn(
                f"{type(self).__name__} seems to end in softmax, and the loss has one too: give scores as they are",
                stacklevel=2,
            )


@functools.cache
def _named(name: str) -> type[Network]:
    return type(name, (Network,), {"__module__": __name__, "__doc__": Network.__doc__})


def _blank(name: str) -> Network:
    """A `Network` before ``__init__``, for copies."""
    kind = _named(name)
    return kind.__new__(kind)


def _made(path: str, arguments: dict[str, Any], known: dict[str, Any]) -> nn.Module:
    module, _, name = path.rpartition(".")
    try:
        maker = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise UserError(f"there is no {path}: give a class or a function with its module, as in my_file.Net") from None
    if isinstance(maker, nn.Module):
        maker = lambda maker=maker: copy.deepcopy(maker)  # noqa: E731 - a module that is there already, each time anew
    if not (issubclass(maker, nn.Module) if isinstance(maker, type) else isinstance(maker, _FUNCTIONS)):
        raise UserError(f"{path} is no torch module, nor a function that returns one")
    takes = inspect.signature(maker).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    for each in arguments:
        if each not in takes and not anything:
            raise UserError(f"{name} has no option {each!r}.{did_you_mean(each, takes)} It has {', '.join(takes)}.")
    given = {key: value for key, value in known.items() if key in takes} | arguments
    missing = [
        each.name
        for each in takes.values()
        if each.default is each.empty
        and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        and each.name not in given
    ]
    if missing:
        raise UserError(f"{name} needs {' and '.join(f'--model.{each}' for each in missing)}")
    found = maker(**given)
    if not isinstance(found, nn.Module):
        raise UserError(f"{path} gives no torch module, but {type(found).__name__}")
    return found
