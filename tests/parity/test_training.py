"""Trainings side by side. References: torch's own optimisers, stepped by hand; published defaults; counts by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models import CNN, DSCNN, MLP
from mcubench.parity import Curve, Estimate, TrainingParity, load_keras, train_both
from mcubench.parity.training.optimizers import OPTIMIZERS, keras_optimizer, learning_rate_of, torch_optimizer
from mcubench.parity.training.plot import plot_losses
from mcubench.parity.training.side_by_side import KerasTrainer, train_torch, trainable_graph
from mcubench.parity.training.table import print_training
from mcubench.parity.twin import build_model
from tests.graph.compare import Forward

keras = load_keras()

STEPS = 12


def batches(
    shape: tuple[int, ...], steps: int = STEPS, size: int = 16, classes: int = 4
) -> list[tuple[Tensor, Tensor]]:
    """Classes that can be learned: the samples of each lie around a centre of its own."""
    draw = torch.Generator().manual_seed(1)
    centres = torch.randn(classes, *shape, generator=draw)
    found = []
    for _ in range(steps):
        y = torch.randint(classes, (size,), generator=draw)
        found.append((centres[y] + torch.randn(size, *shape, generator=draw), y))
    return found


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.recurrent = kind(5, 7, batch_first=True)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


def normalised() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(96, 8), nn.GELU()),
        *(nn.LayerNorm(8), nn.Linear(8, 4)),
    )


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: MLP((1, 8, 8), 4, hidden=[8]), (1, 8, 8)),
    "cnn": (lambda: CNN((1, 8, 8), 4, channels=4), (1, 8, 8)),
    "dscnn": (lambda: DSCNN((1, 8, 8), 4, channels=8, blocks=1), (1, 8, 8)),
    "normalised": (normalised, (1, 8, 8)),
    "gru": (lambda: Recurrent(nn.GRU), (6, 5)),
}


def made(name: str) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    make, shape = NETS[name]
    torch.manual_seed(0)
    return make(), batches(shape)


def by_hand(module: nn.Module, data: list[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> list[float]:
    """The loop that everybody writes."""
    losses = []
    for x, y in data:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NETS)
def test_both_train_alike(name: str, optimizer: str) -> None:
    module, data = made(name)
    found = train_both(module, data, optimizer, held_out=data[0])
    assert found.gap <= 1e-4, found.keras.losses
    assert found.passed
    assert abs(found.torch.losses[-1] - found.torch.losses[0]) > 1e-3  # they were trained
    assert found.keras.losses[0] == pytest.approx(found.torch.losses[0], rel=1e-6)
    assert len(found.torch.losses) == len(found.keras.losses) == STEPS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pytorchs_curve_is_that_of_the_loop_that_everybody_writes(optimizer: str) -> None:
    module, data = made("normalised")
    rate = learning_rate_of(optimizer)
    makers = {
        "sgd": lambda p: torch.optim.SGD(p, 1e-2),
        "momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    found = train_torch(module, data, optimizer, rate)
    assert list(found.losses) == by_hand(module.train(), data, makers[optimizer](module.parameters()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_weight_after_several_steps_is_torchs(optimizer: str) -> None:
    """Gradients from large to tiny, where Adam's epsilon acts."""
    gradients = torch.tensor([1.0, -0.1, 1e-4, 1e-7, -1e-9])
    parameter = nn.Parameter(torch.ones(5))
    ours = torch_optimizer(optimizer, [parameter], 0.01)
    variable = keras.Variable(np.ones(5, np.float32))
    theirs = keras_optimizer(keras, optimizer, 0.01)
    theirs.build([variable])
    for step in range(5):
        parameter.grad = gradients * (step + 1)
        ours.step()
        theirs.apply([keras.ops.convert_to_tensor((gradients * (step + 1)).numpy())], [variable])
    moved = 1 - parameter.detach().numpy()
    np.testing.assert_allclose(1 - keras.ops.convert_to_numpy(variable), moved, rtol=1e-5, atol=1e-7)


def test_keras_own_adam_moves_less_for_tiny_gradients_from_the_same_epsilon() -> None:
    """By hand, first step: rate * g / (g + eps / sqrt(1 - beta_2)), where PyTorch has rate * g / (g + eps)."""
    gradient, epsilon = 1e-8, 1e-8
    variable = keras.Variable(np.zeros(1, np.float32))
    optimizer = keras_optimizer(keras, "adam", 0.01, like_keras=True)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(np.array([gradient], np.float32))], [variable])
    by_hand = 0.01 * gradient / (gradient + epsilon / math.sqrt(1 - 0.999))
    assert -float(keras.ops.convert_to_numpy(variable)[0]) == pytest.approx(by_hand, rel=1e-3)
    assert by_hand == pytest.approx(0.01 / 32.6, rel=0.01)


def test_an_lstms_losses_part_and_the_note_says_why() -> None:
    torch.manual_seed(0)
    found = train_both(Recurrent(nn.LSTM), batches((6, 5)), "momentum")
    assert found.keras.losses[0] == pytest.approx(found.torch.losses[0], rel=1e-6)
    assert found.gap > 100 * found.rounding
    assert "two biases" in " ".join(found.notes)
    assert not train_both(Recurrent(nn.GRU), batches((6, 5)), "momentum").notes


def test_another_learning_rate_is_seen() -> None:
    module, data = made("mlp")
    graph = trainable_graph(module, data)
    ours = train_torch(module, data, "sgd", 0.01)
    twin = build_model(keras, graph, "twin")
    wrong = KerasTrainer(keras, twin, graph, keras_optimizer(keras, "sgd", 0.011)).train(data)
    assert wrong.gap_to(ours) > 1e-3


def test_a_trainer_begins_anew_each_time() -> None:
    module, data = made("normalised")
    graph = trainable_graph(module, data)
    trainer = KerasTrainer(keras, build_model(keras, graph, "twin"), graph, keras_optimizer(keras, "adam", 0.01))
    assert trainer.train(data, data[0]) == trainer.train(data, data[0])


def test_dropout_is_off_on_both_sides_and_said_so() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    found = train_both(net, batches((1, 8, 8)))
    assert found.passed
    assert any("dropout is switched off" in note for note in found.notes)


def test_the_module_and_the_random_state_stay_as_they_are() -> None:
    module, data = made("dscnn")
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    train_both(module, data[:2], "adam", held_out=data[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_training_that_diverges_does_not_agree() -> None:
    module, data = made("mlp")
    found = train_both(module, data, "sgd", learning_rate=1e30)
    assert found.gap == math.inf
    assert not found.passed


def tied() -> nn.Module:
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)
    second.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second)


def frozen() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    net[1].bias.requires_grad = False
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (frozen, "1.bias is frozen"),
        (tied, "1.weight is shared by 1 and 3"),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 4))),
            "which Keras can't train",
        ),
        (lambda: nn.Conv2d(1, 4, 3), "logits of shape (N, classes); Conv2d gives others"),
        (
            lambda: Forward(lambda layer, x: nn.functional.dropout(layer(x.flatten(1))), nn.Linear(64, 4)),
            "at inference too",
        ),
        (
            lambda: Forward(lambda layer, x: layer(x.flatten(1) + 0 * torch.rand(1)), nn.Linear(64, 4)),
            "can't be built in Keras",
        ),
    ],
)
def test_what_cant_be_compared_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UserError) as caught:
        train_both(make(), batches((1, 8, 8), steps=2))
    assert message in str(caught.value)


def test_a_module_that_is_random_in_training_is_refused() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(nn.functional.dropout(x.flatten(1), 0.5, self.training))

    with pytest.raises(UserError, match="Noisy draws random numbers in training"):
        train_both(Noisy(), batches((1, 8, 8), steps=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optimizer": "adma"},
            "there is no optimizer 'adma'; there are sgd, momentum, adam, adamw. Did you mean 'adam'?",
        ),
        ({"learning_rate": 0.0}, "the learning rate must be above 0, got 0.0"),
        ({"batches": []}, "there are no batches"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        train_both(made("mlp")[0], **{"batches": batches((1, 8, 8), 1), **options})
    assert message in str(caught.value)


def test_gaps_and_means_by_hand() -> None:
    curve = Curve(tuple(float(each) for each in range(1, 21)), 3.0)
    assert curve.last == 19.5  # of the last two of twenty
    other = Curve((*curve.losses[:-1], 21.0), 3.0)
    assert other.gap_to(curve) == pytest.approx(1 / 20)
    assert curve.gap_to(curve) == 0
    assert Curve((0.0,), None).gap_to(Curve((0.0,), None)) == 0
    assert Curve((1.0,), None).gap_to(Curve((0.0,), None)) == math.inf
    assert Curve((math.nan,), None).gap_to(Curve((math.nan,), None)) == math.inf


def test_interval_is_students() -> None:
    """Table of Student's t: 4.303 for two degrees of freedom and 95 %; the deviation of 1, 2, 3 is 1."""
    found = Estimate.of([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert Estimate.of([2.0]) == Estimate(2.0, None)


def parity(ours: tuple[float, ...], theirs: tuple[float, ...], held_out: float | None = None) -> TrainingParity:
    curves = Curve(ours, 1.0), Curve(theirs, held_out), Curve(ours, 1.0)
    return TrainingParity("Net", "tensorflow", "adam", 0.001, 16, 1e-3, *curves, notes=())


def test_the_held_out_loss_decides_too() -> None:
    """Keras' momentum of batch norm does not show in the losses of training."""
    assert parity((2.0, 1.0), (2.0, 1.0), 1.0).passed
    assert not parity((2.0, 1.0), (2.0, 1.0), 1.1).passed
    assert parity((2.0, 1.0), (2.0, 1.0), 1.1).held_out_gap == pytest.approx(0.1)
    assert not parity((2.0, 1.0), (2.0, 1.01), 1.0).passed
    assert parity((2.0, 1.0), (2.0, 1.0)).held_out_gap is None


def test_table_and_plot_show_both_curves(tmp_path: Path) -> None:
    console = Console(width=110, record=True, file=(tmp_path / "out").open("w"))
    found = parity((2.0, 1.0), (2.0, 1.5), 1.0)
    print_training(found, console)
    text = console.export_text()
    assert "1.500000" in text
    assert "5.0e-01" in text
    assert "train differently with adam: largest relative gap of the losses 0.5 over 2 steps" in text
    plot_losses(found, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_a_net_that_ends_with_softmax_trains_alike() -> None:
    """Keras' own loss on tensorflow would leave the softmax out."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Softmax(-1))
    assert train_both(net, batches((1, 8, 8)), "momentum").gap <= 1e-5


def test_classes_that_the_net_does_not_have_are_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(UserError, match="Sequential gives 3 classes, and the data has class 3"):
        train_both(net, batches((1, 8, 8)))
    ignored = [(x, y - 1) for x, y in batches((1, 8, 8), 1)]
    with pytest.raises(UserError, match="the data has class -1"):
        train_both(net, ignored)


def test_batch_norm_that_keras_has_not_is_refused_and_its_variance_is_noted() -> None:
    def net(momentum: float | None) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4, momentum=momentum))

    with pytest.raises(UserError, match="momentum=None averages over all batches"):
        train_both(net(None), batches((1, 8, 8), 2))
    found = train_both(net(0.1), batches((1, 8, 8), 4))
    assert any("unbiased" in note for note in found.notes)


def test_values_that_are_not_finite_are_not_taken_for_random_ones() -> None:
    x, y = batches((1, 8, 8), 1)[0]
    with pytest.raises(UserError, match="not finite for the first batch"):
        train_both(made("mlp")[0], [(x * math.nan, y)])


def test_double_precision_trains_in_single() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).double()
    assert train_both(net, [(x.double(), y) for x, y in batches((1, 8, 8))], "sgd").passed


def test_losses_near_zero_are_measured_against_a_thousandth_of_the_largest() -> None:
    reference, found = Curve((2.0, 1e-5), None), Curve((2.0, 2e-5), None)
    assert found.gap_to(reference) == pytest.approx(1e-5 / 2e-3)
