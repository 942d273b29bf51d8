"""``--distill RUN``: the model of another run, which a fit learns from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from jsonargparse import Namespace

from mcubench.callbacks import Distillation
from mcubench.cli.options.subject import read_subject
from mcubench.datamodules import TensorDataModule
from mcubench.errors import UserError
from mcubench.quant.training import find_qat_state
from mcubench.results.run_folder import resolve_checkpoint, shown

__all__ = ["distill_options", "find_teacher", "in_full", "teacher_note", "with_teacher"]


def distill_options(run: str | None = None, weight: float = 0.5, temperature: float = 4.0) -> None:
    """A larger model that it learns from: ``--distill RUN``.

    Args:
        run: Best, last, a run's folder or a checkpoint: a network that was trained in float, on the same data.
        weight: The teacher's share of the loss.
        temperature: The higher, the more the teacher says of classes that it thinks unlikely.
    """


def in_full(args: Sequence[str]) -> list[str]:
    """The words, with ``--distill RUN`` as the option that it is short for."""
    return [re.sub(r"^--distill(?=$|=)", "--distill.run", arg) for arg in args]


def find_teacher(options: Namespace, root: Path) -> None:
    """Replaces the teacher's name by its checkpoint's path, before there is a newer run.

    Args:
        options: Those of `distill_options`.
        root: The folder of all runs.

    Raises:
        UserError: If there is no such checkpoint.
    """
    if options.run is not None:
        options.run = str(resolve_checkpoint(options.run, root, "--distill"))


def teacher_note(options: Namespace) -> tuple[str, ...]:
    """What a result says of it."""
    if options.run is None:
        return ()
    how = f"weight {options.weight:g}, temperature {options.temperature:g}"
    return (f"learned from {shown(Path(options.run))} too (--distill, {how})",)


def with_teacher(options: Namespace, data: pl.LightningDataModule | None) -> list[pl.Callback]:
    """The callback that has a fit learn from its teacher, if there is one.

    Args:
        options: Those of `distill_options`.
        data: The data of the fit.

    Raises:
        UserError: If the teacher is none that can be learned from: no network, trained with rounding, or on other data.
    """
    if options.run is None:
        return []
    path = Path(options.run)
    subject = read_subject("profile", [f"--ckpt_path={path}"])
    with torch.random.fork_rng(devices=()):  # the fit's own numbers stay as they are without a teacher
        model, theirs = subject.instantiate()
    if hasattr(model, "is_fitted"):
        raise UserError(f"--distill {shown(path)}: {type(model).__name__} is a classical model, which gives no logits")
    if find_qat_state(subject.trained) is not None:
        raise UserError(
            f"--distill {shown(path)}: it was trained with rounding, and would teach without: take a run in float"
        )
    if (difference := _difference(theirs, data)) is not None:
        raise UserError(f"--distill {shown(path)}: {difference}")
    return [Distillation(model, options.weight, options.temperature)]


def _difference(theirs: pl.LightningDataModule | None, ours: pl.LightningDataModule | None) -> str | None:
    """Why a teacher's data are not those that its pupil is trained and validated on; ``None`` if they are."""
    if type(theirs) is not type(ours):
        return f"it was trained on {type(theirs).__name__}, and this fit is on {type(ours).__name__}"
    if not isinstance(theirs, TensorDataModule) or not isinstance(ours, TensorDataModule):
        return None
    known, given = theirs.describe(), ours.describe()
    for part, why in (
        ("split", "it was trained with another split, on samples that validate here"),
        ("inputs", "its samples are scaled or chosen otherwise"),
    ):
        if known[part] != given[part]:
            return f"{why}: give the fit the same --data options as {type(ours).__name__} has there"
    return None
