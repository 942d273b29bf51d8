"""The MACs callback around modules that know nothing of it; hand counts are the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from sklearn.linear_model import LogisticRegression
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


# --- what other people's modules and data call by names of ours ---


class Promises(MyData):
    """Data whose ``input_shape`` is whatever somebody means by it."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.input_shape = shape


class NotYet(MyData):
    @property
    def input_shape(self) -> Any:
        raise RuntimeError("call setup first")


FOREIGN_SHAPES = {
    "a number": 4,
    "a dict": {"x": (4,)},
    "a function": lambda: (4,),
    "a text": "4",
    "a size of nothing": (0, 4),
    "any size": (-1, 4),
    "no sizes": (),
    "names": ("features", 4),
    "half a size": (1.5,),
    "another shape that forward does not take": (3, 5),
}


@pytest.mark.parametrize("shape", [pytest.param(shape, id=name) for name, shape in FOREIGN_SHAPES.items()])
def test_an_input_shape_that_is_none_is_left_alone(
    shape: Any, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    callback = MACs(print_table=False)
    assert fit(tmp_path, MyNet(), callback, Promises(shape)).global_step == 10
    assert callback.report is not None
    assert callback.report.macs == MACS
    assert not [each for each in recwarn if "MACs" in str(each.message)]


def test_an_input_shape_that_can_not_be_asked_for(tmp_path: Path) -> None:
    callback = MACs(print_table=False)
    fit(tmp_path, MyNet(), callback, NotYet())
    assert callback.report is not None
    assert callback.report.macs == MACS


@pytest.mark.parametrize("sizes", [(32, 4), [20, 4], torch.Size([1, 4])])
def test_an_input_shape_with_the_batch_in_it_is_counted_anew(
    sizes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a shape can be traced, as a layer takes any number of rows; the first batch says what a sample is."""
    callback = MACs()
    with pytest.warns(
        UserWarning, match=rf"input_shape is .{sizes[0]}, 4., and samples have shape .4,.: MACs are coun"
    ):
        trainer = fit(tmp_path, MyNet(), callback, Promises(sizes))
    assert callback.report is not None
    assert (callback.report.macs, callback.report.ram_bytes) == (MACS, 16 + 4)
    assert f"{MACS} MACs" in capsys.readouterr().out.splitlines()[-4]
    logged = (Path(trainer.log_dir) / "metrics.csv").read_text()
    assert logged.count(f"\n{MACS},{PARAMS},") == 1


class Borrowed(MyNet):
    """Has attributes that classical models of mcubench have, too."""

    def __init__(self) -> None:
        super().__init__()
        self.is_fitted = False
        self.estimator = LogisticRegression().fit([[0.0], [1.0]], [0, 1])


class Raises(MyNet):
    """Its example is known later; asking for it before is an error."""

    @property
    def example_input_array(self) -> Any:
        raise RuntimeError("there are no data yet")

    @example_input_array.setter
    def example_input_array(self, value: Any) -> None:
        """Lightning sets it."""


class NoTensor(MyNet):
    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = np.zeros((1, 4), np.float32)  # type: ignore[assignment]


@pytest.mark.parametrize("model", [Borrowed, Raises, NoTensor])
def test_attributes_that_mean_something_else(model: type[MyNet], tmp_path: Path) -> None:
    callback = MACs(print_table=False)
    fit(tmp_path, model(), callback)
    assert callback.report is not None
    assert (callback.report.macs, callback.report.params) == (MACS, PARAMS)


# --- no exception of ours ends a training ---


class Switches(MyNet):
    def forward(self, x: Tensor) -> Any:
        with torch.set_grad_enabled(self.training):
            y = self.net[0](x)
        with torch.autocast("cpu"):
            y = self.net[1](y)
        return {"logits": self.net[3](y), "name": "net", "loss": None}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0])["logits"], batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing to validate."""


def test_modes_and_outputs_of_any_form_are_counted(tmp_path: Path) -> None:
    callback = MACs(print_table=False)
    fit(tmp_path, Switches(), callback)
    assert callback.report is not None
    assert callback.report.macs == MACS


class Cond(MyNet):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (self.net(x),))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing to validate."""


def test_an_operator_without_a_namespace_is_named(tmp_path: Path) -> None:
    callback = MACs(print_table=False)
    assert fit(tmp_path, Cond(), callback).global_step == 10
    assert callback.report is not None
    assert callback.report.macs is None
    assert "cond" in {each.op for each in callback.report.unsupported}


@pytest.mark.parametrize("error", [RuntimeError("a fault"), RecursionError("too deep"), AssertionError()])
def test_a_fault_of_ours_is_a_warning(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mcubench.callbacks.macs as home

    def fault(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(home, "profile", fault)
    callback = MACs()
    with pytest.warns(UserWarning, match=f"MACs are not known: counting failed .{type(error).__name__}"):
        assert fit(tmp_path, WithExample(), callback).global_step == 10
    assert callback.report is None
    assert type(error).__name__ in str(callback.problem)


def test_a_table_that_can_not_be_printed_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mcubench.callbacks.macs as home

    def ascii_only(*args: Any) -> None:
        raise UnicodeEncodeError("ascii", "█", 0, 1, "ordinal not in range(128)")

    monkeypatch.setattr(home, "print_report", ascii_only)
    callback = MACs()
    with pytest.warns(UserWarning, match="the table of costs can't be printed: UnicodeEncodeError"):
        trainer = fit(tmp_path, WithExample(), callback)
    assert callback.report is not None
    assert f"\n{MACS},{PARAMS}," in (Path(trainer.log_dir) / "metrics.csv").read_text(), "it is logged nonetheless"


def test_ctrl_c_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mcubench.callbacks.macs as home

    def interrupted(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(home, "profile", interrupted)
    with pytest.raises(SystemExit):
        fit(tmp_path, WithExample(), MACs())
