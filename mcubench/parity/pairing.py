"""Which Keras layer stands for which node of the graph: by name, else by kind and order."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from mcubench.graph import Graph, Node, ops
from mcubench.graph.ir import Value
from mcubench.parity.naming import labels
from mcubench.parity.recording import Step

__all__ = ["Pair", "Pairing", "pair"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A node and the Keras steps that do what it does.

    Attributes:
        node: The node.
        label: What it is called.
        value: What to compare with the output of the last step: the node's, or that of an activation behind it which
            Keras has in the same layer.
        steps: What Keras does there, in order; more than one where padding or cropping is a layer of its own.
    """

    node: Node
    label: str
    value: Value
    steps: tuple[Step, ...]

    @property
    def last(self) -> Step:
        """The step that makes the output."""
        return self.steps[-1]


@dataclass(frozen=True)
class Pairing:
    """The pairs, and what is left over.

    Attributes:
        pairs: In the order of the graph.
        unpaired_nodes: Nodes with weights that Keras has no layer for.
        unpaired_steps: Keras layers that no node stands for, without those that only move elements.
        activations: Pairs in which one side alone applies an activation.
    """

    pairs: tuple[Pair, ...]
    unpaired_nodes: tuple[Node, ...]
    unpaired_steps: tuple[Step, ...]
    activations: tuple[tuple[Pair, str], ...] = ()


# The same computation by both names.
_KERAS_KINDS = {
    **{f"Conv{rank}D": "Conv" for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": "DepthwiseConv" for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": "TransposedConv" for rank in (1, 2, 3)},
    **{f"MaxPooling{rank}D": "max" for rank in (1, 2, 3)},
    **{f"GlobalMaxPooling{rank}D": "max" for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": "mean" for rank in (1, 2, 3)},
    **{f"GlobalAveragePooling{rank}D": "mean" for rank in (1, 2, 3)},
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "RMSNormalization": "RMSNorm",
    "SimpleRNN": "RNN",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "Subtract": "sub",
    "Multiply": "mul",
    "Divide": "div",
    "Concatenate": "Concat",
}
_ACTIVATIONS = {"hard_silu": "hardswish", "hard_sigmoid": "hardsigmoid", "swish": "silu", "hard_tanh": "relu_n1_to_1"}
_WITH_WEIGHTS = (
    *("Dense", "Conv", "DepthwiseConv", "TransposedConv", "BatchNorm", "LayerNorm", "GroupNorm", "RMSNorm", "PReLU"),
    *("Embedding", "LSTM", "GRU", "RNN", "EinsumDense", "RecurrentCell"),
)
# They move elements, or do nothing at inference; the other side may have them elsewhere or not at all.
_MOVES = (ops.Reshape, ops.Permute, ops.Expand, ops.Pad, ops.FakeQuantize)
_KERAS_MOVES = ("Flatten", "Reshape", "Permute", "ZeroPadding", "Cropping", "InputLayer", "Identity", "Activity")
_KERAS_DROPS = ("Dropout", "SpatialDropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")


def pair(graph: Graph, steps: Sequence[Step]) -> Pairing:
    """Pairs the nodes of a graph (channels last) with the steps of a Keras model.

    If the model has the names that `to_keras` gives for every node with weights, names decide. Otherwise layers of the
    same kind are paired in order, as two people write the same network; an activation that Keras has inside a layer is
    that of the next node.
    """
    names = labels(graph)
    made = {step.name for step in steps}
    weighted = [node for node in graph.nodes if any(node.op.weights())]
    named = {names[node] for node in weighted or graph.nodes}
    if named and named <= made:
        return _by_name(graph, names, steps)
    return _by_kind(graph, names, steps)


def _by_name(graph: Graph, names: dict[Node, str], steps: Sequence[Step]) -> Pairing:
    calls: dict[str, list[list[Step]]] = {}
    before: dict[str, list[Step]] = {}
    wanted = set(names.values())
    left = []
    for step in steps:
        label = step.name if step.name in wanted else step.name.rpartition("-")[0]
        while label not in wanted and "-" in label:
            label = label.rpartition("-")[0]
        if label not in wanted:
            left.append(step)
        elif step.name == label:
            calls.setdefault(label, []).append([*before.pop(label, []), step])
        else:
            before.setdefault(label, []).append(step)
    pairs, missing = [], []
    for node in graph.nodes:
        found = calls.get(names[node])
        if found:
            pairs.append(Pair(node, names[node], node.output, tuple(found.pop(0))))
        else:
            missing.append(node)
    missing = [node for node in missing if any(node.op.weights()) or not isinstance(node.op, _MOVES)]
    return Pairing(tuple(pairs), tuple(missing), tuple(step for step in left if not _only_moves(step)))


def _only_moves(step: Step) -> bool:
    return step.kind.startswith(_KERAS_MOVES) or step.kind in _KERAS_DROPS


def _by_kind(graph: Graph, names: dict[Node, str], steps: Sequence[Step]) -> Pairing:
    nodes = [node for node in graph.nodes if not isinstance(node.op, _MOVES)]
    layers = [step for step in steps if not _only_moves(step)]
    anchors = [node for node in nodes if _node_kind(node) in _WITH_WEIGHTS]
    weighted = [step for step in layers if _step_kind(step) in _WITH_WEIGHTS]
    matched: dict[Node, Step] = {}
    aligned = difflib.SequenceMatcher(None, [*map(_node_kind, anchors)], [*map(_step_kind, weighted)], autojunk=False)
    for start, other, size in aligned.get_matching_blocks():
        matched.update(zip(anchors[start : start + size], weighted[other : other + size], strict=True))
    readers = graph.consumers()
    pairs, one_sided = {}, []
    inside: set[Node] = set()
    for node, step in matched.items():
        activation = _activation_of(step)
        following = readers[node.output][0] if len(readers[node.output]) == 1 else None
        value = node.output
        if activation != "linear" and following is not None and _node_kind(following) == activation:
            value = following.output
            inside.add(following)
        pairs[node] = Pair(node, names[node], value, (step,))
        if activation != "linear" and value is node.output:
            one_sided.append((pairs[node], activation))
    _pair_others(nodes, layers, names, pairs, inside)
    used = {pair.last for pair in pairs.values()}
    return Pairing(
        pairs=tuple(pairs[node] for node in graph.nodes if node in pairs),
        unpaired_nodes=tuple(node for node in anchors if node not in matched),
        unpaired_steps=tuple(step for step in weighted if step not in used),
        activations=tuple(one_sided),
    )


def _pair_others(
    nodes: Sequence[Node], layers: Sequence[Step], names: dict[Node, str], pairs: dict[Node, Pair], inside: set[Node]
) -> None:
    """Pairs what has no weights, where kind and shape agree in both orders."""
    used = {pair.last for pair in pairs.values()}
    free_nodes = [node for node in nodes if node not in pairs and node not in inside]
    free_steps = [step for step in layers if step not in used]
    ours = [(_node_kind(node), _squeezed(node.output.shape)) for node in free_nodes]
    theirs = [(_step_kind(step), _squeezed(step.shape)) for step in free_steps]
    for start, other, size in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for node, step in zip(free_nodes[start : start + size], free_steps[other : other + size], strict=True):
            pairs[node] = Pair(node, names[node], node.output, (step,))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _node_kind(node: Node) -> str:
    op = node.op
    if isinstance(op, ops.Activation):
        return op.kind
    if isinstance(op, ops.Elementwise):
        return op.kind.partition(".")[0]
    if isinstance(op, (ops.Pool, ops.AdaptivePool)):
        return "max" if op.kind == "max" else "mean"
    if isinstance(op, ops.Reduce):
        return {"amax": "max"}.get(op.kind, op.kind)
    return type(op).__name__


def _step_kind(step: Step) -> str:
    layer, kind = step.operation, step.kind
    if kind == "Activation":
        return _activation_of(step)
    if kind == "ReLU":
        return "relu6" if getattr(layer, "max_value", None) == 6 else "relu"
    if kind == "Bidirectional":
        inner = type(layer.forward_layer).__name__
        return _KERAS_KINDS.get(inner, inner)
    if kind in ("Conv1D", "Conv2D") and 1 < layer.groups == step.inputs[0][-1]:
        return "DepthwiseConv"
    if kind.endswith("Cell"):
        return "RecurrentCell"
    return _KERAS_KINDS.get(kind, kind if kind in _WITH_WEIGHTS or kind == "Softmax" else kind.lower())


def _activation_of(step: Step) -> str:
    """The activation that a layer ends with, by PyTorch's name; recurrent layers have theirs inside."""
    if step.kind not in ("Activation", "Dense", "EinsumDense") and "Conv" not in step.kind:
        return "linear"
    name = getattr(getattr(step.operation, "activation", None), "__name__", "linear")
    return "Softmax" if name == "softmax" else _ACTIVATIONS.get(name, name)
