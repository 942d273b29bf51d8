"""Padding "same" of an odd number of zeros: TensorFlow, and so Keras, has the odd one behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mcubench.parity.building.padding import as_same, same_padding
from tests.parity.test_rules import same_as_torch


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [(5, 2, 1, 1, (0, 1)), (5, 4, 1, 1, (1, 2)), (6, 3, 2, 1, (0, 1)), (7, 2, 1, 3, (1, 2)), (5, 3, 1, 1, (1, 1))],
)
def test_tensorflows_own_figures(size: int, kernel: int, stride: int, dilation: int, expected: tuple[int, int]) -> None:
    """By hand from tensorflow's notes on padding: ceil(size / stride) outputs, and the odd zero at the end."""
    assert same_padding(size, kernel, stride, dilation) == expected


def test_the_side_of_the_odd_zero_counts() -> None:
    assert as_same((9,), (2,), (1,), (1,), ((0, 1),))
    assert not as_same((9,), (2,), (1,), (1,), ((1, 0),))


def test_an_odd_zero_behind_takes_no_layer_of_its_own() -> None:
    """PyTorch's "same" has it there, too."""
    model = same_as_torch(nn.Sequential(nn.Conv1d(2, 3, 2, padding="same")), torch.randn(1, 2, 9))
    assert [type(each).__name__ for each in model.layers] == ["InputLayer", "Conv1D"]
