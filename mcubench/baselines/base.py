"""What makes a scikit-learn estimator a LightningModule: fitted once, then scored, saved and priced as networks are."""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor

from mcubench.baselines.callbacks import check_callbacks
from mcubench.baselines.forms import Samples, choose_form
from mcubench.baselines.heartbeat import heartbeat
from mcubench.baselines.rounded import (
    FORMS,
    Form,
    RoundedEstimator,
    grids_as_numbers,
    grids_from_numbers,
    obstacle,
    round_estimator,
)
from mcubench.baselines.settings import with_settings
from mcubench.baselines.storage import read_estimator, write_estimator
from mcubench.cost import BitWidths
from mcubench.cost.estimators import classifying, priced
from mcubench.datamodules import TensorDataModule
from mcubench.errors import UserError
from mcubench.models.scored import ClassWeights, ScoredModule
from mcubench.stopping import in_background

__all__ = ["Baseline"]


class Baseline(ScoredModule, abc.ABC):
    """A classifier of scikit-learn's under Lightning's Trainer.

    A subclass implements `make`. The estimator is fitted once, on the whole training part, before the first epoch; that
    epoch trains nothing more and is the last one, whatever ``max_epochs`` says. Samples are flattened. Classes are
    those that the estimator gives with its numbers rounded to `bits`, the width that it is priced at. The scores of
    ``forward`` are the estimator's probabilities where they are largest for that class, else 1 for it; the loss that is
    logged is the share of wrong predictions. Checkpoints hold the fitted estimator (skops, never pickle).

    Args:
        input_shape: Shape of one sample; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        class_weights: Weights of the classes: ``balanced`` or one number a class; each sample gets its class's.
        max_samples: Fit on so many samples at most, drawn with `seed`, class shares kept; not set, on all.
        seed: Seed of the draw and of the estimator; not set, it follows ``--seed_everything``.
        bits: What its numbers are stored, scored and priced as: ``int8``, ``int16`` or ``float32``; not set, the
            narrowest that loses at most 0.1 points of validation accuracy.

    Attributes:
        estimator: The fitted estimator; ``None`` before.
        float_estimator: The one that was fitted in float: the same, unless fitting on rounded inputs was better.
        rounded: What predicts: the estimator in the chosen form.
        fitted_on: Number of samples that it was fitted on.
    """

    automatic_optimization = False

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        class_weights: ClassWeights = None,
        max_samples: int | None = None,
        seed: int | None = None,
        bits: Form | None = None,
    ) -> None:
        super().__init__(input_shape, num_classes, class_weights)
        self.save_hyperparameters()
        if max_samples is not None and max_samples < num_classes:
            raise UserError(f"max_samples must be at least {num_classes}, one a class; got {max_samples}")
        if bits is not None and bits not in FORMS:
            raise UserError(f"bits must be one of {', '.join(FORMS)}; got {bits!r}")
        self.max_samples = max_samples
        self.seed = seed
        self.bits = bits
        self._forget()

    def _forget(self) -> None:
        self.rounded: RoundedEstimator | None = None
        self.float_estimator: Any = None
        self.fitted_on = 0
        self._form_note = ""

    @abc.abstractmethod
    def make(self) -> BaseEstimator:
        """A new, unfitted estimator."""

    @property
    def estimator(self) -> Any:
        """The fitted estimator that is scored and priced."""
        return None if self.rounded is None else self.rounded.estimator

    @property
    def widths(self) -> BitWidths | None:
        """The bit widths that it is scored at, which are those of its price; ``None`` before the fit."""
        return None if self.rounded is None else FORMS[self.rounded.form]

    @property
    def is_fitted(self) -> bool:
        """Whether there is an estimator to predict with, to save and to price."""
        return self.estimator is not None

    @property
    def random_state(self) -> int:
        """The seed that counts."""
        return torch.initial_seed() % 2**32 if self.seed is None else self.seed

    @property
    def fit_notes(self) -> list[str]:
        """What is worth knowing of the fit."""
        drawn = self.is_fitted and self.max_samples is not None and self.fitted_on == self.max_samples
        notes = [f"fitted on {self.fitted_on:,} samples, drawn from the training part"] if drawn else []
        return [*notes, self._form_note] if self._form_note else notes

    def configure_callbacks(self) -> list[Any]:
        """None; sees that there are none for networks, before one of them begins."""
        check_callbacks(self)
        return []

    def setup(self, stage: str) -> None:
        """Begins a fit without an estimator, so that nothing prices an old one; a run that is resumed brings its own.

        Raises:
            UserError: If there is no epoch to fit in, only a part of the batches is asked for, or several processes
                would each fit on a part.
        """
        super().setup(stage)
        if stage != "fit":
            return
        if self.trainer.max_epochs == 0 or self.trainer.max_steps == 0:
            raise UserError(
                f"{type(self).__name__} is fitted in the first epoch: max_epochs and max_steps must not be 0"
            )
        if self.trainer.world_size > 1:
            raise UserError(f"{type(self).__name__} is fitted by one process, on all samples: use one device")
        trainer: Any = self.trainer
        if trainer.fast_dev_run or trainer.overfit_batches or trainer.limit_train_batches != 1.0:
            raise UserError(
                f"{type(self).__name__} is fitted on the whole training part, not on batches: use max_samples instead "
                "of fast_dev_run, overfit_batches and limit_train_batches"
            )
        self._forget()

    def on_train_start(self) -> None:
        """Ends a resumed run whose estimator is fitted: there is nothing left to do."""
        if self.is_fitted:
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        """Fits the estimator, in the first epoch; there are more only if ``min_epochs`` says so.

        Raises:
            KeyboardInterrupt: At once after Ctrl-C: half an estimator is nothing to save.
            Terminated: After SIGTERM, likewise.
        """
        super().on_train_epoch_start()
        if not self.is_fitted:
            train, validation = self._training_part(), self._validation_part()
            in_background(with_settings(lambda: self.fit(*train, validation=validation)))

    def on_train_epoch_end(self) -> None:
        """Stops: one epoch is all there is to do."""
        super().on_train_epoch_end()
        self.trainer.should_stop = True

    def fit(self, x: NDArray[Any], y: NDArray[np.int64], validation: Samples | None = None) -> None:
        """Fits a new estimator, and chooses its form.

        Args:
            x: Samples, shape (N, ...).
            y: Their classes, shape (N,).
            validation: Other samples and their classes, to choose the number of bits by.

        Raises:
            UserError: If the estimator can't be fitted on them as asked.
        """
        if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= self.num_classes:
            raise UserError(
                f"{type(self).__name__} needs one class for each sample, 0 to {self.num_classes - 1}; the data has "
                f"labels of shape {y.shape} and type {y.dtype}, {y.min()} to {y.max()}"
            )
        x, y = self._drawn(x.reshape(len(x), -1), y)
        estimator = self._fitted(x, y)
        if validation is not None:
            validation = validation[0].reshape(len(validation[0]), -1), validation[1]
        with heartbeat(f"rounding {type(self).__name__}"):
            chosen = choose_form(estimator, lambda rounded: self._fitted(rounded, y), self.bits, x, validation)
        self.rounded, self.float_estimator, self.fitted_on = chosen.rounded, estimator, len(x)
        self._form_note = chosen.note

    def _fitted(self, x: NDArray[Any], y: NDArray[np.int64]) -> BaseEstimator:
        """A new estimator, fitted on samples (N, features)."""
        estimator = self.make()
        options = self._sample_weights(estimator, y)
        with heartbeat(f"fitting {type(self).__name__} on {len(x):,} samples"), warnings.catch_warnings():
            warnings.simplefilter("always", ConvergenceWarning)
            try:
                estimator.fit(x, y, **options)
                estimator.predict(x[:1])  # some find out only here that they can't
            except (ValueError, TypeError, IndexError) as error:  # of options and data that do not go together
                raise UserError(f"{type(self).__name__} can't be fitted: {error}") from error
        return estimator

    def _training_part(self) -> Samples:
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TensorDataModule):
            return data.arrays("train")
        return self._collected(self.trainer.fit_loop._data_source.dataloader())

    def _validation_part(self) -> Samples | None:
        """What validation will be scored on; ``None`` if there is none."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TensorDataModule):
            return data.arrays("val")
        source = self.trainer.fit_loop.epoch_loop.val_loop._data_source
        loader = source.dataloader() if source.is_defined() else None
        several = isinstance(loader, (list, tuple, dict))  # none of which is the one to choose by
        return None if loader is None or several else self._collected(loader)

    def _collected(self, loader: Any) -> Samples:
        """All batches of a loader as two arrays."""
        batches = [self._apply_batch_transfer_handler(batch) for batch in loader]
        for batch in batches:
            if not isinstance(batch, (tuple, list)) or [isinstance(each, Tensor) for each in batch] != [True, True]:
                raise UserError(f"{type(self).__name__} needs batches of samples and their classes, two tensors each")
        x, y = (torch.cat(part).cpu().numpy() for part in zip(*batches, strict=True))
        return x, y

    def _drawn(self, x: NDArray[Any], y: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """At most `max_samples` of the samples, with the shares of the classes kept."""
        if self.max_samples is None or len(x) <= self.max_samples:
            return x, y
        # Each class in random order, spread evenly from 0 to 1: the lowest hold every class by its share.
        order = np.random.default_rng(self.random_state).permutation(len(y))
        place = np.empty(len(y))
        for label in np.unique(y):
            members = order[y[order] == label]
            place[members] = (np.arange(len(members)) + 0.5) / len(members)
            if len(members) * self.max_samples < len(y):  # its share is less than one sample: it still gets one
                place[members[0]] = 0
        drawn = np.sort(order[np.argsort(place[order], kind="stable")[: self.max_samples]])
        return x[drawn], y[drawn]

    def _sample_weights(self, estimator: BaseEstimator, y: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        if self.class_weights is None:
            return {}
        prefix, last = "", estimator
        while isinstance(last, Pipeline):
            name, last = last.steps[-1]
            prefix += f"{name}__"
        if not has_fit_parameter(last, "sample_weight"):
            raise UserError(f"{type(last).__name__} takes no weights of samples: leave class_weights out")
        # Computed by scikit-learn, in float64 as its own: rounded to float32 they break ties between splits otherwise.
        given = self.class_weights
        chosen = given if isinstance(given, str) else dict(enumerate(given or ()))
        return {f"{prefix}sample_weight": compute_sample_weight(chosen, y)}

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
        if self.rounded is None:
            raise UserError(f"{type(self).__name__} is not fitted yet: run fit first, or load a checkpoint")
        samples = x.detach().flatten(1).cpu().numpy()
        scores = np.zeros((len(samples), self.num_classes), np.float32)
        classes = self.estimator.classes_.astype(int)  # those that occurred in training
        predicted = self.rounded.predict(samples).astype(int)
        if hasattr(self.estimator, "predict_proba"):
            scores[:, classes] = self.estimator.predict_proba(samples)
            # Some estimate probabilities on the side, and rounding moves what lies close: the prediction counts.
            alone = scores.argmax(1) != predicted
        else:
            alone = np.ones(len(samples), bool)
        scores[alone] = np.eye(self.num_classes, dtype=np.float32)[predicted[alone]]
        return torch.from_numpy(scores).to(x.device)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The share of wrong predictions."""
        return (scores.argmax(-1) != target).float().mean()

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The scores, shape (N, num_classes)."""
        scores: Tensor = self(batch[0])
        return scores

    def get_extra_state(self) -> dict[str, Any]:
        """The fitted estimator and its form, for ``state_dict``."""
        other = None if self.float_estimator is self.estimator else self.float_estimator
        rounded = self.rounded
        return {
            "estimator": write_estimator(self.estimator),
            "float_estimator": write_estimator(other),
            "fitted_on": self.fitted_on,
            "form": None if rounded is None else rounded.form,
            "grids": [] if rounded is None else grids_as_numbers(rounded.grids),
            "form_note": self._form_note,
        }

    def set_extra_state(self, state: Any) -> None:
        """Takes over a fitted estimator.

        Raises:
            UserError: If it is damaged, holds more than data, or is another model's.
        """
        content = state.get("estimator") if isinstance(state, dict) else None
        if not isinstance(content, Tensor) or not isinstance(state.get("fitted_on"), int):
            raise UserError("the saved estimator is damaged: its bytes or the number of its samples are missing")
        estimator: Any = read_estimator(content)
        self._forget()
        if estimator is None:
            return
        self._check_fits(estimator)
        self.rounded = _rounded(estimator, state)
        if isinstance(other := state.get("float_estimator"), Tensor) and (found := read_estimator(other)) is not None:
            self._check_fits(found)
            self.float_estimator = found
        else:
            self.float_estimator = estimator
        self.fitted_on, self._form_note = state["fitted_on"], str(state.get("form_note", ""))

    def _check_fits(self, estimator: Any) -> None:
        saved, made = _kinds(estimator), _kinds(self.make())
        if saved != made:
            raise UserError(f"the checkpoint does not fit this model: it holds {saved}, and this is {made}")
        labels = np.asarray(estimator.classes_)
        if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise UserError("the saved estimator is damaged: its classes are not numbers from 0")
        inputs, classes = estimator.n_features_in_, int(labels.max()) + 1
        if inputs != math.prod(self.input_shape) or classes > self.num_classes:
            raise UserError(
                f"the checkpoint does not fit this data: its estimator takes {inputs} values and knows {classes} "
                f"classes; samples have shape {self.input_shape}, of {self.num_classes} classes"
            )


def _rounded(estimator: Any, state: dict[str, Any]) -> RoundedEstimator:
    """The estimator in its form; what an older version saved was scored in float.

    Raises:
        UserError: If the form is damaged.
    """
    if "form" not in state:
        return round_estimator(estimator, "float32", np.zeros((1, estimator.n_features_in_), np.float32))
    form, stages = state["form"], priced(classifying, estimator)
    if form not in FORMS:
        raise UserError(f"the saved estimator is damaged: it can't be computed as {form!r}")
    try:
        grids = grids_from_numbers(state.get("grids"), form)
    except ValueError as error:
        raise UserError(f"the saved estimator is damaged: {error}") from None
    if len(grids) != len(stages) + 1 or (form != "float32" and obstacle(stages)):
        raise UserError(f"the saved estimator is damaged: it can't be computed as {form!r}")
    return RoundedEstimator(estimator, form, grids, stages)


def _kinds(estimator: Any) -> str:
    """The class of an estimator, or those of a pipeline's steps."""
    if isinstance(estimator, Pipeline):
        return " + ".join(_kinds(step) for _, step in estimator.steps)
    return type(estimator).__name__
