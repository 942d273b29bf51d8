"""A trial as a run of ``fit``, or one for each fold: scored on validation alone, given up if it does not keep up."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl

from mcubench.cli.fitting.conclusion import FinishedFit
from mcubench.cli.fitting.lightning import BenchCLI, run_verb
from mcubench.cli.fitting.one_fit import words_of_going_on
from mcubench.cli.fitting.run_log import printing_to
from mcubench.errors import UserError
from mcubench.results.result import read_result
from mcubench.search.budget import Price

if TYPE_CHECKING:
    import optuna

__all__ = ["Trained", "train"]

_PRUNED = "pruned"
_NOTE = "a trial of a search: scored on validation only"


@dataclass(frozen=True)
class Trained:
    """What a trial's runs say.

    Attributes:
        accuracy: Of validation, 0 to 1: the mean over folds, if there are several.
        price: What the model costs; of folds, the most.
        pruned: Whether it was given up before its end.
        seconds: Of training, with validation.
    """

    accuracy: float
    price: Price
    pruned: bool
    seconds: float


def train(words: Sequence[str], place: Path, trial: optuna.Trial, folds: int | None, prunes: bool) -> Trained:
    """Trains a model; what an earlier process has done of it stays, and is gone on with.

    Args:
        words: What follows ``fit``.
        place: The trial's folder, for those of the runs.
        trial: Takes the accuracy of each epoch, and says whether to give up.
        folds: How many folds to score it by; ``None`` for the one validation part.
        prunes: Whether it may be given up.

    Raises:
        UserError: If it can't be trained, or its accuracy is not known.
        KeyboardInterrupt: After Ctrl-C, when everything is saved.
        Terminated: After SIGTERM, likewise.
    """
    watch = _GivesUp(trial) if prunes else None
    results = []
    for run, of_run in _runs(words, place, folds):
        _fit(run, of_run, functools.partial(_TrialCLI, watch=watch))
        results.append(read_result(run))
    scores = [each["accuracy"]["val"] for each in results]
    if None in scores:
        raise UserError(f"its validation accuracy is not known: {'; '.join(results[0]['notes'])}")
    costs = {
        name: _most([each[f"{name}_bytes" if name != "macs" else name] for each in results])
        for name in ("flash", "ram", "macs")
    }
    return Trained(
        accuracy=sum(scores) / len(scores),
        price=Price(**costs),
        pruned=bool(trial.user_attrs.get(_PRUNED)),
        seconds=sum(each["seconds"]["fit"] or 0.0 for each in results),
    )


def _most(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _runs(words: Sequence[str], place: Path, folds: int | None) -> Iterator[tuple[Path, list[str]]]:
    if folds is None:
        yield place / "run", [*words]
    else:
        for fold in range(folds):
            yield place / f"fold-{fold}", [*words, f"--data.folds={folds}", f"--data.fold={fold}"]


def _fit(run: Path, words: Sequence[str], make: Callable[..., BenchCLI]) -> None:
    if (run / "result.json").is_file():
        return
    goes_on = words_of_going_on(run)
    with printing_to(run):
        try:
            run_verb("fit", [*words, "--trainer.enable_progress_bar=false", *goes_on], run, make)
        except Exception as error:  # the study says it in a line
            print(error) if isinstance(error, UserError) else traceback.print_exc()
            raise
    if not (run / "result.json").is_file():
        raise UserError("it left no result.json: options such as fast_dev_run are not for trials")


class _TrialCLI(BenchCLI):
    """A fit that leaves the test set alone."""

    def __init__(self, *args: Any, watch: _GivesUp | None, **options: Any) -> None:
        self.watch = watch
        super().__init__(*args, **options)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Has the trial watched."""
        trainer = super().instantiate_trainer(**kwargs)
        if self.watch is not None:
            trainer.callbacks.insert(0, self.watch)  # type: ignore[attr-defined]  # before checkpoints, which come last
        return trainer

    def finished(self) -> FinishedFit:
        """What is concluded."""
        whole = super().finished()
        return replace(whole, notes=(*whole.notes, _NOTE), parts=("val",))


class _GivesUp(pl.Callback):
    """Ends a training in good order when the pruner says so.

    Args:
        trial: The trial.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells the accuracy, and asks."""
        if self.trial.user_attrs.get(_PRUNED):  # the process was killed before it had ended
            trainer.should_stop = True
            return
        value = trainer.callback_metrics.get("val/accuracy")
        if trainer.sanity_checking or value is None:
            return
        self.trial.report(float(value), trainer.current_epoch + 1)
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        if not last and self.trial.should_prune():
            self.trial.set_user_attr(_PRUNED, True)
            trainer.should_stop = True
