"""What writes each kernel for ARMv6-M; the rest is that for any core."""

from __future__ import annotations

from mcubench.codegen import c99
from mcubench.codegen.unit import Emitters

__all__ = ["EMITTERS"]

EMITTERS = Emitters(otherwise=c99.EMITTERS)
