"""1,000 random architectures and 400 single layers with any options: Keras computes what torch computes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from torch import Tensor, nn

from tests.graph.test_random_architectures import architectures
from tests.parity.test_random_architectures import check, forgetful, single_layers

__all__ = ["forgetful"]

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")


@settings(max_examples=1000)
@given(architectures())
def test_many_random_architectures(drawn: tuple[nn.Module, Tensor]) -> None:
    check(*drawn)


@settings(max_examples=400)
@given(single_layers())
def test_more_random_options_of_layers(drawn: tuple[nn.Module, Tensor]) -> None:
    check(*drawn)
