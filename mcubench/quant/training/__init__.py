"""Fake quantisation while training: a module's forward rounds where its integer graph will."""

from mcubench.quant.training.observers import Observer
from mcubench.quant.training.plan import Plan, make_plan
from mcubench.quant.training.quantizer import FakeQuantizer, Phase
from mcubench.quant.training.state import STATE_KEY, checked_widths, find_qat_state, trained_ranges

__all__ = [
    "STATE_KEY",
    "FakeQuantizer",
    "Observer",
    "Phase",
    "Plan",
    "checked_widths",
    "find_qat_state",
    "make_plan",
    "trained_ranges",
]
