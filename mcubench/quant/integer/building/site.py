"""Where nodes become kernels: the tensors so far, and what rules for operations use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mcubench.cost.size import BitWidths
from mcubench.graph import Graph, Node, Unknown, Value, Weight, ops
from mcubench.quant.grid import WEIGHT_BITS, Grid, weight_codes, weight_scales
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.table import NotInIntegersError, build
from mcubench.quant.integer.ir import Bias, Constant, Filter, IntegerGraph, IntegerNode, IntegerTensor, Kernel, Operand
from mcubench.quant.sharing import GridGroups

__all__ = ["Builder", "resized"]

_LARGEST_RANK = 3  # of one sample: kernels take (batch, height, width, channels)
# What takes any number of axes.
_MOVED = (
    *(ops.Reshape, ops.Permute, ops.Activation, ops.Function, ops.Slice, ops.Softmax, ops.Elementwise, ops.Reduce),
    ops.MatMul,
)
_SEQUENCE_RANK = 2  # steps, channels
_LARGEST_BIAS = 2.0**29  # leaves the sum of products room in 32 bits


class _TooManyAxesError(NotInIntegersError):
    """A value that no kernel used here takes: whatever makes it is not to blame."""


class Builder:
    """Builds an integer graph node by node; rules read `node`.

    Args:
        graph: The deployed float graph.
        groups: Which values share a grid.
        grids: The grid of each group.
        widths: Bits of weights.
    """

    def __init__(self, graph: Graph, groups: GridGroups, grids: Mapping[int, Grid], widths: BitWidths) -> None:
        self.graph = graph
        self.widths = widths
        self._groups = groups
        self._grids = grids
        self.readers, self.makers = graph.consumers(), graph.producers()
        self._sequences = _sequences(graph, self.readers)
        # FULLY_CONNECTED takes narrow weights only with one scale for all outputs; CONV_2D does better, of images.
        self.without_vectors = any(isinstance(node.op, ops.Dense) and widths.of(node.path) < 8 for node in graph.nodes)
        self._nodes: list[IntegerNode] = []
        self._filters: dict[tuple[object, ...], Filter] = {}
        self._tensors: dict[Value, IntegerTensor] = {}
        self.node: Node

    def run(self) -> IntegerGraph:
        """Builds the graph.

        Raises:
            NotInIntegersError: If an operation has no counterpart; the text names it and its path.
        """
        graph = self.graph
        if graph.states:
            raise NotInIntegersError(
                f"forward leaves {', '.join(graph.states)} changed for its next call, and an integer graph begins each "
                "call anew: have forward take the state and return it"
            )
        inputs = tuple(self._tensors.setdefault(value, self._supplied(value)) for value in graph.inputs)
        for node in graph.nodes:
            self.node = node
            try:
                values = (*node.inputs, *node.outputs)
                known = not isinstance(node.op, (Unknown, ops.Embedding))
                if known and not all(each.dtype.is_floating_point for each in values):
                    raise NotInIntegersError("it computes with integers or truth values")
                build(node.op, self)
            except _TooManyAxesError as error:
                raise NotInIntegersError(f"{node.path or '(root)'}: {error}") from None
            except NotInIntegersError as error:
                where = f"{node.path or '(root)'}: {node.op.label}"
                raise NotInIntegersError(f"{where} can't be computed in int8: {error}") from None
        return IntegerGraph(
            tuple(self._nodes),
            inputs,
            tuple(self._tensors[value] for value in graph.outputs),
            graph.input_axes_moved,
            graph.output_axes_moved,
            graph.notes,
        )

    # --- tensors ---

    def shape(self, value: Value) -> tuple[int, ...]:
        """Shape of the tensor that holds a value: a signal (samples, channels) is an image of height 1.

        But for what only steps through it.
        """
        if value in self._sequences:
            return (1, *value.shape)
        lead = {0: 2, 1: 1 + 2 * self.without_vectors, 2: 2}.get(len(value.shape), 1)
        return (1,) * lead + value.shape

    def axis(self, value: Value, axis: int) -> int:
        """Where an axis of one sample stands in its tensor."""
        return axis + len(self.shape(value)) - len(value.shape)

    def grid(self, value: Value) -> Grid:
        """The grid of a value."""
        return self._grids[self._groups.of[value]]

    def new(self, value: Value, shape: Sequence[int] | None = None, suffix: str = "") -> IntegerTensor:
        """A tensor that holds a value; with another shape, if given."""
        if not isinstance(self.node.op, _MOVED):
            _check_rank(value)
        return IntegerTensor(value.name + suffix, tuple(shape or self.shape(value)), self.grid(value))

    def _supplied(self, value: Value) -> IntegerTensor:
        """The tensor of an input: a vector, if all that is done with it is to flatten it."""
        readers = self.readers[value]
        flattened = [each.output for each in readers if isinstance(each.op, ops.Reshape) and len(each.op.shape) == 1]
        if not value.dtype.is_floating_point:  # as many axes before the samples as what is looked up by it
            lead = len(self.shape(readers[0].output)) - len(readers[0].output.shape) if readers else 1
            return IntegerTensor(value.name, (1,) * lead + value.shape, Grid(1.0, 0), width=4)
        _check_rank(value)
        as_vector = readers and len(flattened) == len(readers) and value not in self.graph.outputs
        shape = self.shape(flattened[0] if as_vector and not self.without_vectors else value)
        return IntegerTensor(value.name, shape, self.grid(value))

    def read(self, value: Value) -> IntegerTensor:
        """The tensor that holds a value."""
        return self._tensors[value]

    @property
    def x(self) -> IntegerTensor:
        """The first input."""
        return self._tensors[self.node.inputs[0]]

    def image(self) -> IntegerTensor:
        """The first input as (1, height, width, channels)."""
        value = self.node.inputs[0]
        if not 2 <= len(value.shape) <= _LARGEST_RANK:
            raise NotInIntegersError(f"its input has shape {value.shape}; it takes signals and images")
        return self.x

    @property
    def bits(self) -> int:
        """Bits of the node's weights."""
        return self.widths.of(self.node.path)

    def check_ratio(self, largest: float) -> None:
        """Sees that the output's grid is not too fine beside those of the inputs.

        Raises:
            NotInIntegersError: If it is.
        """
        coarsest = max(self.grid(value).scale for value in self.node.inputs)
        if coarsest > largest * self.grid(self.node.output).scale:
            raise NotInIntegersError(f"its results have a range more than {largest} times smaller than what it reads")

    def is_read(self, value: Value) -> bool:
        """Whether a value is an output or somebody reads it."""
        return value in self.graph.outputs or bool(self.readers[value])

    # --- nodes ---

    def emit(self, kernel: Kernel, inputs: Sequence[Operand], output: IntegerTensor | None = None) -> IntegerTensor:
        """Adds a call of a kernel; by default it writes the node's output."""
        made = output or self.new(self.node.output)
        self._nodes.append(IntegerNode(self.node.name, self.node.path, kernel, tuple(inputs), made))
        if output is None:
            self._tensors[self.node.output] = made
        return made

    def hold(self, value: Value, kernel: Kernel, source: IntegerTensor) -> None:
        """Adds a call that makes one of the node's values."""
        self._tensors[value] = self.emit(kernel, [source], self.new(value))

    def regridded(self, tensor: IntegerTensor, grid: Grid) -> IntegerTensor:
        """The tensor on a grid, for a kernel whose inputs all have one."""
        if tensor.grid == grid:
            return tensor
        made = IntegerTensor(f"{tensor.name}.{self.node.name}", tensor.shape, grid)
        return self.emit(kernels.Requantize(), [tensor], made)

    def reshaped(self, tensor: IntegerTensor, shape: Sequence[int]) -> IntegerTensor:
        """The same elements in another shape."""
        if tensor.shape == tuple(shape):
            return tensor
        made = IntegerTensor(
            f"{tensor.name}.{'x'.join(map(str, shape[1:]))}.{self.node.name}", tuple(shape), tensor.grid
        )
        return self.emit(kernels.Reshape(), [tensor], made)

    def permuted(self, tensor: IntegerTensor, shape: Sequence[int], axes: Sequence[int]) -> IntegerTensor:
        """Elements in the order of other axes, as few of them as can be: kernels know no more than a few.

        Args:
            tensor: What holds them, in any shape.
            shape: Their axes, without the batch.
            axes: Which of these each axis of the result is.
        """
        long = [axis for axis in axes if shape[axis] > 1]
        groups: list[list[int]] = []
        order = sorted(long)
        for axis in long:  # neighbours that stay together are one axis
            follows = groups and order.index(axis) == order.index(groups[-1][-1]) + 1
            groups[-1].append(axis) if follows else groups.append([axis])
        if len(groups) < 2:
            return tensor
        name, lead = f"{tensor.name}.permuted.{self.node.name}", len(tensor.shape) - len(shape)
        if (
            lead > 0 and len(shape) <= _LARGEST_RANK and tensor.shape[lead:] == tuple(shape)
        ):  # nothing to be reshaped before
            made = IntegerTensor(name, (*tensor.shape[:lead], *(shape[axis] for axis in axes)), tensor.grid)
            return self.emit(kernels.Transpose((*range(lead), *(lead + axis for axis in axes))), [tensor], made)
        sizes = [math.prod(shape[axis] for axis in group) for group in groups]
        stored = sorted(range(len(groups)), key=lambda index: groups[index][0])
        source = self.reshaped(tensor, (1, *(sizes[index] for index in stored)))
        made = IntegerTensor(name, (1, *sizes), tensor.grid)
        return self.emit(
            kernels.Transpose((0, *(1 + stored.index(index) for index in range(len(groups))))), [source], made
        )

    def joined(self, parts: Sequence[Operand], axis: int, name: str) -> IntegerTensor:
        """Parts on one grid, one after the other; the kernel takes ten at a time."""
        left, most = list(parts), kernels.Concatenate.MOST
        while len(left) > 1:
            now = left[:most]
            shape = list(now[0].shape)
            shape[axis] = sum(each.shape[axis] for each in now)
            last = len(left) <= most
            made = IntegerTensor(name if last else f"{name}.first_{shape[axis]}", tuple(shape), now[0].grid)
            left[:most] = [self.emit(kernels.Concatenate(axis), now, made)]
        (found,) = left
        assert isinstance(found, IntegerTensor)
        return found

    def gathered(self, tensor: IntegerTensor, taken: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Has the node's output be elements at places along one axis after the other, the batch counted."""
        for axis, places in taken:
            if list(places) == list(range(tensor.shape[axis])):
                continue
            shape = (*tensor.shape[:axis], len(places), *tensor.shape[axis + 1 :])
            made = IntegerTensor(f"{self.node.output.name}.axis_{axis}", shape, tensor.grid)
            tensor = self.emit(kernels.Gather(axis, tuple(places)), [tensor], made)
        self.give(tensor)

    def between(self, kernel: Kernel, source: IntegerTensor, shape: Sequence[int], suffix: str) -> IntegerTensor:
        """Adds a call of a kernel before the node's own; what it writes keeps the grid of what it reads."""
        return self.emit(
            kernel, [source], IntegerTensor(f"{self.node.output.name}.{suffix}", tuple(shape), source.grid)
        )

    def emit_as(self, kernel: Kernel, source: IntegerTensor, shape: Sequence[int], suffix: str) -> None:
        """Adds a call that makes the node's output in another shape; reshaped only if somebody minds."""
        name = self.node.output.name + (f".{suffix}" if self._is_minded(shape) else "")
        self.give(self.emit(kernel, [source], IntegerTensor(name, tuple(shape), source.grid)))

    def give(self, tensor: IntegerTensor) -> None:
        """Has a tensor hold the node's output, reshaped only if somebody minds its shape."""
        if self._is_minded(tensor.shape):
            self.emit(kernels.Reshape(), [tensor])
        else:
            self._tensors[self.node.output] = tensor

    def _is_minded(self, shape: Sequence[int]) -> bool:
        """Whether it matters that the node's output would have a shape.

        Other readers of ``.tflite`` files than TFLite Micro want FULLY_CONNECTED to read vectors; a convolution in its
        place has a filter of the image's size.
        """
        value = self.node.output
        only_dense = all(isinstance(reader.op, ops.Dense) for reader in self.readers[value]) and len(value.shape) == 1
        read_as_image = only_dense and self.without_vectors and value not in self.graph.outputs and len(shape) == 4
        return tuple(shape) != self.shape(value) and not read_as_image

    # --- weights ---

    def filter(self, weight: Weight, tensor: Tensor, axis: int, bias: Weight | None = None) -> Filter:
        """Codes of a weight.

        Args:
            weight: Whose they are.
            tensor: It in the kernel's layout.
            axis: That of the output channels.
            bias: Biases: where one is much larger than a channel's weights, their scale is made coarser, so that it
                can be held in 32 bits.
        """
        scales = weight_scales(tensor, self.checked_bits, axis)
        if bias is not None:
            scales = torch.maximum(scales, _coarse_enough(bias, self.x.grid))
        return self._filter(weight, tensor, axis, scales)

    def matrix(self, weight: Weight, tensor: Tensor, source: Grid, bias: Weight | None = None) -> Filter:
        """Codes of a matrix (outputs, inputs) with one scale; the other arguments are those of `filter`.

        Args:
            weight: Whose they are.
            tensor: The matrix.
            source: Of what it is multiplied with.
            bias: Biases.
        """
        scales = weight_scales(tensor[None], self.checked_bits, 0)
        if bias is not None:
            scales = torch.maximum(scales, _coarse_enough(bias, source).amax(0, keepdim=True))
        return self._filter(weight, tensor, 0, scales)

    def _filter(self, weight: Weight, tensor: Tensor, axis: int, scales: Tensor) -> Filter:
        key = (weight.stored, weight.name, self.bits, axis, tensor.shape, tuple(scales.tolist()))
        if key not in self._filters:
            codes = weight_codes(tensor, scales, self.bits, axis).contiguous()
            self._filters[key] = Filter(weight.name, codes, scales, axis, self.bits)
        return self._filters[key]

    @property
    def checked_bits(self) -> int:
        """Bits of the node's weights, which must be some that integer weights have."""
        if self.bits not in WEIGHT_BITS:
            allowed = ", ".join(map(str, WEIGHT_BITS))
            raise NotInIntegersError(f"its weights are to have {self.bits} bits; integer weights have {allowed}")
        return self.bits

    def bias(self, weight: Weight | None, filter_: Filter, source: Grid | None = None) -> Bias | None:
        """Codes of biases at the scale of the sums; of products with the first input, by default."""
        if weight is None:
            return None
        scale = (source or self.x.grid).scale
        scales = filter_.scales * torch.tensor(scale, dtype=torch.float32)
        codes = torch.round(weight.tensor.double() / (filter_.scales.double() * scale))
        return Bias(weight.name, codes.to(torch.int32), scales)

    def constant(self, weight: Weight | float, rank: int, grid: Grid | None = None) -> Constant:
        """Codes of a constant operand, with as many axes as its partner, on the grid of its range."""
        tensor = weight.tensor.float() if isinstance(weight, Weight) else torch.tensor(float(weight))
        if not bool(tensor.isfinite().all()):
            raise NotInIntegersError("int8 has no code for the infinite numbers among its constants")
        name = weight.name if isinstance(weight, Weight) else f"{self.node.name}.constant"
        shaped = tensor.reshape(*(1,) * (rank - tensor.ndim), *tensor.shape)
        own = grid or Grid.of_range(float(tensor.min()), float(tensor.max()))
        return Constant(name, own.codes(shaped).contiguous(), own)


def _coarse_enough(bias: Weight, source: Grid) -> Tensor:
    """Scales of weights with which biases have room in 32 bits."""
    return (bias.tensor.abs() / (source.scale * _LARGEST_BIAS)).float()


def _check_rank(value: Value) -> None:
    """Sees that a kernel takes a value."""
    if len(value.shape) > _LARGEST_RANK:
        raise _TooManyAxesError(f"{value.name} has {len(value.shape)} axes; kernels take height, width, channels")


def _sequences(graph: Graph, readers: Mapping[Value, Sequence[Node]]) -> set[Value]:
    """Values that recurrent layers alone make or read, or what picks a step of them."""
    layers = {node.output for node in graph.nodes if isinstance(node.op, ops.Recurrent)}
    return {
        value
        for value in (*graph.inputs, *layers)
        if len(value.shape) == _SEQUENCE_RANK
        and all(isinstance(each.op, (ops.Recurrent, ops.Select)) for each in readers[value])
        and (value in layers or any(isinstance(each.op, ops.Recurrent) for each in readers[value]))
    }


def resized(tensor: IntegerTensor, **sizes: int) -> tuple[int, ...]:
    """The shape of an image with another height, width or channels."""
    names = ("batch", "height", "width", "channels")
    return tuple(sizes.get(name, size) for name, size in zip(names, tensor.shape, strict=True))
