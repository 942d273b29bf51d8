"""Refusals of the integer graph give the true reason, checked against what torch and TFLite Micro can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mcubench.graph import deploy, trace
from mcubench.quant import NotInIntegersError, quantize


class Then(nn.Module):
    """Something behind a convolution of images."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 1)
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.conv(x))


@pytest.mark.parametrize(
    ("f", "said", "unsaid"),
    [  # what is unsaid would be wrong: kernels/prelu.cc and the others are in TFLite Micro's sources
        (lambda t: t.std((2, 3)), "no kernel of std is used here; there are mean, amax, sum", "only means"),
        (nn.InstanceNorm2d(8, affine=True), "f: InstanceNorm can't be", "GroupNorm"),
        (nn.GroupNorm(8, 8), "f: GroupNorm can't be", "InstanceNorm"),
    ],
)
def test_a_refusal_says_what_is_so(f: Callable[[Tensor], Tensor], said: str, unsaid: str) -> None:
    x = torch.randn(2, 1, 4, 4)
    with pytest.raises(NotInIntegersError) as caught:
        quantize(deploy(trace(Then(f), x[:1])), calibration=x)
    assert said in str(caught.value)
    assert unsaid not in str(caught.value)
