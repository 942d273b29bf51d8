"""Parameters and multiply-accumulates of Keras layers, from their own shapes: nothing here looks at a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mcubench.parity.recording import Step

__all__ = ["keras_macs", "keras_params"]

# Parts of Keras in which nothing multiplies matrices, by the modules that its classes come from.
_FREE = (
    *("layers.activations", "layers.merging", "layers.normalization", "layers.pooling", "layers.regularization"),
    *("layers.reshaping", "layers.preprocessing", "layers.core.embedding", "layers.core.identity", "ops.numpy"),
    *("layers.core.input_layer", "layers.core.masking", "ops.nn", "ops.core", "ops.math", "ops.image"),
)
_PRODUCTS = ("Dot", "Matmul", "Einsum", "Tensordot", "Vdot", "Inner", "Outer", "Conv", "Attention", "Correlate")


def keras_params(operation: Any) -> int:
    """Number of elements of all variables of a layer, trained or not."""
    return sum(_elements(each) for each in getattr(operation, "variables", []) if not _is_seed(each))


def _is_seed(variable: Any) -> bool:
    return "seed_generator" in str(variable.path)


def keras_macs(step: Step) -> int | None:
    """Multiply-accumulates of one call for one sample; ``None`` for a layer that is not known.

    The conventions are those of docs/conventions.md: a bias adds none.
    """
    if step.kind in _COUNTS:
        return _COUNTS[step.kind](step)
    home = type(step.operation).__module__.removeprefix("keras.src.")
    free = home.startswith(_FREE) and not any(word in step.kind for word in _PRODUCTS)
    return 0 if free or (home, step.kind) == ("mcubench.parity.keras_layers", "Constant") else None


def _dense(step: Step) -> int:
    return math.prod(step.shape) * step.inputs[0][-1]


def _convolution(step: Step) -> int:
    return math.prod(step.shape[:-1]) * _elements(step.operation.kernel)


def _separable(step: Step) -> int:
    layer = step.operation
    return math.prod(step.shape[:-1]) * (_elements(layer.depthwise_kernel) + _elements(layer.pointwise_kernel))


def _transposed(step: Step) -> int:
    return math.prod(step.inputs[0][:-1]) * _elements(step.operation.kernel)


def _recurrent(step: Step) -> int:
    return step.inputs[0][0] * _matrices(step.operation.cell)


def _cell(step: Step) -> int:
    return _matrices(step.operation)


def _both_ways(step: Step) -> int | None:
    ways = (step.operation.forward_layer, step.operation.backward_layer)
    if any(type(way).__name__ not in ("LSTM", "GRU", "SimpleRNN") for way in ways):
        return None
    return step.inputs[0][0] * sum(_matrices(way.cell) for way in ways)


def _einsum_dense(step: Step) -> int | None:
    layer = step.operation
    return _einsum(layer.equation, (step.inputs[0], tuple(layer.kernel.shape)), step.shape)


def _einsum_of_tensors(step: Step) -> int | None:
    return _einsum(step.operation.subscripts, step.inputs, step.shape) if len(step.inputs) == 2 else None


def _product(step: Step) -> int | None:
    return math.prod(step.shape) * step.inputs[0][-1] if len(step.inputs) == 2 else None


def _elements(variable: Any) -> int:
    return int(math.prod(variable.shape))


def _matrices(cell: Any) -> int:
    """Elements of the matrices that a recurrent cell multiplies with at each step."""
    return _elements(cell.kernel) + _elements(cell.recurrent_kernel)


def _einsum(equation: str, inputs: tuple[tuple[int, ...], ...], outputs: tuple[int, ...]) -> int | None:
    """One multiplication for every combination of indices; that of the batch counts once."""
    terms, _, out = equation.replace(" ", "").partition("->")
    if "." in equation or not out:
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip((*terms.split(","), out), (*inputs, outputs), strict=True):
        sizes.update(zip(reversed(term), reversed(shape), strict=False))  # the batch is first, and not in the shape
    return math.prod(sizes.values())


_COUNTS: dict[str, Callable[[Step], int | None]] = {
    "Dense": _dense,
    **{f"Conv{rank}D": _convolution for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": _convolution for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _separable for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": _transposed for rank in (1, 2, 3)},
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    **dict.fromkeys(("LSTMCell", "GRUCell", "SimpleRNNCell"), _cell),
    "Bidirectional": _both_ways,
    "EinsumDense": _einsum_dense,
    "Einsum": _einsum_of_tensors,
    "Matmul": _product,
}
