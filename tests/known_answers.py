"""Models with answers counted by hand. Adding a model to mcubench.models means adding a row here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class KnownAnswer:
    """One architecture.

    Attributes:
        model: Name in mcubench.models.
        input_shape: Shape of a sample.
        num_classes: Number of classes.
        params: Trainable parameters, written as the sum that was counted.
        options: Other arguments of the model.
    """

    model: str
    input_shape: tuple[int, ...]
    num_classes: int
    params: int
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.model}-{'x'.join(map(str, self.input_shape))}-{'-'.join(map(str, self.options.values()))}"


KNOWN_ANSWERS = [
    # The exercise's 784-42-10 net.
    KnownAnswer("MLP", (1, 28, 28), 10, params=(784 * 42 + 42) + (42 * 10 + 10)),
    KnownAnswer("MLP", (6, 128), 12, params=(768 * 42 + 42) + (42 * 12 + 12)),
    KnownAnswer(
        "MLP", (561,), 12, params=(561 * 64 + 64) + (64 * 32 + 32) + (32 * 12 + 12), options={"hidden": (64, 32)}
    ),
    KnownAnswer("MLP", (1, 8, 8), 10, params=64 * 10 + 10, options={"hidden": ()}),
    # The exercise's PyTorch net; its linear layer has 32 * 14 * 14 = 6272 inputs.
    KnownAnswer("CNN", (1, 28, 28), 10, params=(32 * 9 + 32) + (6272 * 10 + 10)),
    KnownAnswer("CNN", (1, 28, 28), 10, params=(32 * 9 + 32) + (6272 * 10 + 10), options={"activation": None}),
    KnownAnswer("CNN", (3, 9, 7), 5, params=(4 * 3 * 9 + 4) + (4 * 4 * 3 * 5 + 5), options={"channels": 4}),
    KnownAnswer(
        "CNN1d", (6, 128), 12, params=(6 * 16 * 5 + 16) + (16 * 32 * 5 + 32) + (32 * 32 * 5 + 32) + (32 * 12 + 12)
    ),
    KnownAnswer("CNN1d", (2, 9), 3, params=(2 * 4 * 3 + 4) + (4 * 3 + 3), options={"channels": (4,), "kernel_size": 3}),
    # Convolution, three blocks of depthwise and pointwise, each with two numbers of batch norm a channel, linear.
    KnownAnswer("DSCNN", (1, 28, 28), 10, params=(32 * 9 + 64) + 3 * (32 * 9 + 64 + 32 * 32 + 64) + (32 * 10 + 10)),
    KnownAnswer("DSCNN", (6, 128), 12, params=(6 * 32 * 9 + 64) + 3 * (32 * 9 + 64 + 32 * 32 + 64) + (32 * 12 + 12)),
    KnownAnswer(
        "DSCNN",
        (1, 8, 8),
        10,
        params=(8 * 9 + 16) + (8 * 9 + 16 + 8 * 8 + 16) + (8 * 10 + 10),
        options={"channels": 8, "blocks": 1},
    ),
]
