"""Annotations that name an optimiser where a factory of one is meant, as public templates have them."""

from __future__ import annotations

import contextlib
import importlib
import types
import typing
from collections import OrderedDict
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["give_factories_to_hparams", "read_as_factories"]

_STRANGERS = ("torch", "lightning", "builtins")


def read_as_factories(kind: type) -> None:
    """Has the parser take an optimiser's class and options where a class says ``optimizer: torch.optim.Optimizer``.

    An optimiser can't be made before the parameters are there, so that such a module calls what it is given:
    ``self.optimizer(params=self.parameters())``. The annotations of ``__init__`` are changed in this process.

    Args:
        kind: Somebody's class; its bases are looked at, too.
    """
    for each in kind.__mro__:
        init = vars(each).get("__init__")
        if not isinstance(init, types.FunctionType) or each.__module__.partition(".")[0] in _STRANGERS:
            continue
        hints: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # of names that are imported for type checkers alone
            hints = typing.get_type_hints(init)
        for name, hint in hints.items():
            if (made := _as_factory(hint)) is not hint:
                init.__annotations__[name] = made


def _as_factory(hint: Any) -> Any:
    """The type of what makes something of a type that must not be made too soon; any other type as it is."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [_as_factory(part) for part in typing.get_args(hint)]
        changed = any(new is not old for new, old in zip(parts, typing.get_args(hint), strict=True))
        return typing.Union[tuple(parts)] if changed else hint  # noqa: UP007 - of types that are known only now
    if hint is torch.optim.lr_scheduler:  # the module, which the best known template gives as a type
        return LRSchedulerCallable
    if isinstance(hint, type) and issubclass(hint, torch.optim.Optimizer):
        return OptimizerCallable
    return LRSchedulerCallable if isinstance(hint, type) and issubclass(hint, LRScheduler) else hint


class _Recipe(dict[str, Any]):
    """What a hyperparameter says of an optimiser, which can also be called to make it; saved as what it says."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Makes it."""
        module, _, name = self["class_path"].rpartition(".")
        made = getattr(importlib.import_module(module), name)
        return made(*args, **{**dict(self.get("init_args") or {}), **kwargs})

    def __reduce__(self) -> tuple[type, tuple[list[tuple[str, Any]]]]:
        return OrderedDict, (list(self.items()),)  # which a checkpoint of plain values may hold


def give_factories_to_hparams(model: pl.LightningModule) -> None:
    """Has ``self.hparams.optimizer(params=...)`` make an optimiser, as it does where no command line makes the module.

    Lightning's command line puts the options there in the place of what was made of them.
    """
    for name, value in list(model.hparams.items()):
        if isinstance(value, dict) and not isinstance(value, _Recipe) and _is_factory(value.get("class_path")):
            model.hparams[name] = _Recipe(value)


def _is_factory(path: object) -> bool:
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    kind = getattr(importlib.import_module(module), name, None) if module else None
    return isinstance(kind, type) and _as_factory(kind) is not kind
