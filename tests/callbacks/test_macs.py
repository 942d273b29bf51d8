"""The MACs callback around modules that know nothing of it; hand counts are the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mcubench.callbacks import MACs
from mcubench.errors import UserError
from mcubench.models import MLP
from tests.foreign import MyData, MyNet

# MyNet is 4-8-2.
MACS = 4 * 8 + 8 * 2
PARAMS = 4 * 8 + 8 + 8 * 2 + 2


def fit(root: Path, model: pl.LightningModule, callback: pl.Callback, data: Any = None, **options: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        **{
            "max_epochs": 1,
            "accelerator": "cpu",
            "default_root_dir": root,
            "logger": CSVLogger(root),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [callback],
            **options,
        }
    )
    trainer.fit(model, data or MyData())
    return trainer


class WithExample(MyNet):
    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = torch.zeros(32, 4)  # a batch, as people have it


class WithFourier(MyNet):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.fft.fft(x).real)


class Undecided(MyNet):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) if x.sum() > 0 else self.net(-x)


@pytest.mark.parametrize("model", [MyNet, WithExample])
def test_counts_are_logged_and_printed_once(
    model: type[MyNet], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = MACs()
    trainer = fit(tmp_path, model(), callback, max_epochs=2)
    assert callback.report is not None
    assert (callback.report.macs, callback.report.params) == (MACS, PARAMS)
    printed = capsys.readouterr().out
    assert printed.count(f"{MACS} MACs") == 1
    assert "net.0" in printed
    assert "net.3" in printed
    logged = (Path(trainer.log_dir) / "metrics.csv").read_text()
    header, *rows = (line.split(",") for line in logged.splitlines())
    assert [float(row[header.index("cost/macs")]) for row in rows if row[header.index("cost/macs")]] == [MACS]
    assert [float(row[header.index("cost/params")]) for row in rows if row[header.index("cost/params")]] == [PARAMS]


def test_the_data_modules_shape_is_enough(tmp_path: Path) -> None:
    class Shaped(MyData):
        input_shape = (4,)

        def train_dataloader(self) -> Any:
            assert callback.report is not None, "counted before any batch was drawn"
            return super().train_dataloader()

    callback = MACs()
    fit(tmp_path, MyNet(), callback, Shaped())
    assert callback.report is not None


def test_a_batch_with_its_samples_elsewhere(tmp_path: Path) -> None:
    class StepsFirst(MyNet):
        def __init__(self) -> None:
            super().__init__()
            self.example_input_array = torch.zeros(10, 32, 4)
            self.net = nn.LSTM(4, 2)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.net(batch[0][None])[0].mean()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[0]

    callback = MACs(batch_dim=1)
    fit(tmp_path, StepsFirst(), callback)
    assert callback.report is not None
    assert callback.report.macs == 10 * 4 * 2 * (4 + 2)
    wrong = MACs()
    fit(tmp_path, StepsFirst(), wrong)
    assert wrong.report is not None
    assert "mixing samples" in str(wrong.report.unsupported[0])


def test_what_can_not_be_counted_is_named_and_not_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = MACs()
    trainer = fit(tmp_path, WithFourier(), callback)
    assert callback.report is not None
    assert callback.report.macs is None
    assert "aten.fft_fft.default" in capsys.readouterr().out
    assert "cost/macs" not in (Path(trainer.log_dir) / "metrics.csv").read_text()


def test_a_module_that_can_not_be_traced_trains_on(tmp_path: Path) -> None:
    callback = MACs()
    with pytest.warns(UserWarning, match=r"MACs are not known: Undecided can't be traced with input \(1, 4\)"):
        trainer = fit(tmp_path, Undecided(), callback)
    assert trainer.global_step == 10
    assert callback.report is None
    assert "Undecided" in str(callback.problem)


def test_batches_that_do_not_say_what_forward_takes(tmp_path: Path) -> None:
    class OfDicts(MyNet):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step((batch["x"], batch["y"]), batch_idx)

        def train_dataloader(self) -> Any:
            return DataLoader([{"x": torch.randn(4), "y": torch.tensor(1)} for _ in range(5)])

    callback = MACs()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="set self.example_input_array to one sample"):
        trainer.fit(OfDicts())
    assert callback.report is None


def test_widths_and_biases(tmp_path: Path) -> None:
    callback = MACs(weight_bits=4, activation_bits=16, count_bias=True, per_layer={"layers.3": 8})
    fit(tmp_path, MLP((4,), 2, hidden=(8,), schedule="constant"), callback)
    assert callback.report is not None
    assert callback.report.macs == MACS + 8 + 2
    assert callback.report.flash_bytes == 4 * 8 // 2 + 8 * 2 + (8 + 2) * (4 + 8)
    assert callback.report.ram_bytes == 16 + 4 * 2  # the hidden layer takes 8 * 2


def test_a_checkpoint_tells_the_costs(tmp_path: Path) -> None:
    callback = MACs()
    trainer = fit(tmp_path, MyNet(), callback)
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert saved["callbacks"][callback.state_key] == {"macs": MACS, "params": PARAMS}


def test_two_of_them_serve_one_trainer(tmp_path: Path) -> None:
    plain, biased = MACs(), MACs(count_bias=True)
    fit(tmp_path, MyNet(), plain, callbacks=[plain, biased])
    assert plain.report is not None
    assert biased.report is not None
    assert (plain.report.macs, biased.report.macs) == (MACS, MACS + 8 + 2)


@pytest.mark.parametrize("batch_dim", [-1, "0", 1.0])
def test_a_wrong_axis_is_refused(batch_dim: Any) -> None:
    with pytest.raises(UserError, match="batch_dim must be 0 or more"):
        MACs(batch_dim=batch_dim)


def test_the_data_modules_shape_with_the_batch_elsewhere(tmp_path: Path) -> None:
    class Shaped(MyData):
        input_shape = (10, 4)

    class StepsFirst(MyNet):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.LSTM(4, 2)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.net(batch[0][None])[0].mean()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)[0]

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Nothing to validate."""

    callback = MACs(batch_dim=1)
    fit(tmp_path, StepsFirst(), callback, Shaped())
    assert callback.report is not None
    assert callback.report.macs == 10 * 4 * 2 * (4 + 2)
