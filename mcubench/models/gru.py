"""The small recurrent net of gated recurrent units."""

from __future__ import annotations

from torch import nn

from mcubench.models.recurrent import RecurrentClassifier

__all__ = ["GRU"]


class GRU(RecurrentClassifier):
    """Gated recurrent units over the samples of a signal or the rows of an image: three products a step, no cell state.

    In PyTorch's form, whose reset gate acts behind the product with the state.
    """

    layer = nn.GRU
