"""Assertions for other people's tests."""

from __future__ import annotations

from typing import Any

from torch import nn

from mcubench.cost import count_macs
from mcubench.graph import one_sample, trace

__all__ = ["assert_macs", "assert_parity"]


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


def assert_parity(
    module: nn.Module,
    x: Any,
    rtol: float = 1e-4,
    backend: str | None = None,
    *,
    keras_model: Any = None,
    batch_dim: int = 0,
) -> None:
    """Asserts that a module computes the same in Keras, layer by layer.

    Args:
        module: Any module.
        x: Samples as the module takes them: a tensor, a tuple of positional or a dict of keyword arguments.
        rtol: The largest relative error of a layer or an output (L2 norm of the difference over that of PyTorch's).
        backend: Keras' backend, ``tensorflow`` or ``torch``; by default the one that the process has, else the one that
            ``KERAS_BACKEND`` names, else tensorflow.
        keras_model: The Keras model, if somebody wrote one; by default it is built from the module.
        batch_dim: Where the batch stands in `x`.

    Raises:
        AssertionError: If they differ, with the first layer that does.
        UserError: If Keras is not installed, or the module can't be traced or has no counterpart in Keras.
    """
    __tracebackhide__ = True
    from mcubench.parity import compare, load_keras, to_keras

    load_keras(backend)
    graph = None
    if keras_model is None:
        graph = trace(module, one_sample(x, batch_dim), batch_dim)
        keras_model = to_keras(graph)
    report = compare(module, keras_model, x, rtol, batch_dim, graph=graph)
    if not report.passed:
        lines = [report.verdict(), *report.structure]
        for layer in report.layers:
            off = f"{layer.difference.relative:.2g}" if layer.difference else "another shape"
            lines.append(f"{'ok' if layer.agrees else 'NO':>4}  {off:>10}  {layer.path} ({layer.op})")
        raise AssertionError("\n  ".join(lines))
