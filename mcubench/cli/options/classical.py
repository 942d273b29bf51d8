"""Classical models where networks are quantised: what a device computes of them, and what it was estimated to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jsonargparse import Namespace
from torch import nn

from mcubench.cli.options.quantization import QUANTIZATION_OPTIONS
from mcubench.errors import UserError
from mcubench.quant.classical import NotOnDeviceError
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["Classical", "classical"]


@dataclass(frozen=True)
class Classical:
    """A classical model as a device computes it.

    Attributes:
        integer: The graph, in integers or float32.
        form: Which: ``int8``, ``int16`` or ``float32``.
        estimator: Name of scikit-learn's class.
        macs: Multiply-accumulates of the stages that have some, in order.
        flash_estimate: What ``profile`` says that numbers take, bytes.
        ram_estimate: What it says that values take, bytes.
    """

    integer: IntegerGraph
    form: str
    estimator: str
    macs: Sequence[int]
    flash_estimate: int | None
    ram_estimate: int | None


def classical(verb: str, model: nn.Module, config: Namespace) -> Classical | None:
    """A classical model as a device computes it; ``None`` for a network.

    Args:
        verb: Of the command.
        model: The model, with what was fitted.
        config: The options, of which those of quantisation are a network's alone.

    Raises:
        UserError: If it is not fitted, no device arithmetic is known for a part of it, or such an option is given.
    """
    from mcubench.baselines import Baseline
    from mcubench.cost.estimators import profile_estimator

    if not isinstance(model, Baseline):
        return None
    name, rounded = type(model).__name__, model.rounded
    if rounded is None:
        raise UserError(f"{name} is not fitted yet: run fit first, or name a checkpoint")
    for option in QUANTIZATION_OPTIONS:
        if config[option] is not None:
            raise UserError(
                f"--{option} is for networks: {name} is scored in {rounded.form}, which fit --model.bits chooses"
            )
    try:
        integer = rounded.on_device()
    except NotOnDeviceError as error:
        raise UserError(f"{verb} can't write {name} in C: {error}") from None
    shape = (1, *integer.inputs[0].shape[1:])
    report = profile_estimator(rounded.estimator, np.zeros(shape, np.float32), name, model.widths)
    return Classical(
        integer=integer,
        form=rounded.form,
        estimator=type(rounded.estimator).__name__,
        macs=[stage.macs for stage in rounded.stages if stage.macs],
        flash_estimate=report.flash_bytes,
        ram_estimate=report.ram_bytes,
    )
