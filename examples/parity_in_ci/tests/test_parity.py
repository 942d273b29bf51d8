"""Does the network compute in Keras what it computes in PyTorch?"""

from __future__ import annotations

import pytest
import torch
from their_net import KeywordNet

from mcubench.testing import assert_parity


@pytest.fixture
def net() -> KeywordNet:
    torch.manual_seed(0)
    net = KeywordNet()
    net(torch.randn(64, 1, 49, 10))  # running statistics that are not those of a new network
    return net


def test_keras_can_do_it(net: KeywordNet) -> None:
    assert_parity(net, torch.randn(20, 1, 49, 10))


def test_the_port_is_faithful(net: KeywordNet) -> None:
    from their_net.keras_net import ported

    assert_parity(net, torch.randn(20, 1, 49, 10), keras_model=ported(net))
