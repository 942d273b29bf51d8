"""Learning from a teacher, against a loop that is written by hand with `torch.nn.functional.kl_div`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mcubench.callbacks import Distillation, LastCheckpoint, QuantizationAwareTraining, RandomState
from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.arrays import Arrays
from mcubench.errors import UserError
from mcubench.models import MLP
from tests.callbacks.test_resume import Stop, StopError

CLASSES = 4


class Small(pl.LightningModule):
    """A module that knows nothing of mcubench."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("task", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.3)


class GoesAround(Small):
    """A module whose training does not go through its forward."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])


def loader() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(36, 6, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :CLASSES].argmax(1)), batch_size=10)  # the last one is smaller


def teacher(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, CLASSES))


def fit(
    module: pl.LightningModule, root: Path, *callbacks: pl.Callback, data: Any = None, epochs: int = 3, **options: Any
) -> pl.Trainer:
    ckpt_path = options.pop("ckpt_path", None)
    keeps = any(isinstance(each, LastCheckpoint) for each in callbacks)
    trainer = pl.Trainer(
        **{"max_epochs": epochs, "accelerator": "cpu", "logger": False, "enable_checkpointing": keeps}
        | {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
        | {"default_root_dir": root, "callbacks": list(callbacks), **options}
    )
    trainer.fit(module, loader() if data is None else data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def by_hand(
    module: Small, taught_by: nn.Module, weight: float, temperature: float, accumulate: int
) -> tuple[Small, list[float]]:
    """Three epochs, and the teacher's term of each."""
    optimizer = torch.optim.SGD(module.parameters(), 0.3)
    terms = []
    for _ in range(3):
        total = 0.0
        batches = list(loader())
        for index, (x, y) in enumerate(batches):
            if index % accumulate == 0:
                optimizer.zero_grad()
            logits, answer = module(x), taught_by(x).detach()
            term = temperature**2 * nn.functional.kl_div(
                (logits / temperature).log_softmax(1), (answer / temperature).softmax(1), reduction="batchmean"
            )
            loss = (1 - weight) * nn.functional.cross_entropy(logits, y) + weight * term
            (loss / accumulate).backward()
            total += term.item() * len(x)
            if index % accumulate == accumulate - 1 or index == len(batches) - 1:
                optimizer.step()
        terms.append(total / 36)
    return module, terms


class Terms(pl.Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append(trainer.callback_metrics["train/distillation"].item())


@pytest.mark.parametrize(("weight", "temperature", "accumulate"), [(0.5, 4.0, 1), (0.9, 1.0, 1), (1.0, 2.0, 2)])
def test_weights_are_those_of_the_paper_s_loss(
    weight: float, temperature: float, accumulate: int, tmp_path: Path
) -> None:
    module, taught_by = Small(), teacher()
    before = copy.deepcopy(taught_by.state_dict())
    expected, terms = by_hand(copy.deepcopy(module), copy.deepcopy(taught_by).eval(), weight, temperature, accumulate)
    seen = Terms()
    distillation = Distillation(taught_by, weight, temperature)
    trainer = fit(module, tmp_path, distillation, seen, accumulate_grad_batches=accumulate)
    for ours, theirs in zip(module.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert seen.seen == pytest.approx(terms, rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in taught_by.state_dict().items())
    assert "teacher" not in " ".join(module.state_dict())
    assert trainer.callback_metrics["task"].item() > 0


def test_without_the_teacher_they_would_be_others(tmp_path: Path) -> None:
    module = Small()
    plain = copy.deepcopy(module)
    fit(module, tmp_path, Distillation(teacher(), 0.5, 4.0))
    fit(plain, tmp_path)
    assert not torch.allclose(module.net.weight, plain.net.weight, atol=1e-3)


@pytest.mark.parametrize("steps_per_execution", [1, 50])
def test_a_classifier_of_ours_learns_alike_however_its_steps_are_made(steps_per_execution: int, tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    model = MLP((6,), CLASSES, hidden=[], optimizer="sgd", learning_rate=0.3, momentum=0.0, schedule="constant",
                steps_per_execution=steps_per_execution)  # fmt: skip
    small = Small()
    small.net.load_state_dict({name.rpartition(".")[2]: value.clone() for name, value in model.state_dict().items()})
    expected, _ = by_hand(small, teacher().eval(), 0.7, 3.0, 1)
    fit(model, tmp_path, Distillation(teacher(), 0.7, 3.0))
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_rounded_models_learn_from_a_float_one(tmp_path: Path) -> None:
    """The teacher answers to what the rounded module answers: not the float one's gradient."""
    pl.seed_everything(0, verbose=False)
    model = MLP((6,), CLASSES, hidden=[8])
    qat = QuantizationAwareTraining(weight_bits=4)
    trainer = fit(model, tmp_path, qat, Distillation(teacher(), 1.0, 1.0), epochs=60)
    assert qat.has_ranges
    x = next(iter(loader()))[0]
    with torch.no_grad(), qat.quantized(model):
        agreement = (model.eval()(x).argmax(1) == teacher().eval()(x).argmax(1)).float().mean()
    assert agreement >= 0.9
    assert trainer.callback_metrics["train/distillation"].item() < 0.1


class Data(TensorDataModule):
    """Which goes on in the middle of an epoch."""

    input_shape = (6,)
    num_classes = CLASSES
    class_names = ("a", "b", "c", "d")

    def load(self) -> tuple[Arrays, Arrays]:
        x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0)).numpy()
        y = x[:, :CLASSES].argmax(1)
        return Arrays(x, y), Arrays(x.copy(), y)


@pytest.mark.parametrize("last", [False, True])
def test_a_teacher_is_not_rounded_with_a_module_that_shows_no_example(last: bool, tmp_path: Path) -> None:
    """Which is rounded from its first batch on, and whose calls in forward are counted, not the teacher's."""
    torch.manual_seed(0)
    module, taught_by = Small(), teacher()
    answers: list[Tensor] = []
    taught_by.register_forward_hook(lambda *call: answers.append(call[2]))
    callbacks = [QuantizationAwareTraining(), Distillation(taught_by)]
    fit(module, tmp_path, *(callbacks if last else callbacks[::-1]), epochs=1)
    expected = teacher().eval()
    with torch.no_grad():
        assert all(torch.equal(a, expected(x)) for a, (x, _) in zip(answers, loader(), strict=True))


@pytest.mark.parametrize("step", [4, 6])
def test_a_fit_goes_on_with_the_same_teacher_and_with_no_other(step: int, tmp_path: Path) -> None:
    def trained(name: str, taught_by: nn.Module, *more: pl.Callback, **options: Any) -> tuple[MLP, list[float]]:
        pl.seed_everything(0, verbose=False)
        model, terms = MLP((6,), CLASSES), Terms()
        callbacks = [Distillation(taught_by), RandomState(), LastCheckpoint(1), terms, *more]
        fit(model, tmp_path / name, *callbacks, data=Data(batch_size=18, seed=0), epochs=2, **options)
        return model, terms.seen

    whole, terms = trained("whole", teacher())
    with pytest.raises(StopError):
        trained("part", teacher(), Stop(step + 1))  # before the checkpoint of that step
    checkpoint = next((tmp_path / "part").rglob("last.ckpt"))
    resumed, rest = trained("resumed", teacher(), ckpt_path=checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert rest == terms[step // 4 :]
    with pytest.raises(UserError, match="another teacher"):
        trained("other", teacher(seed=4), ckpt_path=checkpoint)


def test_a_module_that_goes_around_its_forward(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"GoesAround's forward gives, and the loss does not depend on that"):
        fit(GoesAround(), tmp_path, Distillation(teacher()))


def test_a_teacher_of_other_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shape \(10, 4\); it gives \(10, 5\)"):
        fit(Small(), tmp_path, Distillation(nn.Linear(6, 5)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0}, "weight, the teacher's share of the loss, must be above 0 and at most 1; got 0"),
        ({"weight": 1.1}, "at most 1; got 1.1"),
        ({"temperature": 0}, "temperature must be positive and finite, got 0"),
        ({"temperature": float("inf")}, "temperature must be positive and finite, got inf"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Distillation(teacher(), **options)
    assert message in str(caught.value)
