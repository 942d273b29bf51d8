"""`quantize` and `calibrate`: what they take, what they refuse, and ranges against hand counts."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.cost import BitWidths
from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from mcubench.models import CNN
from mcubench.quant import Grid, NotInIntegersError, calibrate, interpret_fake, layer_noise, quantize
from mcubench.quant.integer import predict
from tests import reference_nets
from tests.graph.compare import Forward
from tests.quant.witness import near, quantized, seeded


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(16, 3)).eval()  # fmt: skip


X = seeded(64, 2, 4, 4)
FUTURE = torch.ones(4, 4).tril()


def attended(x: Tensor, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, **options)


def test_ranges_of_a_deployed_graph_are_those_of_its_values() -> None:
    graph = deploy(trace(Forward(lambda x: x.relu() * (2 * x)), X[:1]))  # one function of x, and nothing between
    largest = float(X.max())
    assert list(calibrate(graph, X).values()) == [(float(X.min()), largest), (0.0, pytest.approx(2 * largest**2))]


def test_calibrating_in_one_batch_or_many_is_the_same() -> None:
    graph = deploy(trace(net(), X[:1]))
    many = torch.cat([X] * 9)
    assert calibrate(graph, many).keys() == calibrate(graph, X).keys()
    for value, bounds in calibrate(graph, many).items():
        assert bounds == pytest.approx(calibrate(graph, X)[value], rel=1e-5)


def test_the_best_clipping_leaves_out_an_outlier() -> None:
    """Of a million normal values one is 20: clipping it costs 12^2; coarse steps cost N * step^2 / 12 = 740."""
    x = seeded(1_000_000, 1)
    x[0] = 20
    graph = deploy(trace(Forward(lambda x: x * 1.0), x[:1]))
    value = graph.inputs[0]
    (low, high) = calibrate(graph, x, observer="mse")[value]
    assert high < 15
    assert calibrate(graph, x)[value][1] == 20

    def error(bounds: tuple[float, float]) -> float:
        grid = Grid.of_range(*bounds)
        return float((grid.values(grid.codes(x)) - x).square().sum())

    assert error((low, high)) < error(calibrate(graph, x)[value])


def test_ranges_given_make_the_grids() -> None:
    graph = deploy(trace(net(), X[:1]))
    ranges = dict.fromkeys(calibrate(graph, X), (-1.0, 1.0))
    integer = quantize(graph, ranges)
    assert {node.output.grid for node in integer.nodes} == {Grid.of_range(-1.0, 1.0)}


def test_pooling_and_what_it_reads_share_a_grid() -> None:
    integer = quantized(net(), X)
    grids = {node.output.name: node.output.grid for node in integer.nodes}
    assert grids["relu"] == grids["max_pool2d"]
    assert grids["relu"].zero_point == -128


def test_calibration_and_ranges_of_calibrate_are_the_same() -> None:
    graph = deploy(trace(net(), X[:1]))
    assert str(quantize(graph, calibrate(graph, X))) == str(quantize(trace(net(), X[:1]), calibration=X))


def test_weights_per_layer() -> None:
    integer = quantize(trace(net(), X[:1]), calibration=X, widths=BitWidths(8, 8, {"5": 4}))
    assert [each.bits for node in integer.nodes for each in node.kernel.filters()] == [8, 4]


def test_a_large_bias_beside_tiny_weights_still_fits_32_bits() -> None:
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.mul_(1e-9)
        layer.bias.copy_(torch.tensor([3.0, -2.0]))
    x = seeded(16, 4)
    integer = quantized(layer, x)
    found = integer.decode(*predict(integer, *integer.encode(x)))[0]
    assert torch.allclose(found, layer.bias.detach().expand(16, 2), atol=0.02)


@pytest.mark.parametrize("net_name", ["ResNet8", "KeywordDSCNN", "PersonMobileNet"])
def test_reference_nets_of_mlperf_tiny(net_name: str) -> None:
    shapes = {"ResNet8": (3, 32, 32), "KeywordDSCNN": (1, 49, 10), "PersonMobileNet": (3, 96, 96)}
    torch.manual_seed(0)
    module = getattr(reference_nets, net_name)().eval()
    x = seeded(8, *shapes[net_name])
    graph = deploy(trace(module, x[:1]))
    integer = quantize(graph, calibration=x)
    near(graph, integer, x, predict(integer, *integer.encode(x)))


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.LSTM(4, 3, batch_first=True), seeded(8, 5, 4), r"LSTM can't be computed in int8: the cell's last state"),
        (nn.RNN(4, 3, batch_first=True), seeded(8, 5, 4), r"RNN can't be computed in int8: none of the int8 kernels"),
        (nn.GRUCell(4, 3), seeded(8, 4), r"gru_cell can't be computed in int8: cells are computed as one layer"),
        (nn.Conv3d(1, 1, 2), seeded(4, 1, 3, 3, 3), r"has 4 axes; kernels take height, width"),
        (Forward(lambda x: 1.0 * (x > 0)), torch.ones(4, 2).long(), r"can't be computed in int8: it computes with"),
        (nn.LayerNorm((4, 4)), X, r"LayerNorm can't be computed in int8: it is over 2 axes; rows along the last axis"),
        (Forward(lambda x: F.layer_norm(1e-4 * x, (4,), eps=1.0)), X, r"Norm can't be computed in int8: its eps"),
        (nn.ConvTranspose2d(2, 2, 3, groups=2), X, r"only transposed convolutions without dilation and groups"),
        (nn.AdaptiveAvgPool2d(9), seeded(4, 2, 20, 20), r"at most 49 are pooled one by one; here are 9 x 9"),
        (Forward(lambda x: x[:, :, None] @ x[:, None]), X, r"MatMul can't be.* are repeated along some axes, not all"),
        (Forward(lambda x: attended(x, is_causal=True)), X, r"it is causal: what comes later has a share of 0, and"),
        (Forward(lambda x: attended(x, attn_mask=FUTURE.log())), X, r"no code for the infinite numbers among its"),
        (Forward(lambda x: attended(x, attn_mask=FUTURE.bool())), X, r"products of two; not where"),
        (Forward(lambda x: torch.fft.fft(x).real), X, r"it is not understood"),
        (Forward(lambda x: torch.add(x, x.flip(2), alpha=2)), X, r"it has alpha=2"),
        (Forward(lambda x: x / x.flip(2)), X, r"it divides by what is computed"),
        (Forward(lambda x: torch.atan2(x, x.flip(2))), X, r"sums, differences and products of two; not atan2"),
        (nn.ZeroPad2d((-1, 0, 0, 0)), X, r"padding that cuts off is not supported"),
        (nn.MaxPool2d(2, dilation=2, stride=1), X, r"pooling with dilation is not supported"),
    ],
)  # fmt: skip
def test_what_has_no_kernel_is_named(module: nn.Module, x: Tensor, message: str) -> None:
    with pytest.raises(NotInIntegersError, match=message):
        quantized(module, x)


def test_the_path_of_what_has_no_kernel_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Sequential(nn.Identity(), nn.GroupNorm(3, 3)))
    with pytest.raises(NotInIntegersError, match=re.escape("1.1: GroupNorm can't be computed")):
        quantized(module, X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs either ranges or calibration samples"),
        ({"ranges": {}, "calibration": X}, "needs either ranges or calibration samples"),
        ({"ranges": {}}, r"no range is known for input \[4, 4, 2\]"),
        ({"calibration": X[:0]}, "calibration needs samples"),
        ({"calibration": X * math.nan}, "is not finite for the samples"),
        ({"calibration": X, "widths": BitWidths(8, 4)}, "activations of 8 bits; got 4"),
        ({"calibration": X, "widths": BitWidths(16)}, "are to have 16 bits; integer weights have 2, 4, 8"),
        ({"calibration": X, "widths": BitWidths(8, 8, {"6": 4})}, "there is no layer '6' with weights"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        quantize(trace(net(), X[:1]), **options)  # type: ignore[arg-type]


def test_noise_of_a_value_is_that_of_its_grid() -> None:
    """A uniform input on 255 levels: noise is step^2 / 12, signal (range / 2)^2 / 3, so 20 log10(255) dB by hand."""
    x = torch.rand(200_000, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    module = Forward(lambda x: x.relu())
    graph = deploy(trace(module, x[:1]))
    first, *_ = layer_noise(graph, quantize(graph, calibration=x), x)
    assert (first.op, first.clipped) == ("input", 0.0)
    assert first.sqnr == pytest.approx(20 * math.log10(255), abs=0.05)


def test_noise_without_any_difference_is_infinite() -> None:
    x = torch.arange(-128.0, 128.0)[:, None] / 64
    graph = deploy(trace(Forward(lambda x: x.relu()), x[:1]))
    assert layer_noise(graph, quantize(graph, calibration=x), x)[0].sqnr == math.inf


def test_clipping_is_counted() -> None:
    x = torch.linspace(-2, 2, 401)[:, None]
    graph = deploy(trace(Forward(lambda x: x.relu()), x[:1]))
    integer = quantize(graph, dict.fromkeys(calibrate(graph, x), (-1.0, 1.0)))
    assert layer_noise(graph, integer, x)[0].clipped == pytest.approx(0.5, abs=0.01)


def test_fake_quantisation_of_a_dense_layer_by_hand() -> None:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(0.127)  # the one code 127 of scale 0.001: exact
        layer.bias.fill_(0.0)
    x = torch.tensor([[-1.0], [0.013], [1.0]])
    graph = deploy(trace(layer, x[:1]))
    step = 2 / 255
    integer = quantize(graph, {graph.inputs[0]: (-1.0, 1.0), graph.outputs[0]: (-0.127, 0.127)})
    (found,) = interpret_fake(graph, integer, x)
    inputs = torch.tensor([-127.0, 2.0, 127.0]) * step  # 0.013 is nearest to 2 levels; -1 and 1 to 127
    outputs = (0.127 * inputs / (0.254 / 255)).round() * (0.254 / 255)
    assert found.flatten().tolist() == pytest.approx(outputs.tolist(), abs=1e-6)


def test_images_go_in_with_channels_last() -> None:
    torch.manual_seed(0)
    integer = quantized(CNN((3, 8, 6), 4).eval(), seeded(8, 3, 8, 6))
    (codes,) = integer.encode(seeded(2, 3, 8, 6))
    assert integer.inputs[0].shape == (1, 8, 6, 3)
    assert codes.shape == (2, 8, 6, 3)
    assert torch.equal(codes, integer.inputs[0].grid.codes(seeded(2, 3, 8, 6).permute(0, 2, 3, 1)))


def test_a_mean_that_feeds_a_dense_layer_is_rounded_in_every_form() -> None:
    """The kernel's result has another shape than the value; fake quantisation and noise must know it nevertheless."""
    torch.manual_seed(0)
    module = Forward(lambda conv, linear, x: linear(conv(x).relu().mean((2, 3))), nn.Conv2d(2, 6, 3), nn.Linear(6, 3))
    graph = deploy(trace(module.eval(), X[:1]))
    integer = quantize(graph, calibration=X)
    kinds = [each.op.partition(" ")[0] for each in layer_noise(graph, integer, X)]
    assert kinds == ["input", "Conv", "Reduce", "Dense"]
    steps = (interpret_fake(graph, integer, X)[0] - integer.decode(*predict(integer, *integer.encode(X)))[0]).abs()
    assert float((steps / integer.outputs[0].grid.scale).mean()) < 0.3
