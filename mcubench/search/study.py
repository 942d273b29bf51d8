"""A study that several processes work on: each trial belongs to one of them, and none is lost or done twice."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcubench.errors import CorruptDataError, UserError
from mcubench.results.lock import alone_in
from mcubench.search.budget import Price
from mcubench.search.storage import JOURNAL, locked, open_storage

if TYPE_CHECKING:
    import optuna

__all__ = ["ASKED", "OBJECTIVES", "PRUNERS", "SAMPLERS", "TRAINED", "Outcome", "Study", "TrialRow"]

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "flash": "minimize",
    "ram": "minimize",
    "macs": "minimize",
}
ASKED = "study.json"  # what a study is about, and its name
SAMPLERS = ("tpe", "gp", "nsga2", "random")
PRUNERS = ("halving", "hyperband", "none")

Outcome = Literal["trained", "pruned", "failed", "rejected", "repeated"]
TRAINED: tuple[Outcome, ...] = ("trained", "pruned", "failed")

_OUTCOME, _REASON, _ACCURACY, _PRICE = "outcome", "reason", "accuracy", "price"


@dataclass(frozen=True)
class TrialRow:
    """A trial that has ended.

    Attributes:
        number: Counted from 0, rejected ones too.
        outcome: ``trained``, or ``pruned`` before the end; ``failed``; ``rejected`` by its price before training; or
            ``repeated``, as one like it has ended or is under way.
        params: What was chosen, by option.
        accuracy: Of validation, 0 to 1; ``None`` if it is not known.
        price: What it costs; ``None`` if it was never priced.
        fits: Whether all costs are within the budget.
        reason: Why it failed or was rejected.
    """

    number: int
    outcome: Outcome
    params: Mapping[str, Any]
    accuracy: float | None
    price: Price | None
    fits: bool
    reason: str | None

    def value(self, objective: str) -> float | None:
        """What an objective says of it."""
        return self.accuracy if objective == "accuracy" else getattr(self.price, objective, None)


@dataclass
class Study:
    """The trials of a folder.

    Attributes:
        folder: Where they lie; it exists.
        name: Of the study in its storage.
        objectives: What is searched for, of `OBJECTIVES`.
        sampler: How options are chosen, of `SAMPLERS`.
        pruner: Which trials are given up early, of `PRUNERS`.
        seed: Of the choice of options.
        storage: A data base for the trials; not given, a journal in the folder.

    Raises:
        UserError: If the storage can't be opened.
        CorruptDataError: If the journal can't be read.
    """

    folder: Path
    name: str
    objectives: Sequence[str] = ("accuracy",)
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    storage: str | None = None
    _study: optuna.Study = field(init=False)

    def __post_init__(self) -> None:
        import optuna

        with locked(self._lock):
            try:
                self._study = optuna.create_study(
                    storage=open_storage(self.folder, self.storage),
                    study_name=self.name,
                    directions=[OBJECTIVES[each] for each in self.objectives],
                    pruner=_pruner(self.pruner),
                    load_if_exists=True,
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if self.storage is not None:
                    raise
                raise CorruptDataError(
                    f"{self.folder / JOURNAL} is damaged ({error}): restore it, or give another --study"
                ) from error

    @property
    def _lock(self) -> Path:
        return self.folder / ".lock"

    def place(self, number: int) -> Path:
        """The folder of a trial."""
        return self.folder / f"trial-{number:04}"

    @contextlib.contextmanager
    def claim(self, most: int) -> Iterator[optuna.Trial | None]:
        """A trial for this process alone, as long as the block lasts: one whose process has died, or a new one.

        What is chosen for a new one depends on the trials before it and its number only, so that a study that was
        interrupted goes on as one that was not.

        Args:
            most: How many are to be trained in all.

        Yields:
            The trial; ``None`` if no more are needed than have ended or are under way.
        """
        import optuna

        with contextlib.ExitStack() as alone:
            with locked(self._lock):
                trial = self._left_behind(alone)
                before = self._study.get_trials(deepcopy=False)
                under_way = [each for each in before if each.state == optuna.trial.TrialState.RUNNING]
                if trial is None and sum(row.outcome in TRAINED for row in self.rows()) + len(under_way) < most:
                    self._study.sampler = _sampler(self.sampler, self.seed + len(before))
                    trial = self._study.ask()
                    self.place(trial.number).mkdir(exist_ok=True)
                    alone.enter_context(alone_in(self.place(trial.number)))
            yield trial
            if trial is not None:
                with contextlib.suppress(OSError):  # it is kept if anything was written there
                    self.place(trial.number).rmdir()

    def _left_behind(self, alone: contextlib.ExitStack) -> optuna.Trial | None:
        import optuna

        for each in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            place = self.place(each.number)
            place.mkdir(exist_ok=True)
            with contextlib.suppress(UserError):  # its process lives
                alone.enter_context(alone_in(place))
                return optuna.Trial(self._study, each._trial_id)
        return None

    def is_under_way(self) -> bool:
        """Whether a trial has begun that has not ended."""
        import optuna

        return bool(self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)))

    def is_repeated(self, trial: optuna.Trial) -> bool:
        """Whether one with the same options has been trained, rejected, or is under way with a lower number."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        return any(
            each.params == trial.params
            and (each.number < trial.number if each.state == running else each.user_attrs.get(_OUTCOME) != "repeated")
            for each in self._study.get_trials(deepcopy=False)
            if each.number != trial.number
        )

    def reject(self, trial: optuna.Trial, reason: str, excess: Mapping[str, float], price: Price | None = None) -> None:
        """Ends a trial that is not trained, with how far it is from the budget, which the sampler learns from."""
        self._end(trial, "rejected", reason, price, excess)

    def repeat(self, trial: optuna.Trial) -> None:
        """Ends a trial that is like another one; the sampler does not learn from it."""
        self._end(trial, "repeated", None, None, {})

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """Ends a trial whose training has failed; the sampler does not learn from it."""
        self._end(trial, "failed", reason, None, {})

    def finish(
        self, trial: optuna.Trial, accuracy: float, price: Price, excess: Mapping[str, float], pruned: bool
    ) -> None:
        """Ends a trial that was trained, with what is known of it."""
        trial.set_user_attr(_ACCURACY, accuracy)
        values = [accuracy if name == "accuracy" else getattr(price, name) for name in self.objectives]
        self._end(trial, "pruned" if pruned else "trained", None, price, excess, values)

    def _end(
        self,
        trial: optuna.Trial,
        outcome: Outcome,
        reason: str | None,
        price: Price | None,
        excess: Mapping[str, float],
        values: Sequence[float] = (),
    ) -> None:
        from optuna.trial import TrialState

        if price is not None:
            trial.set_user_attr(_PRICE, [price.flash, price.ram, price.macs])
        if reason is not None:
            trial.set_user_attr(_REASON, reason)
        trial.set_user_attr(_OUTCOME, outcome)
        known = trial.constraints
        for name, far in excess.items():
            if name not in known:  # it was killed behind this
                trial.set_constraint(name, far)
        if outcome == "trained":
            self._study.tell(trial, values)
        else:
            given_up = outcome in ("pruned", "rejected")
            self._study.tell(trial, state=TrialState.PRUNED if given_up else TrialState.FAIL)

    def rows(self) -> list[TrialRow]:
        """All trials that have ended, by number."""
        found = []
        for each in self._study.get_trials(deepcopy=False):
            if each.state.is_finished():
                costs = each.user_attrs.get(_PRICE)
                found.append(
                    TrialRow(
                        number=each.number,
                        outcome=each.user_attrs.get(_OUTCOME, "failed"),
                        params=each.params,
                        accuracy=each.user_attrs.get(_ACCURACY),
                        price=None if costs is None else Price(*costs),
                        fits=all(value <= 0 for value in each.constraints.values()),
                        reason=each.user_attrs.get(_REASON),
                    )
                )
        return found

    def front(self) -> list[TrialRow]:
        """Trials that no other one beats in all objectives: trained to the end, and within the budget; by number."""
        whole = [row for row in self.rows() if row.outcome == "trained" and row.fits]
        points = {row.number: [self._loss(row, name) for name in self.objectives] for row in whole}
        found, seen = [], list[list[float]]()
        for row in whole:
            mine = points[row.number]
            beaten = any(
                all(o <= m for o, m in zip(other, mine, strict=True)) and other != mine for other in points.values()
            )
            if not beaten and mine not in seen:
                seen.append(mine)
                found.append(row)
        return found

    def _loss(self, row: TrialRow, objective: str) -> float:
        value = row.value(objective)
        assert value is not None  # it was told so
        return -value if OBJECTIVES[objective] == "maximize" else value

    def importances(self) -> dict[str, float]:
        """What share of the accuracy's variance each option explains (PED-ANOVA); nothing where that can't be said."""
        import optuna

        if "accuracy" not in self.objectives:
            return {}
        place = list(self.objectives).index("accuracy")

        def loss(trial: optuna.trial.FrozenTrial) -> float:
            return -trial.values[place] if trial.values else math.inf

        # Too few trials, or all are alike; and what it warns of is in the words of somebody who calls it.
        with contextlib.suppress(ValueError, RuntimeError), warnings.catch_warnings(action="ignore"):
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return optuna.importance.get_param_importances(self._study, evaluator=evaluator, target=loss)
        return {}


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    if name == "tpe":  # options of one model are chosen together; what others have under way is taken for bad
        return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    kinds = {"gp": samplers.GPSampler, "nsga2": samplers.NSGAIISampler, "random": samplers.RandomSampler}
    found: samplers.BaseSampler = kinds[name](seed=seed)
    return found


def _pruner(name: str) -> optuna.pruners.BasePruner:
    from optuna import pruners

    if name == "none":
        return pruners.NopPruner()
    kind = pruners.HyperbandPruner if name == "hyperband" else pruners.SuccessiveHalvingPruner
    return kind(min_resource=1, reduction_factor=3)
