"""Which calls of a running forward make the recurrent layers of the deployed graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcubench.errors import UserError
from mcubench.graph import Graph, Node, ops
from mcubench.quant.sharing import GridGroups, cell_of

__all__ = ["CELLS", "LayerSite", "RecurrentSite", "recurrent_sites"]

CELLS = ("lstm_cell", "gru_cell")  # functions of torch that are a step


@dataclass(frozen=True)
class LayerSite:
    """A layer of one direction or two.

    Attributes:
        hidden: Key and group of the hidden state.
        cell: Those of an LSTM's cell.
    """

    hidden: tuple[str, int]
    cell: tuple[str, int] | None


@dataclass(frozen=True)
class RecurrentSite:
    """A call that is several layers, or a step of one.

    Attributes:
        path: The module that makes the call.
        layers: Its layers.
        sources: Paths of the parameters that its weights are.
    """

    path: str
    layers: tuple[LayerSite, ...]
    sources: tuple[str, ...]

    def learned(self) -> Iterator[tuple[str, int]]:
        """Of all that ranges are learned of: keys and groups."""
        for layer in self.layers:
            yield layer.hidden
            if layer.cell is not None:
                yield layer.cell


def recurrent_sites(
    graph: Graph, traced: Graph, keys: Mapping[str, str], groups: GridGroups
) -> dict[str, RecurrentSite]:
    """The layers of each call, by the call's key; of cells every step has the layer that all of them are.

    Args:
        graph: The deployed graph.
        traced: The graph as traced, with its sites.
        keys: By the name of a value, the key of the call that makes it.
        groups: Of the deployed graph's values.

    Raises:
        UserError: If layers can't be told apart, or a state is changed in place.
    """
    whole, stepped = _calls_of_layers(traced, keys), _calls_of_cells(traced, keys)
    layers: dict[tuple[str, ...], list[Node]] = {}
    for node in graph.nodes:
        if isinstance(node.op, ops.Recurrent):
            calls = whole.get(node.output.name) or stepped[node.op.cells[0].weight_hh.stored]
            layers.setdefault(calls, []).append(node)
    found = {}
    for calls, nodes in layers.items():
        if calls[0].startswith(CELLS) and len(nodes) > 1:
            raise UserError(
                f"quantisation-aware training does not reach {nodes[0].path or 'the outermost forward'}: a cell steps "
                "through several sequences, and which step is of which can't be told. Use a layer, or a cell for each"
            )
        sites = tuple(_site(f"{calls[0]}.{index}", node, groups) for index, node in enumerate(nodes))
        sources = {source for node in nodes for _, weight in node.op.weights() for source in weight.sources}
        found.update(dict.fromkeys(calls, RecurrentSite(nodes[0].path, sites, tuple(sorted(sources)))))
    return found


def _site(key: str, node: Node, groups: GridGroups) -> LayerSite:
    cell = cell_of(node)
    return LayerSite((key, groups.of[node.output]), None if cell is None else (f"{key}.cell", groups.of[cell]))


def _calls_of_layers(traced: Graph, keys: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """By the name of a layer's sequence the call that makes it.

    Layers of one call read each other without a site between them, and their last states are joined.
    """
    makers, readers = traced.producers(), traced.consumers()
    call_of: dict[Node, list[Node]] = {}
    for node in traced.nodes:
        if isinstance(node.op, ops.Recurrent):
            before = makers.get(node.inputs[0])
            call_of[node] = call_of.get(before, []) if before is not None else []
            call_of[node].append(node)
    found: dict[str, tuple[str, ...]] = {}
    for node, layers in call_of.items():
        values = [value for layer in layers for value in layer.outputs]
        joined = [each.output for value in values for each in readers[value] if isinstance(each.op, ops.Concat)]
        key = next((keys[value.name] for value in (*values, *joined) if value.name in keys), None)
        if key is not None:
            found[node.output.name] = (key,)
    return found


def _calls_of_cells(traced: Graph, keys: Mapping[str, str]) -> dict[object, tuple[str, ...]]:
    """By what is stored of a cell the calls that step with it."""
    found: dict[object, tuple[str, ...]] = {}
    for node in traced.nodes:
        if isinstance(node.op, ops.RecurrentCell):
            known = found.get(node.op.cell.weight_hh.stored, ())
            found[node.op.cell.weight_hh.stored] = (*known, keys[node.output.name])
    return found
