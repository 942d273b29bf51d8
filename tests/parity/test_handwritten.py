"""Networks typed again in Keras by hand, as its users do, and weights copied by hand: nothing here comes from a graph.

Reference: PyTorch's outputs, and counts of parameters and multiply-accumulates written out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcubench import UserError
from mcubench.models import CNN, DSCNN, MLP, CNN1d
from mcubench.parity import ParityReport, compare, load_keras
from mcubench.testing import assert_parity
from tests.graph.compare import cases, randomised

keras = load_keras()
layers = keras.layers
Input, Dense, Conv1D, Conv2D, Flatten = keras.Input, layers.Dense, layers.Conv1D, layers.Conv2D, layers.Flatten

SAMPLES = 4


# Weights, from PyTorch's order of axes to Keras'.


def array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().numpy()


def linear(layer: nn.Linear) -> list[NDArray[Any]]:
    """(outputs, inputs) to (inputs, outputs)."""
    return [array(layer.weight).T, array(layer.bias)]


def conv1d(layer: nn.Conv1d) -> list[NDArray[Any]]:
    """(outputs, inputs, length) to (length, inputs, outputs)."""
    kernel = array(layer.weight).transpose(2, 1, 0)
    return [kernel] if layer.bias is None else [kernel, array(layer.bias)]


def conv2d(layer: nn.Conv2d) -> list[NDArray[Any]]:
    """(outputs, inputs, height, width) to (height, width, inputs, outputs)."""
    kernel = array(layer.weight).transpose(2, 3, 1, 0)
    return [kernel] if layer.bias is None else [kernel, array(layer.bias)]


def depthwise2d(layer: nn.Conv2d) -> list[NDArray[Any]]:
    """(channels, 1, height, width) to (height, width, channels, 1)."""
    return [array(layer.weight).transpose(2, 3, 0, 1)]


def norm(layer: nn.BatchNorm2d) -> list[NDArray[Any]]:
    return [array(each) for each in (layer.weight, layer.bias, layer.running_mean, layer.running_var)]


def behind_flatten(layer: nn.Linear, channels: int, height: int, width: int) -> list[NDArray[Any]]:
    """Columns by (channel, height, width) to rows by (height, width, channel)."""
    kernel = array(layer.weight).reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
    return [kernel.reshape(height * width * channels, -1), array(layer.bias)]


def lstm(layer: nn.LSTM) -> list[NDArray[Any]]:
    """Gates i f g o in both; PyTorch's two biases become one."""
    bias = array(layer.bias_ih_l0) + array(layer.bias_hh_l0)
    return [array(layer.weight_ih_l0).T, array(layer.weight_hh_l0).T, bias]


def gru(layer: nn.GRU, suffix: str = "") -> list[NDArray[Any]]:
    """Gates reset, update, new to update, reset, new; both biases."""

    def reordered(name: str) -> NDArray[Any]:
        reset, update, new = np.split(array(getattr(layer, f"{name}_l0{suffix}")), 3)
        return np.concatenate([update, reset, new])

    biases = np.stack([reordered("bias_ih"), reordered("bias_hh")])
    return [reordered("weight_ih").T, reordered("weight_hh").T, biases]


def copy(model: Any, *weights: list[NDArray[Any]]) -> Any:
    """Gives a model's layers that have weights these, in order."""
    holders = [layer for layer in model.layers if layer.weights]
    for layer, given in zip(holders, weights, strict=True):
        layer.set_weights(given)
    return model


# The modules that the library does not have.


class LSTMClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class BidirectionalGRU(nn.Module):
    """The last step of the way there and of the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.gru(x)
        return self.head(torch.cat([last[0], last[1]], -1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(y)))
        return self.fc(x.mean((2, 3)))


class Separable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
        self.pointwise = nn.Conv2d(3, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.pointwise(self.depthwise(x)))
        return self.head(x.mean((2, 3)))


# Their twins.


def mlp_twin(module: Any) -> Any:
    model = keras.Sequential([Input((28, 28, 1)), Flatten(), Dense(42, activation="relu"), Dense(10)])
    return copy(model, linear(module.layers[1]), linear(module.layers[3]))


def colour_mlp_twin(module: Any) -> Any:
    """Images have their channels last in Keras, in front of a Flatten too."""
    model = keras.Sequential([Input((6, 5, 3)), Flatten(), Dense(8, activation="relu"), Dense(4)])
    return copy(model, behind_flatten(module.layers[1], 3, 6, 5), linear(module.layers[3]))


def linear_cnn_twin(module: Any) -> Any:
    model = keras.Sequential(
        [Input((28, 28, 1)), Conv2D(32, 3, padding="same"), layers.MaxPooling2D(), Flatten(), Dense(10)]
    )
    return copy(model, conv2d(module.layers[0]), behind_flatten(module.layers[4], 32, 14, 14))


def cnn_twin(module: Any) -> Any:
    """The module pools before its ReLU, which gives the same."""
    model = keras.Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            Flatten(),
            Dense(10),
        ]
    )
    return copy(model, conv2d(module.layers[0]), behind_flatten(module.layers[4], 32, 14, 14))


def cnn1d_twin(module: Any) -> Any:
    model = keras.Sequential([Input((128, 6))])
    for channels in (16, 32, 32):
        model.add(Conv1D(channels, 5, padding="same", activation="relu"))
        model.add(layers.MaxPooling1D(2))
    model.add(layers.GlobalAveragePooling1D())
    model.add(Dense(12))
    convolutions = [conv1d(module.layers[index]) for index in (0, 3, 6)]
    return copy(model, *convolutions, linear(module.layers[11]))


def dscnn_twin(module: Any) -> Any:
    def normalised(layer: Any) -> list[Any]:
        return [layer, layers.BatchNormalization(epsilon=1e-5), layers.ReLU()]

    # PyTorch pads both sides alike, and Keras' "same" does not at stride 2 with an even size.
    parts = [Input((28, 28, 1)), layers.ZeroPadding2D(1), *normalised(Conv2D(32, 3, 2, use_bias=False))]
    for stride in (1, 2, 1):
        parts += [layers.ZeroPadding2D(1), *normalised(layers.DepthwiseConv2D(3, stride, use_bias=False))]
        parts += normalised(Conv2D(32, 1, use_bias=False))
    model = keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dropout(0.1), Dense(10)])
    given = []
    for layer in module.layers:
        if isinstance(layer, nn.Conv2d):
            given.append(depthwise2d(layer) if layer.groups > 1 else conv2d(layer))
        elif isinstance(layer, nn.BatchNorm2d):
            given.append(norm(layer))
    return copy(model, *given, linear(module.layers[-1]))


def lstm_twin(module: Any) -> Any:
    model = keras.Sequential([Input((20, 6)), layers.LSTM(8), Dense(5)])
    return copy(model, lstm(module.lstm), linear(module.head))


def lstm_twin_of_sequences(module: Any) -> Any:
    inputs = Input((20, 6))
    model = keras.Model(inputs, Dense(5)(layers.LSTM(8, return_sequences=True)(inputs)[:, -1]))
    return copy(model, lstm(module.lstm), linear(module.head))


def gru_twin(module: Any) -> Any:
    model = keras.Sequential([Input((20, 6)), layers.Bidirectional(layers.GRU(8)), Dense(5)])
    return copy(model, gru(module.gru) + gru(module.gru, "_reverse"), linear(module.head))


def gru_twin_of_sequences(module: Any) -> Any:
    """The way back has its last step where the sequence starts."""
    inputs = Input((20, 6))
    both = layers.Bidirectional(layers.GRU(8, return_sequences=True))(inputs)
    last = layers.Concatenate()([both[:, -1, :8], both[:, 0, 8:]])
    model = keras.Model(inputs, Dense(5)(last))
    return copy(model, gru(module.gru) + gru(module.gru, "_reverse"), linear(module.head))


def residual_weights(module: Any) -> list[list[NDArray[Any]]]:
    return [
        conv2d(module.stem),
        conv2d(module.conv1),
        norm(module.bn1),
        conv2d(module.conv2),
        norm(module.bn2),
        linear(module.fc),
    ]


def residual_twin(module: Any) -> Any:
    inputs = Input((8, 8, 1))
    x = Conv2D(4, 3, padding="same", activation="relu")(inputs)
    y = Conv2D(4, 3, padding="same", use_bias=False)(x)
    y = layers.BatchNormalization(epsilon=1e-5)(y)
    y = layers.Activation("relu")(y)
    y = Conv2D(4, 3, padding="same", use_bias=False)(y)
    y = layers.BatchNormalization(epsilon=1e-5)(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    outputs = Dense(3)(layers.GlobalAveragePooling2D()(x))
    return copy(keras.Model(inputs, outputs), *residual_weights(module))


class SubclassedResidual(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2D(4, 3, padding="same", activation="relu")
        self.conv1 = Conv2D(4, 3, padding="same", use_bias=False)
        self.bn1 = layers.BatchNormalization(epsilon=1e-5)
        self.conv2 = Conv2D(4, 3, padding="same", use_bias=False)
        self.bn2 = layers.BatchNormalization(epsilon=1e-5)
        self.pool = layers.GlobalAveragePooling2D()
        self.fc = Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.stem(x)
        y = keras.ops.relu(self.bn1(self.conv1(x), training=training))
        x = keras.ops.relu(x + self.bn2(self.conv2(y), training=training))
        return self.fc(self.pool(x))


def subclassed_twin(module: Any) -> Any:
    model = SubclassedResidual()
    model(np.zeros((1, 8, 8, 1), np.float32))
    return copy(model, *residual_weights(module))


def nested_module() -> nn.Module:
    block = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    return nn.Sequential(block, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def nested_twin(module: Any) -> Any:
    block = keras.Sequential([Conv2D(4, 3, activation="relu"), Conv2D(4, 3, activation="relu")])
    model = keras.Sequential([Input((8, 8, 1)), block, layers.MaxPooling2D(), Flatten(), Dense(3)])
    copy(block, conv2d(module[0][0]), conv2d(module[0][2]))
    model.layers[-1].set_weights(behind_flatten(module[3], 4, 2, 2))
    return model


def separable_twin(module: Any) -> Any:
    model = keras.Sequential(
        [
            Input((8, 8, 3)),
            layers.SeparableConv2D(6, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            Dense(4),
        ]
    )
    return copy(model, depthwise2d(module.depthwise) + conv2d(module.pointwise), linear(module.head))


@dataclass(frozen=True)
class Twins:
    """A module, its twin, one sample's shape as PyTorch has it, hand counts, and which layers belong together."""

    make: Callable[[], nn.Module]
    twin: Callable[[Any], Any]
    shape: tuple[int, ...]
    params: tuple[int, int]
    macs: int
    pairs: tuple[tuple[str, str], ...]


TWINS = {
    "MLP": Twins(
        lambda: MLP((1, 28, 28), 10),
        mlp_twin,
        (1, 28, 28),
        (33_400, 33_400),  # 784 * 42 + 42 + 42 * 10 + 10
        33_348,
        (("layers.1", "Dense"), ("layers.3", "Dense")),
    ),
    "CNN": Twins(
        lambda: CNN((1, 28, 28), 10),
        cnn_twin,
        (1, 28, 28),
        (63_050, 63_050),  # 9 * 32 + 32 + 6272 * 10 + 10
        288_512,  # 28 * 28 * 9 * 32 + 62,720
        (("layers.0", "Conv2D"), ("layers.1", "MaxPooling2D"), ("layers.4", "Dense")),
    ),
    "CNN1d": Twins(
        lambda: CNN1d((6, 128), 12),
        cnn1d_twin,
        (6, 128),
        # 6 * 16 * 5 + 16, 16 * 32 * 5 + 32, 32 * 32 * 5 + 32, 32 * 12 + 12
        (8_636, 8_636),
        128 * 480 + 64 * 2560 + 32 * 5120 + 384,
        (
            ("layers.0", "Conv1D"),
            ("layers.1", "MaxPooling1D"),
            ("layers.3", "Conv1D"),
            ("layers.4", "MaxPooling1D"),
            ("layers.6", "Conv1D"),
            ("layers.7", "MaxPooling1D"),
            ("layers.9", "GlobalAveragePooling1D"),
            ("layers.11", "Dense"),
        ),
    ),
    "DSCNN": Twins(
        lambda: DSCNN((1, 28, 28), 10),
        dscnn_twin,
        (1, 28, 28),
        # 9 * 32, three times 9 * 32 and 32 * 32, seven norms of 4 * 32, 32 * 10 + 10
        (5_450, 5_450),
        196 * 288 + 2 * 49 * (288 + 1024) + 196 * (288 + 1024) + 320,
        (
            *(
                pair
                for number, convolution in enumerate(("Conv2D", *("DepthwiseConv2D", "Conv2D") * 3))
                for pair in (
                    (f"layers.{3 * number}", convolution),
                    (f"layers.{3 * number + 1}", "BatchNormalization"),
                    (f"layers.{3 * number + 2}", "ReLU"),
                )
            ),
            ("layers.21", "GlobalAveragePooling2D"),
            ("layers.24", "Dense"),
        ),
    ),
    "LSTM": Twins(
        LSTMClassifier,
        lstm_twin,
        (20, 6),
        (4 * 8 * (6 + 8 + 2) + 45, 4 * 8 * (6 + 8 + 1) + 45),
        20 * 4 * 8 * 14 + 40,
        (("lstm", "LSTM"), ("head", "Dense")),
    ),
    "LSTM, whole sequence": Twins(
        LSTMClassifier,
        lstm_twin_of_sequences,
        (20, 6),
        (4 * 8 * (6 + 8 + 2) + 45, 4 * 8 * (6 + 8 + 1) + 45),
        20 * 4 * 8 * 14 + 40,
        (("lstm", "LSTM"), ("head", "Dense")),
    ),
    "bidirectional GRU, whole sequence": Twins(
        BidirectionalGRU,
        gru_twin_of_sequences,
        (20, 6),
        (2 * 3 * 8 * (6 + 8 + 2) + 85, 2 * 3 * 8 * (6 + 8 + 2) + 85),
        20 * 2 * 3 * 8 * 14 + 80,
        (("gru", "Bidirectional"), ("cat", "Concatenate"), ("head", "Dense")),
    ),
    "bidirectional GRU": Twins(
        BidirectionalGRU,
        gru_twin,
        (20, 6),
        (2 * 3 * 8 * (6 + 8 + 2) + 85, 2 * 3 * 8 * (6 + 8 + 2) + 85),
        20 * 2 * 3 * 8 * 14 + 80,
        (("gru", "Bidirectional"), ("head", "Dense")),
    ),
    "residual": Twins(
        Residual,
        residual_twin,
        (1, 8, 8),
        # 36 + 4, twice 144 and 4 * 4, 12 + 3
        (375, 375),
        64 * (36 + 144 + 144) + 12,
        (
            ("stem", "Conv2D"),
            ("conv1", "Conv2D"),
            ("bn1", "BatchNormalization"),
            ("relu_1", "Activation"),
            ("conv2", "Conv2D"),
            ("bn2", "BatchNormalization"),
            ("add", "Add"),
            ("relu_2", "ReLU"),
            ("mean", "GlobalAveragePooling2D"),
            ("fc", "Dense"),
        ),
    ),
    "residual, subclassed": Twins(
        Residual,
        subclassed_twin,
        (1, 8, 8),
        (375, 375),
        64 * (36 + 144 + 144) + 12,
        (
            ("stem", "Conv2D"),
            ("conv1", "Conv2D"),
            ("bn1", "BatchNormalization"),
            ("conv2", "Conv2D"),
            ("bn2", "BatchNormalization"),
            ("mean", "GlobalAveragePooling2D"),
            ("fc", "Dense"),
        ),
    ),
    "CNN without activation": Twins(
        lambda: CNN((1, 28, 28), 10, activation=None),
        linear_cnn_twin,
        (1, 28, 28),
        (63_050, 63_050),
        288_512,
        (("layers.0", "Conv2D"), ("layers.1", "MaxPooling2D"), ("layers.4", "Dense")),
    ),
    "MLP of three channels": Twins(
        lambda: MLP((3, 6, 5), 4, hidden=(8,)),
        colour_mlp_twin,
        (3, 6, 5),
        (90 * 8 + 8 + 36, 90 * 8 + 8 + 36),
        90 * 8 + 32,
        (("layers.1", "Dense"), ("layers.3", "Dense")),
    ),
    "nested": Twins(
        nested_module,
        nested_twin,
        (1, 8, 8),
        (40 + 148 + 51, 40 + 148 + 51),
        36 * 36 + 16 * 144 + 48,
        (("0.0", "Conv2D"), ("0.2", "Conv2D"), ("1", "MaxPooling2D"), ("3", "Dense")),
    ),
    "separable": Twins(
        Separable,
        separable_twin,
        (3, 8, 8),
        (27 + 24 + 28, 27 + 24 + 28),
        64 * (27 + 18) + 24,
        (("pointwise", "SeparableConv2D"), ("mean", "GlobalAveragePooling2D"), ("head", "Dense")),
    ),
}


def module_of(twins: Twins) -> nn.Module:
    torch.manual_seed(0)
    return randomised(twins.make())


def samples(twins: Twins) -> Tensor:
    return torch.randn(SAMPLES, *twins.shape, generator=torch.Generator().manual_seed(1))


@functools.cache
def check(twins: Twins) -> ParityReport:
    module = module_of(twins)
    return compare(module, twins.twin(module), samples(twins), rtol=1e-5)


def told(report: ParityReport) -> list[tuple[str, str]]:
    return [(layer.path, layer.keras_kind) for layer in report.layers]


@pytest.mark.parametrize("twins", cases(TWINS))
def test_twin_computes_the_same(twins: Twins) -> None:
    """Without anything of ours: weights that were copied wrong would make every other test here meaningless."""
    module, x = module_of(twins), samples(twins)
    channels_last = x.movedim(1, -1) if "Conv" in repr(module) or x.ndim == 4 else x
    found = twins.twin(module)(channels_last.contiguous().numpy(), training=False)
    wanted = array(module(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "twins",
    cases(TWINS),
)
def test_twin_passes(twins: Twins) -> None:
    report = check(twins)
    assert report.structure == ()
    assert report.passed, report.verdict()
    assert report.worst <= 1e-5


@pytest.mark.parametrize("twins", cases(TWINS))
def test_twin_has_the_same_costs(twins: Twins) -> None:
    report = check(twins)
    assert report.params == twins.params
    assert report.macs == (twins.macs, twins.macs)


@pytest.mark.parametrize("twins", cases(TWINS))
def test_layers_are_paired_as_one_reads_them(twins: Twins) -> None:
    assert told(check(twins)) == list(twins.pairs)


# The same in other words.


class Branches(nn.Module):
    """Two layers of the same kind and size, neither behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(8, 5)
        self.right = nn.Linear(8, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.left(x) * torch.tanh(self.right(x)))


def branches_twin(module: Any) -> Any:
    inputs = Input((8,))
    right = Dense(5, activation="tanh")
    left = Dense(5)
    model = keras.Model(inputs, Dense(3)(layers.Multiply()([right(inputs), left(inputs)])))
    right.set_weights(linear(module.right))
    left.set_weights(linear(module.left))
    model.layers[-1].set_weights(linear(module.head))
    return model


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 6)
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.table(x))[0][:, -1])


def text_twin(module: Any) -> Any:
    inputs = Input((7,), dtype="int64")
    sequence = layers.LSTM(8, return_sequences=True)(layers.Embedding(20, 6)(inputs))
    model = keras.Model(inputs, Dense(5)(sequence[:, -1]))
    return copy(model, [array(module.table.weight)], lstm(module.lstm), linear(module.head))


def activated(torch_activation: nn.Module, activation: Callable[[], Any]) -> tuple[Any, Callable[[Any], Any]]:
    """A net with this activation in the middle, and a twin that has it as an argument of its first layer."""

    def twin(module: Any) -> Any:
        model = keras.Sequential([Input((8,)), Dense(5, activation=activation()), Dense(3)])
        model.layers[0].set_weights(linear(module[0]))
        model.layers[1].set_weights(linear(module[2]))
        return model

    return (lambda: nn.Sequential(nn.Linear(8, 5), torch_activation, nn.Linear(5, 3))), twin


def of_each_step(module: Any) -> Any:
    model = keras.Sequential([Input((8,)), layers.Reshape((2, 4)), layers.TimeDistributed(Dense(3)), Flatten()])
    return copy(model, linear(module[1]))


def steps_apart() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Linear(4, 3), nn.Flatten())


OTHER_WORDS = {
    "tanh": activated(nn.Tanh(), lambda: "tanh"),
    "GELU": activated(nn.GELU(), lambda: "gelu"),
    "SiLU": activated(nn.SiLU(), lambda: "swish"),
    "Hardswish": activated(nn.Hardswish(), lambda: "hard_swish"),
    "ReLU6": activated(nn.ReLU6(), lambda: "relu6"),
    "ELU": activated(nn.ELU(), lambda: "elu"),
    "function": activated(nn.LeakyReLU(0.3), lambda: lambda x: keras.ops.leaky_relu(x, 0.3)),
    "layer": activated(nn.ReLU(), layers.ReLU),
    "layer with an option": activated(nn.LeakyReLU(0.3), lambda: layers.LeakyReLU(0.3)),
    "TimeDistributed": (steps_apart, of_each_step),
    "branches": (Branches, branches_twin),
}


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, id=name) for name, words in OTHER_WORDS.items()],
)
def test_twin_in_other_words_passes(words: tuple[Callable[[], nn.Module], Callable[[Any], Any]]) -> None:
    torch.manual_seed(0)
    module = randomised(words[0]())
    report = compare(module, words[1](module), torch.randn(6, 8), rtol=1e-5)
    assert report.outputs[0].agrees, "the twin itself"
    assert report.passed, report.verdict()
    assert {layer.path for layer in report.layers} >= {
        name for name, each in module.named_modules() if list(each.parameters(recurse=False))
    }


def test_words_are_looked_up_in_both() -> None:
    torch.manual_seed(0)
    module = Text().eval()
    x = torch.randint(0, 20, (5, 7))
    report = compare(module, text_twin(module), x, rtol=1e-5)
    assert report.passed, report.verdict()
    assert told(report) == [("table", "Embedding"), ("lstm", "LSTM"), ("head", "Dense")]
    assert report.params == (120 + 4 * 8 * 16 + 45, 120 + 4 * 8 * 15 + 45)
    assert report.macs == (7 * 4 * 8 * 14 + 40,) * 2


@keras.saving.register_keras_serializable("tests")
class Mixing(layers.Layer):
    """Somebody's layer with weights, which happens to change nothing."""

    def build(self, shape: Any) -> None:
        self.mix = self.add_weight(shape=(shape[-1], shape[-1]), initializer="identity")

    def call(self, x: Any) -> Any:
        return x @ self.mix


def test_layer_of_somebody_that_pytorch_lacks_is_named() -> None:
    module = module_of(TWINS["MLP"])
    model = mlp_of([relu42], Mixing(name="mixing"))(module)
    report = compare(module, model, samples(TWINS["MLP"]))
    assert report.params == (33_400, 33_500)
    assert not report.passed
    assert "Keras has mixing (Mixing), which PyTorch lacks" in report.structure


# Mistakes of the one who types.


def mlp_without_flatten(module: Any) -> Any:
    return keras.Sequential([Input((28, 28, 1)), Dense(42, activation="relu"), Dense(10)])


def cnn_without_flatten(module: Any) -> Any:
    model = keras.Sequential([Input((28, 28, 1)), Conv2D(32, 3, padding="same"), layers.MaxPooling2D(), Dense(10)])
    model.layers[0].set_weights(conv2d(module.layers[0]))
    return model


def mlp_of(hidden: list[Any], *behind: Any, final: str | None = None) -> Callable[[Any], Any]:
    """The MLP with other layers in its middle or behind it; weights are copied where they fit."""

    def make(module: Any) -> Any:
        first, last = linear(module.layers[1]), linear(module.layers[3])
        # Layers are made anew: one that was built belongs to a model.
        middle = [type(each).from_config(each.get_config()) for each in hidden]
        more = [type(each).from_config(each.get_config()) for each in behind]
        model = keras.Sequential([Input((28, 28, 1)), Flatten(), *middle, Dense(10, activation=final), *more])
        for layer, given in ((middle[0], first), (model.layers[len(middle) + 1], last)):
            if [each.shape for each in given] == [tuple(each.shape) for each in layer.weights]:
                layer.set_weights(given)
            elif not getattr(layer, "use_bias", True):
                layer.set_weights(given[:1])
        return model

    return make


def cnn_of(padding: str = "same", permuted: bool = True) -> Callable[[Any], Any]:
    def make(module: Any) -> Any:
        model = keras.Sequential(
            [Input((28, 28, 1)), Conv2D(32, 3, padding=padding), layers.MaxPooling2D(), Flatten(), Dense(10)]
        )
        model.layers[0].set_weights(conv2d(module.layers[0]))
        if padding == "same":
            head = module.layers[4]
            model.layers[-1].set_weights(behind_flatten(head, 32, 14, 14) if permuted else linear(head))
        return model

    return make


def dscnn_of(**changes: Any) -> Callable[[Any], Any]:
    """A DSCNN with a mistake: ``epsilon``, ``scale``, ``same``, or the number of a convolution that is ``left_out``."""
    epsilon, scale = changes.get("epsilon", 1e-5), changes.get("scale", True)

    def make(module: Any) -> Any:
        parts: list[Any] = [Input((28, 28, 1))]
        given = []
        for number in range(7):
            if number == changes.get("left_out"):
                continue
            convolution, batch_norm = module.layers[3 * number], module.layers[3 * number + 1]
            stride = (2, 1, 1, 2, 1, 1, 1)[number]
            deep = convolution.groups > 1
            padding = "same" if changes.get("same") else "valid"
            if convolution.kernel_size == (3, 3) and padding == "valid":
                parts.append(layers.ZeroPadding2D(1))
            if deep:
                parts.append(layers.DepthwiseConv2D(3, stride, padding, use_bias=False))
            else:
                parts.append(Conv2D(32, convolution.kernel_size, stride, padding, use_bias=False))
            parts += [layers.BatchNormalization(epsilon=epsilon, scale=scale), layers.ReLU()]
            given += [depthwise2d(convolution) if deep else conv2d(convolution), norm(batch_norm)[0 if scale else 1 :]]
        model = keras.Sequential([*parts, layers.GlobalAveragePooling2D(), Dense(10)])
        return copy(model, *given, linear(module.layers[-1]))

    return make


def gru_with_reset_before(module: Any) -> Any:
    inputs = Input((20, 6))
    both = layers.Bidirectional(layers.GRU(8, return_sequences=True, reset_after=False))(inputs)
    last = layers.Concatenate()([both[:, -1, :8], both[:, 0, 8:]])
    ways = [
        [kernel, recurrent, bias.sum(0)] for kernel, recurrent, bias in (gru(module.gru), gru(module.gru, "_reverse"))
    ]
    return copy(keras.Model(inputs, Dense(5)(last)), ways[0] + ways[1], linear(module.head))


def residual_without_addition(module: Any) -> Any:
    model = keras.Sequential([Input((8, 8, 1)), Conv2D(4, 3, padding="same", activation="relu")])
    for _ in range(2):
        model.add(Conv2D(4, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(epsilon=1e-5))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(Dense(3))
    return copy(model, *residual_weights(module))


@dataclass(frozen=True)
class Mistake:
    """Which twins' module, the Keras model with the mistake, where the report sees it first, and what it says."""

    of: str
    make: Callable[[Any], Any]
    path: str | None
    structure: tuple[str, ...] = ()


relu42 = Dense(42, activation="relu")

MISTAKES = {
    "Flatten missing": Mistake("MLP", mlp_without_flatten, "layers.1", ("is a Flatten missing before it?",)),
    "Flatten missing behind pooling": Mistake(
        "CNN without activation", cnn_without_flatten, "layers.4", ("is a Flatten missing before it?",)
    ),
    "softmax in the last layer": Mistake(
        "MLP", mlp_of([relu42], final="softmax"), "layers.3", ("with softmax, and layers.3 in PyTorch is not",)
    ),
    "softmax behind the last layer": Mistake("MLP", mlp_of([relu42], layers.Softmax()), None),
    "fewer units": Mistake(
        "MLP",
        mlp_of([Dense(40, activation="relu")]),
        "layers.1",
        (
            "layers.1 (Dense), in Keras dense",
            "output 42, in Keras 40",
            "32,970 weights expected, Keras has 31,400",
            "layers.1: 32,928 MACs, in Keras 31,360",
        ),
    ),
    "bias missing": Mistake(
        "MLP",
        mlp_of([Dense(42, activation="relu", use_bias=False)]),
        "layers.1",
        ("32,970 weights expected, Keras has 32,928",),
    ),
    "ReLU missing": Mistake("MLP", mlp_of([Dense(42)]), "layers.3"),
    "another activation": Mistake(
        "MLP", mlp_of([Dense(42, activation="tanh")]), "layers.1", ("with tanh, and layers.1 in PyTorch is not",)
    ),
    "a layer more": Mistake(
        "MLP", mlp_of([relu42, Dense(42, name="more")]), "layers.3", ("Keras has more (Dense), which PyTorch lacks",)
    ),
    "padding valid": Mistake(
        "CNN without activation", cnn_of(padding="valid"), "layers.0", ("output 28x28x32, in Keras 26x26x32",)
    ),
    "kernel behind Flatten not permuted": Mistake("CNN without activation", cnn_of(permuted=False), "layers.4"),
    "padding same at stride 2": Mistake("DSCNN", dscnn_of(same=True), "layers.0"),
    "batch norm, eps of Keras": Mistake("DSCNN", dscnn_of(epsilon=1e-3), "layers.1"),
    "batch norm without scale": Mistake(
        "DSCNN", dscnn_of(scale=False), "layers.1", ("layers.1 (BatchNorm)", "128 weights expected, Keras has 96")
    ),
    "a block less": Mistake(
        "DSCNN",
        dscnn_of(left_out=1),
        "layers.5",
        ("PyTorch has layers.3 (DepthwiseConv 3x3)", "PyTorch has layers.4 (BatchNorm)"),
    ),
    "GRU, reset before": Mistake(
        "bidirectional GRU", gru_with_reset_before, "gru", ("PyTorch's form needs reset_after=True",)
    ),
    "residual missing": Mistake("residual", residual_without_addition, "relu_2"),
}


@pytest.mark.parametrize(
    "mistake",
    cases(MISTAKES),
)
def test_mistake_is_found_and_named(mistake: Mistake) -> None:
    twins = TWINS[mistake.of]
    module = module_of(twins)
    report = compare(module, mistake.make(module), samples(twins))
    assert not report.passed
    first = report.first_divergence
    assert (first.path if first else None) == mistake.path, (told(report), report.structure)
    said = "\n".join(report.structure)
    assert all(each in said for each in mistake.structure), said
    assert bool(report.structure) == bool(mistake.structure), said
    assert first is None or mistake.path in report.verdict()


def model_for_smaller_images() -> Any:
    return keras.Sequential([Input((14, 14, 1)), Conv2D(32, 3, padding="same"), Flatten(), Dense(10)])


def test_model_for_other_images_is_refused_with_their_shapes() -> None:
    module = module_of(TWINS["CNN"])
    with pytest.raises(UserError, match=r"takes samples of shape \(14, 14, 1\); the module's are"):
        compare(module, model_for_smaller_images(), samples(TWINS["CNN"]))


def test_missing_layer_is_named_even_if_its_neighbours_are_not_told_apart() -> None:
    module = module_of(TWINS["DSCNN"])
    report = compare(module, MISTAKES["a block less"].make(module), samples(TWINS["DSCNN"]))
    assert "PyTorch has layers.3 (DepthwiseConv 3x3), which Keras lacks" in report.structure


def test_flatten_in_another_order_without_convolutions_is_seen() -> None:
    """The kernel is not permuted, and the model says that its images have the channels last."""
    twins = TWINS["MLP of three channels"]
    module = module_of(twins)
    model = copy(colour_mlp_twin(module), linear(module.layers[1]), linear(module.layers[3]))
    assert not compare(module, model, samples(twins)).passed


@pytest.mark.parametrize("name", ["residual", "residual, subclassed", "nested"])
def test_comparing_leaves_the_keras_model_as_it_was(name: str) -> None:
    twins = TWINS[name]
    module = module_of(twins)
    model = twins.twin(module)
    before = [array.copy() for array in model.get_weights()]
    first, second = (compare(module, model, samples(twins)) for _ in range(2))
    assert first == second
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


@pytest.mark.parametrize("name", ["MLP", "residual, subclassed", "nested"])
def test_assertion_takes_a_twin(name: str) -> None:
    twins = TWINS[name]
    module = module_of(twins)
    model = twins.twin(module)
    assert_parity(module, samples(twins), keras_model=model)
    last = list(twins.pairs)[-1][0]
    model.layers[-1].set_weights([1.01 * each for each in model.layers[-1].get_weights()])
    with pytest.raises(AssertionError, match=rf"first at {last} \(Dense\)") as caught:
        assert_parity(module, samples(twins), keras_model=model)
    marks = [line.split()[0] for line in str(caught.value).splitlines()[1:]]
    assert marks == ["ok"] * (len(twins.pairs) - 1) + ["NO"]


def test_assertion_says_what_differs_in_structure() -> None:
    twins = TWINS["CNN without activation"]
    module = module_of(twins)
    with pytest.raises(AssertionError, match="is a Flatten missing before it") as caught:
        assert_parity(module, samples(twins), keras_model=cnn_without_flatten(module))
    assert "another shape  layers.4 (Dense)" in str(caught.value)
