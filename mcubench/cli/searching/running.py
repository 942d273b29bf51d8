"""One process at work on a study: a trial after the other, until as many are trained as were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mcubench.cli.fitting.one_fit import ENDS_ALL
from mcubench.cli.fitting.progress import bar_below
from mcubench.cli.searching.options import SearchOptions
from mcubench.cli.searching.pricing import price
from mcubench.cli.searching.trial import Trained, train
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.search.budget import Price
from mcubench.search.plan import Candidate, Plan
from mcubench.search.study import TRAINED, Study, TrialRow
from mcubench.stopping import STOPS

if TYPE_CHECKING:
    import optuna

__all__ = ["Search"]

_PATIENCE = 50  # models that don't fit, one after the other, before the smallest is looked for
_REPEATS = 200  # models that were tried already, one after the other: there are no others


class Search:
    """Works on a study.

    Args:
        options: What is asked for.
        plan: What is varied.
        study: The study.
        console: Where to print; it must hold its stream, for standard output is the log's while a fit runs.
    """

    def __init__(self, options: SearchOptions, plan: Plan, study: Study, console: Console) -> None:
        self.options = options
        self.plan = plan
        self.study = study
        self.console = console
        self._unfit = self._repeats = 0  # one after the other
        self._told_smallest = False

    def run(self) -> None:
        """Trains until no more models are needed than have ended or are under way elsewhere.

        Raises:
            UserError: If nothing fits the budget, or options or data are such that nothing can be trained.
            KeyboardInterrupt: After Ctrl-C; the same command goes on.
            Terminated: After SIGTERM, likewise.
        """
        state = TextColumn("{task.description}", markup=False)
        behind = state, TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn()
        with bar_below(self.console, *behind) as progress:
            task = progress.add_task("", total=self.options.trials)
            while self._repeats < _REPEATS:
                rows = self.study.rows()
                done = sum(row.outcome in TRAINED for row in rows)
                progress.update(task, completed=done, description=self._state(rows))
                with self.study.claim(self.options.trials) as trial:
                    if trial is None:
                        return
                    self._work_on(trial, done)
        say(self.console, "the space has no other models that were not tried")

    def _work_on(self, trial: optuna.Trial, done: int) -> None:
        """Trains a model, unless it is like another one or does not fit."""
        candidate = self.plan.suggest(trial)
        if self.study.is_repeated(trial):
            self.study.repeat(trial)
            self._repeats += 1
            return
        self._repeats = 0
        words = candidate.words(self.options.words)
        try:
            found = price(words, candidate.bits)
        except ENDS_ALL:
            raise
        except UserError as error:  # its options don't go together, or with the data
            self.study.reject(trial, str(error), {"possible": 1.0})
            self._count_unfit()
            return
        if found is not None and (problem := self.options.budget.problem(found)) is not None:
            self.study.reject(trial, problem, self.options.budget.excess(found), found)
            self._count_unfit()
            return
        self._unfit = 0
        self._train(trial, candidate, words, done)

    def _train(self, trial: optuna.Trial, candidate: Candidate, words: list[str], done: int) -> None:
        prunes = self.options.pruner != "none" and candidate.bits is not None  # a classical model has one epoch
        try:
            found = train(words, self.study.place(trial.number), trial, self.options.folds, prunes)
            self._check_known(found.price)
        except STOPS:
            say(self.console, f"{done} of {self.options.trials} models are trained; the same command goes on")
            raise
        except ENDS_ALL:
            raise
        except (Exception, SystemExit) as error:  # a mistake in one model must not cost the night's other ones
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self.study.fail(trial, reason)
            if done == 0:  # more likely one in what all share
                raise
            self._say(trial.number, done, candidate, f"failed: {reason}")
            return
        self.study.finish(trial, found.accuracy, found.price, self.options.budget.excess(found.price), found.pruned)
        self._say(trial.number, done, candidate, self._told(found))

    def _check_known(self, price: Price) -> None:
        """Sees that all that is searched for is known of a model.

        Raises:
            UserError: If something is not.
        """
        if unknown := [each for each in self.options.objectives if each != "accuracy" and getattr(price, each) is None]:
            raise UserError(f"what it costs is not known: {', '.join(unknown)}")

    def _told(self, found: Trained) -> str:
        text = f"{100 * found.accuracy:.2f} % of validation{', given up early' if found.pruned else ''}"
        over = self.options.budget.problem(found.price)
        cost = f"over budget: {over}" if over else _costs(found.price)
        return f"{text}; {cost}; {found.seconds:.0f} s"

    def _say(self, number: int, done: int, candidate: Candidate, outcome: str) -> None:
        total = self.options.trials
        say(self.console, f"[{done + 1:>{len(str(total))}}/{total}] trial {number}, {candidate}: {outcome}")

    def _count_unfit(self) -> None:
        """Looks for the smallest model when many have not fitted.

        Raises:
            UserError: If that does not fit either.
        """
        self._unfit += 1
        if self._unfit < _PATIENCE or self._told_smallest:
            return
        self._told_smallest = True
        smallest = self.plan.smallest(self._excess)
        try:
            found = price(smallest.words(self.options.words), smallest.bits)
        except UserError as error:
            raise UserError(f"none of {self._unfit} models can be made and priced; {smallest}: {error}") from error
        if found is not None and (problem := self.options.budget.problem(found)) is not None:
            raise UserError(
                f"nothing fits the budget ({self.options.budget}): of {self._unfit} models none did, and the smallest "
                f"of the space that was found, {smallest}, has {problem}. Raise the budget, or give a --space with "
                "smaller models"
            )

    def _excess(self, candidate: Candidate) -> float:
        try:
            found = price(candidate.words(self.options.words), candidate.bits)
        except UserError:
            return float("inf")
        return -1.0 if found is None else max(self.options.budget.excess(found).values(), default=0.0)

    def _state(self, rows: list[TrialRow]) -> str:
        best = max((row.accuracy for row in rows if row.fits and row.accuracy is not None), default=None)
        rejected = sum(row.outcome == "rejected" for row in rows)
        return f"{rejected:,} rejected; best {'?' if best is None else f'{100 * best:.2f} %'}"


def _costs(found: Price) -> str:
    parts = [("B of flash", found.flash), ("B of RAM", found.ram), ("MACs", found.macs)]
    return ", ".join(f"{'?' if value is None else f'{value:,}'} {name}" for name, value in parts)
