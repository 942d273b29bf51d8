"""The options of ``fit`` beside those of model, data and trainer."""

from __future__ import annotations

from typing import Literal

from lightning.pytorch.cli import LightningArgumentParser

from mcubench.callbacks import SizeBudget
from mcubench.cli.fitting.teacher import distill_options
from mcubench.errors import UserError

__all__ = ["add_fit_options", "check_seed"]

_LARGEST_SEED = 2**32 - 1  # of numpy's global generator, which Lightning seeds, too


def add_fit_options(parser: LightningArgumentParser) -> None:
    """Adds the options of checkpoints, budget, teacher and threads."""
    parser.add_function_arguments(_checkpoint_options, "checkpoint")
    parser.add_class_arguments(SizeBudget, "budget")
    parser.add_function_arguments(distill_options, "distill")
    parser.add_argument(
        "--threads",
        type=int | None,
        default=None,
        help="Threads to train with on the CPU; not given, the fastest number is measured first.",
    )


def check_seed(seed: object) -> None:
    """Sees that a seed is one; ``True`` asks for a random one.

    Raises:
        UserError: If it is out of range.
    """
    if type(seed) is int and not 0 <= seed <= _LARGEST_SEED:
        raise UserError(f"--seed_everything must be 0 to {_LARGEST_SEED}, got {seed}")


def _checkpoint_options(
    monitor: str | None = None, mode: Literal["min", "max"] | None = None, every_n_train_steps: int | None = None
) -> None:
    """Which checkpoints are kept beside ``last.ckpt``, which is written after every epoch.

    Args:
        monitor: The logged metric that ``best.ckpt`` is chosen by; by default ``val/accuracy`` for models of mcubench,
            and none for others, whose last checkpoint is scored.
        mode: Whether the metric should be small or large; if it is not given, its name tells.
        every_n_train_steps: Also write ``last.ckpt`` after every so many optimiser steps.
    """
