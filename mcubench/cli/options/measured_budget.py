"""Budgets that what was measured on a core must hold: those given, or those that the run was trained under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from mcubench.callbacks import SizeBudget
from mcubench.cli.options.configurations import read_run_configuration
from mcubench.results.run_folder import config_of, shown

__all__ = ["add_budget_options", "measured_limits"]

_HELP = {
    "flash": "the most that code and constants may take, as in 32 KiB; not set, the budget of the run",
    "ram": "the most that arena, stack, input and output may take; not set, the budget of the run",
}


def add_budget_options(parser: ArgumentParser) -> None:
    """Adds ``--budget.flash`` and ``--budget.ram``."""
    for name, text in _HELP.items():
        parser.add_argument(f"--budget.{name}", type=int | str | None, metavar="BYTES", help=text)


def measured_limits(config: Namespace, checkpoint: Path | None) -> dict[str, int]:
    """Bytes by ``flash`` and ``ram``, of those that are limited.

    Args:
        config: The options.
        checkpoint: The checkpoint, beside whose run's options these stand in, if any was trained under a budget.

    Raises:
        UserError: If a size is none.
    """
    given = {name: config.budget[name] for name in _HELP}
    limits = SizeBudget(**{**_trained_under(checkpoint), **{k: v for k, v in given.items() if v is not None}}).limits
    return {name: limit for name in _HELP if (limit := limits[name]) is not None}


def _trained_under(checkpoint: Path | None) -> dict[str, Any]:
    path = None if checkpoint is None else config_of(checkpoint)
    budget = {} if path is None else read_run_configuration(path, shown(path)).get("budget") or {}
    return {name: budget.get(name) for name in (*_HELP, "device")}
