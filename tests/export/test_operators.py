"""What kernels are called: the operators that are written are those that their descriptions, and so the docs, name."""

from __future__ import annotations

import functools

from benchmarks.int8_table import operator
from mcubench.export.backend import load
from mcubench.export.operators import describe
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building import TABLE
from mcubench.quant.integer.ir import IntegerNode
from tests.codegen.nets import graphs
from tests.quant.test_embedding import TOKENS, Tokens
from tests.quant.witness import quantized


@functools.cache
def nodes() -> list[IntegerNode]:
    """Those of all that C is written for, and of vectors looked up, which it is not."""
    graphs_ = [graph for graph, _ in graphs().values()] + [quantized(Tokens(), TOKENS)]
    return [node for graph in graphs_ for node in graph.nodes]


def test_each_kernel_is_described_by_its_operator() -> None:
    schema = load("ai_edge_litert.schema_py_generated")
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for node in nodes():
        assert names[describe(node, schema).code] in operator(type(node.kernel)).split(" or ")


def test_every_kernel_of_the_table_is_in_a_net() -> None:
    elsewhere = {kernels.Lstm, kernels.Gru}  # whose nets are in tests/quant/test_recurrent.py
    assert {kernel for row in TABLE for kernel in row.kernels} - elsewhere <= {type(node.kernel) for node in nodes()}
