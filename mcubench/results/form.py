"""In which form a model was scored, in words: a score and a price belong together only at the same widths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # comparing runs needs no torch
    from mcubench.cost import BitWidths

__all__ = ["FLOAT", "UNKNOWN", "form_of", "priced_scores", "short_form"]

FLOAT = "float"
UNKNOWN = " (priced"  # stands behind it where the form that is priced is not known


def form_of(widths: BitWidths) -> str:
    """``float``, ``8-bit``, ``16-bit``, or both widths where they differ."""
    if (widths.weight, widths.activation) == (32, 32):
        return FLOAT
    others = " (others by layer)" if widths.per_layer else ""
    if widths.weight == widths.activation:
        return f"{widths.weight}-bit{others}"
    return f"{widths.weight}-bit weights{others}, {widths.activation}-bit activations"


def short_form(form: str) -> str:
    """A form for a narrow column: ``8``, ``float``, ``float/8`` where what is priced is not known, ``w4a8``."""
    widths = re.sub(r"(\d+)-bit weights( \(others by layer\))?, (\d+)-bit activations", r"w\1a\3", form)
    return re.sub(rf"{re.escape(UNKNOWN)} (\d+)-bit\)", r"/\1", widths).replace("-bit", "")


def priced_scores(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a ``result.json`` the form whose scores belong to its price, as ``form``, ``accuracy`` and ``macro_f1``.

    A network that was trained in float is priced in integers: its scores after quantisation belong to that price, if
    they are known. What an older version wrote has scores in float only.
    """
    own, other = result.get("form", FLOAT), result.get("other_form")
    if own == FLOAT and other is not None:
        return {key: other[key] for key in ("form", "accuracy", "macro_f1")}
    bits = result["bits"]["weight"]
    form = f"{FLOAT}{UNKNOWN} {bits}-bit)" if own == FLOAT and bits < 32 else own
    return {"form": form, "accuracy": result["accuracy"], "macro_f1": result["macro_f1"]}
