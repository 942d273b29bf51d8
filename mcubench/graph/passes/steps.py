"""Makes one recurrent layer of a cell that the model steps itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Input, Node, Operand, Value, Weight, reaching
from mcubench.graph.passes.parts import Element, element, with_axis_first

__all__ = ["join_steps"]

_LAYERS: dict[str, Callable[[tuple[ops.Cell, ...], tuple[Operand, ...]], ops.Recurrent]] = {
    "lstm_cell": ops.LSTM,
    "gru_cell": ops.GRU,
    "rnn_tanh_cell": ops.RNN,
    "rnn_relu_cell": lambda cells, state: ops.RNN(cells, state, "relu"),
}


def join_steps(graph: Graph) -> Graph:
    """Joins steps of one cell over all elements of a value along one axis, from a constant state on.

    States that are read are selected from the layer's sequence, or are its last state if no other is read. Where an
    LSTM's cell state is read by anybody but the next step, the steps stay: the layer has it behind the last one alone.
    """
    while (chain := _first_chain(graph)) is not None:
        graph = _joined(graph, chain)
    return graph


def _first_chain(graph: Graph) -> list[Node] | None:
    """Steps that are one layer, in order."""
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        chain = [node] if _begins(node, producers) else []
        while chain and (following := _next(chain[-1], producers, consumers)) is not None:
            chain.append(following)
        if chain and _is_layer(chain, graph, producers, consumers):
            return chain
    return None


def _begins(node: Node, producers: Mapping[Value, Node]) -> bool:
    """Whether a node is a step from a constant state on the first element of something."""
    if not isinstance(node.op, ops.RecurrentCell) or not isinstance(node.op.operands[0], Input):
        return False
    cell, read = node.op.cell, _read(node, producers)
    constant = all(each is None or isinstance(each, Weight) for each in node.op.operands[1:])
    both_biases = (cell.bias_ih is None) == (cell.bias_hh is None)  # a layer has two or none
    return constant and both_biases and read is not None and read.index == 0


def _read(node: Node, producers: Mapping[Value, Node]) -> Element | None:
    """What a step reads beside the state."""
    assert isinstance(node.op, ops.RecurrentCell)
    x = node.op.operands[0]
    return element(node.inputs[x.index], producers) if isinstance(x, Input) else None


def _next(node: Node, producers: Mapping[Value, Node], consumers: Mapping[Value, Sequence[Node]]) -> Node | None:
    """The step of the same cell that goes on from a step's state with the next element."""
    assert isinstance(node.op, ops.RecurrentCell)
    read = _read(node, producers)
    assert read is not None
    for each in consumers[node.output]:
        if not isinstance(each.op, ops.RecurrentCell) or not _same_cell(node.op, each.op):
            continue
        state = [each.inputs[one.index] if isinstance(one, Input) else None for one in each.op.operands[1:]]
        if state == list(node.outputs) and _read(each, producers) == replace(read, index=read.index + 1):
            return each
    return None


def _same_cell(one: ops.RecurrentCell, other: ops.RecurrentCell) -> bool:
    """Whether two steps have the same weights, in the same form."""
    mine, others = dict(one.cell.weights()), dict(other.cell.weights())
    return (one.kind, mine.keys()) == (other.kind, others.keys()) and all(
        each.stored is others[role].stored and torch.equal(each.tensor, others[role].tensor)
        for role, each in mine.items()
    )


def _is_layer(
    chain: list[Node], graph: Graph, producers: Mapping[Value, Node], consumers: Mapping[Value, Sequence[Node]]
) -> bool:
    """Whether steps read all elements that there are, and nobody reads a cell state that the layer does not show."""
    read = _read(chain[0], producers)
    assert read is not None
    if not 2 <= len(chain) == read.source.shape[read.axis]:
        return False
    following = [[each] for each in chain[1:]] + [[]]
    return all(
        cell not in graph.outputs and consumers[cell] == readers
        for step, readers in zip(chain, following, strict=True)
        for cell in step.outputs[1:]
    )


def _joined(graph: Graph, chain: list[Node]) -> Graph:
    first, last = chain[0], chain[-1]
    assert isinstance(first.op, ops.RecurrentCell)
    read = _read(first, graph.producers())
    x = first.op.operands[0]
    assert read is not None
    assert isinstance(x, Input)
    shape = (len(chain), first.inputs[x.index].size)
    nodes, steps = with_axis_first(read.source, read.axis, shape, first)
    hidden = first.output.size
    state = tuple(_initial(each, hidden) for each in first.op.operands[1:])
    sequence = replace(first.output, name=f"{first.name}.sequence", shape=(len(chain), hidden))
    finals = [replace(each, name=f"{each.name}.last", shape=(1, hidden)) for each in first.outputs]
    layer = replace(
        first,
        op=_LAYERS[first.op.kind]((first.op.cell,), state),
        inputs=(steps,),
        outputs=(sequence, *finals),
        calls=tuple(call for step in chain for call in step.calls),
    )
    seen = _seen(chain, graph)
    found: list[Node] = []
    for node in graph.nodes:
        if node is first:
            found += [*nodes, layer]
        if node in seen:
            source, index = (finals[0], 0) if seen == {last} else (sequence, chain.index(node))
            select = ops.Select(0, index)
            found.append(Node(f"{node.name}.selected", select, (source,), (node.output,), node.path))
        elif node not in chain:
            found.append(node)
    return replace(graph, nodes=reaching(found, graph.outputs))


def _initial(state: Operand, hidden: int) -> Operand:
    """A constant state of one sample, (hidden,), as a layer has it; ``None`` for zeros."""
    if not isinstance(state, Weight) or not state.tensor.any():
        return None
    return state.derive(state.tensor.expand(hidden).reshape(1, hidden))


def _seen(chain: list[Node], graph: Graph) -> set[Node]:
    """The steps whose state is read by others than the next step."""
    consumers = graph.consumers()
    following = [*chain[1:], None]
    return {
        step
        for step, after in zip(chain, following, strict=True)
        if step.output in graph.outputs or any(each is not after for each in consumers[step.output])
    }
