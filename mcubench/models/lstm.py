"""The small recurrent net with long short-term memory."""

from __future__ import annotations

from torch import nn

from mcubench.models.recurrent import RecurrentClassifier

__all__ = ["LSTM"]


class LSTM(RecurrentClassifier):
    """Long short-term memory over the samples of a signal or the rows of an image: four products a step."""

    layer = nn.LSTM
