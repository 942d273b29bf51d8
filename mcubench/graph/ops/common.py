"""What descriptions of operations share."""

from __future__ import annotations

__all__ = ["FUSIBLE", "Pairs", "Sizes", "by", "fused"]

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

# Kernels of TFLite and CMSIS-NN end with one of these at no cost (schema.fbs, ActivationFunctionType).
FUSIBLE = ("relu", "relu6", "relu_n1_to_1")


def fused(name: str, activation: str | None) -> str:
    """A label with the activation that is fused into the operation, if any."""
    return f"{name} + {activation}" if activation else name


def by(sizes: Sizes) -> str:
    """Sizes as in ``3x3``."""
    return "x".join(map(str, sizes))
