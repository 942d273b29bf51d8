"""Any classifier of scikit-learn's, or a pipeline that ends with one."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import all_estimators

from mcubench.baselines.base import Baseline
from mcubench.baselines.forms import Samples
from mcubench.baselines.storage import write_estimator
from mcubench.errors import UserError, did_you_mean

__all__ = ["Sklearn"]

_FEW = 6  # samples of a class

Role = Literal["classifier", "transformer"]


class Sklearn(Baseline):
    """Any classifier of scikit-learn's by its path, with transformers in front if asked for.

    Args:
        estimator: Its class, as in ``sklearn.ensemble.HistGradientBoostingClassifier``.
        arguments: What it is made with, by name, as in ``{max_depth: 4}``.
        before: Classes of transformers in front of it, in order, as in ``[sklearn.decomposition.PCA]``.
        before_arguments: What each of these is made with, as in ``[{n_components: 30}]``.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    def __init__(
        self,
        estimator: str,
        arguments: dict[str, Any] | None = None,
        before: list[str] | None = None,
        before_arguments: list[dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        before = before or []
        given = before_arguments or [{}] * len(before)
        if len(given) != len(before):
            raise UserError(f"before_arguments has {len(given)} entries, and before {len(before)}; give {{}} for none")
        self.steps = [*zip(before, given, strict=True), (estimator, arguments or {})]
        for path in before:
            if not hasattr(_class_of(path, "transformer"), "transform"):
                raise UserError(f"{path} in before transforms nothing: give transformers, as sklearn.decomposition.PCA")
        if not is_classifier(self.make()):
            raise UserError(f"estimator {estimator} is no classifier")

    def fit(self, x: NDArray[Any], y: NDArray[np.int64], validation: Samples | None = None) -> None:
        """Fits a new estimator, of a kind that can be saved.

        Args:
            x: Samples, shape (N, ...).
            y: Their classes, shape (N,).
            validation: Other samples and their classes, to choose the number of bits by.

        Raises:
            UserError: If it can't be saved, or can't be fitted as asked.
        """
        if not all(map(_is_saved, self.steps)):
            _check_savable(self.make(), x.reshape(len(x), -1), y)
        super().fit(x, y, validation)

    def make(self) -> BaseEstimator:
        """A new estimator; a pipeline, if there is something in front of it."""
        last = len(self.steps) - 1
        made = [
            self._one(path, arguments, "classifier" if index == last else "transformer")
            for index, (path, arguments) in enumerate(self.steps)
        ]
        return made[0] if len(made) == 1 else make_pipeline(*made)

    def _one(self, path: str, arguments: dict[str, Any], role: Role) -> BaseEstimator:
        kind = _class_of(path, role)
        takes = inspect.signature(kind).parameters
        for name in arguments:
            if name not in takes:
                raise UserError(f"{path} takes no {name!r}.{did_you_mean(name, takes)} It takes {', '.join(takes)}")
        seeded = {"random_state": self.random_state} if "random_state" in takes else {}
        try:
            return kind(**{**seeded, **arguments})
        except TypeError as error:  # abstract, or made of other estimators, which no option can give
            raise UserError(f"{path} can't be made from options: {error}") from None


def _is_saved(step: tuple[str, Any]) -> bool:
    """Whether estimators of a step's kind are known to be saved: all of scikit-learn's are, but for a few."""
    return step[0].startswith("sklearn.") and not step[0].startswith("sklearn.gaussian_process.")


def _check_savable(estimator: BaseEstimator, x: NDArray[Any], y: NDArray[np.int64]) -> None:
    """Fits an estimator on a few samples of each class and tries to save it, before hours are spent on all of them.

    Raises:
        UserError: If it can't be saved.
    """
    few = np.concatenate([np.flatnonzero(y == label)[:_FEW] for label in np.unique(y)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(x[few], y[few])
    except Exception:  # too few for its options, perhaps: the fit on all of them tells
        return
    write_estimator(estimator)


def _class_of(path: str, role: Role) -> type[BaseEstimator]:
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name) if module else None
    except (ImportError, AttributeError, TypeError, ValueError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
        known = [
            f"{each.__module__.rpartition('._')[0] or each.__module__}.{each_name}"
            for each_name, each in all_estimators(type_filter=role)
        ]
        raise UserError(
            f"there is no {role} {path!r}.{did_you_mean(path, known)} Give a class of scikit-learn's with its "
            "module, as in sklearn.ensemble.HistGradientBoostingClassifier"
        )
    return kind
