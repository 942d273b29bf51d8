"""Threads: what was measured decides, and nothing of the measuring stays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from mcubench.callbacks import Threads
from mcubench.cli.main import main
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import DSCNN, MLP, Classifier
from mcubench.results.result import read_result
from mcubench.training.threads import ThreadChoice, fastest_threads
from tests.foreign import MyData, MyNet
from tests.training.journal import QUIET

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that finds one thread the best."""
    monkeypatch.setattr(
        "mcubench.callbacks.threads.fastest_threads", lambda *_: ThreadChoice.among({1: 0.0004, 2: 0.0009})
    )


class Seen(pl.Callback):
    def on_train_batch_start(self, *args: Any) -> None:
        self.threads = torch.get_num_threads()


def fit(callback: Threads, module: pl.LightningModule, data: Any, **options: Any) -> int:
    """The number of threads that was trained with."""
    seen = Seen()
    path = options.pop("ckpt_path", None)
    trainer = pl.Trainer(max_steps=2, logger=False, **{**QUIET, **options}, callbacks=[callback, seen])
    trainer.fit(module, data, ckpt_path=path, weights_only=True)
    return seen.threads


def measured(module: Classifier) -> ThreadChoice | None:
    x = torch.randn(20, *SHAPE, generator=torch.Generator())
    return fastest_threads(module, (x, torch.zeros(20, dtype=torch.long)))


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 0.95}, 1),
        ({1: 1.0, 2: 0.6}, 2),
        ({1: 1.0, 2: 0.6, 4: 0.58}, 2),
        ({1: 1.0, 2: 1.3, 4: 0.5}, 4),
        ({1: 1.0, 2: 3.0}, 1),
    ],
)
def test_more_threads_only_where_they_are_clearly_faster(seconds: dict[int, float], best: int) -> None:
    assert ThreadChoice.among(seconds).threads == best


def test_it_says_what_was_measured() -> None:
    assert str(ThreadChoice.among({1: 0.0004, 2: 0.00091})) == "1 thread: 0.4 ms a batch, 0.91 with 2"
    assert str(ThreadChoice.among({1: 0.01, 2: 0.006})) == "2 threads: 6 ms a batch, 10 with 1"


def test_every_power_of_two_up_to_torchs_number_is_measured() -> None:
    torch.set_num_threads(3)
    choice = measured(MLP(SHAPE, 10))
    assert choice is not None
    assert set(choice.seconds) == {1, 2, 3}
    assert min(choice.seconds.values()) > 0
    assert torch.get_num_threads() == 3


def test_one_thread_leaves_no_choice() -> None:
    torch.set_num_threads(1)
    assert measured(MLP(SHAPE, 10)) is None


def test_measuring_leaves_no_trace() -> None:
    module = DSCNN(SHAPE, 10).eval()  # its batch norms count and average in training
    state, random = {name: value.clone() for name, value in module.state_dict().items()}, torch.get_rng_state()
    measured(module)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert not module.training


class Erratic(MLP):
    """Draws from all generators, has a frozen part, and a buffer that grows."""

    def __init__(self) -> None:
        super().__init__(SHAPE, 10)
        self.frozen = nn.BatchNorm2d(1).eval()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.frozen.training
        self.seen = torch.cat([self.seen, torch.rand(1)])
        return super().forward(self.frozen(x)) * random.choice([0.5, 1.0]) * np.random.choice([0.5, 1.0])  # noqa: NPY002


def test_a_fit_goes_on_as_if_nothing_had_been_measured() -> None:
    ends = []
    for threads in (None, 2):
        pl.seed_everything(3, verbose=False)
        module = Erratic()
        fit(Threads(threads, lambda _: None), module, Digits(size=8, seed=1))
        assert len(module.seen) == 1 + 2  # of two steps
        drawn = random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002
        ends.append((drawn, module.seen.tolist()))
    assert ends[0] == ends[1]


class MadeLate(MLP):
    """Cannot be measured before its setup."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.late = nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.late(super().forward(x))


def test_what_cannot_be_measured_trains_all_the_same() -> None:
    said: list[str] = []
    assert fit(Threads(report=said.append), MadeLate(SHAPE, 10), Digits(size=8)) == 2
    assert said == ["2 threads; others could not be measured (AttributeError)"]


@pytest.mark.usefixtures("chosen")
def test_training_uses_the_choice_and_gives_torch_its_number_back() -> None:
    said: list[str] = []
    assert fit(Threads(report=said.append), MLP(SHAPE, 10), Digits(size=8)) == 1
    assert said == ["1 thread: 0.4 ms a batch, 0.9 with 2"]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("chosen")
def test_a_number_that_is_given_is_not_measured() -> None:
    said: list[str] = []
    assert fit(Threads(3, said.append), MLP(SHAPE, 10), Digits(size=8)) == 3
    assert said == []


@pytest.mark.usefixtures("chosen")
def test_foreign_modules_keep_torchs_number() -> None:
    assert fit(Threads(), MyNet(), MyData()) == 2


@pytest.mark.usefixtures("chosen")
def test_torch_has_its_number_back_after_an_error() -> None:
    class Broken(MLP):
        def loss(self, logits: Any, target: Any) -> Any:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fit(Threads(), Broken(SHAPE, 10), Digits(size=8))
    assert torch.get_num_threads() == 2


def test_a_resumed_run_keeps_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([{1: 0.1, 2: 0.9}, {1: 0.9, 2: 0.1}])
    monkeypatch.setattr("mcubench.callbacks.threads.fastest_threads", lambda *_: ThreadChoice.among(next(found)))
    model: Classifier = MLP(SHAPE, 10, schedule="constant")
    trainer = pl.Trainer(max_steps=1, logger=False, **QUIET, callbacks=[Threads()])
    trainer.fit(model, Digits(size=8))
    path = tmp_path / "one.ckpt"
    trainer.save_checkpoint(path)
    assert fit(Threads(), MLP(SHAPE, 10, schedule="constant"), Digits(size=8), ckpt_path=path) == 1


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_a_sensible_number_of_threads(threads: int) -> None:
    with pytest.raises(UserError, match=f"threads must be 1 to [0-9]+, got {threads}"):
        Threads(threads)


def test_the_command_line_trains_with_what_it_is_told(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    assert main([*words, "--threads", "2"]) == 0
    (run,) = workplace.glob("runs/*")
    assert read_result(run)["threads"] == 2
    assert "threads: 2\n" in (run / "config.yaml").read_text()
    assert "s in all, 2 threads" in capsys.readouterr().out
    assert main([*words, "--threads", "0"]) == 2
    assert "threads must be 1 to " in capsys.readouterr().err


@pytest.mark.usefixtures("chosen")
def test_the_command_line_measures_else(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]) == 0
    (run,) = workplace.glob("runs/*")
    assert read_result(run)["threads"] == 1
    assert "threads: 1\n" in (run / "config.yaml").read_text()
    assert "1 thread: 0.4 ms a batch, 0.9 with 2\n" in capsys.readouterr().out
