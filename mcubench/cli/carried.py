"""A configuration of one class, and another class named beside it: what does not carry over."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mcubench.cli.makers import OWN
from mcubench.cli.names import configured, find_option, find_options, short_name

__all__ = ["without_other_classes"]

_CONFIG = ("--config", "-c")
_SHOWN = 6


def without_other_classes(args: Sequence[str]) -> list[str]:
    """Takes the options of a model or data out of configurations where the command line names another class.

    The parser would keep those that the other class has by the same name, whatever they mean there: 1000 iterations of
    a linear SVM would be those of a logistic regression. A line on standard error says what was left out.

    Args:
        args: The options, with classes by full path.

    Raises:
        UserError: If a configuration can't be read.
    """
    kept, words = [], iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        given = value if equals else next(words, None) if option in _CONFIG else None
        if option not in _CONFIG or given is None:
            kept.append(word)
            continue
        text = _changed(given, args)
        kept += [option, given if text is None else text]
    return kept


def _changed(config: str, args: Sequence[str]) -> str | None:
    """A configuration without what does not carry over, as text; ``None`` if all of it does."""
    content = configured(["--config", config])
    before = len(content)
    for kind in ("model", "data"):
        named = find_options(args, f"--{kind}", f"--{kind}.class_path")
        section = content.get(kind)
        old = section.get("class_path") if isinstance(section, dict) else None
        if not named or not isinstance(section, dict) or not isinstance(old, str):
            continue
        options = section.get("init_args") or {}
        was = options.get("net", old) if old in OWN else short_name(old)
        now = (find_option(args, "--model.net") if named[-1] in OWN else None) or short_name(named[-1])
        if was == now:
            continue
        del content[kind]
        if options:
            _say("the configuration" if "\n" in config else config, was, now, options)
    return yaml.safe_dump(content) + "\n" if len(content) < before else None


def _say(source: str, old: str, new: str, options: Mapping[str, Any]) -> None:
    more = f" and {len(options) - _SHOWN} more" if len(options) > _SHOWN else ""
    names = ", ".join([*options][:_SHOWN])
    print(f"mcubench: {source} is of {old}, whose options do not carry over to {new}: {names}{more}", file=sys.stderr)
