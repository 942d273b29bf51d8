"""The network from scratch: against torch's autograd and SGD, finite differences, and the exercise's printed update."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.utils.estimator_checks import check_estimator
from torch.nn import functional

from mcubench.baselines import NumpyMLP
from mcubench.baselines import numpy_mlp as module
from mcubench.baselines.numpy_mlp import Array, NumpyNetwork, sgd_step
from mcubench.baselines.storage import read_estimator, write_estimator
from mcubench.cli.main import main
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "numpy_mlp.md").read_text("utf-8")
TORCH = {"logistic": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
Update = Callable[[list[Array], list[Array], list[Array], float, float], None]


def said(words: str) -> list[float]:
    """The numbers that stand for each # in a sentence of the page."""
    pattern = re.escape(words).replace(r"\#", r"([\d.]+\d)").replace(r"\ ", r"\s+")
    found = re.search(pattern, PAGE)
    assert found is not None, f"the page does not say: {words}"
    return [float(number) for number in found.groups()]


def network(
    widths: Sequence[int], activation: Any = "logistic", loss: Any = "quadratic", seed: int = 0, kind: Any = None
) -> NumpyNetwork:
    """A network with random weights and, unlike a new one, random biases."""
    random = np.random.RandomState(seed)
    net: NumpyNetwork = (kind or NumpyNetwork)(widths[1:-1], activation, loss)
    net.initialise(widths[0], widths[-1], random)
    net.intercepts_ = [random.normal(size=len(biases)) for biases in net.intercepts_]
    return net


def samples(net: NumpyNetwork, count: int = 5, seed: int = 1) -> tuple[Array, Array]:
    """Normal inputs, and one-hot targets of random classes."""
    random = np.random.default_rng(seed)
    inputs, outputs = len(net.coefs_[0]), len(net.intercepts_[-1])
    return random.normal(size=(count, inputs)), np.eye(outputs)[random.integers(outputs, size=count)]


def parameters(net: NumpyNetwork) -> list[Array]:
    return [*net.coefs_, *net.intercepts_]


def torch_error(net: NumpyNetwork, tensors: Sequence[torch.Tensor], x: Array, y: Array) -> torch.Tensor:
    """The loss as PyTorch computes it from parameters in the network's order."""
    depth = len(net.coefs_)
    z = torch.tensor(x)
    for index, (weights, biases) in enumerate(zip(tensors[:depth], tensors[depth:], strict=True)):
        z = (z if index == 0 else TORCH[net.activation](z)) @ weights + biases
    if net.loss == "cross_entropy":
        return functional.cross_entropy(z, torch.tensor(y), reduction="sum")
    return functional.mse_loss(torch.sigmoid(z), torch.tensor(y), reduction="sum")


def compare_with_autograd(net: NumpyNetwork, x: Array, y: Array) -> None:
    tensors = [torch.tensor(each, requires_grad=True) for each in parameters(net)]
    error = torch_error(net, tensors, x, y)
    assert net.error(x, y) == pytest.approx(error.item(), rel=1e-10)
    expected = torch.autograd.grad(error, tensors)
    for ours, theirs in zip(net.gradients(x, y), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-11)


def compare_with_differences(net: NumpyNetwork, x: Array, y: Array, step: float = 1e-5) -> None:
    """Every weight is moved a little up and a little down: the loss must change as the gradient says."""
    for values, gradient in zip(parameters(net), net.gradients(x, y), strict=True):
        for place in np.ndindex(values.shape):
            kept, errors = values[place], []
            for moved in (kept + step, kept - step):
                values[place] = moved
                errors.append(net.error(x, y))
            values[place] = kept
            assert gradient[place] == pytest.approx((errors[0] - errors[1]) / (2 * step), rel=1e-5, abs=1e-7)


NETWORKS = st.builds(
    network,
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(sorted(TORCH)),
    loss=st.sampled_from(["quadratic", "cross_entropy"]),
    seed=st.integers(0, 1000),
)


@settings(max_examples=100)
@given(NETWORKS, st.integers(1, 7), st.integers(0, 1000))
def test_gradients_are_those_of_autograd(net: NumpyNetwork, count: int, seed: int) -> None:
    compare_with_autograd(net, *samples(net, count, seed))


@settings(max_examples=50)
@given(NETWORKS, st.integers(0, 1000))
def test_gradients_are_those_of_finite_differences(net: NumpyNetwork, seed: int) -> None:
    x, y = samples(net, 3, seed)
    if net.activation == "relu":  # which has no slope at 0: no neuron may be so near that the step crosses it
        layers = net.forward(x)
        pairs = zip(layers, net.coefs_, net.intercepts_, strict=False)
        assume(all(np.abs(layer @ weights + biases).min() > 1e-3 for layer, weights, biases in pairs))
    compare_with_differences(net, x, y)


def test_the_gradient_of_a_batch_is_the_sum_over_its_samples() -> None:
    net = network([4, 6, 3])
    x, y = samples(net, 8)
    alone = [net.gradients(x[k : k + 1], y[k : k + 1]) for k in range(8)]
    for whole, *parts in zip(net.gradients(x, y), *alone, strict=True):
        np.testing.assert_allclose(whole, sum(parts), rtol=1e-12)


def test_losses_are_torchs_means_times_what_these_average_over() -> None:
    net = network([4, 6, 3], loss="cross_entropy")
    x, y = samples(net, 8)
    logits = torch.tensor(np.log(net.forward(x)[-1]))  # a softmax of these is what they came from
    assert net.error(x, y) == pytest.approx(8 * functional.cross_entropy(logits, torch.tensor(y)).item())
    net.loss = "quadratic"
    output = torch.tensor(net.forward(x)[-1])
    assert net.error(x, y) == pytest.approx(8 * 3 * functional.mse_loss(output, torch.tensor(y)).item())


def test_far_from_zero_nothing_overflows() -> None:
    for loss in ("quadratic", "cross_entropy"):
        net = network([2, 3, 2], loss=loss)
        net.coefs_[-1] *= 1e4
        x, y = samples(net)
        with np.errstate(all="raise", under="ignore"):
            assert np.isfinite(net.error(x, y))
            assert all(np.isfinite(each).all() for each in net.gradients(x, y))


class Doubled(NumpyNetwork):
    """Off by a factor of 2, as where the slope of the square is taken twice."""

    def gradients(self, x: NDArray[Any], y: Array) -> list[Array]:
        return [2 * each for each in super().gradients(x, y)]


class Unbiased(NumpyNetwork):
    """Back-propagation that leaves the biases out."""

    def gradients(self, x: NDArray[Any], y: Array) -> list[Array]:
        return [each if each.ndim > 1 else 0 * each for each in super().gradients(x, y)]


@pytest.mark.parametrize("compare", [compare_with_autograd, compare_with_differences])
@pytest.mark.parametrize("kind", [Doubled, Unbiased])
def test_wrong_gradients_are_caught(kind: type[NumpyNetwork], compare: Callable[..., None]) -> None:
    net = network([4, 6, 3], kind=kind)
    with pytest.raises(AssertionError):
        compare(net, *samples(net))


@pytest.mark.parametrize("compare", [compare_with_autograd, compare_with_differences])
def test_the_slope_of_another_function_is_caught(compare: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    table = module._ACTIVATIONS
    monkeypatch.setitem(table, "tanh", (table["tanh"][0], table["logistic"][1]))
    net = network([4, 6, 3], "tanh")
    with pytest.raises(AssertionError):
        compare(net, *samples(net))


def compare_with_sgd(update: Update, rates: Sequence[float], momentum: float = 0.9, **options: Any) -> None:
    """Trains one network with our update and, beside it, with autograd and torch's SGD; all weights must agree."""
    net = network([4, 6, 3])
    x, y = samples(net, 8)
    tensors = [torch.tensor(each, requires_grad=True) for each in parameters(net)]
    optimizer = torch.optim.SGD(tensors, lr=rates[0], momentum=momentum, **options)
    velocity = [np.zeros_like(each) for each in parameters(net)]
    for rate in rates:
        update(parameters(net), net.gradients(x, y), velocity, rate, momentum)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        torch_error(net, tensors, x, y).backward()
        optimizer.step()
    for ours, theirs in zip(parameters(net), tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_updates_are_those_of_torch_while_the_learning_rate_stays(steps: int, momentum: float) -> None:
    compare_with_sgd(sgd_step, [0.05] * steps, momentum)


def test_updates_differ_from_those_of_torch_once_the_learning_rate_changes() -> None:
    with pytest.raises(AssertionError):
        compare_with_sgd(sgd_step, [0.05, 0.005])
    compare_with_sgd(sgd_step, [0.05, 0.005], momentum=0.0)


@pytest.mark.parametrize("options", [{"dampening": 0.5}, {"nesterov": True}])
def test_neither_dampening_nor_nesterov_is_in_the_formula(options: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        compare_with_sgd(sgd_step, [0.05] * 3, **options)


def test_the_step_after_the_learning_rate_fell_to_a_tenth() -> None:
    weight, velocity = np.zeros(1), np.zeros(1)
    tensor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([tensor], lr=0.1, momentum=0.9)
    tensor.grad = torch.ones(1, dtype=torch.float64)
    for rate in (0.1, 0.01):
        before = weight.item(), tensor.item()
        sgd_step([weight], [np.ones(1)], [velocity], rate, 0.9)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    ours, theirs = weight.item() - before[0], tensor.item() - before[1]
    assert ours == pytest.approx(0.9 * -0.1 - 0.01)
    assert theirs == pytest.approx(0.01 * -(0.9 * 1 + 1))
    assert said("moves the weight by #, PyTorch's by #") == pytest.approx([-ours, -theirs])


@pytest.mark.parametrize("sign", ["momentum", "gradient"])
def test_wrong_signs_are_caught(sign: str) -> None:
    def wrong(weights: Any, gradients: Any, velocity: Any, eta: float, alpha: float) -> None:
        sgd_step(weights, gradients, velocity, eta if sign == "momentum" else -eta, -alpha)

    with pytest.raises(AssertionError):
        compare_with_sgd(wrong, [0.05] * 2)


# The exercise's example: four samples of three inputs, of which the last is always 1, exclusive or of the others.
XOR = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1.0]]), np.array([[0], [1], [1], [0.0]])


def sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def of_output(a: Array) -> Array:
    return a * (1 - a)


def of_argument(z: Array) -> Array:
    return sigmoid(z) * (1 - sigmoid(z))


def printed_changes(first: Array, second: Array, slope: Callable[[Array], Array] = of_output) -> tuple[Array, Array]:
    """What the exercise adds to its two matrices; its `slope`, which it does not print, is given a sigmoid's output."""
    x, y = XOR
    hidden = sigmoid(x @ first)
    output = sigmoid(hidden @ second)
    back = 2 * (y - output) * slope(output)
    return x.T @ (back @ second.T * slope(hidden)), hidden.T @ back


def printed_start(seed: int) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.random((3, 4)), random.random((4, 1))]


@pytest.mark.parametrize("seed", range(5))
def test_the_printed_update_is_ours_with_a_learning_rate_of_one_and_no_biases(seed: int) -> None:
    net = NumpyNetwork([4])
    net.initialise(3, 1, np.random.RandomState(seed))
    net.coefs_ = printed_start(seed)
    theirs = printed_start(seed)
    velocity = [np.zeros_like(each) for each in parameters(net)]
    for _ in range(200):
        changes = printed_changes(*theirs)
        gradients = net.gradients(*XOR)
        for change, gradient in zip(changes, gradients[:2], strict=True):
            np.testing.assert_allclose(change, -gradient, rtol=1e-8, atol=1e-12)
        for weights, change in zip(theirs, changes, strict=True):
            weights[:] += change
        sgd_step(parameters(net), gradients, velocity, 1.0, 0.0)
        for biases in net.intercepts_:
            biases[:] = 0  # which the printed network does not have
    np.testing.assert_allclose(net.coefs_[0], theirs[0], rtol=1e-6)


def test_the_printed_network_learns_its_four_samples() -> None:
    first, second = printed_start(0)
    for _ in range(5000):
        changes = printed_changes(first, second)
        first += changes[0]
        second += changes[1]
    error = float(np.sum((XOR[1] - sigmoid(sigmoid(XOR[0] @ first) @ second)) ** 2))
    assert said("a loss of # after 5,000 updates") == [pytest.approx(error, abs=1e-4)]


def test_its_slope_must_be_written_for_the_output() -> None:
    right, wrong = printed_changes(*printed_start(0)), printed_changes(*printed_start(0), of_argument)
    off = [100 * np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in zip(right, wrong, strict=True)]
    assert said("by # % of its length in the first layer and # % in the second") == pytest.approx(off, abs=0.5)


def train(net: NumpyNetwork, x: Array, y: Array, biases: bool) -> float:
    weights = parameters(net) if biases else net.coefs_
    velocity = [np.zeros_like(each) for each in weights]
    for _ in range(2000):
        sgd_step(weights, net.gradients(x, y)[: len(weights)], velocity, 0.1, 0.9)
    return net.error(x, y)


def test_without_biases_a_bump_can_not_be_learned() -> None:
    x, y = np.array([[-1], [0], [1.0]]), np.array([[1], [0], [1.0]])
    errors = {}
    for biases in (False, True):
        net = NumpyNetwork([4])
        net.initialise(1, 1, np.random.RandomState(0))
        errors[biases] = train(net, x, y, biases)
    assert errors[False] == pytest.approx(2 / 3)
    assert errors[True] < 0.01
    assert said("at # without biases and at # with them") == pytest.approx([*errors.values()], abs=5e-4)


@pytest.fixture(scope="module")
def digits() -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    data = Digits()
    parts = {part: data.arrays(part) for part in ("train", "test")}  # type: ignore[arg-type]
    return {part: (x.reshape(len(x), -1), y) for part, (x, y) in parts.items()}


class Printed(NumpyNetwork):
    """Drawn as the exercise draws: all weights in [0, 1)."""

    def initialise(self, inputs: int, outputs: int, random: np.random.RandomState) -> None:
        super().initialise(inputs, outputs, random)
        self.coefs_ = [random.random_sample(each.shape) for each in self.coefs_]


@pytest.mark.parametrize("options", [{}, {"loss": "cross_entropy"}, {"activation": "tanh", "loss": "cross_entropy"}])
def test_it_learns_digits(options: dict[str, Any], digits: Any) -> None:
    assert NumpyNetwork(**options).fit(*digits["train"]).score(*digits["test"]) > 0.9


def test_what_the_page_says_of_accuracy(digits: Any) -> None:
    full = len(digits["train"][0])
    table = {
        "as it is": NumpyNetwork(),
        "cross-entropy": NumpyNetwork(loss="cross_entropy"),
        "no momentum": NumpyNetwork(momentum=0.0),
        "a learning rate of 1": NumpyNetwork(learning_rate=1.0, momentum=0.0),
        "one batch": NumpyNetwork(batch_size=full, learning_rate=0.001 * 32 / full),
        "drawn in [0, 1)": Printed(),
    }
    for name, net in table.items():
        score = 100 * net.fit(*digits["train"]).score(*digits["test"])
        assert said(f"| {name} | # % |") == [pytest.approx(score, abs=3)]  # rounding differs between machines


def test_weights_between_0_and_1_saturate_the_sigmoids(digits: Any) -> None:
    saturated = []
    for kind in (Printed, NumpyNetwork):
        net = kind()
        net.initialise(784, 10, np.random.RandomState(0))
        saturated.append(float((of_output(net.forward(digits["train"][0])[1]) < 0.01).mean()))
    assert saturated[0] > 0.9
    assert saturated[1] < 0.001
    assert said("# % of the hidden slopes") == [pytest.approx(100 * saturated[0], abs=0.5)]


def test_outputs_of_sigmoids_are_no_probabilities_until_they_are_divided(digits: Any) -> None:
    net = NumpyNetwork().fit(*digits["train"])
    sums = net.forward(digits["test"][0])[-1].sum(1)
    assert said("sum of the ten outputs lies between # and #") == pytest.approx([sums.min(), sums.max()], abs=0.1)
    np.testing.assert_allclose(net.predict_proba(digits["test"][0]).sum(1), 1)


def test_the_same_seed_gives_the_same_weights(digits: Any) -> None:
    x, y = digits["train"]
    first, second, other = (NumpyNetwork(epochs=1, random_state=seed).fit(x, y) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(parameters(first), parameters(second), strict=True))
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])


class Watched(NumpyNetwork):
    """Notes which samples each step takes; the first input of a sample is its number."""

    def gradients(self, x: NDArray[Any], y: Array) -> list[Array]:
        self.seen = [*getattr(self, "seen", []), x[:, 0].astype(int).tolist()]
        return super().gradients(x, y)


@pytest.mark.parametrize(("count", "sizes"), [(23, [5, 5, 5, 5, 3]), (20, [5, 5, 5, 5]), (3, [3])])
def test_every_epoch_takes_every_sample_once(count: int, sizes: list[int]) -> None:
    x = np.stack([np.arange(count), np.zeros(count)], axis=1)
    net = Watched(epochs=3, batch_size=5).fit(x, np.arange(count) % 3)
    assert [len(batch) for batch in net.seen] == sizes * 3
    taken = list(itertools.chain(*net.seen))
    epochs = [taken[k : k + count] for k in range(0, len(taken), count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert epochs[0] != epochs[1] != list(range(count))


def test_saved_and_loaded_it_predicts_the_same(digits: Any) -> None:
    net = NumpyNetwork([7, 5], activation="tanh", epochs=2).fit(*digits["train"])
    loaded = read_estimator(write_estimator(net))
    assert isinstance(loaded, NumpyNetwork)
    assert loaded.get_params() == net.get_params()
    assert np.array_equal(loaded.predict_proba(digits["test"][0]), net.predict_proba(digits["test"][0]))


def test_scikit_learns_own_checks_of_classifiers() -> None:
    checks = check_estimator(NumpyNetwork(), on_fail=None, on_skip=None)
    failed = [each for each in checks if each["status"] == "failed"]
    assert failed == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": [8, 0]}, "hidden=[8, 0]"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": -1}, "batch_size=-1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"activation": "sigmoid"}, "activation='sigmoid'"),
        ({"loss": "mse"}, "loss='mse'"),
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        NumpyMLP(input_shape=(4,), num_classes=3, **options)
    assert words in str(caught.value)
    assert "'logistic', 'tanh', 'relu'" in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_is_an_error(digits: Any) -> None:
    model = NumpyMLP(input_shape=(784,), num_classes=10, activation="relu", learning_rate=1e300, epochs=1)
    with pytest.raises(UserError, match=r"diverged at a learning_rate of 1e\+300"):
        model.fit(*digits["train"])


def test_class_weights_are_refused(digits: Any) -> None:
    model = NumpyMLP(input_shape=(784,), num_classes=10, class_weights=[1.0] * 10, epochs=1)
    model.loss_weight = torch.ones(10)
    with pytest.raises(UserError, match="takes no weights of samples"):
        model.fit(*digits["train"])


def test_the_command_line_trains_the_same_network(
    workplace: Path, capsys: pytest.CaptureFixture[str], digits: Any
) -> None:
    options = ["--model", "NumpyMLP", "--model.hidden", "[24]", "--model.loss", "cross_entropy", "--model.epochs", "8"]
    assert main(["fit", "--trainer.default_root_dir", "runs", *options, "--model.seed", "2"]) == 0
    (folder,) = Path("runs").iterdir()
    row = json.loads((folder / "result.json").read_text())
    plain = NumpyNetwork([24], loss="cross_entropy", epochs=8, random_state=2).fit(*digits["train"])
    assert row["accuracy"]["test"] == pytest.approx(plain.score(*digits["test"]))
    assert row["accuracy"]["test"] > 0.9
    loaded = NumpyMLP.load_from_checkpoint(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert np.array_equal(loaded.estimator.predict_proba(digits["test"][0]), plain.predict_proba(digits["test"][0]))
    capsys.readouterr()
    assert main(["test", "--ckpt_path", "best", "--trainer.default_root_dir", "runs"]) == 0
    assert f"{row['accuracy']['test']:.6f}"[:7] in capsys.readouterr().out


def test_the_commands_of_the_page_parse(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    python -m mcubench (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        with pytest.raises(SystemExit) as caught:
            main([*shlex.split(command), "--print_config"])
        assert caught.value.code == 0
        assert "class_path: mcubench.baselines.NumpyMLP" in capsys.readouterr().out


def test_the_module_is_short_enough_to_be_read_at_once() -> None:
    assert len(Path(module.__file__).read_text("utf-8").splitlines()) < 150
