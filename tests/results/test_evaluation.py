"""Scores where nobody says how many classes there are: scikit-learn's, of labels counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mcubench.results.evaluation import NotScorableError, score

CPU = torch.device("cpu")
X = torch.eye(3)


def test_classes_are_as_many_as_scores() -> None:
    scores = score(nn.Identity(), [(X, torch.tensor([0, 1, 1]))], None, CPU)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.confusion.shape == (3, 3)


@pytest.mark.parametrize(
    ("net", "y", "reason"),
    [
        (nn.Identity(), [0, 1, 3], "3 scores for each sample, and its classes are 0 to 3"),
        (nn.Linear(3, 1), [0, 0, 0], "1 scores for each sample"),
        (nn.Flatten(0), [0, 1, 2], r"forward gives \(9,\) for 3 samples, not \(3, classes\)"),
    ],
)
def test_what_can_not_be_a_classifier_is_not_scored(net: nn.Module, y: list[int], reason: str) -> None:
    with pytest.raises(NotScorableError, match=reason):
        score(net, [(X, torch.tensor(y))], None, CPU)
