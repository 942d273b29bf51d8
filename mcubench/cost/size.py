"""Flash: what the weights of a graph occupy at given bit widths, line by line."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mcubench.cost.macs import Unsupported
from mcubench.errors import UserError, did_you_mean
from mcubench.graph import Graph, Node, Unknown, Weight, ops

__all__ = ["BitWidths", "FlashLine", "FlashSize", "flash_size", "unknown_ops"]

INTEGER_WIDTHS = (1, 2, 4, 8)
FLOAT_WIDTHS = (16, 32)
ACTIVATION_WIDTHS = (4, 8, 16, 32)

BIAS_BYTES = 4  # int32, at the accumulator's scale (TFLite's quantisation specification)
_TENSORS = ("weight", "constant")  # roles of what is stored as it is

# An int32 multiplier and an int32 shift, as CMSIS-NN's cmsis_nn_per_channel_quant_params has them.
REQUANTISATION_BYTES = 8


@dataclass(frozen=True)
class BitWidths:
    """Bit widths that a model is priced at.

    Attributes:
        weight: Bits of a weight: 1, 2, 4 or 8 for integers, 16 or 32 for floats.
        activation: Bits of an activation: 4, 8, 16, or 32 for float.
        per_layer: Other bits for the weights of some modules, by path; they hold for what is inside too. What
            torch.compile adds to a path (``_orig_mod``) may be left out.
        int16: 16 bits are an integer, and no float: so classical models can be stored, networks not.
    """

    weight: int = 8
    activation: int = 8
    per_layer: Mapping[str, int] = field(default_factory=dict)
    int16: bool = False

    def __post_init__(self) -> None:
        widths = (*INTEGER_WIDTHS, *FLOAT_WIDTHS)
        if not isinstance(self.per_layer, Mapping):
            raise UserError(f"bits by layer must be a mapping, as in {{'layers.0': 4}}; got {self.per_layer!r}")
        for name, value in (("weight_bits", self.weight), *((f"bits of {k!r}", v) for k, v in self.per_layer.items())):
            if value not in widths or type(value) is not int:
                raise UserError(f"{name} must be one of {', '.join(map(str, widths))}; got {value!r}")
        if self.activation not in ACTIVATION_WIDTHS or type(self.activation) is not int:
            allowed = ", ".join(map(str, ACTIVATION_WIDTHS))
            raise UserError(f"activation_bits must be one of {allowed}; got {self.activation!r}")

    def is_integer(self, bits: int) -> bool:
        """Whether numbers of so many bits are integers, which need multipliers and shifts."""
        return bits in INTEGER_WIDTHS or (bits == 16 and self.int16)

    def of(self, path: str) -> int:
        """Bits of the weights of a module: those of the longest path in `per_layer` that leads to it."""
        matches = [each for each in self.per_layer if _leads_to(each, path)]
        return self.per_layer[max(matches, key=lambda each: len(_parts(each)))] if matches else self.weight

    def check(self, graph: Graph) -> None:
        """Checks that every path in `per_layer` is one of the graph's.

        Raises:
            UserError: If one is not.
        """
        self.check_paths({node.path for node in graph.nodes if any(node.op.weights())})

    def check_paths(self, paths: Collection[str]) -> None:
        """Checks that every path in `per_layer` leads to one of those that have weights.

        Raises:
            UserError: If one does not.
        """
        for path in self.per_layer:
            if not any(_leads_to(path, each) for each in paths):
                known = ", ".join(each or "the outermost, which weight_bits are for" for each in sorted(paths))
                raise UserError(
                    f"there is no layer {path!r} with weights.{did_you_mean(path, paths)} There are {known}"
                )

    def __str__(self) -> str:
        others = "".join(f", {path}: {bits}" for path, bits in self.per_layer.items())
        integers = " (integers)" if self.int16 else ""
        return f"weights {self.weight} bits{others}, activations {self.activation} bits{integers}"


def _leads_to(path: str, module: str) -> bool:
    parts = _parts(path)
    return _parts(module)[: len(parts)] == parts


def _parts(path: str) -> list[str]:
    """The parts of a path, without those that torch.compile adds."""
    return [part for part in path.split(".") if part != "_orig_mod"]


@dataclass(frozen=True)
class FlashLine:
    """One thing that is stored.

    Attributes:
        node: The node that needs it (the first, if several do).
        path: The module that it belongs to.
        name: Of the tensor.
        role: ``weight``, ``bias``, ``requantisation`` (multipliers and shifts) or ``constant``.
        count: Number of elements.
        bits: Of one element.
        bytes: Elements packed, rounded up to whole bytes.
    """

    node: str
    path: str
    name: str
    role: str
    count: int
    bits: int
    bytes: int


@dataclass(frozen=True)
class FlashSize:
    """What is stored, and what could not be priced.

    Attributes:
        lines: Everything that was counted; a tensor that several layers share is there once.
        unsupported: Nodes whose constants could not be priced.
    """

    lines: tuple[FlashLine, ...]
    unsupported: tuple[Unsupported, ...]

    @property
    def total(self) -> int:
        """Bytes of all lines."""
        return sum(line.bytes for line in self.lines)


def flash_size(graph: Graph, widths: BitWidths | None = None) -> FlashSize:
    """Prices the weights of a deployed graph (`mcubench.graph.deploy`).

    Integer weights are packed at their width, each tensor rounded up to whole bytes; biases are int32, and every output
    channel of a quantised layer has a multiplier and a shift. A layer that is used twice has its weights once, and
    biases, multipliers and shifts for each use, as the scale of what it is given differs. The two biases of an LSTM's
    gate are one; of a GRU's new gate both are needed. At 16 and 32 bits weights and biases are floats of that width,
    and nothing is requantised. Code is not counted.

    Args:
        graph: A graph whose batch norms are folded.
        widths: The bit widths; 8 and 8 by default.
    """
    widths = widths or BitWidths()
    widths.check(graph)
    found = [line for node in graph.nodes for line in _lines(node, widths.of(node.path))]
    whole = {weight.stored for line, weight in found if line.role in _TENSORS}
    stored: set[tuple[object, ...]] = set()
    lines = []
    for line, weight in found:
        is_slice = line.role in _TENSORS and weight.part_of in whole
        # Biases at the accumulator's scale and multipliers depend on what comes in: each use has its own.
        is_of_use = line.role not in _TENSORS and widths.of(line.path) in INTEGER_WIDTHS
        key = (line.role, weight.stored, line.node if is_of_use else None)
        if line.count and not is_slice and key not in stored:
            stored.add(key)
            lines.append(line)
    return FlashSize(tuple(lines), unknown_ops(graph))


def unknown_ops(graph: Graph) -> tuple[Unsupported, ...]:
    """The nodes that could not be lowered, as costs name them."""
    found = (Unsupported(op.target, node.path, op.reason) for node in graph.nodes if isinstance(op := node.op, Unknown))
    return tuple(dict.fromkeys(found))


_Lines = list[tuple[FlashLine, Weight]]


def _lines(node: Node, bits: int) -> _Lines:
    """What a node stores, each with the weight that it is or belongs to."""
    op = node.op
    if isinstance(op, (ops.Recurrent, ops.RecurrentCell)):
        return _recurrent_lines(node, op, bits)
    if isinstance(op, ops.BatchNorm):  # not folded: a scale and a shift a channel, like a depthwise 1 x 1
        channels, each = op.mean.tensor.numel(), op.mean
        scale = _line(node, f"{node.name}.scale", "weight", channels, bits)
        lines = [(scale, each), (_bias(node, f"{node.name}.shift", channels, bits), each)]
    else:
        lines = [
            (_bias(node, each.name, each.tensor.numel(), bits), each)
            if role == "bias"
            else (_constant(node, each, "weight" if role == "weight" else "constant", bits), each)
            for role, each in op.weights()
        ]
    if (channels := _requantised_channels(op)) and bits in INTEGER_WIDTHS:
        each = next(weight for role, weight in op.weights() if role in ("weight", "mean"))
        lines.append((_requantisation(node, each.name, channels), each))
    return lines


def _requantised_channels(op: object) -> int:
    """Output channels that each have a multiplier and a shift of their own."""
    if isinstance(op, (ops.Dense, ops.Conv)):
        return int(op.weight.tensor.shape[0])
    if isinstance(op, ops.TransposedConv):
        return int(op.weight.tensor.shape[1]) * op.groups
    return op.mean.tensor.numel() if isinstance(op, ops.BatchNorm) else 0


def _recurrent_lines(node: Node, op: ops.Recurrent | ops.RecurrentCell, bits: int) -> _Lines:
    lines: _Lines = []
    is_gru = isinstance(op, ops.GRU) or getattr(op, "kind", "") == "gru_cell"
    for cell in op.cells if isinstance(op, ops.Recurrent) else (op.cell,):
        rows, hidden = cell.weight_hh.tensor.shape
        gates = rows // hidden
        for matrix in (cell.weight_ih, cell.weight_hh):
            lines.append((_constant(node, matrix, "weight", bits), matrix))
            if bits in INTEGER_WIDTHS:  # one scale for a gate's matrix, as TFLite's integer LSTM has it
                lines.append((_requantisation(node, matrix.name, gates), matrix))
        if cell.bias_ih is not None:
            bias = _bias(node, cell.bias_ih.name, hidden * (gates + is_gru), bits)
            lines.append((bias, cell.bias_ih))
    states = op.state if isinstance(op, ops.Recurrent) else op.operands
    constants = (each for each in states if isinstance(each, Weight))
    return lines + [(_constant(node, each, "constant", bits), each) for each in constants]


def _line(node: Node, name: str, role: str, count: int, bits: int) -> FlashLine:
    return FlashLine(node.name, node.path, name, role, count, bits, bytes=math.ceil(count * bits / 8))


def _constant(node: Node, weight: Weight, role: str, bits: int) -> FlashLine:
    if not weight.tensor.is_floating_point():  # indices and masks stay what they are
        bits = 8 * weight.tensor.dtype.itemsize
    return _line(node, weight.name, role, 0 if _is_generated(weight) else weight.size, bits)


def _is_generated(weight: Weight) -> bool:
    """Whether a tensor is one number all over that forward makes, which is filled in, not stored: a zero state."""
    return not weight.sources and bool((weight.tensor == weight.tensor.flatten()[:1]).all())


def _bias(node: Node, name: str, count: int, bits: int) -> FlashLine:
    return _line(node, name, "bias", count, 8 * BIAS_BYTES if bits in INTEGER_WIDTHS else bits)


def _requantisation(node: Node, name: str, channels: int) -> FlashLine:
    return _line(node, name, "requantisation", channels, 8 * REQUANTISATION_BYTES)
