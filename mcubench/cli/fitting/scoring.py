"""Scores of a finished fit on the parts of its data, whoever wrote the module and the data."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from mcubench.cost import BitWidths
from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.base import Part
from mcubench.models import Classifier
from mcubench.models.scored import ScoredModule
from mcubench.results.evaluation import NotScorableError, Scores, score
from mcubench.training import channels_last

__all__ = ["IN_FLOAT", "PARTS", "Scoring", "as_trained"]

IN_FLOAT = BitWidths(32, 32)  # what a network is scored at where nothing rounds it
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Scoring:
    """How the forms of a model are scored.

    Attributes:
        model: The module that was trained.
        datamodule: Its data, or ``None`` if the module brings its own.
        device: Where to compute.
        notes: Takes what can't be scored, and why.
        parts: The parts of the data that are scored at all.
    """

    model: pl.LightningModule
    datamodule: pl.LightningDataModule | None
    device: torch.device
    notes: list[str]
    parts: tuple[Part, ...] = PARTS

    @property
    def source(self) -> pl.LightningDataModule | pl.LightningModule:
        """Where samples come from."""
        return self.model if self.datamodule is None else self.datamodule

    @property
    def num_classes(self) -> int | None:
        """Number of classes; ``None`` where nobody says it."""
        found: int | None = getattr(self.source, "num_classes", None) or getattr(self.model, "num_classes", None)
        return found

    def score(self, module: nn.Module, part: Part) -> Scores | None:
        """Scores a form of the model on a part of the data; ``None`` if that can't be, with a note, or is not to be."""
        if part not in self.parts:
            return None
        unknown = "accuracy and macro-F1 are not known"
        try:
            return score(module, self._batches(part), self.num_classes, self.device, self._prepare)
        except NotScorableError as error:
            self._note(f"{part} {unknown}: {error}")
        except Exception as error:
            if isinstance(self.source, TensorDataModule) and isinstance(self.model, ScoredModule):
                raise
            # Somebody's forward may take more than x: the rest of the result is worth keeping.
            self._note(f"{part} {unknown}: {type(error).__name__}: {error}")
        return None

    def _batches(self, part: Part) -> Iterable[Any]:
        """The batches of a part; of a loader without a length, which may have no end, as many as the trainer took."""
        batches = _batches_of(self.source, part)
        if isinstance(self.source, TensorDataModule) or sized_len(batches) is not None:
            return batches
        trainer: Any = self.source.trainer
        most = getattr(trainer, f"limit_{part}_batches")
        if not isinstance(most, int):
            if part != "train":
                return batches
            most = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        self._note(f"{part} scores are of the first {most:,} batches: the loader has no length")
        return itertools.islice(batches, most)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _prepare(self, batch: Any) -> Any:
        """What the transfer hooks of a foreign data module may do to a batch."""
        return self.model._apply_batch_transfer_handler(batch, device=self.device)


def _batches_of(source: pl.LightningDataModule | pl.LightningModule, part: Part) -> Iterable[Any]:
    """The batches of a part, in order.

    Raises:
        NotScorableError: If there are none.
    """
    if isinstance(source, TensorDataModule):
        return source.whole(part)
    loader: Iterable[Any] | None
    try:
        if part == "test":
            source.setup("test")  # data modules may prepare their test set only here
        loader = getattr(source, f"{part}_dataloader")()
    except (NotImplementedError, MisconfigurationException):
        loader = None
    if loader is None or not hasattr(loader, "__iter__"):
        raise NotScorableError(f"{type(source).__name__} has no {part}_dataloader")
    return loader


def as_trained(model: pl.LightningModule) -> contextlib.AbstractContextManager[None]:
    """Has a classifier's weights lie as in training: that is faster, and gives the very logits of its validation."""
    fast = isinstance(model, Classifier) and model.channels_last and model.device.type == "cpu"
    return channels_last(model) if fast else contextlib.nullcontext()
