"""Logs what a model costs, and prints it by layer."""

from __future__ import annotations

import warnings
from typing import Any

import lightning.pytorch as pl
from rich.console import Console

from mcubench.callbacks.sample import checked_batch_dim, sample_from_batch, sample_known_before
from mcubench.callbacks.trained_widths import priced_widths
from mcubench.cost import BitWidths, CostReport, profile
from mcubench.cost.table import print_report
from mcubench.errors import UserError

__all__ = ["MACs"]


class MACs(pl.Callback):
    """Logs ``cost/macs`` and ``cost/params`` when training starts, and prints the table of costs by layer.

    It traces the module with its ``example_input_array``, or the data module's ``input_shape``, or the first training
    batch. What can't be counted is named in the table, and ``cost/macs`` is not logged then. A module that can't be
    traced trains on, with a warning that says why. Under `QuantizationAwareTraining` its bits are those of the table.

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
        self._logged = False
        self._sample: Any = None

    @property
    def state_key(self) -> str:
        """Tells several of one trainer apart, by their options."""
        return self._generate_state_key(widths=str(self.widths), count_bias=self.count_bias)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts, if a sample is known already."""
        self.report = self.problem = None
        self._logged = False
        sample = sample_known_before(trainer, pl_module, self.batch_dim)
        if sample is not None:
            self._count(trainer, pl_module, sample)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Logs, now that nothing kept the training from starting; counts first, if nothing was known before."""
        if self._logged:
            return
        self._logged = True
        if self.report is None and self.problem is None:
            try:
                sample = sample_from_batch(batch, pl_module, self.batch_dim)
            except UserError as error:
                self._give_up(error)
                return
            self._count(trainer, pl_module, sample)
        if self.report is not None:
            metrics: dict[str, float] = {"cost/params": self.report.params}
            if self.report.macs is not None:
                metrics["cost/macs"] = self.report.macs
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=trainer.global_step)

    def _count(self, trainer: pl.Trainer, module: pl.LightningModule, sample: Any) -> None:
        self._sample = sample
        try:
            self.report = profile(module, sample, priced_widths(trainer, self.widths), self.count_bias, self.batch_dim)
        except UserError as error:
            self._give_up(error)
            return
        if self.print_table and trainer.is_global_zero:
            print_report(self.report, Console())

    def price_untrained_widths(self, module: pl.LightningModule) -> None:
        """Has `report` priced at this callback's own widths: it turned out that none were trained."""
        if self.report is not None:
            self.report = profile(module, self._sample, self.widths, self.count_bias, self.batch_dim)

    def _give_up(self, error: UserError) -> None:
        self.problem = str(error)
        warnings.warn(f"MACs are not known: {error}", stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """The totals, for whoever reads a checkpoint."""
        report = self.report
        return {} if report is None else {"macs": report.macs, "params": report.params}
