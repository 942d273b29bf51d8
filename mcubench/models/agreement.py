"""Whether a model and its data were made for each other, by what both say before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.datamodules import TensorDataModule
from mcubench.errors import UserError

if TYPE_CHECKING:
    from mcubench.models.scored import ScoredModule

__all__ = ["check_agreement"]


def check_agreement(model: ScoredModule, data: object) -> None:
    """Sees that a model takes the data's samples and has a score for each of their classes, and no more.

    Args:
        model: The model.
        data: Any data module, or ``None``; other people's make no such promise, and pass.

    Raises:
        UserError: If they differ; the option and both values are named.
    """
    if not isinstance(data, TensorDataModule):
        return
    for option, ours, theirs in (
        ("num_classes", model.num_classes, data.num_classes),
        ("input_shape", model.input_shape, tuple(data.input_shape)),
    ):
        if ours != theirs:
            raise UserError(
                f"{option} of {type(model).__name__} must be that of {type(data).__name__}, {theirs}; got {ours}. Left "
                "out, it is taken from the data"
            )
