"""The order in which steps are taken: each behind what it needs, those that read a spectrum while it lies there."""

from __future__ import annotations

from collections.abc import Mapping

from mcubench.features.catalogue import ANGLE, SIGNALS
from mcubench.features.steps import Rule, Step

__all__ = ["EACH_SAMPLE", "each_sample", "each_window"]

EACH_SAMPLE = ("median", "noise", "remainder", "gravity", "drift", "signal", "buffer")
"""Kinds of steps that are taken for every sample."""

_FIRST = ("spectrum", "sum", "mean", "squares")
_LAST = ("length", ANGLE)


def each_sample(rules: Mapping[Step, Rule]) -> list[Step]:
    """Steps of every sample; a jerk and a magnitude stand behind the signals that they are of."""

    def key(step: Step) -> tuple[int, int, str]:
        rank = 2 * step.signal.count("Mag") + step.signal.count("Jerk")
        # A base signal's step keeps the new value, and a jerk reads it.
        return EACH_SAMPLE.index(step.kind), rank, f"{step.signal} {step.part}"

    return sorted((step for step in rules if step.kind in EACH_SAMPLE), key=key)


def each_window(rules: Mapping[Step, Rule]) -> list[Step]:
    """Steps of every window: signal by signal, axis by axis, what is of several axes behind them."""
    signals = list(SIGNALS)

    def key(step: Step) -> tuple[int, int, str, int, str]:
        axis = step.part.split("-")[0]
        several = axis not in SIGNALS[step.signal].parts or step.kind in _LAST or (step.kind == "sma" and not axis)
        alone = not several or SIGNALS[step.signal].axes == 1
        rank = _FIRST.index(step.kind) if step.kind in _FIRST else len(_FIRST)
        return (
            _LAST.index(step.kind) + 1 if step.kind in _LAST else 0,
            signals.index(step.signal),
            axis if alone else "~",
            rank,
            f"{step.kind} {step.part}",
        )

    return sorted((step for step in rules if step.kind not in EACH_SAMPLE), key=key)
