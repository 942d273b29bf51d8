"""What a forward that fails by itself failed of: the layer, and perhaps the place of the channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["failed_forward", "failing_layer", "in_words", "layer_problem"]

_SPATIAL = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def failing_layer(error: BaseException) -> tuple[nn.Module, Any] | None:
    """The innermost module whose forward an error was raised in, and what that was given first, if it is known."""
    found, trace = None, error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_locals
        if trace.tb_frame.f_code.co_name == "forward" and isinstance(names.get("self"), nn.Module):
            given = [value for name, value in names.items() if name != "self" and isinstance(value, Tensor)]
            found = names["self"], given[0] if given else None
        trace = trace.tb_next
    return found


def in_words(error: BaseException, module: nn.Module) -> str:
    """The first line of an error, with the layer that it was raised in and a word on channels that lie last.

    Args:
        error: What a forward raised.
        module: The outermost module, whose paths name layers.
    """
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    text = f"{type(error).__name__}: {reason}"
    found = failing_layer(error)
    if found is None:
        return text
    layer, x = found
    path = next((name for name, each in module.named_modules() if each is layer), "")
    return f"{text}{f' (in {path}, {type(layer).__name__})' if path else ''}{_channels(layer, x)}"


def layer_problem(error: BaseException) -> str | None:
    """What to say of an error that a layer of torch's raised for what it was given; ``None`` if it is of other code.

    Args:
        error: What came out of a training or a measurement.
    """
    found = failing_layer(error)
    if found is None or not type(found[0]).__module__.startswith("torch.nn."):
        return None
    module = _outermost(error)
    given = "" if found[1] is None else f", which was given {tuple(found[1].shape)}"
    return f"{type(module).__name__} does not take these samples: {in_words(error, module)}{given}; see --debug"


def _outermost(error: BaseException) -> nn.Module:
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if trace.tb_frame.f_code.co_name == "forward" and isinstance(owner, nn.Module):
            return owner
        trace = trace.tb_next
    raise ValueError("no forward raised it")


def failed_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Exception | None:
    """Runs a forward once, and returns what it raised; ``None`` if it raised nothing.

    Args:
        module: The module, which may change: give a copy where that matters.
        args: What forward takes by position.
        kwargs: By name.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            module(*args, **(kwargs or {}))
        except Exception as error:  # somebody's forward may raise anything
            return error
    return None


def _channels(layer: nn.Module, x: Any) -> str:
    """A word on samples whose channels lie last, where a layer wants as many channels as the last axis has."""
    if not isinstance(layer, _SPATIAL) or not isinstance(x, Tensor) or x.ndim < 3:
        return ""
    wanted = getattr(layer, "in_channels", getattr(layer, "num_features", None))
    if x.shape[-1] != wanted or x.shape[1] <= x.shape[-1]:
        return ""
    shape = ",".join(map(str, (x.shape[-1], *x.shape[1:-1])))
    return f": the channels of a sample seem to lie last, and torch wants them first, as in {shape}"
