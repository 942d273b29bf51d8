"""Where the batch is in a traced shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SAME_OF_ONE", "AcrossSamplesError", "Batch", "CannotLowerError"]

# What takes samples out of a batch, or puts them into one: with a single sample it changes nothing.
SAME_OF_ONE = {
    *("aten.select.int", "aten.slice.Tensor", "aten.narrow.default", "aten.index_select.default", "aten.index.Tensor"),
    *("aten.unbind.int", "aten.split.Tensor", "aten.split.sizes", "aten.split_with_sizes.default"),
    *("aten.chunk.default", "aten.cat.default", "aten.concat.default", "aten.concatenate.default"),
    "aten.stack.default",
}


class CannotLowerError(Exception):
    """A call that has no counterpart on a microcontroller; its message is the reason."""


class AcrossSamplesError(CannotLowerError):
    """A call that does not treat every sample of the batch by itself: what one sample costs can't be read from it."""

    def __init__(self, reason: str = "it computes across the samples of a batch") -> None:
        super().__init__(reason)


@dataclass(frozen=True)
class Batch:
    """The batch that was traced.

    Attributes:
        size: Number of samples: a prime that divides no other size, or 1.
        axis: Where it stands in the inputs; ``None`` if they have none. Only looked at if the size is 1.
    """

    size: int
    axis: int | None

    def position(self, shape: Sequence[int]) -> int | None:
        """The axis that is the batch, or that it was merged into.

        Raises:
            AcrossSamplesError: If it is two axes: every sample then meets every other.
        """
        if self.size == 1:
            return self.own_axis(shape)
        found = [index for index, size in enumerate(shape) if isinstance(size, int) and size and size % self.size == 0]
        if len(found) > 1:
            raise AcrossSamplesError
        return found[0] if found else None

    def own_axis(self, shape: Sequence[int]) -> int | None:
        """The axis that is the batch and nothing else."""
        if self.size > 1:
            return next(
                (index for index, size in enumerate(shape) if isinstance(size, int) and size == self.size), None
            )
        return self.axis if self.axis is not None and self.axis < len(shape) and shape[self.axis] == 1 else None

    def is_in(self, shape: Sequence[int]) -> bool:
        """Whether every sample has a part of its own of a tensor of this shape."""
        return self.size == 1 or any(isinstance(size, int) and size and size % self.size == 0 for size in shape)

    def of_one(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape for a batch of one sample.

        Raises:
            CannotLowerError: If a size is not known before the model runs.
        """
        if not all(isinstance(size, int) for size in shape):
            raise CannotLowerError("its size depends on computed values")
        return tuple(size // self.size if size and size % self.size == 0 else size for size in shape)

    def removed(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of one sample, without the batch.

        Raises:
            CannotLowerError: As `of_one` and `position` do.
        """
        whole = self.of_one(shape)
        self.position(shape)
        own = self.own_axis(shape)
        return whole if own is None else whole[:own] + whole[own + 1 :]
