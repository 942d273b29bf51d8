"""How many threads a model trains fastest with, measured."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mcubench.training.memory_format import set_memory_format

__all__ = ["Measurable", "ThreadChoice", "fastest_threads"]

_ROUNDS = 7
_STEPS = 3  # a round; the first one wakes the threads up and is not counted
_BUDGET = 1.0  # seconds, after which no round begins
_WORTH = 0.9  # more threads must need less than this share of the time: they also suffer more from other work


@dataclass(frozen=True)
class ThreadChoice:
    """Numbers of threads, and what was measured with each.

    Attributes:
        threads: The number that was found best.
        seconds: Median seconds of forward and backward of one batch, by number of threads.
    """

    threads: int
    seconds: Mapping[int, float]

    @classmethod
    def among(cls, seconds: Mapping[int, float]) -> ThreadChoice:
        """The choice from what was measured: more threads only where they are clearly faster than fewer."""
        best = min(seconds)
        for number in sorted(seconds):
            if seconds[number] < _WORTH * seconds[best]:
                best = number
        return cls(best, seconds)

    def __str__(self) -> str:
        best = self.seconds[self.threads]
        others = (f"{1e3 * each:.2g} with {number}" for number, each in self.seconds.items() if number != self.threads)
        plural = "" if self.threads == 1 else "s"
        return f"{self.threads} thread{plural}: {1e3 * best:.2g} ms a batch, {', '.join(others)}"


class Measurable(Protocol):
    """A module that says what its loss of a batch is, as `Classifier` does."""

    channels_last: bool

    def batch_loss(self, *batch: Tensor) -> Tensor:
        """The loss of a batch's parts."""
        ...


def fastest_threads(module: Measurable, batch: tuple[Tensor, ...]) -> ThreadChoice | None:
    """Measures one batch's forward and backward with 1, 2, 4, ... threads, in turns, for about a second at most.

    A copy of the module is measured. The random states go on, by as much as there was time for.

    Args:
        module: The model, on the CPU.
        batch: A batch as it trains on.

    Returns:
        The choice; ``None`` if there is none, as torch may use one thread only.
    """
    most = torch.get_num_threads()
    candidates = sorted({*(1 << power for power in range(most.bit_length())), most})
    if most == 1:
        return None
    model: Any = copy.deepcopy(module)
    if model.channels_last:
        set_memory_format(model, torch.channels_last)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def step() -> None:
        torch.autograd.grad(model.batch_loss(*batch), parameters, allow_unused=True)

    laps: dict[int, list[float]] = {number: [] for number in candidates}
    try:
        end = time.perf_counter() + _BUDGET
        for _ in range(_ROUNDS):
            for number in candidates:
                torch.set_num_threads(number)
                step()
                start = time.perf_counter()
                for _ in range(_STEPS - 1):
                    step()
                laps[number].append((time.perf_counter() - start) / (_STEPS - 1))
            if time.perf_counter() > end:
                break
    finally:
        torch.set_num_threads(most)
    return ThreadChoice.among({number: statistics.median(each) for number, each in laps.items()})
