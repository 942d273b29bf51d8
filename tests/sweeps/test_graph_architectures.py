"""500 random architectures: traced and deployed, they compute what torch computes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from torch import Tensor, nn

from tests.graph.test_random_architectures import architectures, check

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")


@settings(max_examples=500)
@given(architectures())
def test_many_random_architectures(drawn: tuple[nn.Module, Tensor]) -> None:
    check(*drawn)
