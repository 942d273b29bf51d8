"""What writes each kernel for cores with the DSP extension; what is not covered is written as for any core."""

from __future__ import annotations

from mcubench.codegen import c99
from mcubench.codegen.unit import Emitters

__all__ = ["EMITTERS"]

EMITTERS = Emitters(c99.EMITTERS)
