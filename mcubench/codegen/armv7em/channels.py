"""What is read of each channel of a convolution in depth: pairs of weights of 16 bits, and what makes its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.requantise import Lifted
from mcubench.codegen.layers import Integers, biases, packed_in_order, weights
from mcubench.codegen.program import Step
from mcubench.codegen.unit import Unit

__all__ = ["Channels"]


@dataclass(frozen=True)
class Channels:
    """The weights of a convolution in depth.

    Attributes:
        step: The layer.
        codes: How its codes are made.
        order: The taps of each pair, -1 for none.
    """

    step: Step
    codes: Lifted
    order: Sequence[tuple[int, int]]

    @property
    def words(self) -> int:
        """Words of a channel."""
        return len(self.order) + self.behind

    @property
    def behind(self) -> int:
        """Words behind the weights: what a sum begins with, multiplier, constant, and a shift if it has its own."""
        return 3 if self.codes.shift is not None else 4

    @property
    def narrow(self) -> bool:
        """Whether weights are stored with fewer bits, and unpacked before a group of channels."""
        return bool(self.step.kernel.filter.bits < 8)  # type: ignore[attr-defined]

    @property
    def scratch(self) -> int:
        """Bytes of working memory that unpacked weights of four channels take."""
        return 4 * 4 * self.words if self.narrow else 0

    def written(self, unit: Unit, place: str) -> tuple[str, str]:
        """A statement that is needed before a group of channels, and where its weights are then.

        Args:
            unit: Where the weights are written.
            place: Working memory for those of a group.
        """
        own = weights(self.step)[0].reshape(-1, self.step.x.shape[3]).T  # (channel, tap)
        factors = self.codes.factors
        sums = biases(self.step, own.sum(1)) * factors
        behind = np.concatenate([(sums & 0xFFFFFFFF)[:, None], self.codes.words], 1)
        if not self.narrow:
            full = np.pad((own * factors[:, None]) & 0xFFFF, ((0, 0), (0, 1)))
            low, high = np.array(self.order).T
            stream = np.concatenate([full[:, low] | full[:, high] << 16, behind], 1)
            return "", f"{unit.array('uint32_t', stream, 'weights')} + {self.words} * channel"
        bits = self.step.kernel.filter.bits  # type: ignore[attr-defined]
        taps = own.shape[1]
        packed = packed_in_order(own, bits)
        order = np.array(self.order)
        unit.use("channel_weights")
        given = (
            f"{unit.array('uint8_t', packed, 'weights')} + {packed.shape[1]} * channel",
            f"{unit.array('uint8_t', _exponents(factors), 'lifts')} + channel",
            f"{unit.array('uint32_t', behind, 'factors')} + {self.behind} * channel",
            unit.array("uint8_t", np.where(order < 0, taps, order), "order"),
            *(str(each) for each in (len(self.order), self.behind, taps, bits)),
            place,
        )
        return f"channel_weights({', '.join(given)});", place


def _exponents(powers: Integers) -> Integers:
    return np.log2(powers).astype(np.int64)
