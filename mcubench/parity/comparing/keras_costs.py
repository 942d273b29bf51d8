"""Parameters and multiply-accumulates of Keras layers, from their own shapes: nothing here looks at a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mcubench.parity.comparing.recording import Step

__all__ = ["keras_macs", "keras_params"]

# Parts of Keras in which nothing multiplies matrices, by the modules that its classes come from.
_FREE = (
    *("layers.activations", "layers.merging", "layers.normalization", "layers.pooling", "layers.regularization"),
    *("layers.reshaping", "layers.core.embedding", "layers.core.identity", "layers.core.input_layer"),
    *("layers.core.masking", "layers.preprocessing.rescaling", "layers.preprocessing.normalization"),
    *("ops.numpy", "ops.nn", "ops.math", "ops.image"),
)
_FREE_CORE = ("Cast", "Shape", "Slice", "SliceUpdate", "StopGradient", "Unstack", "Scatter", "ScatterUpdate")
_PRODUCTS = (
    *("Dot", "Matmul", "Einsum", "Tensordot", "Vdot", "Inner", "Outer", "Conv", "Attention", "Correlate", "Kron"),
    *("FFT", "STFT", "Spectrogram"),
)


def keras_params(operation: Any) -> int:
    """Number of elements of all variables of a layer, trained or not."""
    return sum(_elements(each) for each in getattr(operation, "variables", []) if not _is_seed(each))


def _is_seed(variable: Any) -> bool:
    return "seed_generator" in str(variable.path)


def keras_macs(step: Step) -> int | None:
    """Multiply-accumulates of one call for one sample; ``None`` for a layer that is not known.

    The conventions are those of docs/conventions.md: a bias adds none.
    """
    home = type(step.operation).__module__
    if (home, step.kind) == ("mcubench.parity.keras_layers", "Constant"):
        return 0
    if not step.is_keras:  # somebody's class, whatever it is called
        return None
    if step.kind in _COUNTS:
        once = _COUNTS[step.kind](step)
        return None if once is None else once * step.repeats
    free = home.removeprefix("keras.src.").startswith(_FREE) or step.kind in _FREE_CORE
    return 0 if free and not any(word in step.kind for word in _PRODUCTS) else None


def _places(step: Step, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The spatial axes of a shape."""
    return shape[1:] if step.operation.data_format == "channels_first" else shape[:-1]


def _dense(step: Step) -> int:
    return math.prod(step.shape) * step.inputs[0][-1]


def _convolution(step: Step) -> int:
    return math.prod(_places(step, step.shape)) * _elements(step.operation.kernel)


def _separable(step: Step) -> int:
    layer = step.operation
    return math.prod(_places(step, step.shape)) * (
        _elements(layer.depthwise_kernel) + _elements(layer.pointwise_kernel)
    )


def _transposed(step: Step) -> int:
    return math.prod(_places(step, step.inputs[0])) * _elements(step.operation.kernel)


def _recurrent(step: Step) -> int:
    return step.inputs[0][0] * _matrices(step.operation.cell)


def _cell(step: Step) -> int:
    return _matrices(step.operation)


def _each_step(step: Step) -> int | None:
    """TimeDistributed: the same layer at every step."""
    (steps, *each), *_ = step.inputs
    inner = keras_macs(Step(step.operation.layer, (tuple(each),), step.output[:, 0]))
    return None if inner is None else steps * inner


def _of_cell(step: Step) -> int | None:
    """The general RNN, around a cell."""
    known = type(step.operation.cell).__name__ in ("LSTMCell", "GRUCell", "SimpleRNNCell")
    return step.inputs[0][0] * _matrices(step.operation.cell) if known else None


def _both_ways(step: Step) -> int | None:
    ways = (step.operation.forward_layer, step.operation.backward_layer)
    if any(type(way).__name__ not in ("LSTM", "GRU", "SimpleRNN") for way in ways):
        return None
    return step.inputs[0][0] * sum(_matrices(way.cell) for way in ways)


def _einsum_dense(step: Step) -> int | None:
    layer = step.operation
    return _einsum(layer.equation, (step.inputs[0], tuple(layer.kernel.shape)), step.shape)


def _einsum_of_tensors(step: Step) -> int | None:
    return _einsum(step.operation.subscripts, step.inputs, step.shape)


def _product(step: Step) -> int | None:
    return math.prod(step.shape) * step.inputs[0][-1] if len(step.inputs) == 2 else None


def _elements(variable: Any) -> int:
    return int(math.prod(variable.shape))


def _matrices(cell: Any) -> int:
    """Elements of the matrices that a recurrent cell multiplies with at each step."""
    return _elements(cell.kernel) + _elements(cell.recurrent_kernel)


def _einsum(equation: str, inputs: tuple[tuple[int, ...], ...], outputs: tuple[int, ...]) -> int | None:
    """Factors from left to right, a multiplication for every combination of indices; that of the batch counts once."""
    terms, _, out = equation.replace(" ", "").partition("->")
    factors = terms.split(",")
    if "." in equation or not out or len(factors) != len(inputs):
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip((*factors, out), (*inputs, outputs), strict=True):
        sizes.update(zip(reversed(term), reversed(shape), strict=False))  # the batch is first, and not in the shape
    macs, left = 0, set(factors[0])
    for index, term in enumerate(factors[1:], 1):
        together = left | set(term)
        macs += math.prod(sizes.get(letter, 1) for letter in together)
        left = together & set("".join((*factors[index + 1 :], out)))  # the others are summed now
    return macs


_COUNTS: dict[str, Callable[[Step], int | None]] = {
    "Dense": _dense,
    **{f"Conv{rank}D": _convolution for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": _convolution for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _separable for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": _transposed for rank in (1, 2, 3)},
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    **dict.fromkeys(("LSTMCell", "GRUCell", "SimpleRNNCell"), _cell),
    "Bidirectional": _both_ways,
    "TimeDistributed": _each_step,
    "RNN": _of_cell,
    "EinsumDense": _einsum_dense,
    "Einsum": _einsum_of_tensors,
    "Matmul": _product,
}
