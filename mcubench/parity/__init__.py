"""The same architecture and weights in Keras, compared layer by layer."""

from mcubench.parity.backend import BACKENDS, load_keras
from mcubench.parity.compare import RTOL, compare
from mcubench.parity.report import Difference, LayerParity, OutputParity, ParityReport
from mcubench.parity.twin import save_model, to_keras

__all__ = [
    "BACKENDS",
    "RTOL",
    "Difference",
    "LayerParity",
    "OutputParity",
    "ParityReport",
    "compare",
    "load_keras",
    "save_model",
    "to_keras",
]
