"""Equations written out; torch.einsum is the reference."""

from __future__ import annotations

import pytest
import torch

from mcubench.graph import interpret, trace
from mcubench.graph.einsum import explicit
from tests.graph.compare import Forward

SHAPES = {
    "ij,jk": ((2, 3), (3, 4)),
    "ba,cb": ((2, 3), (4, 2)),
    "...ij,jk->...ik": ((5, 2, 3), (3, 4)),
    "...ij,...jk": ((5, 2, 3), (5, 3, 4)),
    "...ij,...kj->...ik": ((6, 5, 2, 3), (5, 4, 3)),
    "i...->...i": ((2, 3, 4), (1,)),
    "ii,ij": ((2, 2), (2, 3)),
    "b i , o i -> b o": ((2, 3), (4, 3)),
}


@pytest.mark.parametrize("equation", SHAPES)
def test_the_same_is_computed(equation: str) -> None:
    tensors = [torch.randn(shape) for shape in SHAPES[equation]][: equation.count(",") + 1]
    labels, out = explicit(equation, [tensor.ndim for tensor in tensors])
    assert [len(label) for label in labels] == [tensor.ndim for tensor in tensors]
    assert "." not in f"{labels}{out}"
    assert torch.equal(torch.einsum(f"{','.join(labels)}->{out}", *tensors), torch.einsum(equation, *tensors))


@pytest.mark.parametrize("equation", ["...f,gf", "...f,gf->...g", "btf,gf", "...tf,gf->...gt"])
def test_in_a_graph(equation: str) -> None:
    weight, x = torch.randn(5, 8), torch.randn(3, 7, 8)
    module = Forward(lambda x: torch.einsum(equation, x, weight))
    graph = trace(module, x[:1])
    assert not graph.unknown()
    assert torch.allclose(interpret(graph, x)[0], module(x), atol=1e-5)
