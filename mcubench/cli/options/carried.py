"""A configuration of one class, and another class named beside it: what does not carry over."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mcubench.cli.options.makers import OWN, under_one_name, wrapped_section, wrapper_of
from mcubench.cli.options.names import class_path, configured, find_options, is_foreign, typed_name

__all__ = ["without_other_classes"]

_CONFIG = ("--config", "-c")
_SHOWN = 6


def without_other_classes(args: Sequence[str], any_module: bool = False) -> list[str]:
    """Takes the options of a model or data out of configurations where the command line names another class.

    The parser would keep those that the other class has by the same name, whatever they mean there: 1000 iterations of
    a linear SVM would be those of a logistic regression. A line on standard error says what was left out. A plain
    module that a configuration names is wrapped as it is on the command line.

    Args:
        args: The options, as they were given.
        any_module: Whether a model may be any torch module.

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
        text = _changed(given, args, any_module)
        kept += [option, given if text is None else text]
    return kept


def _changed(config: str, args: Sequence[str], any_module: bool) -> str | None:
    """A configuration as it can be used, as text; ``None`` if it is that already."""
    content = configured(["--config", config])
    changed = False
    for kind in ("model", "data"):
        named = find_options(args, f"--{kind}", f"--{kind}.class_path")
        section = content.get(kind)
        old = section.get("class_path") if isinstance(section, dict) else None
        if not named or not isinstance(section, dict) or not isinstance(old, str):
            continue
        options = section.get("init_args") or {}
        was = options.get("net", old) if old in OWN else typed_name(old)
        now = typed_name(named[-1])
        if was == now:
            continue
        del content[kind]
        changed = True
        if options:
            _say("the configuration" if "\n" in config else config, was, now, options)
    if "pytorch_lightning." in yaml.safe_dump(content):
        content, changed = _under_one_name(content), True
    if (wrapped := _wrapped(content.get("model"), any_module)) is not None:
        content["model"], changed = wrapped, True
    return yaml.safe_dump(content) + "\n" if changed else None


def _under_one_name(part: Any, key: str = "") -> Any:
    """A configuration in which class paths of ``pytorch_lightning`` are those of ``lightning``."""
    if isinstance(part, dict):
        return {each: _under_one_name(value, each) for each, value in part.items()}
    if isinstance(part, list):
        return [_under_one_name(each, key) for each in part]
    return under_one_name(part) if key == "class_path" and isinstance(part, str) else part


def _wrapped(section: Any, any_module: bool) -> dict[str, Any] | None:
    """What makes a model of what a configuration names, if that is none by itself."""
    path = section.get("class_path") if isinstance(section, dict) else None
    if not isinstance(path, str) or not is_foreign(path):
        return None
    wrapper = wrapper_of(class_path("model", path, any_module), any_module)
    return None if wrapper is None else wrapped_section(wrapper, path, section.get("init_args") or {})


def _say(source: str, old: str, new: str, options: Mapping[str, Any]) -> None:
    more = f" and {len(options) - _SHOWN} more" if len(options) > _SHOWN else ""
    names = ", ".join([*options][:_SHOWN])
    print(f"mcubench: {source} is of {old}, whose options do not carry over to {new}: {names}{more}", file=sys.stderr)
