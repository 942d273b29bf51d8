"""The operations of a graph, at the level of a microcontroller's kernels.

Axes count within one sample. Spatial operations look at the last axes: (..., channels, *spatial) in a graph with layout
``channels_first``, (..., *spatial, channels) with ``channels_last``; weights have PyTorch's layout in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcubench.graph.ir import Op, Operand, Weight

__all__ = [
    "FUSIBLE",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdaptivePool",
    "Attention",
    "BatchNorm",
    "Cell",
    "Concat",
    "Conv",
    "Dense",
    "DepthwiseConv",
    "Einsum",
    "Elementwise",
    "Embedding",
    "Expand",
    "FakeQuantize",
    "GroupNorm",
    "LayerNorm",
    "MatMul",
    "Pad",
    "Permute",
    "Pool",
    "Recurrent",
    "RecurrentCell",
    "Reduce",
    "Repeat",
    "Reshape",
    "Resize",
    "Select",
    "Slice",
    "Softmax",
    "Take",
    "TransposedConv",
]

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

# Kernels of TFLite and CMSIS-NN end with one of these at no cost (schema.fbs, ActivationFunctionType).
FUSIBLE = ("relu", "relu6", "relu_n1_to_1")


def _fused(name: str, activation: str | None) -> str:
    return f"{name} + {activation}" if activation else name


def _by(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y = W x + b on the last axis; weight (outputs, inputs), bias (outputs)."""

    weight: Weight
    bias: Weight | None = None
    activation: str | None = None

    @property
    def label(self) -> str:
        """The name, with the fused activation."""
        return _fused("Dense", self.activation)


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Convolution; weight (outputs, inputs / groups, *kernel), padding (before, after) for each spatial axis."""

    weight: Weight
    bias: Weight | None
    stride: Sizes
    padding: Pairs
    dilation: Sizes
    groups: int = 1
    activation: str | None = None

    @property
    def kernel(self) -> Sizes:
        """Size of the kernel."""
        return tuple(self.weight.tensor.shape[2:])

    @property
    def label(self) -> str:
        """Name, kernel, stride if any, fused activation."""
        alike = len(set(self.stride)) == 1
        stride = "" if max(self.stride) == 1 else f" /{_by(self.stride[:1] if alike else self.stride)}"
        return _fused(f"{type(self).__name__} {_by(self.kernel)}{stride}", self.activation)


@dataclass(frozen=True, eq=False)
class DepthwiseConv(Conv):
    """A convolution with as many groups as input channels."""


@dataclass(frozen=True, eq=False)
class TransposedConv(Op):
    """Transposed convolution; weight (inputs, outputs / groups, *kernel)."""

    weight: Weight
    bias: Weight | None
    stride: Sizes
    padding: Sizes
    output_padding: Sizes
    dilation: Sizes
    groups: int = 1
    activation: str | None = None

    @property
    def label(self) -> str:
        """Name, kernel, fused activation."""
        return _fused(f"TransposedConv {_by(tuple(self.weight.tensor.shape[2:]))}", self.activation)


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """Maximum or average over windows; padding (before, after) for each spatial axis."""

    kind: str
    kernel: Sizes
    stride: Sizes
    padding: Pairs
    dilation: Sizes
    ceil_mode: bool = False
    count_include_pad: bool = True

    @property
    def label(self) -> str:
        """Kind and window."""
        return f"{'Max' if self.kind == 'max' else 'Average'}Pool {_by(self.kernel)}"


@dataclass(frozen=True, eq=False)
class AdaptivePool(Op):
    """Pooling to a given size with windows that are not all alike."""

    kind: str
    size: Sizes


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """(x - mean) / sqrt(variance + eps) * weight + bias, by channel, with the statistics of training."""

    weight: Weight | None
    bias: Weight | None
    mean: Weight
    variance: Weight
    eps: float
    rank: int  # of spatial axes behind (or before) the channels


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """Normalisation over the last `rank` axes of each sample."""

    weight: Weight | None
    bias: Weight | None
    rank: int
    eps: float


@dataclass(frozen=True, eq=False)
class GroupNorm(Op):
    """Normalisation over groups of channels of each sample; one group a channel is instance norm."""

    weight: Weight | None
    bias: Weight | None
    groups: int
    eps: float


@dataclass(frozen=True, eq=False)
class Activation(Op):
    """A function of one value at a time; `parameters` are those of the torch operator of that name."""

    kind: str
    parameters: tuple[float | str | bool | None, ...] = ()

    @property
    def label(self) -> str:
        """The function's name."""
        return self.kind


@dataclass(frozen=True, eq=False)
class Elementwise(Op):
    """Any other operation on elements at equal places (with broadcasting); `kind` as in ``add.Tensor``."""

    kind: str
    operands: tuple[Operand, ...]
    keywords: tuple[tuple[str, float], ...] = ()
    activation: str | None = None

    @property
    def label(self) -> str:
        """The operation, with the fused activation."""
        return _fused(self.kind.partition(".")[0], self.activation)


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Softmax or log-softmax along an axis."""

    axis: int
    log: bool = False


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Product of matrices, of which at least one is computed; leading axes broadcast."""

    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Einsum(Op):
    """Einstein sum; the equation is that of one sample."""

    equation: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Attention(Op):
    """softmax(q k^T * scale + mask) v; operands q, k, v and mask."""

    operands: tuple[Operand, ...]
    causal: bool
    scale: float | None


@dataclass(frozen=True, eq=False)
class Embedding(Op):
    """Rows of the weight (entries, width), by integer."""

    weight: Weight


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Operands one after another along an axis."""

    axis: int
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements in the same order; needs no work."""

    shape: Sizes


@dataclass(frozen=True, eq=False)
class Permute(Op):
    """Axes in another order: output axis i is input axis ``axes[i]``."""

    axes: Sizes


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Elements start, start + step, ... before stop along an axis."""

    axis: int
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, eq=False)
class Select(Op):
    """One element along an axis, which vanishes."""

    axis: int
    index: int


@dataclass(frozen=True, eq=False)
class Take(Op):
    """Elements along an axis by constant indices."""

    axis: int
    indices: Weight


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """(before, after) elements more along each axis; mode as in ``torch.nn.functional.pad``."""

    padding: Pairs
    mode: str = "constant"
    value: float = 0.0


@dataclass(frozen=True, eq=False)
class Expand(Op):
    """Axes of size 1 repeated to a shape."""

    shape: Sizes


@dataclass(frozen=True, eq=False)
class Repeat(Op):
    """The whole tensor repeated along each axis."""

    repeats: Sizes


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """Mean, sum, amax, ... over axes; `kind` is the torch operator's name."""

    kind: str
    axes: Sizes
    keepdim: bool
    correction: float | None = None  # of variance and standard deviation

    @property
    def label(self) -> str:
        """What is computed."""
        return f"Reduce {self.kind}"


@dataclass(frozen=True, eq=False)
class Resize(Op):
    """Spatial axes interpolated to a size; mode as in ``torch.nn.functional.interpolate``."""

    mode: str
    size: Sizes
    align_corners: bool | None = None
    scales: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Cell(Op):
    """Weights of one direction of one recurrent layer, in PyTorch's order of gates (LSTM: i f g o; GRU: r z n)."""

    weight_ih: Weight
    weight_hh: Weight
    bias_ih: Weight | None
    bias_hh: Weight | None


@dataclass(frozen=True, eq=False)
class Recurrent(Op):
    """One recurrent layer over the first axis; one cell, or two for both directions.

    Outputs: the sequence (steps, hidden * directions), the last hidden state (directions, hidden) and, for an LSTM, the
    last cell state. ``state`` are the initial ones; ``None`` is zero.
    """

    cells: tuple[Cell, ...]
    state: tuple[Operand, ...]

    @property
    def hidden(self) -> int:
        """Size of the hidden state of one direction."""
        return int(self.cells[0].weight_hh.tensor.shape[1])

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """The weights of all cells, and of constant initial states."""
        for cell in self.cells:
            yield from cell.weights()
        yield from super().weights()

    @property
    def label(self) -> str:
        """The name, marked if it runs in both directions."""
        return f"{'Bidirectional ' if len(self.cells) > 1 else ''}{type(self).__name__}"


@dataclass(frozen=True, eq=False)
class LSTM(Recurrent):
    """Long short-term memory."""


@dataclass(frozen=True, eq=False)
class GRU(Recurrent):
    """Gated recurrent unit, the reset gate applied after the recurrent product."""


@dataclass(frozen=True, eq=False)
class RNN(Recurrent):
    """The plain recurrent layer, with tanh or relu."""

    nonlinearity: str = "tanh"


@dataclass(frozen=True, eq=False)
class RecurrentCell(Op):
    """One step of a recurrent cell; `kind` as in ``lstm_cell``. Inputs: x, hidden state, for an LSTM the cell state."""

    kind: str
    cell: Cell
    operands: tuple[Operand, ...]

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """The weights of the cell."""
        yield from self.cell.weights()
        yield from super().weights()

    @property
    def label(self) -> str:
        """The cell's name."""
        return self.kind


@dataclass(frozen=True, eq=False)
class FakeQuantize(Op):
    """Rounding to an integer grid while training; the identity as far as costs go."""

    target: str
