"""Vectors looked up by integers: TFLite Micro's bytes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.codegen import generate
from mcubench.errors import UserError
from mcubench.export.tflite import operators_of
from mcubench.graph import deploy, trace
from mcubench.quant import NotInIntegersError, calibrate, quantize
from mcubench.quant.integer import predict
from tests.graph.compare import Forward, randomised
from tests.graph.test_random_architectures import ending, part
from tests.quant.test_random_architectures import examine
from tests.quant.witness import check, quantized

TOKENS = torch.randint(0, 10, (16, 5), generator=torch.Generator().manual_seed(0))


class Tokens(nn.Module):
    """Vectors looked up by integers, read as a signal."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors, self.conv, self.dense = nn.Embedding(10, 6), nn.Conv1d(6, 4, 3), nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dense(torch.relu(self.conv(self.vectors(tokens).transpose(1, 2))).mean(-1))


def test_computes_tflite_micros_bytes() -> None:
    check(randomised(Tokens()), TOKENS)
    assert operators_of(quantized(randomised(Tokens()), TOKENS))[:2] == ["GATHER", "CONV_2D"]


def test_one_integer_and_a_rectangle_of_them() -> None:
    for tokens in (TOKENS[:, 0], TOKENS.reshape(4, 4, 5)):
        check(randomised(nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 3))), tokens)


@st.composite
def readers_of_tokens(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """A table of vectors, up to three parts on the signal that they are, a classifier or none; and samples."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    entries, width, steps = draw(st.integers(1, 40)), draw(st.integers(1, 6)), draw(st.integers(3, 13))
    layers: list[nn.Module] = [nn.Embedding(entries, width), Forward(lambda vectors: vectors.transpose(1, 2))]
    tokens = torch.randint(0, entries, (8, steps))
    x = nn.Sequential(*layers)(tokens[:1])
    for _ in range(draw(st.integers(0, 3))):
        layers.append(draw(part(tuple(x.shape[1:]), int8=True)))
        with torch.no_grad():
            x = layers[-1].eval()(x)
    layers += draw(ending(tuple(x.shape[1:]), int8=True))
    return randomised(nn.Sequential(*layers)), tokens


@settings(max_examples=20)
@given(readers_of_tokens())
def test_random_architectures_that_begin_with_one(drawn: tuple[nn.Module, Tensor]) -> None:
    examine(*drawn, bits=8)


def test_integers_need_no_range() -> None:
    graph = deploy(trace(randomised(Tokens()), TOKENS[:1]))
    ranges = calibrate(graph, TOKENS)
    without = {value: each for value, each in ranges.items() if value not in graph.inputs}
    expected, found = (quantize(graph, each) for each in (ranges, without))
    codes = expected.encode(TOKENS)
    assert torch.equal(predict(found, *codes)[0], predict(expected, *codes)[0])


def test_vectors_of_fewer_bits_are_refused() -> None:
    with pytest.raises(NotInIntegersError, match=r"are to have 4 bits, .* give vectors 8 bits"):
        quantized(randomised(Tokens()), TOKENS, 4)


def test_integers_that_are_computed_are_refused() -> None:
    module = nn.Sequential(Forward(lambda t: t + 1), nn.Embedding(11, 6))
    with pytest.raises(NotInIntegersError, match="it computes with integers"):
        quantized(module, TOKENS)


def test_an_integer_that_stands_for_nothing_is_refused() -> None:
    integer = quantized(randomised(Tokens()), TOKENS)
    for beyond in (-1, 10):
        with pytest.raises(IndexError):
            predict(integer, *integer.encode(torch.full((1, 5), beyond)))


def test_no_c_is_written_for_it() -> None:
    with pytest.raises(UserError, match="vectors: no C is written for Embed; the formats tflite"):
        generate(quantized(Tokens(), TOKENS))
