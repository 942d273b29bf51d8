"""Logs what a model costs, and prints it by layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from rich.console import Console

from mcubench.callbacks.sample import (
    checked_batch_dim,
    first_batch,
    sample_known_before,
    sample_promised,
    samples_at_batch,
    tried,
)
from mcubench.callbacks.trained_widths import priced_widths
from mcubench.cost import BitWidths, CostReport, profile
from mcubench.cost.table import print_report
from mcubench.errors import UserError

__all__ = ["MACs"]


class MACs(pl.Callback):
    """Logs ``cost/macs`` and ``cost/params`` when training starts, and prints the table of costs by layer.

    It traces the module with its ``example_input_array``, or the data module's ``input_shape``, or the first training
    batch. Where other people's ``input_shape`` turns out to be something else than the shape of a sample, it counts
    again with the first batch. What can't be counted is named in the table, and ``cost/macs`` is not logged then. A
    module that can't be traced trains on, with a warning that says why. Under `QuantizationAwareTraining` its bits are
    those of the table.

    Args:
        weight_bits: Bits of a weight in the table: 1, 2, 4, 8, or 16 and 32 for floats.
        activation_bits: Bits of an activation in the table: 4, 8, 16 or 32.
        per_layer: Other bits for the weights of some modules, by path.
        count_bias: Count the addition of a bias as one MAC, as some tools do.
        print_table: Print the table.
        batch_dim: Where the batch stands in what the module's forward takes.

    Attributes:
        report: All costs; ``None`` before training, and if the module could not be traced.
        problem: Why the module could not be traced, if so.
    """

    def __init__(
        self,
        weight_bits: int = 8,
        activation_bits: int = 8,
        per_layer: dict[str, int] | None = None,
        count_bias: bool = False,
        print_table: bool = True,
        batch_dim: int = 0,
    ) -> None:
        self.widths = BitWidths(weight_bits, activation_bits, per_layer or {})
        self.count_bias = count_bias
        self.print_table = print_table
        self.batch_dim = checked_batch_dim(batch_dim)
        self.report: CostReport | None = None
        self.problem: str | None = None
        self._promised: Any = None  # the sample that was counted with, if a batch has not confirmed it yet
        self._logged = False
        self._samples: Sequence[Any] = ()  # what it was last priced with

    @property
    def state_key(self) -> str:
        """Tells several of one trainer apart, by their options."""
        return self._generate_state_key(widths=str(self.widths), count_bias=self.count_bias)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts, if a sample is known already."""
        self.report = self.problem = self._promised = None
        self._logged = False
        try:
            sample = sample_known_before(trainer, pl_module, self.batch_dim)
        except UserError as error:
            self._give_up(str(error))
            return
        if sample is not None:
            self._count(trainer, pl_module, [sample])
        else:
            self._count_promised(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Logs, now that nothing kept the training from starting; counts first, if nothing was known before."""
        if self._logged:
            return
        self._logged = True
        if self.problem is None and (self.report is None or self._promised is not None):
            self._count_first(trainer, pl_module, batch)
        if self.report is not None:
            metrics: dict[str, float] = {"cost/params": self.report.params}
            if self.report.macs is not None:
                metrics["cost/macs"] = self.report.macs
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=trainer.global_step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts with a batch of a run that had nothing left to train, if nothing was known before."""
        unconfirmed = self.problem is None and (self.report is None or self._promised is not None)
        if unconfirmed and not self._logged and (batch := first_batch(trainer)) is not None:
            self._count_first(trainer, pl_module, batch)

    def _count_promised(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Counts with the shape that the data seem to have; if that can't be, the first batch will tell."""
        sample = sample_promised(trainer, module, self.batch_dim)
        if sample is not None and self._priced(trainer, module, [sample]) is None:
            self._promised = sample
            self._print(trainer)

    def _count_first(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> None:
        """Counts with the first batch, unless it is like what was counted with, or nothing that forward takes."""
        promised, self._promised = self._promised, None
        before = self.report
        try:
            samples = samples_at_batch(trainer, module, batch, self.batch_dim)
        except UserError as error:
            self._give_up(str(error))
            return
        if promised is None:
            self._count(trainer, module, samples)
        elif len(samples) > 1 and self._priced(trainer, module, samples[:1]) is None:
            said, found = (tuple(each.squeeze(self.batch_dim).shape) for each in (promised, samples[0]))
            warnings.warn(
                f"the data module's input_shape is {said}, and samples have shape {found}: MACs are counted anew",
                stacklevel=2,
            )
            self._print(trainer)
        else:
            self.report = before

    def _count(self, trainer: pl.Trainer, module: pl.LightningModule, samples: Sequence[Any]) -> None:
        problem = self._priced(trainer, module, samples)
        if problem is None:
            self._print(trainer)
        else:
            self._give_up(problem)

    def _priced(self, trainer: pl.Trainer, module: pl.LightningModule, samples: Sequence[Any]) -> str | None:
        """Makes the report with the first sample that can be traced; what is wrong, if it can't be made."""

        def report(sample: Any) -> CostReport:
            return profile(module, sample, priced_widths(trainer, self.widths), self.count_bias, self.batch_dim)

        self.report, self._samples = None, samples
        try:
            self.report = tried(samples, report)
        except UserError as error:
            return str(error)
        except Exception as error:  # a fault of ours must not end somebody's training
            return f"counting failed ({type(error).__name__}: {error}), and the training goes on"
        return None

    def price_untrained_widths(self, module: pl.LightningModule) -> None:
        """Has `report` priced at this callback's own widths: it turned out that none were trained."""
        if self.report is not None:
            self.report = tried(
                self._samples, lambda each: profile(module, each, self.widths, self.count_bias, self.batch_dim)
            )

    def _print(self, trainer: pl.Trainer) -> None:
        if self.report is None or not self.print_table or not trainer.is_global_zero:
            return
        try:
            print_report(self.report, Console())
        except Exception as error:  # a terminal that can't show it
            warnings.warn(f"the table of costs can't be printed: {type(error).__name__}: {error}", stacklevel=2)

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        warnings.warn(f"MACs are not known: {problem}", stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """The totals, for whoever reads a checkpoint."""
        report = self.report
        return {} if report is None else {"macs": report.macs, "params": report.params}
