"""`assert_macs`, as somebody else's tests use it; the counts are by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.testing import assert_macs

# 784 * 42 = 32,928 and 42 * 10 = 420; additions of biases 42 + 10.
WANTED = 33_348


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 42), nn.ReLU(), nn.Linear(42, 10))


class Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs()


def test_the_right_number_passes() -> None:
    assert assert_macs(mlp(), torch.zeros(1, 1, 28, 28), WANTED) is None
    assert_macs(mlp(), torch.zeros(1, 1, 28, 28), WANTED + 42 + 10, count_bias=True)


@pytest.mark.parametrize(
    ("expected", "difference"), [(WANTED + 1, "-1"), (WANTED - 1, "+1"), (0, "+33,348"), (66_696, "-33,348")]
)
def test_a_wrong_number_fails_with_the_layers(expected: int, difference: str) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_macs(mlp(), torch.zeros(1, 1, 28, 28), expected)
    first, *layers = str(caught.value).splitlines()
    assert first == f"Sequential needs 33,348 MACs, not {expected:,} ({difference}):"
    assert [line.split() for line in layers] == [["32,928", "1"], ["420", "3"]]


def test_biases_are_not_counted_unless_asked_for() -> None:
    with pytest.raises(AssertionError, match=r"33,348 MACs, not 33,400 \(-52\)"):
        assert_macs(mlp(), torch.zeros(1, 1, 28, 28), WANTED + 52)


def test_the_outermost_module_has_a_name() -> None:
    with pytest.raises(AssertionError, match=r"Linear needs 35 MACs, not 1 \(\+34\):\n +35  \(root\)$"):
        assert_macs(nn.Linear(7, 5), torch.zeros(1, 7), 1)


def test_an_unknown_operator_fails_by_name_whatever_is_expected() -> None:
    net = nn.Sequential(nn.Linear(8, 8), Spectrum())
    with pytest.raises(AssertionError) as caught:
        assert_macs(net, torch.zeros(1, 8), 64)
    message = str(caught.value)
    assert message.startswith("the MACs of Sequential are not known: aten.fft_rfft.default in 1 (")
    assert [line.split() for line in message.splitlines()[1:]] == [["64", "0"]]


@pytest.mark.parametrize(
    ("shape", "batch_dim"),
    [((1, 6, 9), 0), ((6, 1, 9), 1), ((6, 9), None)],
    ids=["in front", "behind the steps", "none"],
)
def test_batch_dim(shape: tuple[int, ...], batch_dim: int | None) -> None:
    # 6 steps of 4 * 5 * (9 + 5).
    layer = nn.LSTM(9, 5, batch_first=batch_dim == 0)
    assert_macs(layer, torch.zeros(shape), 6 * 4 * 5 * 14, batch_dim=batch_dim)


def test_several_inputs() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.zeros(1, 5, 8)
    # Projections 3 * 5 * 64, scores and values 2 * 5 * 5 * 8, output 5 * 64.
    assert_macs(layer, {"query": x, "key": x, "value": x, "need_weights": False}, 960 + 400 + 320)


def test_more_than_one_sample_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="must be one sample"):
        assert_macs(mlp(), torch.zeros(2, 1, 28, 28), WANTED)


def test_the_module_is_left_as_it_was() -> None:
    net = mlp().train()
    before = [parameter.clone() for parameter in net.parameters()]
    assert_macs(net, torch.zeros(1, 1, 28, 28), WANTED)
    assert net.training
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))
