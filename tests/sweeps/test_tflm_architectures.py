"""1,000 random architectures at 8, 4 and 2 bits: TFLite Micro computes the same bytes in the arena that was planned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.graph.compare import batch_like
from tests.graph.test_random_architectures import architectures
from tests.quant.test_random_architectures import examine

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")


@settings(max_examples=1000)
@given(architectures(int8=True), st.sampled_from([8, 8, 4, 2]))
def test_a_thousand_random_architectures(drawn: tuple[nn.Module, Tensor], bits: int) -> None:
    module, example = drawn
    examine(module, batch_like(example, samples=8), bits)
