"""Assertions for other people's tests."""

from __future__ import annotations

from typing import Any

from torch import nn

from mcubench.cost import count_macs
from mcubench.graph import trace

__all__ = ["assert_macs"]


def assert_macs(
    module: nn.Module, example_input: Any, expected: int, *, count_bias: bool = False, batch_dim: int | None = 0
) -> None:
    """Asserts how many multiply-accumulates a module needs for one sample.

    Args:
        module: Any module.
        example_input: One sample, as `mcubench.graph.trace` takes it: ``torch.zeros(1, 3, 32, 32)``.
        expected: The MACs that were counted by hand.
        count_bias: Count the addition of a bias as one MAC.
        batch_dim: Where the batch stands in the example; ``None`` if it has none.

    Raises:
        AssertionError: If it needs another number, with the number of every layer; or if some operator has no count.
        UserError: If the module can't be traced.
    """
    __tracebackhide__ = True
    count = count_macs(trace(module, example_input, batch_dim), count_bias)
    layers = "".join(f"\n  {macs:>12,}  {path or '(root)'}" for path, macs in count.by_layer.items())
    if count.unsupported:
        named = "; ".join(map(str, count.unsupported))
        raise AssertionError(f"the MACs of {type(module).__name__} are not known: {named}; counted so far:{layers}")
    if count.total != expected:
        raise AssertionError(
            f"{type(module).__name__} needs {count.total:,} MACs, not {expected:,} "
            f"({count.total - expected:+,}):{layers}"
        )
