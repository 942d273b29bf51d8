"""What a step reads: pointers that are handed to its function, and constants."""

from __future__ import annotations

from mcubench.codegen.program import Step
from mcubench.codegen.unit import Unit

__all__ = ["parameters", "pointers"]


def _is_constant(operand: object) -> bool:
    return type(operand).__name__ == "Constant"


def parameters(step: Step) -> list[str]:
    """Names of the pointers that a step's function has, for what it reads that is no constant."""
    tensors = [each for each in step.inputs if not _is_constant(each)]
    return ["x"] if len(tensors) == 1 else [f"x{index}" for index in range(len(tensors))]


def pointers(step: Step, unit: Unit) -> list[str]:
    """A pointer for each operand of a step, in their order."""
    names = iter(parameters(step))
    return [
        unit.array("int8_t", each.codes.numpy(), "constant") if _is_constant(each) else next(names)  # type: ignore[union-attr]
        for each in step.inputs
    ]
