"""Layers, shapes, parameters and MACs on both sides, before any number of a layer is compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from mcubench.cost import count_macs
from mcubench.graph import Graph, Node, ops
from mcubench.graph.ops.common import by
from mcubench.parity.comparing.keras_costs import keras_macs, keras_params
from mcubench.parity.comparing.kinds import core, cuts, holds_weights
from mcubench.parity.comparing.meeting import squeezed
from mcubench.parity.comparing.pairing import Pair, Pairing
from mcubench.parity.comparing.recording import Step
from mcubench.parity.naming import labels

__all__ = [
    "cut_off",
    "expected_params",
    "explained_params",
    "graph_macs",
    "pair_params",
    "structural_differences",
    "torch_params",
    "weights_of_nodes",
    "weights_of_steps",
]

_BY_PLACES = ("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv", "SeparableConv")


def expected_params(node: Node) -> int:
    """Number of weights that a node's Keras layer must have.

    Keras adds one bias to the gates of an LSTM, and to a plain recurrent layer, where PyTorch adds two; a GRU's new
    gate needs both, as the reset gate stands between them.
    """
    if isinstance(node.op, ops.Take):
        return 0
    return sum(weight.tensor.numel() for _, weight in node.op.weights()) - _merged_biases(node)


def _merged_biases(node: Node) -> int:
    op = node.op
    cells: tuple[ops.Cell, ...] = ()
    if isinstance(op, (ops.LSTM, ops.RNN)):
        cells = op.cells
    elif isinstance(op, ops.RecurrentCell) and op.kind != "gru_cell":
        cells = (op.cell,)
    return sum(cell.bias_hh.tensor.numel() for cell in cells if cell.bias_hh is not None)


def graph_macs(node: Node) -> int | None:
    """MACs of one node; ``None`` if some of its operators have no count."""
    count = count_macs(Graph((node,), (), ()))
    return None if count.unsupported else count.counted


def weights_of_nodes(nodes: Sequence[Node]) -> int:
    """Number of weights that Keras must have for some nodes together; a layer that is called twice has them once."""
    if len(nodes) == 1:
        return expected_params(nodes[0])
    layers: dict[tuple[int, ...], int] = {}
    for node in nodes:
        op = node.op.cell if isinstance(node.op, ops.RecurrentCell) else node.op  # without the state it starts from
        held = [weight for _, weight in op.weights()]
        count = sum(weight.tensor.numel() for weight in held) - _merged_biases(node)
        layers[tuple(id(weight.stored) for weight in held)] = count
    return sum(layers.values())


def weights_of_steps(steps: Iterable[Step]) -> int:
    """Number of weights of some Keras layers together."""
    return sum(map(keras_params, dict.fromkeys(step.operation for step in steps)))


def pair_params(pair: Pair) -> tuple[int, int]:
    """Weights that Keras should have for a node, and those that it has.

    Arithmetic may have its constant in the code there.
    """
    found = weights_of_steps(pair.steps)
    return weights_of_nodes(pair.nodes) if found or holds_weights(pair.node) else 0, found


def _layers(pair: Pair) -> list[str]:
    """The classes of a pair's Keras layers, those that hold weights."""
    return [type(core(step.operation)).__name__ for step in pair.steps if holds_weights(step)]


def _torch_macs(pair: Pair, whole: bool = False) -> int | None:
    """MACs of a pair's nodes; of one layer whose output is then cut those for what is kept, unless `whole`."""
    counts = [graph_macs(node) for node in (*pair.nodes, *pair.inside)]
    if None in counts:
        return None
    macs = sum(map(int, counts))  # type: ignore[arg-type]
    one = len(pair.nodes) == len(_layers(pair)) == 1 and isinstance(pair.node.op, (ops.Conv, ops.Dense))
    if one and not whole:
        for node in filter(cuts, pair.inside):
            macs = macs * node.output.size // node.inputs[0].size
    return macs


def _keras_macs(pair: Pair, whole: bool = False) -> int | None:
    """The same of its Keras layers."""
    counts = [keras_macs(step) for step in pair.steps]
    if None in counts:
        return None
    macs = sum(map(int, counts))  # type: ignore[arg-type]
    (layer, *more) = _layers(pair) or [""]
    if not whole and not more and layer.startswith(_BY_PLACES) and not layer.endswith("Transpose"):
        for step in filter(cuts, pair.steps[1:]):
            macs = macs * math.prod(step.shape) // math.prod(step.inputs[0])
    return macs


def cut_off(pairing: Pairing) -> Iterator[str]:
    """Where one side computes what it then cuts off: the totals differ by it, although the layers are the same."""
    for pair in pairing.pairs:
        for where, count in (("PyTorch", _torch_macs), ("Keras", _keras_macs)):
            whole, kept = count(pair, whole=True), count(pair)
            if whole is not None and kept is not None and whole != kept:
                yield f"{pair.label}: {whole - kept:,} of its {whole:,} MACs in {where} are for what is then cut off"


def structural_differences(pairing: Pairing) -> Iterator[str]:
    """What differs, in a sentence each."""
    for node in pairing.unpaired_nodes:
        yield f"PyTorch has {node.path or node.name} ({node.op.label}), which Keras lacks"
    for step in pairing.unpaired_steps:
        yield f"Keras has {step.name} ({step.kind}), which PyTorch lacks"
    for pair in pairing.pairs:
        if pair.activation:
            yield (
                f"Keras ends {pair.last.name} with {pair.activation.lower()}, and {pair.label} in PyTorch is not "
                "followed by it"
            )
    for pair in pairing.pairs:
        named = f"{pair.label} ({pair.node.op.label}), in Keras {pair.last.name} ({pair.last.kind})"
        wanted, shape = pair.reference.shape[1:], pair.last.shape
        if squeezed(wanted) != squeezed(shape):
            yield f"{named}: output {by(wanted)}, in Keras {by(shape)} (channels last)"
        expected, params = pair_params(pair)
        if expected != params:
            yield f"{named}: {expected:,} weights expected, Keras has {params:,}{_hint(pair)}"
    yield from _differing_macs(pairing)


def _differing_macs(pairing: Pairing) -> Iterator[str]:
    """By module, as one operator of PyTorch's may stand for several nodes."""
    modules: dict[str, list[Pair]] = {}
    for pair in pairing.pairs:
        modules.setdefault(pair.node.path, []).append(pair)
    for path, pairs in modules.items():
        ours, theirs = list(map(_torch_macs, pairs)), list(map(_keras_macs, pairs))
        if None not in ours and None not in theirs and sum(map(int, ours)) != sum(map(int, theirs)):  # type: ignore[arg-type]
            yield f"{path or '(root)'}: {sum(map(int, ours)):,} MACs, in Keras {sum(map(int, theirs)):,}"  # type: ignore[arg-type]


def _hint(pair: Pair) -> str:
    """What usually makes two versions of a layer differ in the number of weights."""
    if isinstance(pair.node.op, ops.GRU):
        return " (PyTorch's form needs reset_after=True)"
    if isinstance(pair.node.op, (ops.LSTM, ops.RNN)):
        return " (one bias for each gate, the sum of PyTorch's two)"
    if isinstance(pair.node.op, ops.Dense):
        return " (is a Flatten missing before it?)"
    return ""


def torch_params(graph: Graph) -> int:
    """Elements of all parameters, and of the running statistics that inference reads."""
    buffers = {
        id(weight.stored): weight.tensor.numel()
        for node in graph.nodes
        for _, weight in node.op.weights()
        if weight.sources and not any(source in graph.parameters for source in weight.sources)
    }
    return sum(graph.parameters.values()) + sum(buffers.values())


def explained_params(graph: Graph, keras_count: int) -> Iterator[str]:
    """Why the two sides may have different numbers of parameters although every layer agrees."""
    used = {source for node in graph.nodes for _, weight in node.op.weights() for source in weight.sources}
    unused = sum(count for path, count in graph.parameters.items() if path not in used)
    merged = sum({label: _merged_biases(node) for node, label in labels(graph).items()}.values())
    if unused:
        yield f"{unused:,} parameters that the forward does not use are not in Keras"
    if merged:
        yield f"{merged:,} parameters are second biases of recurrent layers, which Keras has added to the first ones"
    rest = keras_count - (torch_params(graph) - unused - merged)
    if rest:
        more = "more" if rest > 0 else "fewer"
        yield f"{abs(rest):,} parameters {more} in Keras: constants, weights that layers share, or computed from others"
