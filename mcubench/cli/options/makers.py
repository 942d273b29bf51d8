"""What else than a class of ours or Lightning's may be given as a model: any torch module, or what makes one."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Sequence
from typing import Any

from mcubench.errors import UserError

__all__ = [
    "FUNCTIONS",
    "OWN",
    "check_package",
    "check_part",
    "maker_at",
    "returned",
    "under_one_name",
    "with_makers",
    "wrapped_section",
    "wrapper_of",
]

NETWORK = "mcubench.models.own.Network"
MADE = "mcubench.models.own.made"
MADE_TO_TRAIN = "mcubench.models.own.made_to_train"
FUNCTIONS = (MADE, MADE_TO_TRAIN)
_TWIN = "pytorch_lightning."

OWN = (NETWORK, *FUNCTIONS)

_OF_THE_PARSER = ("help", "class_path", "net", "arguments")


def wrapper_of(path: str, any_module: bool) -> str | None:
    """What makes a model of what is none by itself; ``None`` if the parser can use it as it is.

    Args:
        path: Of a class, a function or a module.
        any_module: Whether a model may be any torch module, as it may where nothing is trained.

    Raises:
        UserError: If it is none of these.
    """
    import lightning.pytorch as pl
    from torch import nn

    base: type = nn.Module if any_module else pl.LightningModule
    wrapper = MADE if any_module else NETWORK
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if isinstance(found, type):
        if issubclass(found, base):
            return None
        if issubclass(found, nn.Module):
            return wrapper
        raise UserError(
            f"--model {path}: {name} is not a {base.__name__}, nor any torch module, nor a function that returns one"
        )
    if isinstance(found, nn.Module):
        return wrapper
    if not isinstance(found, (types.FunctionType, types.MethodType, functools.partial)):
        raise UserError(
            f"--model {path}: {name} is a {type(found).__name__}; give a class, or a function that returns a module"
        )
    given = returned(found)
    if given is not None and not issubclass(given, nn.Module):
        raise UserError(f"--model {path}: {name} says that it returns {given.__name__}, which is no torch module")
    return MADE_TO_TRAIN if not any_module and given is not None and issubclass(given, base) else wrapper


def maker_at(path: str) -> Any:
    """What stands at a path; ``None`` if nothing can be imported from there."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None) if module else None
    except (ImportError, TypeError, ValueError):  # no path of a module, or of one that lacks something
        return None


def returned(maker: Any) -> type | None:
    """The class that a function says it returns, if it says one."""
    try:
        found = typing.get_type_hints(maker).get("return")
    except Exception:  # annotations may name what can't be found
        return None
    return found if isinstance(found, type) else None


def wrapped_section(wrapper: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """A configuration's section for a wrapped module.

    Args:
        wrapper: Of `wrapper_of`.
        path: What it wraps.
        options: Those that the section had: of the module, and of training.
    """
    training = {*(_training_options() if wrapper == NETWORK else ())}
    given = {name: value for name, value in options.items() if name in training}
    own = {name: value for name, value in options.items() if name not in training}
    return {"class_path": wrapper, "init_args": {**given, "net": path, "arguments": own}}


def with_makers(args: Sequence[str], wrapper: str | None) -> list[str]:
    """Puts the options of a module that is wrapped where the wrapper has them, but for those of training.

    Args:
        args: All options.
        wrapper: What makes the model, if it is one of ours here.
    """
    if wrapper not in OWN:
        return list(args)
    ours = {*_OF_THE_PARSER, *(_training_options() if wrapper == NETWORK else ())}
    changed = []
    for arg in args:
        option, equals, value = arg.partition("=")
        _, dot, rest = option.partition("--model.")
        rest = rest.removeprefix("init_args.")
        own = bool(dot) and rest.partition(".")[0] not in ours
        changed.append(f"--model.arguments.{rest}{equals}{value}" if own else arg)
    return changed


def _training_options() -> set[str]:
    from mcubench.models.base import Classifier

    return set(inspect.signature(Classifier).parameters)


def under_one_name(path: str) -> str:
    """A path of the package ``pytorch_lightning`` as the package ``lightning`` has it, where it is of the same code."""
    return f"lightning.pytorch.{path.removeprefix(_TWIN)}" if path.startswith(_TWIN) else path


def check_part(option: str, path: str) -> None:
    """Sees that somebody's callback or logger is not of the package ``pytorch_lightning``.

    Args:
        option: That names it.
        path: Its path; others than of classes that can be imported are passed over.

    Raises:
        UserError: If it is.
    """
    module, _, name = path.rpartition(".")
    if module and all(part.isidentifier() for part in path.split(".")):
        with contextlib.suppress(ImportError):
            check_package(f"{option} {path}: {name}", getattr(importlib.import_module(module), name, None))


def check_package(path: str, found: object) -> None:
    """Sees that a class is not of the package ``pytorch_lightning``, whose trainer this one's is not.

    Raises:
        UserError: If it is.
    """
    bases = found.__mro__ if isinstance(found, type) else ()
    base = next((each for each in bases if each.__module__.partition(".")[0] == "pytorch_lightning"), None)
    if base is not None:
        raise UserError(
            f"{path} is a {base.__name__} of the package pytorch_lightning, and mcubench runs the package lightning, "
            "which is the same code under another name: write import lightning.pytorch as pl in place of import "
            "pytorch_lightning as pl"
        )
