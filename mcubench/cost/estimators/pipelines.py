"""Pipelines: the stages of their steps, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from mcubench.cost.estimators.stages import Stages, classifying, priced, transforming, within

__all__: list[str] = []


@transforming.register
def _transformer(estimator: Pipeline) -> Stages:
    return _all(estimator.steps)


@classifying.register
def _classifier(estimator: Pipeline) -> Stages:
    name, last = estimator.steps[-1]
    return (*_all(estimator.steps[:-1]), *within(name, priced(classifying, last)))


def _all(steps: Sequence[tuple[str, Any]]) -> Stages:
    there = [(name, step) for name, step in steps if step not in (None, "passthrough")]
    return tuple(stage for name, step in there for stage in within(name, priced(transforming, step)))
