"""The forms that a device can store a classical model in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mcubench.cost.size import BitWidths

__all__ = ["FORMS", "Form"]

Form = Literal["int8", "int16", "float32"]

FORMS: Mapping[Form, BitWidths] = {  # the narrowest first
    "int8": BitWidths(8, 8),
    "int16": BitWidths(16, 16, int16=True),
    "float32": BitWidths(32, 32),
}
