"""What a deployed graph computes with every value and weight rounded, by another way than training goes.

Each node runs alone in float on rounded inputs, with folded weights that are codes times scales, and what it makes is
rounded with `Grid.codes`, which computes in double precision. Moves and pools are rounded too, which changes nothing
where the grid is that of their input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mcubench.cost.size import BitWidths
from mcubench.graph import Graph, Node, Value, interpret, ops
from mcubench.quant.composition import composed
from mcubench.quant.grid import Grid, weight_codes, weight_scales
from mcubench.quant.sharing import group_values


def rounded_outputs(
    graph: Graph, ranges: Mapping[Value, tuple[float, float]], widths: BitWidths, *inputs: Tensor
) -> list[Tensor]:
    """Outputs of an int8 graph; inputs and outputs have the layout of the module."""
    graph = composed(graph)
    groups = group_values(graph)

    def on_grid(value: Value, x: Tensor) -> Tensor:
        grid = groups.fixed.get(groups.of[value])
        grid = Grid.of_range(*ranges[value]) if grid is None else grid
        return grid.values(grid.codes(x))

    found = {
        value: on_grid(value, x.movedim(-1 - moved, -1) if moved else x)
        for value, moved, x in zip(graph.inputs, graph.input_axes_moved, inputs, strict=True)
    }
    for node in graph.nodes:
        one = Graph((_with_rounded_weight(node, widths),), tuple(dict.fromkeys(node.inputs)), node.outputs)
        made = interpret(replace(one, layout=graph.layout), *(found[value] for value in one.inputs))
        found.update((value, on_grid(value, x)) for value, x in zip(node.outputs, made, strict=True))
    return [
        found[value].movedim(-1, -1 - moved) if moved else found[value]
        for value, moved in zip(graph.outputs, graph.output_axes_moved, strict=True)
    ]


def _with_rounded_weight(node: Node, widths: BitWidths) -> Node:
    op = node.op
    if not isinstance(op, (ops.Dense, ops.Conv, ops.TransposedConv)):
        return node
    axis, bits, weight = int(isinstance(op, ops.TransposedConv)), widths.of(node.path), op.weight.tensor
    scales = weight_scales(weight, bits, axis)
    shape = [1] * weight.ndim
    shape[axis] = -1
    rounded = weight_codes(weight, scales, bits, axis) * scales.reshape(shape)
    return replace(node, op=replace(op, weight=op.weight.derive(rounded)))
