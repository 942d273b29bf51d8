"""Classifier: its training against a bare loop, its metrics against scikit-learn, its optimisers against torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import DSCNN, MLP


def trainer(epochs: int = 2, **options: Any) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, **{**quiet, **options})


def bare_loop(model: MLP, data: Digits, optimizer: torch.optim.Optimizer, epochs: int, scheduler: Any = None) -> None:
    """The exercise's loop, written out."""
    loader = data.train_dataloader()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            if scheduler:
                scheduler.step()


def pair(**options: Any) -> tuple[MLP, MLP, Digits]:
    torch.manual_seed(0)
    ours = MLP((1, 8, 8), 10, **options)
    torch.manual_seed(0)
    return ours, MLP((1, 8, 8), 10, **options), Digits(size=8, seed=3)


@pytest.mark.parametrize(
    ("options", "witness"),
    [
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, 5e-3, fused=True)),
        (
            {"optimizer": "adamw", "weight_decay": 0.1},
            lambda p: torch.optim.AdamW(p, 5e-3, weight_decay=0.1, fused=True),
        ),
        ({"optimizer": "sgd", "momentum": 0.5}, lambda p: torch.optim.SGD(p, 5e-3, momentum=0.5, fused=True)),
    ],
    ids=["adam", "adamw", "sgd"],
)
def test_training_is_the_bare_loop_bit_for_bit(options: dict[str, Any], witness: Any) -> None:
    ours, bare, data = pair(schedule="constant", **options)
    trainer().fit(ours, data)
    data.trainer = None
    bare_loop(bare, data, witness(bare.parameters()), epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), bare.parameters(), strict=True))


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_schedules_are_torchs(schedule: str) -> None:
    ours, bare, data = pair(schedule=schedule)
    trainer().fit(ours, data)
    data.trainer = None
    optimizer = torch.optim.Adam(bare.parameters(), 5e-3, fused=True)
    steps = 2 * len(data.train_dataloader())
    scheduler: Any = (
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
        if schedule == "onecycle"
        else torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    )
    bare_loop(bare, data, optimizer, 2, scheduler)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), bare.parameters(), strict=True))


def test_logged_metrics_are_scikit_learns() -> None:
    model, _, data = pair()
    run = trainer(1)
    run.fit(model, data)
    fitted = dict(run.callback_metrics)
    tested = run.test(model, data, verbose=False)[0]
    for part, logged in (("val", fitted), ("test", tested)):
        x, y = data.arrays(part)  # type: ignore[arg-type]
        with torch.inference_mode():
            logits = model.eval()(torch.tensor(x))
        predicted = logits.argmax(1).numpy()
        loss = nn.functional.cross_entropy(logits, torch.tensor(y))
        assert float(logged[f"{part}/accuracy"]) == pytest.approx(accuracy_score(y, predicted), abs=1e-6)
        assert float(logged[f"{part}/macro_f1"]) == pytest.approx(f1_score(y, predicted, average="macro"), abs=1e-6)
        assert float(logged[f"{part}/loss"]) == pytest.approx(loss.item(), rel=1e-5)


def test_training_metrics_cover_the_whole_epoch() -> None:
    model, _, data = pair(learning_rate=1e-12)  # the model stands still, so that its metrics can be computed again
    run = trainer(1, val_check_interval=0.3)
    run.fit(model, data)
    x, y = data.arrays("train")
    predicted = model.eval()(torch.tensor(x)).argmax(1).numpy()
    assert float(run.callback_metrics["train/accuracy"]) == pytest.approx(accuracy_score(y, predicted), abs=1e-6)


def test_predict_gives_probabilities_in_order() -> None:
    model, _, data = pair()
    batches = trainer().predict(model, data)
    assert batches is not None
    probabilities = torch.cat(batches)  # type: ignore[arg-type]
    expected = model(torch.tensor(data.arrays("test")[0])).softmax(1)
    assert torch.allclose(probabilities, expected, atol=1e-6)


def test_class_weights_weigh_the_loss() -> None:
    model = MLP((4,), 3, class_weights=[1.0, 2.0, 5.0])
    logits, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = np.array([1.0, 2.0, 5.0])[y]
    losses = -logits.log_softmax(1)[torch.arange(6), y].numpy()
    assert model.loss(logits, y).item() == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-5)


def test_label_smoothing_is_the_paper_s_and_of_training_alone() -> None:
    """Szegedy et al.: the target is (1 - e) of the class and e / classes of each."""
    model, plain = MLP((4,), 3, label_smoothing=0.3), MLP((4,), 3)
    logits, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    target = 0.7 * torch.eye(3)[y] + 0.3 / 3
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert model.loss(logits, y).item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.eval().loss(logits, y).item() == plain.loss(logits, y).item() != pytest.approx(expected.item())


def test_balanced_class_weights_come_from_the_data() -> None:
    model, _, data = pair(class_weights="balanced")
    trainer(1).fit(model, data)
    assert model.loss_weight is not None
    assert torch.equal(model.loss_weight, data.class_weights)
    assert "loss_weight" not in model.state_dict()


def test_balanced_class_weights_need_data_that_has_them() -> None:
    class Bare(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return Digits(size=8).train_dataloader()

    model, _, _ = pair(class_weights="balanced")
    with pytest.raises(UserError, match="needs a data module with the attribute class_weights"):
        trainer(1).fit(model, Bare())


def test_a_schedule_needs_an_end() -> None:
    model, _, data = pair()
    with pytest.raises(UserError, match="set max_epochs or max_steps"):
        trainer(-1, max_time="00:00:00:05").fit(model, data)


def test_a_resumed_schedule_must_have_the_same_length(tmp_path: Path) -> None:
    model, again, data = pair()
    first = trainer(1)
    first.fit(model, data)
    first.save_checkpoint(tmp_path / "one.ckpt", weights_only=False)
    with pytest.raises(UserError, match="was laid out for 36 steps, and this run has 108"):
        trainer(3).fit(again, Digits(size=8, seed=3), ckpt_path=str(tmp_path / "one.ckpt"), weights_only=True)


def test_a_subclass_may_bring_its_own_schedule() -> None:
    class Own(MLP):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.trainer.max_epochs)]

    run = trainer(2)
    run.fit(Own((1, 8, 8), 10), Digits(size=8))
    assert run.global_step == 72


def test_mixed_precision_with_gradient_clipping() -> None:
    run = trainer(1, precision="bf16-mixed", gradient_clip_val=1.0)
    run.fit(MLP((1, 8, 8), 10), Digits(size=8))
    assert run.global_step == 36


def test_a_model_without_parameters_is_refused() -> None:
    from mcubench.models import Classifier

    with pytest.raises(UserError, match="Classifier has no parameters"):
        trainer(1).fit(Classifier((1, 8, 8), 10), Digits(size=8))


def test_a_constant_schedule_can_be_continued(tmp_path: Path) -> None:
    model, again, data = pair(schedule="constant")
    first = trainer(1)
    first.fit(model, data)
    first.save_checkpoint(tmp_path / "one.ckpt", weights_only=False)
    second = trainer(3)
    second.fit(again, Digits(size=8, seed=3), ckpt_path=str(tmp_path / "one.ckpt"), weights_only=True)
    assert second.global_step == 108


def test_checkpoint_loads_without_running_code(tmp_path: Path) -> None:
    model = DSCNN((1, 8, 8), 10, channels=4, learning_rate=0.125)
    run = trainer(1, limit_train_batches=1)
    run.fit(model, Digits(size=8))
    run.save_checkpoint(tmp_path / "model.ckpt", weights_only=False)
    loaded = DSCNN.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert loaded.learning_rate == 0.125
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(loaded.eval()(x), model.eval()(x))


def test_a_subclass_is_init_and_forward() -> None:
    from mcubench.models import Classifier

    class Tiny(Classifier):
        def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 3, **training: Any) -> None:
            super().__init__(input_shape, num_classes, **training)
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, num_classes))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    model = Tiny((1, 8, 8), 10, learning_rate=0.02)
    run = trainer(3)
    run.fit(model, Digits(size=8))
    assert dict(model.hparams) == {**dict(model.hparams), "width": 3, "learning_rate": 0.02, "num_classes": 10}
    assert float(run.callback_metrics["val/accuracy"]) > 0.5
