"""What writes each kind of step in C, and the sheet that they write on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mcubench.codegen.unit import Unit
from mcubench.features.catalogue import SPECTRA
from mcubench.features.conditioning import WINDOW
from mcubench.features.steps import Step

__all__ = ["EMITTERS", "Emitter", "Sheet", "emits", "length", "name_of", "scratch", "values"]


@dataclass
class Sheet:
    """What steps have written beside their own statements.

    Attributes:
        unit: Constants and helpers.
        kept: What stays from call to call: names and definitions.
    """

    unit: Unit = field(default_factory=Unit)
    kept: dict[str, str] = field(default_factory=dict)

    def floats(self, numbers: ArrayLike, hint: str) -> str:
        """The name of a constant array of the nearest float32."""
        return self.unit.array("float", np.asarray(numbers, np.float32), hint)

    def keep(self, name: str, count: int, ctype: str = "float") -> str:
        """How numbers are reached that stay from call to call."""
        self.kept[name] = f"{ctype} {name}[{count}];"
        return f"kept->{name}"


Emitter = Callable[[Step, Sheet], str]
"""The expression of a step's value; of one that gives several, or none, statements."""

EMITTERS: dict[str, Emitter] = {}
"""By kind of step."""


def emits(*kinds: str) -> Callable[[Emitter], Emitter]:
    """Enters a function for steps of these kinds."""

    def enter(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(kinds, emitter))
        return emitter

    return enter


def name_of(step: Step) -> str:
    """What a step's value is called in C."""
    return "_".join(filter(None, (step.kind, step.signal, step.part.replace("-", "_"))))


def length(step: Step) -> int:
    """How many values of its signal a step reads: samples, or bins."""
    return WINDOW // 2 if step.signal in SPECTRA else WINDOW


def values(step: Step, axis: str | None = None) -> str:
    """Where the values of a step's signal lie: in what is kept, or at the beginning of the scratch memory."""
    if step.signal in SPECTRA:
        return "scratch"
    return f"kept->{name_of(Step('window', step.signal, step.part if axis is None else axis))}"


def scratch(step: Step) -> str:
    """Memory that a step may use: behind the spectrum that it reads."""
    return f"scratch + {WINDOW // 2}" if step.signal in SPECTRA else "scratch"
