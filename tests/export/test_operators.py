"""What kernels are called: the operators that are written are those that their descriptions, and so the docs, name."""

from __future__ import annotations

from benchmarks.int8_table import operator
from mcubench.export.backend import load
from mcubench.export.operators import describe
from mcubench.quant.integer.building import TABLE
from tests.codegen.nets import graphs


def test_each_kernel_is_described_by_its_operator() -> None:
    schema = load("ai_edge_litert.schema_py_generated")
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for graph, _ in graphs().values():
        for node in graph.nodes:
            assert names[describe(node, schema).code] in operator(type(node.kernel)).split(" or ")


def test_every_kernel_of_the_table_is_in_a_net() -> None:
    met = {type(node.kernel) for graph, _ in graphs().values() for node in graph.nodes}
    assert {kernel for row in TABLE for kernel in row.kernels} <= met
