"""Every model against hand counts, and against what its shapes must be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mcubench.errors import UserError
from mcubench.models import CNN, DSCNN, GRU, LSTM, MLP, Classifier, CNN1d, ConvNet, LeNet
from mcubench.training import channels_last
from tests.known_answers import OURS, KnownAnswer


@pytest.mark.parametrize("answer", OURS, ids=str)
class TestKnownAnswers:
    def test_parameters(self, answer: KnownAnswer) -> None:
        assert sum(parameter.numel() for parameter in answer.make().parameters()) == answer.params

    def test_logits(self, answer: KnownAnswer) -> None:
        torch.manual_seed(0)
        model = answer.make().eval()
        assert model.example_input_array.shape == (1, *answer.sample)
        assert model(model.example_input_array).shape == (1, model.num_classes)
        logits = model(torch.randn(5, *answer.sample))
        assert logits.shape == (5, model.num_classes)
        assert (logits < 0).any(), "logits, not probabilities or rectified values"

    def test_every_parameter_learns(self, answer: KnownAnswer) -> None:
        model = answer.make()
        x, y = torch.randn(8, *answer.sample), torch.arange(8) % model.num_classes
        model.loss(model(x), y).backward()
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())

    def test_hyper_parameters_rebuild_it(self, answer: KnownAnswer) -> None:
        model = answer.make(learning_rate=0.25)
        again = type(model)(**model.hparams)
        assert again.learning_rate == 0.25
        assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


def test_pooling_before_relu_is_relu_before_pooling() -> None:
    model = CNN((1, 28, 28), 10).eval()
    convolution, pool, relu, *rest = model.layers
    x = torch.randn(3, 1, 28, 28)
    assert torch.equal(model(x), nn.Sequential(convolution, relu, pool, *rest)(x))


@settings(max_examples=25)
@given(channels=st.integers(1, 4), height=st.integers(2, 20), width=st.integers(2, 20), classes=st.integers(2, 12))
def test_images_of_any_shape(channels: int, height: int, width: int, classes: int) -> None:
    x = torch.randn(2, channels, height, width)
    for model in (MLP, CNN, DSCNN, LSTM):
        assert model(x.shape[1:], classes).eval()(x).shape == (2, classes)


@pytest.mark.parametrize("model", [CNN, ConvNet, DSCNN, LeNet])
def test_images_are_computed_with_channels_last(model: type[Classifier]) -> None:
    # A convolution writes the order of its weights; one channel alone has none, so that the outcome is looked at.
    assert model.channels_last
    net = model((1, 28, 28), 10).eval()
    first = next(each for each in net.modules() if isinstance(each, nn.Conv2d))
    x = torch.randn(3, 1, 28, 28)
    expected = net(x)
    assert first(x).is_contiguous()
    with channels_last(net):
        assert first(x).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(net(x), expected)
    assert first(x).is_contiguous()


@settings(max_examples=25)
@given(blocks=st.integers(1, 3), kernel=st.integers(1, 5), extra=st.integers(0, 3))
def test_the_smallest_image_of_a_lenet(blocks: int, kernel: int, extra: int) -> None:
    # blown up block by block, as pooling rounds down: 1 -> 2 -> 2 + kernel - 1
    smallest = 2**blocks + (kernel - 1) * (2**blocks - 1)
    model = LeNet((1, smallest + extra, smallest), 3, channels=(2,) * blocks, kernel_size=kernel)
    assert model(torch.randn(2, 1, smallest + extra, smallest)).shape == (2, 3)
    with pytest.raises(UserError, match=f"at least {smallest} x {smallest}; "):
        LeNet((1, smallest + extra, smallest - 1), 3, channels=(2,) * blocks, kernel_size=kernel)


@settings(max_examples=25)
@given(height=st.integers(4, 20), width=st.integers(4, 20), stages=st.integers(1, 2), depth=st.integers(1, 2))
def test_a_convnet_without_a_mean_sees_all_positions(height: int, width: int, stages: int, depth: int) -> None:
    for halving in ("max", "stride"):
        net = ConvNet((2, height, width), 3, [4] * stages, depth, halving=halving, residual=True, mean=False).eval()
        assert net(torch.randn(2, 2, height, width)).shape == (2, 3)
        line = ConvNet((2, height), 3, [4] * stages, depth, halving=halving, mean=False).eval()
        assert line(torch.randn(2, 2, height)).shape == (2, 3)


@settings(max_examples=25)
@given(channels=st.integers(1, 9), samples=st.integers(8, 200), classes=st.integers(2, 12))
def test_signals_of_any_shape(channels: int, samples: int, classes: int) -> None:
    x = torch.randn(2, channels, samples)
    for model in (MLP, CNN1d, DSCNN, GRU):
        assert model(x.shape[1:], classes).eval()(x).shape == (2, classes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((), 10), "input_shape must be positive"),
        (lambda: MLP((1, 0), 10), "input_shape must be positive"),
        (lambda: MLP((4,), 1), "num_classes must be 2 to 32767"),
        (lambda: MLP(None, 10), "input_shape is not known"),  # type: ignore[arg-type]
        (lambda: MLP((4,), None), "num_classes is not known"),  # type: ignore[arg-type]
        (lambda: MLP((4,), 2, hidden=(3, 0)), r"hidden must be positive numbers of neurons, got \[3, 0\]"),
        (lambda: MLP((4,), 2, activation="rely"), "unknown activation 'rely'.*Did you mean 'relu'"),  # type: ignore[arg-type]
        (lambda: MLP((4,), 2, optimizer="adm"), "optimizer must be one of adam, adamw, sgd; got 'adm'"),
        (lambda: MLP((4,), 2, schedule="cos"), "schedule must be one of"),
        (lambda: MLP((4,), 2, learning_rate=0.0), "learning_rate must be positive"),
        (lambda: MLP((4,), 2, weight_decay=-1.0), "weight_decay must be finite and not negative"),
        (lambda: MLP((4,), 2, learning_rate=math.inf), "learning_rate must be positive and finite"),
        (lambda: MLP((4,), 2, learning_rate=math.nan), "learning_rate must be positive and finite"),
        (lambda: MLP((4,), 2, weight_decay=math.inf), "weight_decay must be finite and not negative"),
        (lambda: MLP((4,), 2, class_weights=[1.0, math.nan]), "class_weights must be finite"),
        (lambda: MLP((4,), 2, label_smoothing=1.0), r"label_smoothing must be in \[0, 1\), got 1.0"),
        (lambda: MLP((4,), 2, label_smoothing=-0.1), r"label_smoothing must be in \[0, 1\), got -0.1"),
        (lambda: MLP((4,), 2, momentum=1.0), r"momentum must be in \[0, 1\)"),
        (lambda: MLP((4,), 2, class_weights=[0.0, 0.0]), "class_weights must be finite, not negative and not all 0"),
        (lambda: MLP((4,), 2, class_weights=[1.0, -1.0]), "class_weights must be finite, not negative and not all 0"),
        (lambda: MLP((4,), 2, class_weights=[1.0]), "class_weights needs 2 numbers, got 1"),
        (lambda: MLP((4,), 2, class_weights="balance"), "class_weights must be 'balanced' or 2 numbers"),
        (lambda: CNN((6, 128), 2), r"CNN needs images .* got \(6, 128\). For signals"),
        (lambda: CNN((1, 1, 9), 2), "at least 2 x 2"),
        (lambda: CNN((1, 8, 8), 2, channels=0), "channels must be at least 1"),
        (lambda: LeNet((1, 15, 28), 2), r"LeNet with channels \[8, 24\] .* at least 16 x 16; got \(1, 15, 28\)"),
        (lambda: LeNet((6, 128), 2), r"LeNet .* needs images .* got \(6, 128\)\. .* for signals CNN1d"),
        (lambda: LeNet((1, 28, 28), 2, kernel_size=0), "kernel_size must be at least 1, got 0"),
        (lambda: LeNet((1, 28, 28), 2, channels=()), r"channels must be positive numbers, got \[\]"),
        (lambda: CNN1d((1, 28, 28), 2), "CNN1d with 3 blocks needs signals"),
        (lambda: CNN1d((1, 7), 2), "at least 8 samples"),
        (lambda: CNN1d((1, 64), 2, kernel_size=4), "kernel_size must be odd"),
        (lambda: CNN1d((1, 64), 2, channels=()), "channels must be positive"),
        (lambda: ConvNet((4,), 2), "ConvNet needs images"),
        (lambda: ConvNet((1, 8, 8), 2, channels=()), "channels and depth must be positive numbers"),
        (lambda: ConvNet((1, 8, 8), 2, depth=0), "channels and depth must be positive numbers"),
        (lambda: ConvNet((1, 8, 8), 2, kernel_size=4), "kernel_size must be odd and positive, got 4"),
        (lambda: ConvNet((1, 8, 8), 2, halving="mean"), "halving must be one of max, stride; got 'mean'"),
        (lambda: ConvNet((6, 7), 2), "3 stages halve the resolution as often"),
        (lambda: DSCNN((4,), 2), "DSCNN needs images"),
        (lambda: DSCNN((1, 8, 8), 2, blocks=0), "blocks must be at least 1"),
        (lambda: DSCNN((1, 8, 8), 2, dropout=1.0), r"dropout must be in \[0, 1\)"),
        (
            lambda: GRU((561,), 2),
            r"GRU needs signals of shape \(channels, samples\) .* got \(561,\)\. For features use MLP",
        ),
        (lambda: LSTM((1, 2, 3, 4), 2), r"LSTM needs signals .* got \(1, 2, 3, 4\)"),
        (lambda: GRU((6, 128), 2, hidden=0), "hidden and layers must be at least 1, got 0 and 1"),
        (lambda: GRU((6, 128), 2, layers=0), "hidden and layers must be at least 1, got 32 and 0"),
        (lambda: GRU((6, 128), 2, summary="max"), "one of last, mean; got 'max'"),  # type: ignore[arg-type]
        (lambda: GRU((6, 128), 2, conv_channels=0), "conv_channels and stride must be at least 1, got 0 and 2"),
        (
            lambda: GRU((6, 128), 2, conv_channels=4, stride=0),
            "stride must be at least 1, got 4 and 0",
        ),
        (lambda: GRU((6, 128), 2, conv_channels=4, kernel_size=4), "kernel_size must be odd, got 4"),
        (lambda: GRU((6, 128), 2, conv_channels=4, activation="rely"), "unknown activation 'rely'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_say_what_is_allowed(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_misspelt_arguments_are_not_swallowed() -> None:
    with pytest.raises(TypeError, match="learning_rat"):
        MLP((4,), 2, learning_rat=0.1)
