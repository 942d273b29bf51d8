"""What a checkpoint keeps of quantisation-aware training, read back in another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.graph import Graph, Value
from mcubench.quant.grid import WEIGHT_BITS
from mcubench.quant.training.observers import Range
from mcubench.quant.training.plan import make_plan

__all__ = ["STATE_KEY", "checked_widths", "find_qat_state", "state_of_widths", "trained_ranges", "widths_of"]

STATE_KEY = "QuantizationAwareTraining"  # in a checkpoint's callbacks

_ACTIVATION_BITS = (4, 8)


def checked_widths(widths: BitWidths) -> BitWidths:
    """Bit widths that can be trained with.

    Raises:
        UserError: If one can't.
    """
    for name, bits in (("weight_bits", widths.weight), *((f"bits of {k!r}", v) for k, v in widths.per_layer.items())):
        if bits not in WEIGHT_BITS:
            raise UserError(f"{name} must be 8, 4 or 2 for quantisation-aware training; got {bits}")
    if widths.activation not in _ACTIVATION_BITS:
        raise UserError(f"activation_bits must be 8 or 4 for quantisation-aware training; got {widths.activation}")
    return widths


def state_of_widths(widths: BitWidths) -> dict[str, Any]:
    """Bit widths as plain values."""
    return {
        "weight_bits": widths.weight,
        "activation_bits": widths.activation,
        "per_layer": dict(widths.per_layer),
    }


def widths_of(state: Mapping[str, Any]) -> BitWidths:
    """The bit widths of a state."""
    return BitWidths(state["weight_bits"], state["activation_bits"], dict(state["per_layer"]))


def find_qat_state(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The state of `QuantizationAwareTraining` in a checkpoint; ``None`` if there is none, or it was float so far."""
    state = (checkpoint.get("callbacks") or {}).get(STATE_KEY)
    return state if state and state.get("ranges") else None


def trained_ranges(
    module: nn.Module, example_input: Any, state: Mapping[str, Any], batch_dim: int | None = 0
) -> tuple[Graph, dict[Value, Range], BitWidths]:
    """The deployed graph of a module, with the ranges that its values were trained in.

    Args:
        module: With the weights of the checkpoint.
        example_input: One sample, as `mcubench.graph.trace` takes it.
        state: From `find_qat_state`.
        batch_dim: Where the batch stands in the example.

    Returns:
        The graph; smallest and largest value of each of its floating-point values, but for those whose grid is fixed
        (`mcubench.quant.sharing`); and the bit widths.

    Raises:
        UserError: If the state is of another network, or nothing was learned yet.
    """
    plan = make_plan(module, example_input, batch_dim)
    if not state["ranges"]:
        raise UserError("the checkpoint is of an epoch before quantisation began (start_epoch): it has no ranges")
    by_group = plan.ranges_of(state)
    ranges = {value: by_group[group] for value, group in plan.groups.of.items() if group in by_group}
    widths = widths_of(state)
    widths.check(plan.graph)
    return plan.graph, ranges, widths
