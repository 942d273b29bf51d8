"""What writes each kernel for any core."""

from __future__ import annotations

from mcubench.codegen.unit import Emitters

__all__ = ["EMITTERS"]

EMITTERS = Emitters()
