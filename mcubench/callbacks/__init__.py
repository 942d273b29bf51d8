"""Callbacks for any LightningModule under a plain ``Trainer``; none needs a model or data module of ours."""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.callbacks.epoch_timer import EpochTimer  # noqa: E402
from mcubench.callbacks.last_checkpoint import LastCheckpoint  # noqa: E402
from mcubench.callbacks.macs import MACs  # noqa: E402
from mcubench.callbacks.quantization import QuantizationAwareTraining  # noqa: E402
from mcubench.callbacks.random_state import RandomState  # noqa: E402
from mcubench.callbacks.size_budget import SizeBudget  # noqa: E402
from mcubench.callbacks.threads import Threads  # noqa: E402

__all__ = ["EpochTimer", "LastCheckpoint", "MACs", "QuantizationAwareTraining", "RandomState", "SizeBudget", "Threads"]
