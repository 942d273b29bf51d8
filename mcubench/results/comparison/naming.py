"""Names that tell rows apart: the class, and the options that a reader has to know."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["key_of", "labels"]

# Said even where no row differs in it: a model that saw a part of the samples is not what its name alone promises, and
# `Sklearn` is no model without its estimator.
_ALWAYS = ("estimator", "max_samples")
_PACKAGES = re.compile(r"\b(?:\w+\.)+(?=[A-Z])")


def labels(items: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Names, each with the options in which those of its name differ: ``DecisionTree max_depth=5``.

    Args:
        items: Names, each with its options.

    Returns:
        A label for each, in order. Classes lose their packages unless this makes two labels the same.
    """
    said: dict[str, list[str]] = {}
    for name in {name for name, _ in items}:
        alike = [options for other, options in items if other == name]
        keys = dict.fromkeys(key for options in alike for key in options)
        said[name] = [key for key in keys if key in _ALWAYS or _differs(key, alike)]

    def label(name: str, options: dict[str, Any], text: Callable[[Any], str]) -> str:
        values = {key: text(options[key]) for key in said[name] if key in options}
        return " ".join([name, *(value if key == "estimator" else f"{key}={value}" for key, value in values.items())])

    short = [label(name, options, lambda value: _PACKAGES.sub("", _text(value))) for name, options in items]
    ambiguous = {text for text, count in Counter(short).items() if count > 1}
    return [
        label(name, options, _text) if text in ambiguous else text
        for text, (name, options) in zip(short, items, strict=True)
    ]


def key_of(*values: Any) -> str:
    """Equal for equal values, in whatever order their options stand."""
    return json.dumps(values, sort_keys=True)


def _differs(key: str, alike: Sequence[dict[str, Any]]) -> bool:
    return len({key_of(*([options[key]] if key in options else [])) for options in alike}) > 1


def _text(value: Any) -> str:
    """A value as one types it on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
