"""What writes each kernel for cores with the DSP extension; what is not covered is written as for any core."""

from __future__ import annotations

from mcubench.codegen import c99
from mcubench.codegen.program import Step
from mcubench.codegen.unit import Emitters

__all__ = ["EMITTERS"]


def _is_symmetric(step: Step) -> bool:
    """Whether no weight is -128: sums of two outputs in one word have no room for it. Only files of others have it."""
    return all(int(each.codes.min()) > -128 for each in step.kernel.filters() if each.codes.numel())


EMITTERS = Emitters(c99.EMITTERS, takes=_is_symmetric)
