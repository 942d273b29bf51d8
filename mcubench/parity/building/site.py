"""Where a node's counterpart is built: its inputs as Keras tensors, and what is made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import UserError
from mcubench.graph.ir import Input, Node, Op, Operand, Value, Weight

__all__ = ["Adapt", "CannotBuildError", "Site", "array", "build"]


# Takes the label of a node, the name of a Keras layer's class and its options, and returns other options.
Adapt = Callable[[str, str, dict[str, Any]], dict[str, Any]]


class CannotBuildError(UserError):
    """Keras has no counterpart of an operation."""


def array(weight: Weight) -> NDArray[Any]:
    """A weight for Keras, in PyTorch's order of axes."""
    found: NDArray[Any] = weight.tensor.numpy()
    return found


class Site:
    """One node's place in the Keras model.

    Layers of the same name are made once: a module that is called twice is one layer, called twice.

    Args:
        keras: The module.
        node: The node to build.
        label: The name that its output's operation gets.
        inputs: A Keras tensor (N, *shape) for each input of the node.
        layers: The model's layers so far, by name.
        trainable: Whether a weight is trained.
        adapt: Changes the options of layers, if it is given.
    """

    def __init__(
        self,
        keras: Any,
        node: Node,
        label: str,
        inputs: Sequence[Any],
        layers: dict[str, Any],
        trainable: Callable[[Weight], bool],
        adapt: Adapt | None = None,
    ) -> None:
        self.keras = keras
        self.node = node
        self.label = label
        self.inputs = inputs
        self.operations: list[Any] = []  # Keras operations, in the order in which they were made
        self.trainable = trainable
        self._layers = layers
        self._adapt = adapt

    def inner(self, node: Node, inputs: Sequence[Any]) -> Site:
        """The place of a node that is part of this one, and whose operations are this one's."""
        found = Site(self.keras, node, f"{self.label}.{node.name}", inputs, self._layers, self.trainable, self._adapt)
        found.operations = self.operations
        return found

    @property
    def x(self) -> Any:
        """The first input."""
        return self.inputs[0]

    @property
    def value(self) -> Value:
        """The first input's value."""
        return self.node.inputs[0]

    @property
    def output(self) -> Value:
        """The value to make."""
        return self.node.output

    def layer(
        self,
        kind: str | type,
        x: Any,
        weights: Sequence[NDArray[Any]] = (),
        *,
        role: str = "",
        inner: Any = None,
        **options: Any,
    ) -> Any:
        """Applies a Keras layer.

        Args:
            kind: Name of the class in ``keras.layers``, or a class.
            x: What to apply it to.
            weights: The weights it gets, in Keras' order and layout.
            role: Tells it from other layers of the same class in this node.
            inner: What the layer wraps, if it wraps one.
            **options: Arguments of the class.
        """
        found = getattr(self.keras.layers, kind, None) if isinstance(kind, str) else kind
        if found is None:
            raise CannotBuildError(f"this version of keras has no layer {kind}")
        key = f"{self.label}-{found.__name__}{role}"
        made = self._layers.get(key)
        fresh = made is None
        if made is None:
            # Names of variables are made from it, in which some backends allow no dot.
            if self._adapt is not None:
                options = self._adapt(self.label, found.__name__, options)
            options = {"name": key.replace(".", "_").replace("/", "_"), "dtype": "float32", **options}
            made = self._layers[key] = found(*([] if inner is None else [inner]), **options)
        result = made(*x) if isinstance(x, tuple) else made(x)
        if fresh and weights:
            made.set_weights(list(weights))
        self.operations.append(made)
        return result

    def op(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Applies a function of ``keras.ops``."""
        result = getattr(self.keras.ops, name)(*args, **kwargs)
        tensors = result if isinstance(result, (tuple, list)) else [result]
        self.operations.append(tensors[0]._keras_history.operation)
        return result

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        """Gives the axes behind the batch another shape."""
        return x if tuple(x.shape[1:]) == tuple(shape) else self.layer(
            "Reshape", x, role=f"{len(self.operations)}", target_shape=tuple(shape)
        )  # fmt: skip

    def operand(self, operand: Operand) -> Any:
        """An operand with the batch in front, or a number."""
        if isinstance(operand, Input):
            return self.inputs[operand.index]
        return self.constant(operand) if isinstance(operand, Weight) else operand

    def constant(self, weight: Weight) -> Any:
        """A weight as a tensor, repeated for each sample: shape (N, *weight)."""
        from mcubench.parity.keras_layers import Constant

        value = np.ascontiguousarray(array(weight))
        role = f"{len(self.operations)}"
        options = {"shape": value.shape, "trainable": self.trainable(weight), "dtype": value.dtype.name}
        return self.layer(Constant, self.x, [value], role=role, **options)

    def aligned(self, operands: Sequence[Operand]) -> list[Any]:
        """Operands with as many axes each, so that they broadcast as one sample's do."""
        found = [self.operand(each) for each in operands]
        rank = max([len(each.shape) for each in found if hasattr(each, "shape")], default=1)
        return [
            self.reshape(each, (*(1,) * (rank - len(each.shape)), *each.shape[1:])) if hasattr(each, "shape") else each
            for each in found
        ]

    def spatial(self, kernel: Callable[[Any], Any], rank: int) -> Any:
        """Applies what wants (N, *spatial, channels) to the last axes; those before them are like more samples."""
        shape = tuple(self.x.shape[1:])
        lead = shape[: len(shape) - rank - 1]
        if not lead:
            return kernel(self.x)
        merged = self.op("reshape", self.x, (-1, *shape[len(lead) :]))
        return self.op("reshape", kernel(merged), (-1, *self.output.shape))

    def activate(self, x: Any, activation: str | None) -> Any:
        """Applies an activation that was fused into the operation, if any."""
        if activation is None:
            return x
        names = {"relu": "relu", "relu6": "relu6", "relu_n1_to_1": "hard_tanh"}
        return self.layer("Activation", x, activation=names[activation])


@functools.singledispatch
def build(_op: Op, _at: Site) -> Any:
    """Builds an operation's counterpart; returns its output, or a tuple of outputs.

    A rule reads every field of its operation, or calls it `irrelevant`: what it passes over is refused.

    Raises:
        CannotBuildError: If there is none.
    """
    raise CannotBuildError("Keras has no counterpart of it")
