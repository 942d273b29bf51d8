"""Recurrent layers in float, rounded as the integer graph does, fast enough to be trained through.

What the input gives is one product for all steps. The steps themselves are one node of autograd, with the gradients
written by hand: a step costs some twenty calls of torch forward and ten backward, and nothing is recorded. Gradients
pass through roundings as if there were none, and are 0 where the hidden state or the cell is out of range.
"""

from mcubench.quant.recurrent.layers import CellWeights, Stepped, gru_layer, lstm_layer, results_of, weights_of_cell
from mcubench.quant.recurrent.of_kernels import layer_of
from mcubench.quant.recurrent.rounding import Levels
from mcubench.quant.recurrent.steps import gru_step, lstm_step

__all__ = [
    "CellWeights",
    "Levels",
    "Stepped",
    "gru_layer",
    "gru_step",
    "layer_of",
    "lstm_layer",
    "lstm_step",
    "results_of",
    "weights_of_cell",
]
