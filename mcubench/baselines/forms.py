"""Which form an estimator is stored, scored and priced in: the narrowest that keeps its accuracy, or the one asked for.

A price at 8 bits beside a score in float would be of two models. So what is scored computes with the numbers that are
priced (`mcubench.baselines.rounded`), and the float score stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mcubench.baselines.rounded import FORMS, Form, RoundedEstimator, obstacle, round_estimator
from mcubench.cost.estimators import classifying, priced
from mcubench.errors import UserError

__all__ = ["TOLERATED", "Chosen", "choose_form"]

TOLERATED = 0.001  # of validation accuracy: what a narrower form may lose to be taken

Samples = tuple[NDArray[Any], NDArray[np.int64]]
Fit = Callable[[NDArray[Any]], BaseEstimator]


@dataclass(frozen=True)
class Chosen:
    """An estimator in the form that it is scored in.

    Attributes:
        rounded: What predicts.
        note: Why this form, and what was fitted for it.
    """

    rounded: RoundedEstimator
    note: str


def choose_form(
    estimator: BaseEstimator, fit: Fit, asked: Form | None, samples: NDArray[Any], validation: Samples | None
) -> Chosen:
    """Rounds a fitted estimator, or one that is fitted again on inputs of 8 bits if that is better there.

    Args:
        estimator: Fitted on the samples as they are.
        fit: Fits a new one on other samples of the same classes.
        asked: The form that is wanted; not given, the narrowest that loses at most `TOLERATED` on the validation part.
        samples: What it was fitted on, (N, features).
        validation: Samples (N, features) and classes to choose by.

    Raises:
        UserError: If the form asked for can't be computed.
    """
    stages = priced(classifying, estimator)
    unchosen = (
        "" if validation is not None else "there is no validation part to choose fewer bits by (--model.bits does)"
    )
    if asked is None and (why := obstacle(stages) or unchosen):
        return Chosen(round_estimator(estimator, "float32", samples, stages), f"scored in float32: {why}")
    if validation is None:
        assert asked is not None
        return Chosen(round_estimator(estimator, asked, samples, stages), "")
    target = _accuracy(estimator, validation)
    for form in FORMS if asked is None else [asked]:
        try:
            rounded, note = round_estimator(estimator, form, samples, stages), ""
        except UserError:
            if asked is not None:
                raise
            continue  # float32 can always be had
        found = _accuracy(rounded, validation)
        if form == "int8" and target - found > TOLERATED and _inputs_lose(rounded, target, validation):
            again = round_estimator(fit(rounded.round_inputs(samples)), form, samples)
            if (better := _accuracy(again, validation)) > found:
                note = f"fitted on inputs of 8 bits: {100 * better:.2f} % of validation, fitted in float and rounded "
                rounded, note, found = again, f"{note}{100 * found:.2f} %", better
        if target - found <= TOLERATED:
            break
    loss = f"{100 * (target - found):.2f} points of validation accuracy"
    if asked is None and form != "int8":
        note = f"scored in {form}: what is narrower loses more than {100 * TOLERATED:.1f} points of validation accuracy"
    elif target - found > TOLERATED:
        note = "; ".join(filter(None, [note, f"{form} loses {loss} (--model.bits takes int8, int16 or float32)"]))
    return Chosen(rounded, note)


def _inputs_lose(rounded: RoundedEstimator, target: float, validation: Samples) -> bool:
    """Whether rounding the inputs alone loses too much, so that fitting on rounded ones may help.

    With trees above all: thresholds between values that fall together separate nothing any more.
    """
    x, y = validation
    exact = replace(rounded, form="float32", grids=(None,) * len(rounded.grids))
    return target - _accuracy(exact, (rounded.round_inputs(x), y)) > TOLERATED


def _accuracy(classifier: Any, samples: Samples) -> float:
    x, y = samples
    return float(np.mean(np.asarray(classifier.predict(x)) == y))
