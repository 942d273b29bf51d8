"""Flash, line by line: every figure is a count by hand, in the sum that was counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcubench.codegen import generate
from mcubench.cost import BitWidths, FlashSize, flash_size
from mcubench.cost.size import FlashLine
from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from mcubench.quant import quantize
from tests.graph.compare import Forward, randomised


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class With(nn.Module):
    """A function of one parameter and the input."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], weight: Tensor) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.weight, x)


def price(module: nn.Module, *shape: int, widths: BitWidths | None = None, dtype: Any = None) -> FlashSize:
    """Flash of a module for one sample of a shape."""
    return flash_size(deploy(trace(module, torch.zeros(1, *shape, dtype=dtype))), widths)


def by_role(size: FlashSize) -> dict[str, int]:
    """Bytes by role."""
    found: dict[str, int] = {}
    for line in size.lines:
        found[line.role] = found.get(line.role, 0) + line.bytes
    assert sum(found.values()) == size.total
    return found


class TestPacking:
    @pytest.mark.parametrize(
        ("bits", "weights"),
        # 3 * 5 = 15 weights: 120 bits; 60 bits are 7.5 B; 30 bits are 3.75 B; 15 bits are 1.875 B; each rounded up.
        [(8, 15), (4, 8), (2, 4), (1, 2)],
    )
    def test_integers(self, bits: int, weights: int) -> None:
        # For 3 output channels int32 biases, and 8 B of multiplier and shift, at any width of the weights.
        found = price(nn.Linear(5, 3), 5, widths=BitWidths(bits))
        assert by_role(found) == {"weight": weights, "bias": 3 * 4, "requantisation": 3 * 8}
        assert {line.role: (line.count, line.bits) for line in found.lines} == {
            "weight": (15, bits),
            "bias": (3, 32),
            "requantisation": (3, 64),
        }

    @pytest.mark.parametrize("bits", [16, 32])
    def test_floats_are_not_requantised(self, bits: int) -> None:
        found = price(nn.Linear(5, 3), 5, widths=BitWidths(bits))
        assert by_role(found) == {"weight": 15 * bits // 8, "bias": 3 * bits // 8}

    def test_each_tensor_is_rounded_up_by_itself(self) -> None:
        # Two layers of 1 * 3 weights at 4 bits: 1.5 B each, so 2 * 2 and not 3.
        net = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Unflatten(1, (1, 1)), nn.Conv1d(1, 3, 1, bias=False))
        assert by_role(price(net, 3, widths=BitWidths(4)))["weight"] == 2 * 2

    def test_activation_bits_do_not_matter(self) -> None:
        assert price(nn.Linear(5, 3), 5, widths=BitWidths(8, 4)) == price(nn.Linear(5, 3), 5, widths=BitWidths(8, 32))


class TestBitWidths:
    @pytest.mark.parametrize("bits", [0, 3, 5, 64, -8, True, "8", None, 8.5])
    def test_weights(self, bits: Any) -> None:
        with pytest.raises(UserError, match="weight_bits must be one of 1, 2, 4, 8, 16, 32; got ") as caught:
            BitWidths(bits)
        assert str(caught.value).endswith(f"got {bits!r}")

    @pytest.mark.parametrize("bits", [1, 2, 64, True, "8", None])
    def test_activations(self, bits: Any) -> None:
        with pytest.raises(UserError, match="activation_bits must be one of 4, 8, 16, 32; got ") as caught:
            BitWidths(8, bits)
        assert str(caught.value).endswith(f"got {bits!r}")

    @pytest.mark.parametrize("bits", [3, True, "4", None])
    def test_layers(self, bits: Any) -> None:
        with pytest.raises(UserError, match=r"bits of 'body\.0' must be one of 1, 2, 4, 8, 16, 32; got "):
            BitWidths(per_layer={"body.0": bits})

    def test_a_float_is_no_width(self) -> None:
        with pytest.raises(UserError):
            BitWidths(8.0)  # type: ignore[arg-type]

    def test_the_longest_path_counts(self) -> None:
        # By hand: "body" holds for body.0 and body.10; body.1 has its own bits, and body.1.0 its own within that.
        widths = BitWidths(8, 8, {"body.1.0": 1, "body": 4, "body.1": 2})
        paths = {"body.0": 4, "body.1.0": 1, "body.1.1": 2, "body.1": 2, "body.10": 4, "bodywork": 8, "head": 8, "": 8}
        assert {path: widths.of(path) for path in paths} == paths

    def test_each_layer_is_priced_at_its_own(self) -> None:
        body = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
        net = nn.Sequential()
        net.add_module("body", body)
        net.add_module("head", nn.Linear(8, 8))
        found = price(net, 8, widths=BitWidths(8, 8, {"body": 4, "body.1.1": 16}))
        # 64 weights each: at 4 bits 32 B, at 16 bits 128 B, at 8 bits 64 B.
        assert {line.path: line.bytes for line in found.lines if line.role == "weight"} == {
            "body.0": 32,
            "body.1.0": 32,
            "body.1.1": 128,
            "head": 64,
        }
        # Of floats 8 biases take 16 B and nothing is requantised; int32 biases take 32 B.
        assert {line.path: line.bytes for line in found.lines if line.role == "bias"} == {
            "body.1.0": 32,
            "body.1.1": 16,
            "head": 32,
        }
        assert {line.path for line in found.lines if line.role == "requantisation"} == {"body.0", "body.1.0", "head"}

    @pytest.mark.parametrize("path", ["haed", "heads", "head.weight", "", "body"])
    def test_unknown_path(self, path: str) -> None:
        net = nn.Sequential()
        net.add_module("head", nn.Linear(8, 8))
        net.add_module("tail", nn.Linear(8, 8))
        with pytest.raises(UserError) as caught:
            price(net, 8, widths=BitWidths(per_layer={path: 4}))
        message = str(caught.value)
        assert message.startswith(f"there is no layer {path!r} with weights.")
        assert message.endswith(" There are head, tail")
        assert ("Did you mean 'head'?" in message) == (path in ("haed", "heads"))

    def test_a_layer_without_weights_has_no_bits(self) -> None:
        with pytest.raises(UserError, match="there is no layer '1' with weights"):
            price(nn.Sequential(nn.Linear(8, 8), nn.Tanh()), 8, widths=BitWidths(per_layer={"1": 4}))

    def test_in_words(self) -> None:
        assert str(BitWidths(4, 16, {"head": 8})) == "weights 4 bits, head: 8, activations 16 bits"


class TestSharing:
    def test_weights_of_a_layer_that_is_used_twice_are_stored_once(self) -> None:
        """And what depends on the scale of its input for each use, as the next test sees it in C."""

        def twice(layer: nn.Module, x: Tensor) -> Tensor:
            return layer(torch.tanh(layer(x)))

        net = Forward(twice, nn.Linear(8, 8))
        assert price(net, 8).total == 64 + 2 * (8 * 4 + 8 * 8)
        assert price(net, 8, widths=BitWidths(32, 32)).total == 4 * (64 + 8)

    def test_generated_c_has_as_many_tables(self) -> None:
        def twice(convolution: nn.Module, dense: nn.Module, x: Tensor) -> Tensor:
            return dense(convolution(convolution(x).relu()).relu().mean((2, 3)))

        net = Forward(twice, nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 10)).eval()
        x = torch.randn(20, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        source = "".join(generate(quantize(deploy(trace(net, x[:1])), calibration=x)).files.values())
        tables = re.findall(r"static const \w+ (weights|biases|multipliers)_\d+\[\d+\]", source)
        priced = Counter(line.role for line in price(net, 4, 8, 8).lines)
        assert Counter(tables) == {"weights": 2, "biases": 3, "multipliers": 3}
        assert priced == {"weight": 2, "bias": 3, "requantisation": 3}

    def test_a_layer_that_is_used_in_two_layouts_is_stored_in_both(self) -> None:
        # Behind a flattened image the columns are permuted; behind a vector they are not.
        def both(convolution: nn.Module, dense: nn.Module, x: Tensor) -> Tensor:
            return dense(convolution(x).flatten(1)) + dense(x.flatten(1).repeat(1, 2))

        found = price(Forward(both, nn.Conv2d(1, 2, 1, bias=False), nn.Linear(32, 3, bias=False)), 1, 4, 4)
        assert by_role(found)["weight"] == 2 + 2 * 32 * 3

    def test_tied_weights_are_stored_once(self) -> None:
        table, head = nn.Embedding(50, 8), nn.Linear(8, 50)
        head.weight = table.weight

        def tied(table: nn.Module, head: nn.Module, x: Tensor) -> Tensor:
            return head(table(x).mean(1))

        found = price(Forward(tied, table, head), 6, dtype=torch.long)
        assert by_role(found) == {"weight": 50 * 8, "bias": 50 * 4, "requantisation": 50 * 8}

    def test_a_slice_of_what_is_stored_whole_is_free(self) -> None:
        def both(w: Tensor, x: Tensor) -> Tensor:
            return nn.functional.linear(x, w) + nn.functional.linear(x[:, :4], w[:, :4])

        found = price(With(both, torch.randn(4, 8)), 8)
        assert by_role(found)["weight"] == 4 * 8

    def test_two_slices_of_a_parameter_are_both_stored(self) -> None:
        found = price(With(lambda w, x: x * w[0] + torch.tanh(x) * w[1], torch.randn(2, 8)), 8)
        assert by_role(found) == {"constant": 2 * 8}

    def test_two_slices_of_a_parameter_are_both_stored_before_training(self) -> None:
        found = price(With(lambda w, x: x * w[0] + torch.tanh(x) * w[1], torch.ones(2, 8)), 8)
        assert by_role(found) == {"constant": 2 * 8}

    def test_one_slice_that_is_read_twice_is_stored_once(self) -> None:
        found = price(With(lambda w, x: x * w[0] + torch.tanh(x) * w[0], torch.randn(2, 8)), 8)
        assert by_role(found) == {"constant": 8}

    @pytest.mark.parametrize("trained", [True, False])
    def test_a_convolution_folded_with_two_norms_is_two(self, trained: bool) -> None:
        def twice(convolution: nn.Module, one: nn.Module, two: nn.Module, x: Tensor) -> Tensor:
            return two(convolution(one(convolution(x)).relu()))

        net = Forward(twice, nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
        found = price(randomised(net) if trained else net, 4, 6, 6)
        assert by_role(found) == {"weight": 2 * 9 * 4 * 4, "bias": 2 * 4 * 4, "requantisation": 2 * 4 * 8}

    def test_a_convolution_folded_twice_with_one_norm_is_one(self) -> None:
        def twice(convolution: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
            return norm(convolution(norm(convolution(x)).relu()))

        net = Forward(twice, nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        found = price(randomised(net), 4, 6, 6)
        assert by_role(found) == {"weight": 9 * 4 * 4, "bias": 2 * 4 * 4, "requantisation": 2 * 4 * 8}

    def test_a_norm_that_is_used_twice_is_stored_once(self) -> None:
        def twice(norm: nn.Module, x: Tensor) -> Tensor:
            return norm(torch.tanh(norm(x)))

        found = price(randomised(Forward(twice, nn.BatchNorm1d(8))), 8)
        assert by_role(found) == {"weight": 8, "bias": 2 * 8 * 4, "requantisation": 2 * 8 * 8}


class TestLayers:
    def test_a_folded_norm_gives_a_bias(self) -> None:
        net = nn.Sequential(nn.Conv1d(2, 3, 5, bias=False), nn.BatchNorm1d(3))
        assert by_role(price(randomised(net), 2, 9)) == {"weight": 30, "bias": 3 * 4, "requantisation": 3 * 8}

    @pytest.mark.parametrize("bits", [8, 4, 16])
    def test_a_norm_that_can_not_be_folded(self, bits: int) -> None:
        # A scale and a shift for each of 7 channels; at 4 bits 3.5 B are 4.
        wanted = {
            8: {"weight": 7, "bias": 28, "requantisation": 56},
            4: {"weight": 4, "bias": 28, "requantisation": 56},
            16: {"weight": 14, "bias": 14},
        }
        assert by_role(price(nn.BatchNorm1d(7), 7, 5, widths=BitWidths(bits))) == wanted[bits]

    def test_layer_norm(self) -> None:
        # Its weights at the weights' width, its biases as int32; it has no accumulator to requantise.
        assert by_role(price(nn.LayerNorm(8), 5, 8)) == {"weight": 8, "bias": 8 * 4}
        assert by_role(price(nn.LayerNorm(8), 5, 8, widths=BitWidths(16))) == {"weight": 16, "bias": 16}
        assert price(nn.LayerNorm(8, elementwise_affine=False), 5, 8).lines == ()

    def test_transposed_convolution(self) -> None:
        # Weight (4, 6 / 2, 3): 36; 6 output channels in 2 groups.
        found = by_role(price(nn.ConvTranspose1d(4, 6, 3, groups=2), 4, 5))
        assert found == {"weight": 36, "bias": 6 * 4, "requantisation": 6 * 8}

    @pytest.mark.parametrize(
        ("make", "gates", "biases"),
        # Of the two biases of each gate one is kept; the GRU's new gate keeps both: 3 + 1.
        [(nn.LSTM, 4, 4), (nn.GRU, 3, 4), (nn.RNN, 1, 1)],
    )
    def test_recurrent_layers(self, make: type[nn.RNNBase], gates: int, biases: int) -> None:
        net = make(9, 32, batch_first=True)
        found = by_role(price(net, 12, 9))
        # Two matrices, with one multiplier and shift for each gate of each.
        assert found == {"weight": gates * 32 * (9 + 32), "bias": biases * 32 * 4, "requantisation": 2 * gates * 8}
        floats = by_role(price(net, 12, 9, widths=BitWidths(32)))
        assert floats == {"weight": 4 * gates * 32 * (9 + 32), "bias": biases * 32 * 4}
        assert by_role(price(make(9, 32, bias=False, batch_first=True), 12, 9)) == {
            "weight": gates * 32 * (9 + 32),
            "requantisation": 2 * gates * 8,
        }

    @pytest.mark.parametrize(("layer", "cell"), [(nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell), (nn.RNN, nn.RNNCell)])
    def test_a_cell_is_stored_as_a_layer_of_it(self, layer: type[nn.RNNBase], cell: type[nn.RNNCellBase]) -> None:
        found = by_role(price(Forward(lambda cell, x: cell(x), cell(9, 32)), 9))
        assert found == by_role(price(layer(9, 32, batch_first=True), 1, 9))

    @pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
    def test_zeros_to_start_from_are_not_stored(self, cell: type[nn.RNNCellBase]) -> None:
        found = price(Forward(lambda cell, x: cell(x), cell(9, 32)), 9)
        assert not [line for line in found.lines if line.role == "constant"]

    def test_both_directions(self) -> None:
        both = price(nn.LSTM(9, 32, batch_first=True, bidirectional=True), 12, 9).total
        assert both == 2 * price(nn.LSTM(9, 32, batch_first=True), 12, 9).total

    @pytest.mark.parametrize(("bits", "size"), [(8, 70), (4, 35), (1, 9), (16, 140)])
    def test_tables_are_constants_at_the_width_of_weights(self, bits: int, size: int) -> None:
        # A position embedding of 10 * 7; at one bit 8.75 B are 9.
        found = price(With(lambda w, x: x + w, torch.randn(10, 7)), 10, 7, widths=BitWidths(bits))
        assert by_role(found) == {"constant": size}

    @pytest.mark.parametrize("bits", [1, 8, 32])
    def test_integers_stay_what_they_are(self, bits: int) -> None:
        # Three indices of int64; a mask of 5 * 8 booleans, a byte each.
        taken = price(Forward(lambda x: x.index_select(1, torch.tensor([2, 0, 2]))), 5, 8, widths=BitWidths(bits))
        assert by_role(taken) == {"constant": 3 * 8}
        mask = torch.rand(5, 8) > 0.5
        masked = price(Forward(lambda x: torch.where(mask, x, torch.tanh(x))), 5, 8, widths=BitWidths(bits))
        assert by_role(masked) == {"constant": 5 * 8}

    def test_what_depends_on_weights_alone_is_stored_as_it_is_used(self) -> None:
        # (8, 2) times (2, 8) is computed ahead of time: 64 and not 32.
        assert by_role(price(With(lambda w, x: x @ (w @ w.T), torch.randn(8, 2)), 8))["weight"] == 64

    def test_what_is_not_read_is_not_stored(self) -> None:
        net = Forward(lambda one, two, x: one(x), nn.Linear(8, 2, bias=False), nn.Linear(8, 50))
        assert price(net, 8).total == 16 + 2 * 8


def test_unknown_operations_are_named_once_for_each_module() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(torch.fft.rfft(x).abs()).abs()

    found = price(nn.Sequential(nn.Linear(8, 8), Spectrum()), 8)
    named = [str(each) for each in found.unsupported]
    assert named == ["aten.fft_rfft.default in 1 (it is not known)"]
    assert found.total == 64 + 8 * 12  # what is known is priced nonetheless


def test_constants_of_unknown_operations_are_stored() -> None:
    found = price(With(lambda w, x: torch.cdist(x, w), torch.randn(5, 8)), 3, 8)
    assert found.unsupported
    assert by_role(found) == {"constant": 40}


def test_a_line_says_whose_it_is() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    first, second = price(net, 4).lines
    assert first == FlashLine(first.node, "1", "1.weight", "weight", 8, 8, 8)
    assert second == FlashLine(first.node, "1", "1.weight", "requantisation", 2, 64, 16)
