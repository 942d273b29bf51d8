"""Holds a model to a budget of flash, RAM and MACs at the bit widths that it will run at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from mcubench.callbacks.sample import checked_batch_dim, sample_known_before, samples_at_batch, tried
from mcubench.callbacks.trained_widths import priced_widths, trained_widths
from mcubench.cost import BitWidths, CostReport, bytes_text, find_device, parse_bytes, parse_count, profile
from mcubench.errors import BudgetExceededError, UserError

__all__ = ["SizeBudget"]

OnExceed = Literal["raise", "stop", "warn"]


class SizeBudget(pl.Callback):
    """Checks what a model costs, quantised, before the first epoch and again whenever its bits or structure change.

    Flash, RAM and MACs are those of `mcubench.cost.profile` at the given widths, for the module's
    ``example_input_array``, the ``input_shape`` of a `mcubench.datamodules.TensorDataModule`, or, before the first
    step, the first batch. What can't be priced is over budget, and is named. Logs ``budget/flash``, ``budget/ram``,
    ``budget/macs`` and, for each that is limited, ``budget/..._headroom``. To change widths while training, set
    `widths`.

    Under `QuantizationAwareTraining` it is the widths of that callback that are checked and may be set, also in the
    epochs before its ``start_epoch``, as they are what will be deployed. Others given here give way, with a warning.

    Args:
        flash: Bytes for weights, as a number or as in ``32 KiB``.
        ram: Bytes for activations.
        macs: Multiply-accumulates for one sample, as a number or as in ``1 M``.
        device: A microcontroller, as in ``stm32f446``: its flash and RAM are limits where none are given.
        weight_bits: Bits of a weight: 1, 2, 4, 8, or 16 and 32 for floats.
        activation_bits: Bits of an activation: 4, 8, 16, or 32.
        per_layer: Other bits for the weights of some modules, by path.
        on_exceed: ``raise`` an error; ``stop`` the training in good order, after the trainer's min_epochs and
            min_steps; or ``warn`` and go on.
        batch_dim: Where the batch stands in what the module's forward takes.

    Attributes:
        limits: Bytes or MACs by ``flash``, ``ram`` and ``macs``; ``None`` for no limit.
        widths: The bit widths that it prices at.
        report: All costs at the last check.
        problem: What was wrong at the last check, if anything.

    Raises:
        UserError: If a size, a width or a choice is not one of those allowed.
    """

    def __init__(
        self,
        flash: int | str | None = None,
        ram: int | str | None = None,
        macs: int | str | None = None,
        device: str | None = None,
        weight_bits: int = 8,
        activation_bits: int = 8,
        per_layer: dict[str, int] | None = None,
        on_exceed: OnExceed = "raise",
        batch_dim: int = 0,
    ) -> None:
        if on_exceed not in get_args(OnExceed):
            raise UserError(f"on_exceed must be one of {', '.join(get_args(OnExceed))}; got {on_exceed!r}")
        part = find_device(device) if device is not None else None
        self.limits: dict[str, int | None] = {
            "flash": parse_bytes(flash, "flash") if flash is not None else part.flash if part else None,
            "ram": parse_bytes(ram, "ram") if ram is not None else part.ram if part else None,
            "macs": parse_count(macs, "macs") if macs is not None else None,
        }
        self.widths = BitWidths(weight_bits, activation_bits, per_layer or {})
        self.on_exceed = on_exceed
        self.batch_dim = checked_batch_dim(batch_dim)
        self.report: CostReport | None = None
        self.problem: str | None = None
        self._identity = {**self.limits, "widths": str(self.widths)}
        self._samples: list[Any] = []  # what forward may take, the likeliest first
        self._trained: BitWidths | None = None  # widths that were trained or chosen at the last check
        self._checked: object = None  # structure and widths at the last check
        self._logged: CostReport | None = None

    @property
    def state_key(self) -> str:
        """Tells several budgets of one trainer apart, by their limits and widths."""
        return self._generate_state_key(**self._identity)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks, if a sample is known already."""
        self._checked = self._logged = self.report = self.problem = None
        self._samples = []
        try:
            sample = sample_known_before(trainer, pl_module, self.batch_dim)
        except UserError as error:
            self._complain(trainer, f"the budget can't be checked: {error}")
            return
        self._samples = [] if sample is None else [sample]
        self._check(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Logs what is new; checks with the first batch, if nothing was known before."""
        if not self._samples and self.problem is None:
            try:
                self._samples = samples_at_batch(trainer, pl_module, batch, self.batch_dim)
            except UserError as error:
                self._complain(trainer, f"the budget can't be checked: {error}")
            self._check(trainer, pl_module)
        elif trained_widths(trainer) != self._trained:
            self._check(trainer, pl_module)
        if self.report is not None and self.report is not self._logged:
            self._logged = self.report
            self._log(trainer, self.report)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks again if bits or structure have changed."""
        self._check(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks what the last epoch left."""
        self._check(trainer, pl_module)

    def _check(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trained = trained_widths(trainer)
        if trained is not None:
            self.widths = trained if self.widths == self._trained else priced_widths(trainer, self.widths)
        self._trained = trained
        state = (_structure(module), str(self.widths))
        if not self._samples or state == self._checked:
            return
        self._checked = state
        self.problem = None
        try:
            self.report = None
            self.report = tried(
                self._samples, lambda sample: profile(module, sample, self.widths, batch_dim=self.batch_dim)
            )
        except Exception as error:  # a fault of ours counts like any other cost that is not known
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self._complain(trainer, f"the budget can't be checked: {reason}")
            return
        if problems := self._problems(self.report):
            self._complain(trainer, f"{type(module).__name__} is over budget ({self.widths}): {'; '.join(problems)}")

    def _log(self, trainer: pl.Trainer, report: CostReport) -> None:
        metrics: dict[str, float] = {"epoch": trainer.current_epoch}
        for name, value in _costs(report).items():
            if value is None:
                continue
            metrics[f"budget/{name}"] = value
            if (limit := self.limits[name]) is not None:
                metrics[f"budget/{name}_headroom"] = limit - value
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)

    def _problems(self, report: CostReport) -> list[str]:
        problems = [f"what {each} costs is not known" for each in report.unsupported]
        for name, value in _costs(report).items():
            limit = self.limits[name]
            if limit is None or value is None or value <= limit:
                continue
            if name == "macs":
                problems.append(
                    f"{value:,} MACs, {value - limit:,} more than the {limit:,} allowed; {_largest(report, name)}"
                )
            else:
                label = name if name == "flash" else "RAM"
                problems.append(
                    f"{label} {bytes_text(value)}, {value - limit:,} B more than the {bytes_text(limit)} allowed; "
                    f"{_largest(report, name)}"
                )
        return problems

    def _complain(self, trainer: pl.Trainer, message: str) -> None:
        self.problem = message
        if self.on_exceed == "raise":
            raise BudgetExceededError(message)
        if self.on_exceed == "stop":
            trainer.should_stop = True
            message = f"the training stops: {message}"
        rank_zero_warn(message, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """The widths, which may have changed while training, and the costs at the last check."""
        widths = self.widths
        state: dict[str, Any] = {
            "weight_bits": widths.weight,
            "activation_bits": widths.activation,
            "per_layer": dict(widths.per_layer),
            "int16": widths.int16,
        }
        return state | (_costs(self.report) if self.report is not None else {})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on with the widths of the checkpoint."""
        weight, activation, by_layer = (state_dict[name] for name in ("weight_bits", "activation_bits", "per_layer"))
        self.widths = BitWidths(weight, activation, by_layer, state_dict.get("int16", False))


def _costs(report: CostReport) -> dict[str, int | None]:
    return {"flash": report.flash_bytes, "ram": report.ram_bytes, "macs": report.macs}


def _structure(module: nn.Module) -> tuple[object, ...]:
    """What a change of structure changes: the modules, and the shapes of their parameters."""
    modules = tuple((name, id(type(each)), each.extra_repr()) for name, each in module.named_modules())
    return modules, tuple((name, tuple(parameter.shape)) for name, parameter in module.named_parameters())


def _largest(report: CostReport, quantity: str) -> str:
    """What to shrink."""
    key = {"flash": "flash_bytes", "ram": "ram_bytes", "macs": "macs"}[quantity]
    layer = max(report.layers, key=lambda each: getattr(each, key) or 0, default=None)
    if layer is None:  # it returns what it is given
        return "it is what goes in and out. Shrink the input"
    value = getattr(layer, key)
    where = f"{layer.path or 'the outermost forward'} ({layer.op})"
    if quantity == "macs":
        return f"most of them in {where}: {value:,}. Shrink it, or what feeds it"
    if quantity == "ram":
        return f"it is needed in {where}. Shrink what it reads and writes, or lower activation_bits"
    return f"the most in {where}: {value:,} B. Shrink it, or lower weight_bits"
