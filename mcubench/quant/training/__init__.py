"""Fake quantisation while training: a module's forward rounds where its integer graph will."""

from mcubench.quant.training.copies import Copies
from mcubench.quant.training.observers import Observer
from mcubench.quant.training.plan import Plan, make_plan
from mcubench.quant.training.quantizer import FakeQuantizer
from mcubench.quant.training.schedule import Phase, Schedule
from mcubench.quant.training.state import (
    STATE_KEY,
    checked_widths,
    find_qat_state,
    state_of_widths,
    trained_ranges,
    widths_of,
)
from mcubench.quant.training.watch import StepWatch

__all__ = [
    "STATE_KEY",
    "Copies",
    "FakeQuantizer",
    "Observer",
    "Phase",
    "Plan",
    "Schedule",
    "StepWatch",
    "checked_widths",
    "find_qat_state",
    "make_plan",
    "state_of_widths",
    "trained_ranges",
    "widths_of",
]
