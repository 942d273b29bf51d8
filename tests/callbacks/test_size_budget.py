"""Budgets: one byte decides; hand counts are the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mcubench.callbacks import SizeBudget
from mcubench.cost import find_device
from mcubench.errors import BudgetExceededError, UserError
from tests.callbacks.test_macs import MACS, Undecided, WithFourier
from tests.foreign import MyData, MyNet

# MyNet is 4-8-2: weights of a byte, and an int32 bias, a multiplier and a shift for each neuron.
FLASH = 4 * 8 + 8 * 2 + (8 + 2) * (4 + 4 + 4)
FLASH_AT_4_BITS = FLASH - (4 * 8 + 8 * 2) // 2
RAM = 16 + 4  # the hidden layer at 0, the input at the next multiple of 16
NEEDED = {"flash": FLASH, "ram": RAM, "macs": MACS}


class Shaped(MyData):
    input_shape = (4,)


class Watched(MyNet):
    """Notes whether a training step was taken."""

    steps = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.steps += 1
        return super().training_step(batch, batch_idx)


def fit(root: Path, budget: SizeBudget, model: pl.LightningModule | None = None, **options: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        **{
            "max_epochs": 2,
            "accelerator": "cpu",
            "default_root_dir": root,
            "logger": CSVLogger(root),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [budget],
            **options,
        }
    )
    trainer.fit(model or Watched(), Shaped())
    return trainer


@pytest.mark.parametrize("quantity", NEEDED)
class TestOneByte:
    def test_enough_passes(self, quantity: str, tmp_path: Path) -> None:
        budget = SizeBudget(**{quantity: NEEDED[quantity]})
        assert fit(tmp_path, budget).global_step == 20
        assert budget.report is not None
        needed = {"flash": budget.report.flash_bytes, "ram": budget.report.ram_bytes, "macs": budget.report.macs}
        assert needed == NEEDED

    def test_one_too_few_raises_before_the_first_step(self, quantity: str, tmp_path: Path) -> None:
        model = Watched()
        with pytest.raises(BudgetExceededError, match=r"Watched is over budget .*net\.0") as caught:
            fit(tmp_path, SizeBudget(**{quantity: NEEDED[quantity] - 1}), model)
        assert model.steps == 0
        assert "Shrink" in str(caught.value)
        assert f"{NEEDED[quantity]}" in str(caught.value)

    def test_the_first_batch_serves_where_no_shape_is_known(self, quantity: str, tmp_path: Path) -> None:
        model = Watched()
        with pytest.raises(BudgetExceededError):
            pl.Trainer(
                max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False,
                callbacks=[SizeBudget(**{quantity: NEEDED[quantity] - 1})],
            ).fit(model, MyData())  # fmt: skip
        assert model.steps == 0


def test_stop_ends_in_good_order(tmp_path: Path) -> None:
    model = Watched()
    budget = SizeBudget(flash=1, on_exceed="stop")
    with pytest.warns(UserWarning, match="the training stops: Watched is over budget"):
        trainer = fit(tmp_path, budget, model)
    assert "over budget" in str(budget.problem)
    assert trainer.state.finished
    assert model.steps <= 1, "Lightning takes a step before it looks"


def test_warn_goes_on(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=f"{FLASH - 1} more|{FLASH - 1} B more"):
        trainer = fit(tmp_path, SizeBudget(flash=1, on_exceed="warn"))
    assert trainer.global_step == 20


def test_narrower_weights_fit(tmp_path: Path) -> None:
    assert fit(tmp_path, SizeBudget(flash=FLASH_AT_4_BITS, weight_bits=4)).global_step == 20
    one_layer = SizeBudget(flash=FLASH - 8 * 2 // 2, per_layer={"net.3": 4})
    assert fit(tmp_path, one_layer).global_step == 20
    with pytest.raises(UserError, match=r"there is no layer 'net.9' with weights.*There are net.0, net.3"):
        fit(tmp_path, SizeBudget(flash=FLASH, per_layer={"net.9": 4}))


def test_changed_bits_are_checked_at_the_next_epoch(tmp_path: Path) -> None:
    class Widen(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            budget.widths = type(budget.widths)(weight=8)

    budget = SizeBudget(flash=FLASH_AT_4_BITS, weight_bits=4)
    model = Watched()
    with pytest.raises(BudgetExceededError, match="weights 8 bits"):
        fit(tmp_path, budget, model, callbacks=[budget, Widen()])
    assert model.steps == 10


def test_changed_structure_is_checked_at_the_next_epoch(tmp_path: Path) -> None:
    class Grow(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.net[3] = nn.Linear(8, 3)  # type: ignore[index,operator]

    budget = SizeBudget(flash=FLASH)
    with pytest.raises(BudgetExceededError, match=f"flash {FLASH + 8 + 12} B, {8 + 12} B more"):
        fit(tmp_path, budget, Watched(), callbacks=[budget, Grow()])


def test_it_is_traced_once_while_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mcubench.callbacks.size_budget as home

    calls = []
    original = home.profile
    monkeypatch.setattr(home, "profile", lambda *args, **options: calls.append(1) or original(*args, **options))
    fit(tmp_path, SizeBudget(flash=FLASH), max_epochs=3)
    assert len(calls) == 1


@pytest.mark.parametrize(("model", "named"), [(WithFourier, "aten.fft_fft.default"), (Undecided, "can't be traced")])
def test_what_is_not_known_is_over_budget(model: type[MyNet], named: str, tmp_path: Path) -> None:
    with pytest.raises(BudgetExceededError, match=named):
        fit(tmp_path, SizeBudget(flash="1 MiB"), model())


def test_a_device_sets_the_limits(tmp_path: Path) -> None:
    part = find_device("atmega328p")
    assert SizeBudget(device="ATmega328P").limits == {"flash": part.flash, "ram": part.ram, "macs": None}
    assert SizeBudget(device="atmega328p", ram="1 KiB").limits["ram"] == 1024
    assert fit(tmp_path, SizeBudget(device="atmega328p")).global_step == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flash": "32 KiX"}, r"flash must be bytes.*32 KiB.*got '32 KiX'"),
        ({"ram": -1}, "ram must be bytes.*got -1"),
        ({"macs": "1 KiB"}, r"macs must be a number.*1 M.*got '1 KiB'"),
        ({"weight_bits": 3}, "weight_bits must be one of 1, 2, 4, 8, 16, 32; got 3"),
        ({"activation_bits": 2}, "activation_bits must be one of 4, 8, 16, 32; got 2"),
        ({"on_exceed": "explode"}, "on_exceed must be one of raise, stop, warn; got 'explode'"),
        ({"device": "stm32f44"}, "Did you mean 'stm32f446'"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SizeBudget(**options)


def test_bytes_and_headroom_are_logged(tmp_path: Path) -> None:
    trainer = fit(tmp_path, SizeBudget(flash=FLASH + 5, ram="1 KiB"))
    header, *rows = (line.split(",") for line in (Path(trainer.log_dir) / "metrics.csv").read_text().splitlines())
    logged = {name: value for name, value in zip(header, rows[0], strict=True) if name.startswith("budget/")}
    assert {name: float(value) for name, value in logged.items()} == {
        "budget/flash": FLASH,
        "budget/flash_headroom": 5,
        "budget/ram": RAM,
        "budget/ram_headroom": 1024 - RAM,
        "budget/macs": MACS,
    }


def test_two_budgets_keep_their_own_states_and_resume(tmp_path: Path) -> None:
    class Narrow(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            first.widths = type(first.widths)(weight=4)

    first, second = SizeBudget(flash=FLASH), SizeBudget(ram="1 KiB", weight_bits=2)
    trainer = fit(tmp_path, first, callbacks=[first, second, Narrow()], max_epochs=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["callbacks"]
    assert saved[first.state_key]["weight_bits"] == 4
    assert saved[first.state_key]["flash"] == FLASH_AT_4_BITS
    assert saved[second.state_key]["weight_bits"] == 2

    again = SizeBudget(flash=FLASH)
    resumed = pl.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, logger=False,
                         enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                         callbacks=[again])  # fmt: skip
    resumed.fit(Watched(), Shaped(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert again.widths.weight == 4, "the schedule of bits goes on"
    assert again.report is not None
    assert again.report.flash_bytes == FLASH_AT_4_BITS


def test_batches_that_do_not_say_what_forward_takes(tmp_path: Path) -> None:
    class OfDicts(Watched):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step((batch["x"], batch["y"]), batch_idx)

        def train_dataloader(self) -> Any:
            return DataLoader([{"x": torch.randn(4), "y": torch.tensor(1)} for _ in range(5)])

    def run(on_exceed: Any) -> OfDicts:
        model = OfDicts()
        pl.Trainer(
            max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[SizeBudget(flash=1, on_exceed=on_exceed)],
        ).fit(model)  # fmt: skip
        return model

    with pytest.raises(BudgetExceededError, match=r"set self\.example_input_array"):
        run("raise")
    with pytest.warns(UserWarning, match=r"set self\.example_input_array"):
        assert run("warn").steps == 5


@pytest.mark.parametrize("shape", [4, {"x": (4,)}, (32, 4), (3, 5)])
def test_other_peoples_input_shape_is_no_sample(shape: Any, tmp_path: Path) -> None:
    """A shape with the batch in it would need more RAM and MACs than there is: the first batch decides."""

    class Promises(MyData):
        input_shape = shape

    budget, model = SizeBudget(**NEEDED), Watched()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[budget],
    )  # fmt: skip
    trainer.fit(model, Promises())
    assert model.steps == 10
    assert budget.problem is None
    assert budget.report is not None
    assert budget.report.macs == MACS


def test_an_input_shape_serves_where_batches_say_nothing(tmp_path: Path) -> None:
    class OfDicts(Watched):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step((batch["x"], batch["y"]), batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Nothing to validate."""

    class Dicts(Shaped):
        def train_dataloader(self) -> Any:
            return DataLoader([{"x": torch.randn(4), "y": torch.tensor(1)} for _ in range(5)])

    budget = SizeBudget(**NEEDED)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[budget],
    )  # fmt: skip
    trainer.fit(OfDicts(), Dicts())
    assert budget.report is not None
    assert budget.report.macs == MACS


@pytest.mark.parametrize("on_exceed", ["raise", "warn"])
def test_a_fault_of_ours_is_a_cost_that_is_not_known(
    on_exceed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mcubench.callbacks.size_budget as home

    def fault(*args: Any, **options: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(home, "profile", fault)
    budget, message = SizeBudget(flash="1 MiB", on_exceed=on_exceed), "can't be checked: RuntimeError: a fault"
    if on_exceed == "raise":
        with pytest.raises(BudgetExceededError, match=message):
            fit(tmp_path, budget)
    else:
        with pytest.warns(UserWarning, match=message):
            assert fit(tmp_path, budget).global_step == 20
    assert budget.report is None


def test_a_forward_that_computes_nothing_can_be_over_budget(tmp_path: Path) -> None:
    class Same(Watched):
        def forward(self, x: Tensor) -> Tensor:
            return x

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Nothing to validate."""

    with pytest.raises(BudgetExceededError, match="RAM 4 B, 1 B more than the 3 B allowed; it is what goes in and out"):
        fit(tmp_path, SizeBudget(ram=3), Same())
