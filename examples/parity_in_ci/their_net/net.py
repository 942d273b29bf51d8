"""The network in PyTorch. It knows nothing of mcubench."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["KeywordNet"]


class KeywordNet(nn.Module):
    """Spectrograms (N, 1, 49, 10) to scores of keywords (N, keywords)."""

    def __init__(self, keywords: int = 12, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, (10, 4), stride=2, padding=(4, 1), bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(width * 12 * 2, keywords)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.pointwise(self.depthwise(x)))
        return self.head(self.pool(x).flatten(1))
