"""What a model costs before it is trained."""

from __future__ import annotations

from collections.abc import Sequence

from mcubench.cli.options.samples import example_for
from mcubench.cli.options.subject import read_subject
from mcubench.cost import BitWidths, is_unfitted, profile
from mcubench.search.budget import Price

__all__ = ["of_model_and_data", "price"]

_PARTS = ("--model", "--data")


def price(words: Sequence[str], bits: int | None) -> Price | None:
    """Prices a model as its run will be.

    Args:
        words: What follows ``fit``.
        bits: Of a weight; activations have 8.

    Returns:
        The price; ``None`` for a classical model, whose size is not known before it is fitted.

    Raises:
        UserError: If it can't be made of these words, or can't be traced.
    """
    subject = read_subject("profile", of_model_and_data(words), lambda _: None)
    model, data = subject.instantiate()
    if is_unfitted(model):
        return None
    report = profile(model, example_for(model, data), BitWidths(bits or 8, 8))
    return Price(report.flash_bytes, report.ram_bytes, report.macs)


def of_model_and_data(words: Sequence[str]) -> list[str]:
    """The words that say which model and data, and not how it is trained."""
    kept, keep = [], False
    for word in words:
        if word.startswith("--"):
            keep = word.partition("=")[0].partition(".")[0] in _PARTS
        if keep:
            kept.append(word)
    return kept
