"""Runs any Keras model and keeps what each of its layers made."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Step", "record"]


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer, or of a function of ``keras.ops`` in a functional model.

    Attributes:
        operation: The Keras layer or operation.
        inputs: Shapes of its input tensors for one sample.
        output: Its first output, shape (N, ...).
        repeats: How often it ran for one sample; more than once where steps were merged with the batch.
        sources: The steps that made its input tensors, as far as steps did.
    """

    operation: Any
    inputs: tuple[tuple[int, ...], ...]
    output: NDArray[Any]
    repeats: int = 1
    sources: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        """The operation's name."""
        return str(self.operation.name)

    @property
    def kind(self) -> str:
        """The operation's class."""
        return type(self.operation).__name__

    @property
    def is_keras(self) -> bool:
        """Whether it is one of Keras' own, and not somebody's class of the same name."""
        return type(self.operation).__module__.startswith("keras.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output for one sample."""
        return tuple(self.output.shape[1:])


def record(
    keras: Any, model: Any, inputs: list[NDArray[Any]], names: Sequence[str] = ()
) -> tuple[list[Step], dict[Any, NDArray[Any]]]:
    """Runs a model at inference, layer by layer. Its variables are afterwards what they were.

    Args:
        keras: The module.
        model: Functional, sequential or subclassed, with models in it or without.
        inputs: One array a model's input, the batch in front.
        names: What the inputs are called, for a model that takes a dict.

    Returns:
        Every call in order, and the model's outputs by name if it returns a dict, else by position.
    """
    log = _Log(keras, len(inputs[0]))
    tensors = [keras.ops.convert_to_tensor(each) for each in inputs]
    variables = list(_variables(keras, model))
    before = [np.array(_numpy(keras, variable)) for variable in variables]
    with contextlib.ExitStack() as stack:
        for operation in dict.fromkeys(_leaves(model)):
            stack.enter_context(_watched(operation, log))
        try:
            result = _call(model, tensors, names)
        finally:  # a stateful recurrent layer, say, has moved on
            for variable, value in zip(variables, before, strict=True):
                if not np.array_equal(_numpy(keras, variable), value, equal_nan=value.dtype.kind == "f"):
                    variable.assign(value)
    if isinstance(result, dict) and all(keras.ops.is_tensor(each) for each in result.values()):
        return log.steps, {name: _numpy(keras, each) for name, each in result.items()}
    return log.steps, {index: _numpy(keras, each) for index, each in enumerate(keras.tree.flatten(result))}


def _variables(keras: Any, model: Any) -> Iterator[Any]:
    """All that a model may change when it runs; states of recurrent layers are not among its own variables."""
    yield from model.variables
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            yield from (state for state in keras.tree.flatten(layer.states) if state is not None)


def _call(model: Any, tensors: list[Any], names: Sequence[str]) -> Any:
    """Calls a model with its inputs as it takes them: one, a dict, a list, or several arguments."""
    if len(tensors) == 1 and not isinstance(getattr(model, "_inputs_struct", None), dict):
        return model(tensors[0], training=False)
    if isinstance(getattr(model, "_inputs_struct", None), dict):
        return model(dict(zip(names, tensors, strict=True)), training=False)
    takes = [name for name in inspect.signature(model.call).parameters if name not in ("training", "mask")]
    if not getattr(model, "inputs", None) and len(takes) == len(tensors):
        return model(*tensors, training=False)
    return model(tensors, training=False)


def _leaves(model: Any) -> Iterator[Any]:
    """What a model calls, at the level at which people think of layers."""
    for each in getattr(model, "operations", None) or model._flatten_layers(include_self=False, recursive=False):
        is_layer = hasattr(each, "_flatten_layers")
        inside = list(each._flatten_layers(include_self=False, recursive=False)) if is_layer else []
        if inside and not type(each).__module__.startswith("keras.src.layers"):  # a model, or somebody's own block
            yield from _leaves(each)
        else:
            yield each


class _Log:
    """The calls so far, and which tensors they made."""

    def __init__(self, keras: Any, samples: int) -> None:
        self.keras = keras
        self.samples = samples
        self.steps: list[Step] = []
        self._makers: dict[int, Step] = {}  # by the identity of tensors, which is theirs alone as long as they live
        self._alive: list[Any] = []

    def add(self, operation: Any, given: Any, result: Any) -> None:
        read, made = (self._tensors(each) for each in (given, result))
        output = _numpy(self.keras, self.keras.tree.flatten(result)[0])
        repeats = max(1, len(output) // self.samples) if output.ndim else 1
        shapes = tuple(tuple(map(int, each.shape[1:])) for each in read)
        sources = tuple(self._makers[id(each)] for each in read if id(each) in self._makers)
        self.steps.append(Step(operation, shapes, output, repeats, sources))
        self._makers.update(dict.fromkeys(map(id, made), self.steps[-1]))
        self._alive += made

    def _tensors(self, tree: Any) -> list[Any]:
        return [each for each in self.keras.tree.flatten(tree) if self.keras.ops.is_tensor(each)]


@contextlib.contextmanager
def _watched(operation: Any, log: _Log) -> Iterator[None]:
    """Has an operation write its calls down while the context lasts."""
    call: Callable[..., Any] = operation.call

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        log.add(operation, (args, kwargs), result)
        return result

    watched.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
    own = vars(operation).get("call")  # what somebody may have put there
    object.__setattr__(operation, "call", watched)
    try:
        yield
    finally:
        if own is None:
            object.__delattr__(operation, "call")
        else:
            object.__setattr__(operation, "call", own)


def _numpy(keras: Any, tensor: Any) -> NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(tensor))
