"""Mistakes that people make when they write a network again in Keras, made on purpose in a model that agreed.

Reference: PyTorch. Each trap must fail the comparison, and the report must name the layer that it is in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench import UserError
from mcubench.parity import ParityReport, compare, load_keras, to_keras
from mcubench.parity.comparing.report import Difference, LayerParity, OutputParity
from tests.graph.compare import Forward, cases, randomised

keras = load_keras()
layers, ops = keras.layers, keras.ops

SAMPLES = 16


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.conv(x))


class Sequence(nn.Module):
    """A recurrent layer, and a linear one for its last step."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(6, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def chain(**modules: nn.Module) -> nn.Module:
    made = nn.Sequential()
    for name, module in modules.items():
        made.add_module(name, module)
    return made


# What is done to the Keras model.


def rewired(model: Any, **changes: Callable[..., Any]) -> Any:
    """The model with another call of the layers of these names, ``change(layer, x)``; the layers are the same."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        change = changes.get(layer.name)
        return layer(*args, **kwargs) if change is None else change(layer, *args)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def set_weights(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
    def tamper(model: Any) -> Any:
        layer = model.get_layer(name)
        layer.set_weights(change(layer.get_weights()))
        return model

    return tamper


def set_option(name: str, option: str, value: Any) -> Callable[[Any], Any]:
    def tamper(model: Any) -> Any:
        assert getattr(model.get_layer(name), option) != value
        setattr(model.get_layer(name), option, value)
        return model

    return tamper


def remade(make: Callable[[], Any], change: Callable[[list[Any]], list[Any]] = list) -> Callable[..., Any]:
    """Another layer in the place of the one there, with its name and weights."""

    def call(layer: Any, *args: Any) -> Any:
        new = make()
        result = new(*args)
        if new.weights:
            new.set_weights(change(layer.get_weights()))
        new.name = layer.name
        return result

    return call


def at(name: str, change: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda model: rewired(model, **{name: change})


def dropped(layer: Any, x: Any) -> Any:
    return x


def kernel(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda weights: [np.ascontiguousarray(change(weights[0])), *weights[1:]]


def gates(order: tuple[int, ...]) -> Callable[[list[Any]], list[Any]]:
    """All weights of a recurrent layer with their gates in another order."""

    def permute(weight: Any) -> Any:
        return np.concatenate([np.split(weight, len(order), -1)[gate] for gate in order], -1)

    return lambda weights: [permute(each) for each in weights]


def turned(kernel: Any) -> Any:
    """Height and width of a convolution's kernel swapped."""
    return kernel.transpose(1, 0, 2, 3)


def crossed(kernel: Any) -> Any:
    """Its last two axes swapped."""
    return kernel.transpose(0, 1, 3, 2)


reset_before = remade(
    lambda: layers.GRU(6, reset_after=False, return_sequences=True, return_state=True),
    lambda weights: [*weights[:2], weights[2].sum(0)],
)
wider = remade(
    lambda: layers.Dense(7), lambda weights: [np.pad(each, [(0, 0)] * (each.ndim - 1) + [(0, 1)]) for each in weights]
)
unbiased = remade(lambda: layers.Dense(6, use_bias=False), lambda weights: weights[:1])


def same_padding(model: Any) -> Any:
    """Keras' own padding, where the model had zeros around and a convolution without."""
    model.get_layer("conv").padding = "same"
    return rewired(model, **{"conv-zeropadding2d": dropped})


def uncounted(model: Any) -> Any:
    """Keras' own padding, which it does not count."""
    return rewired(
        model,
        **{
            "pool-zeropadding2d": dropped,
            "pool": lambda pool, x: layers.AveragePooling2D(3, 1, padding="same", name="pool")(x),
        },
    )


@dataclass(frozen=True)
class Trap:
    """A module, its input, what is done to its Keras model, and the layer that the report has to name.

    ``structure``: words that one of the differences in structure has; ``None`` if there are none.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    tamper: Callable[[Any], Any]
    path: str | None
    structure: str | None = None


def flattened() -> nn.Module:
    return chain(conv=nn.Conv2d(2, 4, 3), relu=nn.ReLU(), flatten=nn.Flatten(), head=nn.Linear(4 * 4 * 3, 5))


def strided() -> nn.Module:
    return chain(conv=nn.Conv2d(2, 4, 3, stride=2, padding=1), head=nn.Conv2d(4, 2, 1))


def same_by_hand() -> nn.Module:
    """As TensorFlow pads an even size at stride 2: the odd zero comes after."""
    return chain(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=nn.Conv2d(2, 4, 3, stride=2), head=nn.Conv2d(4, 2, 1))


def normalised() -> nn.Module:
    return chain(conv=nn.Conv2d(2, 4, 3), norm=nn.BatchNorm2d(4), head=nn.Conv2d(4, 2, 1))


def squares() -> nn.Module:
    return chain(a=nn.Linear(6, 6), relu=nn.ReLU(), b=nn.Linear(6, 6), c=nn.Linear(6, 6))


def convolutions() -> nn.Module:
    return chain(a=nn.Conv2d(4, 4, 3), b=nn.Conv2d(4, 4, 1))


def depthwise(multiplier: int) -> Callable[[], nn.Module]:
    return lambda: chain(
        deep=nn.Conv2d(2, 2 * multiplier, 3, groups=2, padding=1), wide=nn.Conv2d(2 * multiplier, 3, 1)
    )


def activated(activation: nn.Module) -> Callable[[], nn.Module]:
    return lambda: chain(a=nn.Linear(6, 8), act=activation, b=nn.Linear(8, 3))


def pooled(count: bool) -> Callable[[], nn.Module]:
    return lambda: chain(
        conv=nn.Conv2d(2, 4, 1),
        pool=nn.AvgPool2d(3, 1, 1, count_include_pad=count),
        head=nn.Conv2d(4, 2, 1),
    )


def probabilities() -> nn.Module:
    return chain(head=nn.Linear(6, 4), softmax=nn.Softmax(-1))


def gru() -> nn.Module:
    return Sequence(nn.GRU(4, 6, batch_first=True))


def lstm() -> nn.Module:
    return Sequence(nn.LSTM(4, 6, batch_first=True))


image, vector, sequence = (2, 6, 5), (6,), (7, 4)

TRAPS = {
    # The kernel as a plain transpose of PyTorch's weight: rows by channel, height, width.
    "flatten": Trap(
        flattened,
        image,
        set_weights("head", kernel(lambda w: w.reshape(4, 3, 4, 5).transpose(2, 0, 1, 3).reshape(48, 5))),
        "head",
    ),
    "SAME at stride 2 for symmetric padding": Trap(strided, (2, 6, 8), same_padding, "conv"),
    "symmetric padding for SAME at stride 2": Trap(
        same_by_hand, (2, 6, 8), at("pad", lambda pad, x: layers.ZeroPadding2D(1)(x)), "conv"
    ),
    "batch norm, eps of Keras": Trap(normalised, image, set_option("norm", "epsilon", 1e-3), "norm"),
    "batch norm, mean and variance swapped": Trap(
        normalised, image, set_weights("norm", lambda w: [w[0], w[1], w[3], np.abs(w[2])]), "norm"
    ),
    "batch norm, scale and offset swapped": Trap(
        normalised, image, set_weights("norm", lambda w: [w[1], w[0], w[2], w[3]]), "norm"
    ),
    "layer norm, eps of Keras": Trap(activated(nn.LayerNorm(8)), vector, set_option("act", "epsilon", 1e-3), "act"),
    "GRU, gates in PyTorch's order": Trap(gru, sequence, set_weights("rnn", gates((1, 0, 2))), "rnn"),
    "GRU, biases swapped": Trap(gru, sequence, set_weights("rnn", lambda w: [w[0], w[1], w[2][::-1]]), "rnn"),
    "GRU, reset before": Trap(gru, sequence, at("rnn", reset_before), "rnn", "reset_after=True"),
    "LSTM, bias twice": Trap(lstm, sequence, set_weights("rnn", lambda w: [w[0], w[1], 2 * w[2]]), "rnn"),
    "LSTM, output gate before cell": Trap(lstm, sequence, set_weights("rnn", gates((0, 1, 3, 2))), "rnn"),
    "LSTM, forget gate first": Trap(lstm, sequence, set_weights("rnn", gates((1, 0, 2, 3))), "rnn"),
    "leaky ReLU, slope of Keras": Trap(
        activated(nn.LeakyReLU()), vector, set_option("act", "negative_slope", 0.3), "act"
    ),
    "GELU, approximate": Trap(
        activated(nn.GELU()),
        vector,
        at("act", remade(lambda: layers.Activation(lambda x: ops.gelu(x, approximate=True)))),
        "act",
    ),
    "ELU for ReLU": Trap(activated(nn.ReLU()), vector, at("act", remade(layers.ELU)), "act"),
    "Dense, kernel not transposed": Trap(squares, vector, set_weights("b", kernel(np.transpose)), "b"),
    "convolution, height and width swapped": Trap(convolutions, (4, 6, 5), set_weights("a", kernel(turned)), "a"),
    "convolution, inputs and outputs swapped": Trap(convolutions, (4, 6, 5), set_weights("b", kernel(crossed)), "b"),
    "depthwise, height and width swapped": Trap(depthwise(1), image, set_weights("deep", kernel(turned)), "deep"),
    "depthwise, channels and multiplier swapped": Trap(
        depthwise(2), image, set_weights("deep", kernel(crossed)), "deep"
    ),
    "average pooling that counts the padding": Trap(
        pooled(count=False), image, at("pool", lambda multiply, x, factors: layers.Identity(name="pool")(x)), "pool"
    ),
    "average pooling that does not": Trap(pooled(count=True), image, uncounted, "pool"),
    "softmax twice": Trap(
        probabilities,
        vector,
        at("softmax", lambda layer, x: layers.Softmax(name="again")(layer(x))),
        None,
        "again (Softmax), which PyTorch lacks",
    ),
    "softmax in the layer before, too": Trap(
        probabilities, vector, set_option("head", "activation", keras.activations.softmax), "head"
    ),
    "ReLU missing": Trap(activated(nn.ReLU()), vector, at("act", dropped), "b", "act (relu), which Keras lacks"),
    "residual missing": Trap(
        Residual, (3, 5, 5), at("add", lambda add, parts: parts[1]), "head", "add (add), which Keras lacks"
    ),
    "layer more": Trap(
        squares,
        vector,
        at("b", lambda b, x: b(layers.Dense(6, name="extra")(x))),
        "b",
        "extra (Dense), which PyTorch lacks",
    ),
    "layer missing, the only one with weights": Trap(
        lambda: chain(a=nn.Linear(6, 6), conv=nn.Unflatten(1, (2, 3)), b=nn.Conv1d(2, 2, 1), c=nn.Flatten()),
        vector,
        at("b", dropped),
        None,
        "b (Conv 1), which Keras lacks",
    ),
    "number of units": Trap(squares, vector, at("c", wider), "c", "output 6, in Keras 7"),
    "bias missing": Trap(squares, vector, at("b", unbiased), "b", "42 weights expected, Keras has 36"),
}


def prepared(trap: Trap) -> tuple[nn.Module, Tensor, Any]:
    torch.manual_seed(0)
    module = randomised(trap.make())
    x = torch.randn(SAMPLES, *trap.shape)
    return module, x, to_keras(module, x[:1])


@pytest.mark.parametrize("trap", cases(TRAPS))
def test_trap_is_caught_and_its_place_is_named(trap: Trap) -> None:
    module, x, model = prepared(trap)
    untouched = compare(module, model, x)
    assert untouched.passed, untouched.verdict()
    report = compare(module, trap.tamper(model), x)
    assert not report.passed
    first = report.first_divergence
    assert (first.path if first else None) == trap.path, report.structure
    if trap.structure is None:
        assert report.structure == ()
    else:
        assert any(trap.structure in each for each in report.structure), report.structure
    if trap.path is not None:
        assert trap.path in report.verdict()


def test_missing_layer_among_its_like_is_named() -> None:
    module, x, model = prepared(Trap(squares, vector, at("b", dropped), "c"))
    report = compare(module, rewired(model, b=dropped), x)
    assert not report.passed
    assert [(layer.path, layer.keras) for layer in report.layers] == [("a", "a"), ("relu", "relu"), ("c", "c")]
    assert report.structure[0] == "PyTorch has b (Dense), which Keras lacks"


def test_softmax_twice_is_said_to_be_behind_the_layers() -> None:
    module, x, model = prepared(TRAPS["softmax twice"])
    report = compare(module, TRAPS["softmax twice"].tamper(model), x)
    assert all(layer.agrees for layer in report.layers)
    assert "Keras has again (Softmax), which PyTorch lacks; output softmax" in report.verdict()
    assert "look behind the last" in report.verdict()


def test_accuracy_does_not_see_the_eps_of_batch_norm() -> None:
    """Why parity is gated on relative errors: the outputs are percents off, and every sample's largest is the same."""
    torch.manual_seed(0)
    module = chain(conv=nn.Conv2d(1, 8, 3), norm=nn.BatchNorm2d(8), flatten=nn.Flatten(), head=nn.Linear(8 * 36, 10))
    module = randomised(module)
    with torch.no_grad():
        module.norm.running_var.copy_(torch.full((8,), 0.02))
        module.head.bias.copy_(torch.arange(10.0))
    x = torch.randn(200, 1, 8, 8)
    model = to_keras(module, x[:1])
    model.get_layer("norm").epsilon = 1e-3
    report = compare(module, model, x)
    assert not report.passed
    assert report.first_divergence.path == "norm"
    assert report.outputs[0].difference.relative > 0.01
    assert report.outputs[0].top1 == 1.0


def test_approximate_gelu_is_seen_only_where_values_are_large() -> None:
    """It is off by 2e-4 for values around 1, less than the default tolerance for small ones: give samples as in use."""
    trap = TRAPS["GELU, approximate"]
    module, x, _ = prepared(trap)
    with torch.no_grad():
        module.a.bias.zero_()
    changed = trap.tamper(to_keras(module, x[:1]))
    assert not compare(module, changed, x).passed
    assert compare(module, changed, 0.1 * x).passed


@pytest.mark.parametrize("momentum", [0.1, 0.01])
def test_momentum_of_batch_norm_can_only_be_read_off(momentum: float) -> None:
    """It changes nothing at inference: no comparison of outputs can see it, so the model must be built with it.

    PyTorch's is the share of the new batch, Keras' that of the old mean.
    """
    module = randomised(chain(norm=nn.BatchNorm2d(3, momentum=momentum)))
    x = torch.randn(4, 3, 5, 5)
    model = to_keras(module, x[:1])
    assert model.get_layer("norm").momentum == pytest.approx(1 - momentum)
    model.get_layer("norm").momentum = momentum
    assert compare(module, model, x).passed


def test_momentum_of_the_built_batch_norm_trains_as_pytorch() -> None:
    """One batch in training mode: the running mean is the same in both (the variance is biased in Keras)."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    x = torch.randn(4, 3, 5, 5)
    model = to_keras(module, x[:1])
    model(ops.convert_to_tensor(x.permute(0, 2, 3, 1).numpy()), training=True)
    module.train()(x)
    mean = model.layers[-1].moving_mean
    np.testing.assert_allclose(ops.convert_to_numpy(mean), module[0].running_mean, rtol=1e-5, atol=1e-7)


# What is not a number.


def linear() -> tuple[nn.Module, Tensor, Any]:
    torch.manual_seed(0)
    module = chain(a=nn.Linear(6, 6), relu=nn.ReLU(), head=nn.Linear(6, 4)).eval()
    x = torch.randn(SAMPLES, 6)
    return module, x, to_keras(module, x[:1])


def with_bias(model: Any, value: float) -> Any:
    """The model with this value in the bias of its last layer."""
    kernel, bias = model.get_layer("head").get_weights()
    bias[1] = value
    model.get_layer("head").set_weights([kernel, bias])
    return model


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_in_keras_do_not_pass(value: float) -> None:
    module, x, model = linear()
    report = compare(module, with_bias(model, value), x, rtol=1e30)
    assert not report.passed
    assert report.first_divergence.path == "head"
    assert not report.outputs[0].agrees


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
    ],
)
def test_worst_is_not_finite_if_a_layer_is_not(value: float) -> None:
    module, x, model = linear()
    assert not np.isfinite(compare(module, with_bias(model, value), x).worst)


def test_worst_is_not_small_if_a_shape_differs() -> None:
    module, x, model = prepared(TRAPS["number of units"])
    report = compare(module, TRAPS["number of units"].tamper(model), x)
    assert not report.outputs[0].agrees
    assert report.worst > report.rtol


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_in_pytorch_are_nothing_to_compare(value: float) -> None:
    module, x, model = linear()
    with torch.no_grad():
        module.head.bias[1] = value
    with pytest.raises(UserError, match="not finite"):
        compare(module, model, x)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinities_inside_that_agree_agree() -> None:
    """Attention masks are made of them; the outputs are finite."""

    def masked(x: Tensor) -> Tensor:
        lower = torch.ones(5, 5).tril().bool()
        return torch.where(lower, x @ x.transpose(1, 2), -torch.inf).softmax(-1)

    module, x = Forward(masked), torch.randn(SAMPLES, 5, 3)
    model = to_keras(module, x[:1])
    report = compare(module, model, x)
    assert report.outputs[0].agrees
    assert report.passed, report.verdict()


# The report.


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: nn.Conv2d(2, 3, 1), (2, 4, 4)), (lambda: nn.Linear(6, 1), (6,)), (lambda: nn.Linear(6, 3), (2, 6))],
    ids=["image", "one number", "matrix"],
)
def test_top1_only_of_vectors(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    module, x = make(), torch.randn(3, *shape)
    report = compare(module, to_keras(module, x[:1]), x)
    assert report.passed
    assert report.outputs[0].top1 is None


def test_top1_is_the_share_of_samples() -> None:
    """Keras' scores of classes 0 and 1 swapped: every sample that had one of them on top changes."""
    module, x, model = linear()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel[:, [1, 0, 2, 3]], bias[[1, 0, 2, 3]]])
    top = module(x).argmax(-1)
    assert 0 < int((top > 1).sum()) < SAMPLES
    assert compare(module, model, x).outputs[0].top1 == int((top > 1).sum()) / SAMPLES


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def report_of(value: float) -> ParityReport:
    difference = Difference(value, value, value)
    return ParityReport(
        model="Net",
        backend="torch",
        versions={"torch": "2"},
        samples=3,
        rtol=1e-4,
        layers=(LayerParity("a", "Dense", "a", "Dense", (4,), (8, 8), difference, agrees=False),),
        outputs=(OutputParity("y", (4,), difference, None, agrees=False),),
        structure=("a differs",),
        params=(8, 8),
        macs=(4, None),
        notes=(),
    )


@pytest.mark.parametrize("value", [0.5, float("inf"), float("nan")])
def test_saved_report_is_strict_json(tmp_path: Any, value: float) -> None:
    report = report_of(value)
    report.save_json(tmp_path / "parity.json", seed=7)
    found = strict((tmp_path / "parity.json").read_text("utf-8"))
    assert found["seed"] == 7
    assert not found["passed"]
    assert found["first_divergence"] == "a"
    wanted = value if np.isfinite(value) else str(value)
    assert found["worst_relative_error"] == wanted
    assert found["layers"][0]["difference"] == {"max_abs": wanted, "relative": wanted, "cosine": wanted}
    assert found["layers"][0]["shape"] == [4]
    assert found["macs"] == [4, None]
    assert found["outputs"][0]["top1"] is None


@pytest.mark.parametrize("value", [0.5, float("inf"), float("nan")])
def test_report_as_dict_is_for_json(value: float) -> None:
    strict(json.dumps(report_of(value).as_dict()))


def test_real_report_survives_json(tmp_path: Any) -> None:
    module, x, model = linear()
    report = compare(module, model, x)
    report.save_json(tmp_path / "parity.json")
    found = strict((tmp_path / "parity.json").read_text("utf-8"))
    assert found == json.loads(json.dumps(report.as_dict()))
    assert found["passed"]
    assert found["first_divergence"] is None
    assert [layer["path"] for layer in found["layers"]] == ["a", "relu", "head"]
