"""What makes a scikit-learn estimator a LightningModule: fitted once, then scored, saved and priced as networks are."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor

from mcubench.baselines.heartbeat import heartbeat
from mcubench.baselines.storage import read_estimator, write_estimator
from mcubench.datamodules import TensorDataModule
from mcubench.errors import UserError
from mcubench.models.scored import ClassWeights, ScoredModule

__all__ = ["Baseline"]


class Baseline(ScoredModule, abc.ABC):
    """A classifier of scikit-learn's under Lightning's Trainer.

    A subclass implements `make`. The estimator is fitted once, on the whole training part, before the first epoch; that
    epoch trains nothing more and is the last one, whatever ``max_epochs`` says. Samples are flattened. The scores of
    ``forward`` are the estimator's probabilities, or 1 for the class that it predicts where it has none; the loss that
    is logged is the share of wrong predictions. Checkpoints hold the fitted estimator (skops, never pickle).

    Args:
        input_shape: Shape of one sample; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        class_weights: Weights of the classes: ``balanced`` or one number a class; each sample gets its class's.
        max_samples: Fit on so many samples at most, drawn with `seed`, class shares kept; not set, on all.
        seed: Seed of the draw and of the estimator.

    Attributes:
        estimator: The fitted estimator; ``None`` before.
        fitted_on: Number of samples that it was fitted on.
    """

    automatic_optimization = False

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        class_weights: ClassWeights = None,
        max_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(input_shape, num_classes, class_weights)
        self.save_hyperparameters()
        if max_samples is not None and max_samples < num_classes:
            raise UserError(f"max_samples must be at least {num_classes}, one a class; got {max_samples}")
        self.max_samples = max_samples
        self.seed = seed
        self.estimator: Any = None
        self.fitted_on = 0

    @abc.abstractmethod
    def make(self) -> BaseEstimator:
        """A new, unfitted estimator."""

    @property
    def is_fitted(self) -> bool:
        """Whether there is an estimator to predict with, to save and to price."""
        return self.estimator is not None

    def on_train_epoch_start(self) -> None:
        """Fits the estimator; a resumed run that has done so has nothing left to do."""
        super().on_train_epoch_start()
        if self.estimator is None:
            self.fit(*self._training_part())
        else:
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Stops: one epoch is all there is to do."""
        super().on_train_epoch_end()
        self.trainer.should_stop = True

    def fit(self, x: NDArray[Any], y: NDArray[np.int64]) -> None:
        """Fits a new estimator.

        Args:
            x: Samples, shape (N, ...).
            y: Their classes, shape (N,).

        Raises:
            UserError: If the estimator can't be fitted on them as asked.
        """
        x, y = self._drawn(x.reshape(len(x), -1), y)
        estimator = self.make()
        options = self._sample_weights(estimator, y)
        with heartbeat(f"fitting {type(self).__name__} on {len(x):,} samples"), warnings.catch_warnings():
            warnings.simplefilter("always", ConvergenceWarning)
            try:
                estimator.fit(x, y, **options)
            except ValueError as error:  # scikit-learn's, of options and data that do not go together
                raise UserError(f"{type(self).__name__} can't be fitted: {error}") from error
        self.estimator, self.fitted_on = estimator, len(x)

    def _training_part(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TensorDataModule):
            return data.arrays("train")
        batches = list(self.trainer.fit_loop._data_source.dataloader())
        x, y = (torch.cat(part).cpu().numpy() for part in zip(*batches, strict=True))
        return x, y

    def _drawn(self, x: NDArray[Any], y: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """At most `max_samples` of the samples, with the shares of the classes kept."""
        if self.max_samples is None or len(x) <= self.max_samples:
            return x, y
        try:
            drawn, _ = train_test_split(
                np.arange(len(x)), train_size=self.max_samples, stratify=y, random_state=self.seed
            )
        except ValueError as error:
            raise UserError(f"max_samples {self.max_samples}: {error}") from None
        drawn.sort()
        return x[drawn], y[drawn]

    def _sample_weights(self, estimator: BaseEstimator, y: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        if self.loss_weight is None:
            return {}
        prefix, last = "", estimator
        while isinstance(last, Pipeline):
            name, last = last.steps[-1]
            prefix += f"{name}__"
        if not has_fit_parameter(last, "sample_weight"):
            raise UserError(f"{type(last).__name__} takes no weights of samples: leave class_weights out")
        return {f"{prefix}sample_weight": self.loss_weight.cpu().double().numpy()[y]}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects one batch's outcome; there is none in Lightning's sanity check, which runs before the fit."""
        if not self.trainer.sanity_checking:
            super().validation_step(batch, batch_idx)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # type: ignore[override]
        """Does nothing but count one step, so that the checkpoint knows that something was trained."""
        if batch_idx == 0:
            self.optimizers().step()  # type: ignore[union-attr]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One that optimises nothing: Lightning counts its steps."""
        return torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            x: Shape (N, *input_shape).

        Returns:
            Shape (N, num_classes), float32.

        Raises:
            UserError: If the estimator is not fitted yet.
        """
        if self.estimator is None:
            raise UserError(f"{type(self).__name__} is not fitted yet: run fit first, or load a checkpoint")
        samples = x.detach().flatten(1).cpu().numpy()
        scores = np.zeros((len(samples), self.num_classes), np.float32)
        classes = self.estimator.classes_.astype(int)  # those that occurred in training
        if hasattr(self.estimator, "predict_proba"):
            scores[:, classes] = self.estimator.predict_proba(samples)
        else:
            scores[np.arange(len(samples)), self.estimator.predict(samples).astype(int)] = 1
        return torch.from_numpy(scores).to(x.device)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The share of wrong predictions."""
        return (scores.argmax(-1) != target).float().mean()

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The scores, shape (N, num_classes)."""
        scores: Tensor = self(batch[0])
        return scores

    def get_extra_state(self) -> dict[str, Any]:
        """The fitted estimator, for ``state_dict``."""
        return {"estimator": write_estimator(self.estimator), "fitted_on": self.fitted_on}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes over a fitted estimator.

        Raises:
            UserError: If it is damaged, or holds more than data.
        """
        self.estimator, self.fitted_on = read_estimator(state["estimator"]), state["fitted_on"]
