"""Quantisation-aware training of any LightningModule, without a change to the module."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from mcubench.callbacks.best_so_far import forget_best
from mcubench.callbacks.sample import checked_batch_dim, first_batch, sample_known_before, samples_at_batch, tried
from mcubench.cost import BitWidths
from mcubench.errors import UserError
from mcubench.quant import NotInIntegersError, check_kernels
from mcubench.quant.training import (
    STATE_KEY,
    Copies,
    FakeQuantizer,
    Observer,
    Phase,
    Plan,
    Schedule,
    StepWatch,
    checked_widths,
    make_plan,
    state_of_widths,
    widths_of,
)

__all__ = ["QuantizationAwareTraining"]

_EXPORTED_BITS = 8  # of activations: the integer graph has no others


class QuantizationAwareTraining(pl.Callback):
    """Trains a module as an integer kernel will compute it: int8 values, weights of few bits.

    The forward of the module rounds every value that its deployed graph (batch norm folded, activations fused) keeps,
    per tensor, and every weight, symmetrically for each output channel; gradients pass straight through inside the
    range. The module gets no layer, parameter or buffer. What can't be rounded is an error that names it: a layer that
    a step computes outside of forward, an operation without an integer form or one that is not understood.

    In validation and test the module is rounded as soon as ranges were learned, which checkpoints keep for export.
    Copies of the module that are made while it trains, such as an average of its weights, are rounded in its ranges.
    Processes that train together learn the same ranges.

    Where rounding begins, or bit widths change, in a resumed fit too, all that remembers a best value of a metric
    starts anew (checkpoints, early stopping, schedulers that wait for a plateau): the best is one of the epochs that
    were rounded like the last. A fit that ends before `start_epoch` says so.

    Args:
        weight_bits: Bits of a weight: 8, 4 or 2 (ternary).
        activation_bits: Bits of an activation: 8 or 4.
        start_epoch: The first epoch, from 0, that is rounded.
        freeze_observers_epoch: The first epoch that learns no ranges any more; by default all after `start_epoch` do.
        per_layer: Other bits for the weights of some modules, by path.
        observer: The range of a batch: its extremes (``moving_average``), or the one of least squared error (``mse``).
        batch_dim: Where the batch stands in what the module's forward takes.

    Raises:
        UserError: If an option is not one of those allowed.
    """

    def __init__(
        self,
        weight_bits: int = 8,
        activation_bits: int = 8,
        start_epoch: int = 0,
        freeze_observers_epoch: int | None = None,
        per_layer: dict[str, int] | None = None,
        observer: Observer = "moving_average",
        batch_dim: int = 0,
    ) -> None:
        if observer not in get_args(Observer):
            raise UserError(f"observer must be one of {', '.join(get_args(Observer))}; got {observer!r}")
        self.schedule = Schedule(start_epoch, freeze_observers_epoch)
        self.observer: Observer = observer
        self.batch_dim = checked_batch_dim(batch_dim)
        self._configured = self._widths = checked_widths(BitWidths(weight_bits, activation_bits, per_layer or {}))
        self._quantizer: FakeQuantizer | None = None
        self._loaded: Mapping[str, Any] | None = None  # the state in a checkpoint; empty, if it has none
        self._compared: BitWidths | None = None  # what metrics so far are of; None: of a float model
        self._watch = StepWatch()
        self._copies: Copies | None = None
        self._said_frozen = False

    @property
    def state_key(self) -> str:
        """The name under which export looks for the state."""
        return STATE_KEY

    @property
    def widths(self) -> BitWidths:
        """The bit widths; they may be set while training."""
        return self._widths

    @widths.setter
    def widths(self, widths: BitWidths) -> None:
        if self._quantizer is not None:
            self._quantizer.widths = checked_widths(widths)
        self._widths = checked_widths(widths)

    # --- where it begins and ends ---

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forgets a checkpoint that was loaded before; from now on copies are known.

        Raises:
            UserError: If the module is a classical model.
        """
        if hasattr(pl_module, "is_fitted"):
            raise UserError(
                f"QuantizationAwareTraining is for networks; {type(pl_module).__name__} is a classical model, which is "
                "rounded when it is fitted: leave the callback out; --model.bits chooses how"
            )
        self._loaded = None
        if stage == TrainerFn.FITTING:
            self._copies = Copies(pl_module, lambda: self._quantizer, functools.partial(rank_zero_warn, stacklevel=2))

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Notes the state of the checkpoint, or that it has none; in the middle of a fit, goes back to it."""
        state = (checkpoint.get("callbacks") or {}).get(STATE_KEY, {})
        if self._quantizer is not None and self._quantizer.module is pl_module:
            self._quantizer.load(state)
        else:
            self._loaded = state

    def state_dict(self) -> dict[str, Any]:
        """Bits and ranges; `mcubench.quant.training.trained_ranges` reads them."""
        if self._quantizer is None:
            return dict(self._loaded or {})
        return {**self._quantizer.state(), "configured": state_of_widths(self._configured)}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds out where to round, if a sample is known already."""
        self._begin(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same, without a fit."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._begin(trainer, pl_module)

    on_test_start = on_predict_start = on_validation_start

    def _begin(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._loaded is None and trainer.global_step == 0:
            self._loaded = {}  # a fresh fit; another in the same trainer goes on
        known = self._quantizer.state() if self._loaded is None and self._quantizer is not None else self._loaded
        self._detach()
        self._quantizer, self._loaded = None, known or {}
        self._compared = widths_of(self._loaded) if self._loaded.get("ranges") else None
        sample = sample_known_before(trainer, module, self.batch_dim)
        if sample is not None:
            self._attach(trainer, module, [sample])

    def _attach(self, trainer: pl.Trainer, module: pl.LightningModule, samples: Sequence[Any]) -> None:
        plan = tried(samples, lambda sample: make_plan(module, sample, self.batch_dim))
        if trainer.state.fn == TrainerFn.FITTING:
            self._warn_if_not_exportable(plan)
        if self._loaded:
            self._take_widths(self._loaded)
        several = trainer.world_size > 1
        largest = functools.partial(trainer.strategy.reduce, reduce_op="max") if several else None
        self._quantizer = FakeQuantizer(plan, self._widths, self.observer, largest)
        if self._loaded:
            self._quantizer.load(self._loaded)
        self._quantizer.attach(module, lambda: self._phase(trainer, module))

    def _take_widths(self, state: Mapping[str, Any]) -> None:
        """Goes on with the widths that a run had reached, unless this callback asks for others than it began with."""
        reached = widths_of(state)
        if reached == self._widths:
            return
        if self._configured == widths_of(state.get("configured", state)):
            self._widths = reached
        else:
            rank_zero_warn(f"the checkpoint was trained with {reached}; here it is {self._widths}", stacklevel=2)

    def _warn_if_not_exportable(self, plan: Plan) -> None:
        problem = f"TFLite Micro has no activations of {self._widths.activation} bits"
        if self._widths.activation == _EXPORTED_BITS:
            try:
                check_kernels(plan.graph, self._widths)
            except NotInIntegersError as error:
                problem = str(error)
            else:
                return
        rank_zero_warn(f"it will be rounded in training, but it can't become a .tflite: {problem}", stacklevel=2)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leaves the module as it was."""
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leaves the module as it was: there is no teardown after an exception."""
        self._release()

    def _release(self) -> None:
        self._detach()
        if self._copies is not None:
            self._copies.end()

    def _detach(self) -> None:
        if self._quantizer is not None:
            self._quantizer.detach()
        self._watch.end()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds out where to round in a run that had nothing left to train; says so if nothing was ever rounded."""
        if self._quantizer is None and self._loaded and (batch := first_batch(trainer)) is not None:
            self._attach(trainer, pl_module, samples_at_batch(trainer, pl_module, batch, self.batch_dim))
        if not self.has_ranges and not getattr(trainer, "fast_dev_run", False):
            rank_zero_warn(f"{self.not_begun(trainer.current_epoch)}; lower start_epoch or train longer", stacklevel=2)

    @property
    def has_ranges(self) -> bool:
        """Whether ranges were learned, so that the module is rounded when it is evaluated."""
        return bool(self.state_dict().get("ranges"))

    def not_begun(self, epochs: int) -> str:
        """What is to say of a fit that ended after so many epochs, before anything was rounded."""
        start = self.schedule.start
        ended = f"the fit ended after {epochs} epoch{'s'[: epochs != 1]}"
        if epochs > start:
            return f"{ended} without training one with QuantizationAwareTraining: all of it is float"
        return f"{ended}, before QuantizationAwareTraining began (start_epoch {start}, from 0): all of it is float"

    # --- one step ---

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Has the best be chosen anew where the model that is compared changes; watches the step."""
        self._begin_step(trainer, pl_module, batch)
        assert self._quantizer is not None
        begins = trainer.current_epoch >= self.schedule.start
        compared = self._widths if begins or self._quantizer.ranges else None
        if compared != self._compared:
            self._compared = compared
            forget_best(trainer)

    def _begin_step(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> None:
        """Watches the step: what it computes outside of forward would stay float."""
        if self._quantizer is None:
            self._attach(trainer, module, samples_at_batch(trainer, module, batch, self.batch_dim))
        assert self._quantizer is not None
        self._watch.begin(module, self._quantizer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watches the step."""
        self._begin_step(trainer, pl_module, batch)

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        """Checks that the loss came from forward; the watch goes on, as a step may have another one."""
        if self._quantizer is not None:
            self._watch.check_forward(pl_module, self._quantizer)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Ends the watch."""
        self._watch.end()

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Checks what was evaluated, and ends the watch."""
        assert self._quantizer is not None
        frozen = self._watch.frozen_in_evaluation(pl_module, self._quantizer) if self._quantizer.ranges else None
        self._watch.end()
        if frozen is not None and not self._said_frozen:
            self._said_frozen = True
            rank_zero_warn(
                f"{type(pl_module).__name__} is evaluated with {frozen} too, outside of its forward: that is float",
                stacklevel=2,
            )

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def _phase(self, trainer: pl.Trainer, module: pl.LightningModule) -> Phase:
        assert self._quantizer is not None
        has_ranges = bool(self._quantizer.ranges)
        if not trainer.training:
            return self.schedule.evaluation(has_ranges)
        return self.schedule.training(trainer.current_epoch, module.training and torch.is_grad_enabled(), has_ranges)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks that ranges were learned."""
        if self._quantizer is not None and trainer.current_epoch >= self.schedule.start and not self._quantizer.ranges:
            raise UserError(
                f"QuantizationAwareTraining learned no ranges in epoch {trainer.current_epoch}, so all stayed float: "
                f"{type(pl_module).__name__} must be in training mode while it trains; freeze layers one by one"
            )

    # --- for others ---

    @contextlib.contextmanager
    def quantized(self, module: pl.LightningModule, state: Mapping[str, Any] | None = None) -> Iterator[None]:
        """While it lasts, a module that was trained with this callback is rounded outside of a Trainer too.

        Args:
            module: The module.
            state: The ranges and widths, as a checkpoint has them; by default those learned last.
        """
        if self._quantizer is None:
            yield
            return
        state = self._quantizer.state() if state is None else state
        widths = widths_of(state) if state else self._widths
        quantizer = FakeQuantizer(self._quantizer.plan, widths, self.observer)
        quantizer.load(state)
        quantizer.attach(module, lambda: Phase.ROUND if quantizer.ranges else Phase.FLOAT)
        try:
            yield
        finally:
            quantizer.detach()
