"""What `compare` takes, what it leaves as it was, and what it says of comparisons that say little.

The reference is what a user sees: the same weights in both frameworks, or plainly other ones.
"""

from __future__ import annotations

import os
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.parity import compare, load_keras, to_keras, train_both

keras = load_keras()
layers = keras.layers


def copied(layer: Any, linear: nn.Linear) -> None:
    layer.set_weights([linear.weight.detach().numpy().T, linear.bias.detach().numpy()])


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.one(x), "aux": self.two(x)}


def heads(module: TwoHeads, first: str, second: str) -> Any:
    x = keras.Input((4,))
    one, two = layers.Dense(3, name="one"), layers.Dense(3, name="two")
    model = keras.Model(x, {first: one(x), second: two(x)})
    copied(one, module.one)
    copied(two, module.two)
    return model


def test_outputs_in_a_dict_are_matched_by_name() -> None:
    module, x = TwoHeads(), torch.randn(5, 4)
    assert compare(module, heads(module, "logits", "aux"), x).passed
    swapped = compare(module, heads(module, "aux", "logits"), x)
    assert not swapped.passed
    assert all(layer.agrees for layer in swapped.layers)
    renamed = compare(module, heads(module, "logits", "other"), x)
    assert renamed.structure[0] == "PyTorch has the outputs logits, aux, Keras logits, other"


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return self.left(q) - self.right(k)


def test_inputs_in_a_dict_are_matched_by_name() -> None:
    module = Pair()
    q, k = keras.Input((4,)), keras.Input((4,))
    left, right = layers.Dense(3, name="left"), layers.Dense(3, name="right")
    x = {"q": torch.randn(5, 4), "k": torch.randn(5, 4)}
    difference = left(q) - right(k)
    copied(left, module.left)
    copied(right, module.right)
    assert compare(module, keras.Model({"k": k, "q": q}, difference), x).passed
    assert not compare(module, keras.Model({"q": k, "k": q}, difference), x).passed
    with pytest.raises(UserError, match="takes a dict with a, k; x has q, k"):
        compare(module, keras.Model({"a": q, "k": k}, difference), x)


def test_a_model_with_several_arguments() -> None:
    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = layers.Dense(3), layers.Dense(3)

        def call(self, q: Any, k: Any) -> Any:
            return self.left(q) - self.right(k)

    module, model = Pair(), Subclassed()
    x = (torch.randn(5, 4), torch.randn(5, 4))
    with pytest.raises(UserError, match="has no weights yet"):
        compare(module, model, x)
    model(*(each.numpy() for each in x))
    copied(model.left, module.left)
    copied(model.right, module.right)
    assert compare(module, model, x).passed


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (1, 1, 3)])
def test_an_output_of_another_shape_is_another_output(shape: tuple[int, ...]) -> None:
    linear = nn.Linear(4, 3)
    dense = layers.Dense(3)
    model = keras.Sequential([keras.Input((4,)), dense, layers.Reshape(shape)])
    copied(dense, linear)
    report = compare(linear, model, torch.randn(5, 4))
    assert not report.passed
    assert "shape (3,) in PyTorch, another in Keras" in report.structure[-1]


def test_samples_that_say_nothing_are_said_to() -> None:
    linear = nn.Linear(4, 3)
    dense = layers.Dense(3)
    model = keras.Sequential([keras.Input((4,)), dense])
    dense.set_weights([np.full((4, 3), 7.0), linear.bias.detach().numpy()])
    zeros = compare(linear, model, torch.zeros(5, 4))
    assert any("hardly differs from sample to sample" in note for note in zeros.notes)
    copied(dense, linear)
    assert not any("hardly differs" in note for note in compare(linear, model, torch.randn(5, 4)).notes)
    with torch.no_grad():
        linear.bias += torch.tensor([1e5, 1e5, 1e5])
    dense.set_weights([-linear.weight.detach().numpy().T, linear.bias.detach().numpy()])
    hidden = compare(linear, model, torch.randn(50, 4))
    assert any("hardly differs" in note for note in hidden.notes)
    assert any("the largest element is another one" in note for note in hidden.notes)


def test_a_hand_written_model_may_have_the_names_of_the_modules() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(nn.functional.gelu(self.a(x))).softmax(-1)

    net = Net()
    a, b = layers.Dense(6, "gelu", name="a"), layers.Dense(3, "softmax", name="b")
    model = keras.Sequential([keras.Input((4,)), a, b])
    copied(a, net.a)
    copied(b, net.b)
    assert compare(net, model, torch.randn(5, 4)).passed
    copied(b, nn.Linear(6, 3))
    first = compare(net, model, torch.randn(5, 4)).first_divergence
    assert first is not None
    assert first.path == "b"


def test_normalisation_in_front_may_be_written_in_two_ways() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([1.0, 2.0, 3.0, 4.0]))
            self.register_buffer("std", torch.tensor([2.0, 3.0, 4.0, 5.0]))
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer((x - self.mean) / self.std)

    net = Scaled()
    dense = layers.Dense(3)
    scaling = layers.Normalization(mean=net.mean.numpy(), variance=net.std.numpy() ** 2)
    model = keras.Sequential([keras.Input((4,)), scaling, dense])
    copied(dense, net.layer)
    assert compare(net, model, torch.randn(5, 4)).passed


def test_samples_stay_as_they_are() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))
    x = torch.randn(5, 4)
    before = x.clone()
    compare(net, to_keras(net, x[:1].clone()), x)
    assert torch.equal(x, before)


def test_a_stateful_model_stays_as_it_is() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x)[0][:, -1]

    net = Last()
    model = keras.Sequential([keras.Input((6, 3), batch_size=5), layers.LSTM(4, stateful=True)])
    weights = [each.detach().numpy() for each in net.lstm.parameters()]
    model.layers[0].set_weights([weights[0].T, weights[1].T, weights[2] + weights[3]])
    x = torch.randn(5, 6, 3)
    assert compare(net, model, x).passed
    assert compare(net, model, x).passed, "the second time it began where the first had ended"


def test_a_call_that_somebody_has_replaced_stays_replaced() -> None:
    linear = nn.Linear(4, 3)
    dense = layers.Dense(3)
    model = keras.Sequential([keras.Input((4,)), dense])
    copied(dense, linear)
    original = dense.call
    object.__setattr__(dense, "call", lambda x, **options: 2 * original(x, **options))
    for _ in range(2):
        assert not compare(linear, model, torch.randn(5, 4)).passed
    object.__delattr__(dense, "call")
    assert compare(linear, model, torch.randn(5, 4)).passed


def test_random_states_and_the_environment_stay_as_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    environment = dict(os.environ)
    to_keras(net, torch.zeros(1, 1, 6, 6))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert dict(os.environ) == environment


def test_what_is_no_keras_model_is_refused() -> None:
    with pytest.raises(UserError, match="a Keras model is needed to compare with, got NoneType"):
        compare(nn.Linear(4, 3), None, torch.randn(5, 4))


def test_double_precision_inside_is_refused_in_a_line() -> None:
    class Precise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.double())

    with pytest.raises(UserError):
        compare(Precise(), to_keras(nn.Linear(4, 3), torch.zeros(1, 4)), torch.randn(5, 4))


class OneByOne(nn.Module):
    """Flattens the batch too, so that it runs for a single sample only."""

    def __init__(self, wraps: bool = False) -> None:
        super().__init__()
        self.conv, self.head, self.wraps = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3), wraps

    def forward(self, x: Tensor) -> Any:
        logits = self.head(torch.flatten(self.conv(x).relu()))
        return {"logits": logits, "name": "net", "none": None} if self.wraps else logits


@pytest.mark.parametrize("wraps", [False, True])
def test_a_forward_for_single_samples_is_run_on_one_after_the_other(wraps: bool) -> None:
    torch.manual_seed(0)
    module, x = OneByOne(wraps), torch.randn(5, 1, 8, 8)
    report = compare(module, to_keras(module, x[:1]), x)
    assert report.passed
    assert report.samples == 5
    assert any("run on one after the other" in note for note in report.notes)
    assert not compare(module, to_keras(OneByOne(wraps), x[:1]), x).passed, "with other weights"


def test_training_a_forward_for_single_samples_is_refused_in_a_line() -> None:
    batch = torch.randn(5, 1, 8, 8), torch.zeros(5, dtype=torch.int64)
    with pytest.raises(UserError, match=r"OneByOne fails on a batch of 5 samples \(RuntimeError.*on batches$"):
        train_both(OneByOne(), [batch])


class Namespaced(nn.Module):
    """Returns an object, and computes in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return SimpleNamespace(logits=self.one(x), aux=(self.two(x), None))


def test_outputs_of_any_form_are_compared_in_single_precision() -> None:
    torch.manual_seed(0)
    module, x = Namespaced(), torch.randn(5, 4)
    report = compare(module, to_keras(module, x[:1]), x)
    assert report.passed
    assert [output.shape for output in report.outputs] == [(3,), (2,)]
    assert not any("graph's" in note for note in report.notes), "the module's own outputs were compared"


def test_samples_that_forward_does_not_take_are_refused_in_a_line() -> None:
    class Picky(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if not torch.compiler.is_compiling():
                raise ValueError("not these")
            return super().forward(x)

    module, x = Picky(4, 3), torch.randn(5, 4)
    twin = to_keras(module, x[:1])
    with pytest.raises(UserError, match=r"^Picky fails on one of these samples: ValueError: not these. Give"):
        compare(module, twin, x)
