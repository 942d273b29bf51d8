"""Layers that Keras lacks. Importing this module makes saved models that have them loadable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcubench.parity.backend import load_keras

keras = load_keras()
_Layer: Any = keras.layers.Layer

__all__ = ["Constant"]


@keras.saving.register_keras_serializable("mcubench")
class Constant(_Layer):  # type: ignore[misc]  # keras has no types
    """A weight by itself, as class tokens and position embeddings are: x of shape (N, ...) to (N, *shape).

    Args:
        shape: Shape of the weight.
        **options: Arguments of every Keras layer.
    """

    def __init__(self, shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.shape = tuple(shape)

    def build(self, _input_shape: Any) -> None:
        """Makes the weight."""
        self.value = self.add_weight(shape=self.shape, initializer="zeros", name="value", trainable=self.trainable)

    def call(self, x: Any) -> Any:
        """Repeats it for every sample."""
        value = keras.ops.convert_to_tensor(self.value)
        return keras.ops.broadcast_to(value[None], (keras.ops.shape(x)[0], *self.shape))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Shape of the output."""
        return (input_shape[0], *self.shape)

    def get_config(self) -> dict[str, Any]:
        """What it takes to make it anew."""
        return {**super().get_config(), "shape": self.shape}
