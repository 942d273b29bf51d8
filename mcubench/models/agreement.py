"""Whether a model and its data were made for each other: by what both say, and by what the data hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.seed import isolate_rng

from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.inspection import problem_of_loader
from mcubench.errors import UserError

if TYPE_CHECKING:
    from mcubench.models.scored import ScoredModule

__all__ = ["check_agreement", "check_others_data"]


def check_agreement(model: ScoredModule, data: object) -> None:
    """Sees that a model of ours takes the data's samples, and that any has a score for each of their classes.

    Args:
        model: The model.
        data: Any data module, or ``None``; other people's make no such promise, and pass.

    Raises:
        UserError: If they differ; the option and both values are named.
    """
    if not isinstance(data, TensorDataModule):
        return
    name, source = type(model).__name__, type(data).__name__
    if model.num_classes < data.num_classes:
        raise UserError(
            f"num_classes of {name} must be that of {source}, {data.num_classes}, or more; got {model.num_classes}. "
            "Left out, it is taken from the data"
        )
    shape = tuple(data.input_shape)
    if model.input_shape != shape and _is_ours(type(model)):  # a subclass may change samples before it reads them
        raise UserError(
            f"input_shape of {name} must be that of {source}, {shape}; got {model.input_shape}. Left out, it is taken "
            "from the data"
        )


def check_others_data(model: ScoredModule, stage: str) -> None:
    """Looks through the loaders that a trainer is about to use, and where there is a test set, that too.

    A module with a step or a loss of its own says itself what it takes; data modules of ours are seen through when they
    are loaded.

    Args:
        model: The module, attached to the trainer.
        stage: ``fit``, ``validate`` or ``test``.

    Raises:
        UserError: If they hold what can't be trained on or scored.
    """
    data = getattr(model.trainer, "datamodule", None)
    if isinstance(data, TensorDataModule) or _is_ours(type(data)) or not _is_plain(model):
        return
    with isolate_rng():
        for name, loader in _loaders(model.trainer, data, stage):
            problem = None
            with contextlib.suppress(Exception):  # of somebody's data set or hooks: the training will say it better
                problem = problem_of_loader(loader, model.num_classes, model._apply_batch_transfer_handler)
            if problem is not None:
                raise UserError(f"{name} {problem}")


def _is_plain(model: ScoredModule) -> bool:
    names = ("training_step", "validation_step", "test_step", "loss")
    return all(_is_ours(getattr(type(model), name)) for name in names)


def _is_ours(made: Any) -> bool:
    """Whether a class or a function is of this package."""
    return str(made.__module__).startswith("mcubench.")


def _loaders(trainer: Any, data: Any, stage: str) -> Iterator[tuple[str, Any]]:
    """What is iterated over, by the name of what makes it."""
    fit = trainer.fit_loop
    sources = {
        "fit": {"train": fit, "val": fit.epoch_loop.val_loop},
        "validate": {"val": trainer.validate_loop},
        "test": {"test": trainer.test_loop},
    }.get(stage, {})
    for part, loop in sources.items():
        with contextlib.suppress(Exception):  # somebody's loader may need what is set up later
            if loop._data_source.is_defined() and getattr(trainer, f"limit_{part}_batches"):
                yield f"{part}_dataloader", loop._data_source.dataloader()
    if stage == "fit" and data is not None:
        with contextlib.suppress(Exception):  # there may be none, or none before it is set up for testing
            yield "test_dataloader", data.test_dataloader()
