"""The same architecture and weights in Keras, compared layer by layer, and trained side by side."""

from mcubench.parity.backend import BACKENDS, load_keras
from mcubench.parity.comparing.compare import RTOL, compare
from mcubench.parity.comparing.report import Difference, LayerParity, OutputParity, ParityReport
from mcubench.parity.training.curves import Curve, DefaultEffect, Estimate, TrainingParity
from mcubench.parity.training.defaults import default_effects
from mcubench.parity.training.side_by_side import TRAIN_RTOL, train_both
from mcubench.parity.twin import save_model, to_keras

__all__ = [
    "BACKENDS",
    "RTOL",
    "TRAIN_RTOL",
    "Curve",
    "DefaultEffect",
    "Difference",
    "Estimate",
    "LayerParity",
    "OutputParity",
    "ParityReport",
    "TrainingParity",
    "compare",
    "default_effects",
    "load_keras",
    "save_model",
    "to_keras",
    "train_both",
]
