"""Callbacks for any LightningModule under a plain ``Trainer``; none needs a model or data module of ours."""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.callbacks.distillation import Distillation  # noqa: E402
from mcubench.callbacks.epoch_timer import EpochTimer  # noqa: E402
from mcubench.callbacks.image_augmentation import ImageAugmentation  # noqa: E402
from mcubench.callbacks.last_checkpoint import LastCheckpoint  # noqa: E402
from mcubench.callbacks.macs import MACs  # noqa: E402
from mcubench.callbacks.mixup import Mixup  # noqa: E402
from mcubench.callbacks.quantization import QuantizationAwareTraining  # noqa: E402
from mcubench.callbacks.random_state import RandomState  # noqa: E402
from mcubench.callbacks.signal_augmentation import SignalAugmentation  # noqa: E402
from mcubench.callbacks.size_budget import SizeBudget  # noqa: E402
from mcubench.callbacks.threads import Threads  # noqa: E402

__all__ = [
    "Distillation",
    "EpochTimer",
    "ImageAugmentation",
    "LastCheckpoint",
    "MACs",
    "Mixup",
    "QuantizationAwareTraining",
    "RandomState",
    "SignalAugmentation",
    "SizeBudget",
    "Threads",
]
