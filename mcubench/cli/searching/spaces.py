"""The space of each model: what its class and the data say, what a file adds, without what is given."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mcubench.cli.options.names import class_path, find_options
from mcubench.cli.options.subject import read_subject
from mcubench.cli.searching.options import SearchOptions
from mcubench.cli.searching.pricing import of_model_and_data
from mcubench.errors import UserError, did_you_mean
from mcubench.search import Choice, Dimension, Space
from mcubench.search.plan import BITS, Plan
from mcubench.search.space_file import read_space

__all__ = ["plan_of"]


def plan_of(options: SearchOptions) -> Plan:
    """What is searched.

    Raises:
        UserError: If a class says nothing that can be varied, or a file names options that there are not.
    """
    given = {} if options.space is None else read_space(options.space)
    spaces = {model: _space(model, options, given) for model in options.models}
    for path in given:
        if not any(path in space for space in spaces.values()):
            raise _unknown(path, options)
    return Plan(spaces, options.words)


def _space(model: str, options: SearchOptions, given: Space) -> Space:
    found: dict[str, Dimension] = {}
    kind = _class_of(model)
    made, data = read_subject(
        "profile", ["--model", model, *of_model_and_data(options.words)], lambda _: None
    ).instantiate()
    for part, own in (("model", kind), ("data", data)):
        says = getattr(own, "search_space", None)
        found |= {f"{part}.{name}": each for name, each in (says() if says else {}).items()}
    if not hasattr(made, "is_fitted"):
        found[BITS] = Choice(options.bits)
    takes = {"model": _options_of(kind), "data": _options_of(type(data))}
    for path, each in given.items():
        part, _, name = path.partition(".")
        if part not in takes or name in takes[part]:
            found[path] = each
    found = {path: each for path, each in found.items() if path in given or not _is_given(path, options.words)}
    if not any(path != BITS for path in found):
        raise UserError(
            f"nothing of {model} can be varied: give its class a classmethod search_space, or --space FILE.yaml; its "
            f"options are {', '.join(sorted(takes['model']))}"
        )
    return found


def _class_of(model: str) -> type:
    module, _, name = class_path("model", model).rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found


def _options_of(kind: type) -> set[str]:
    """What classes along the line of inheritance take, as options that a subclass passes on count, too."""
    return {
        name
        for each in kind.__mro__
        if "__init__" in vars(each) and each.__module__.partition(".")[0] not in ("torch", "lightning", "builtins")
        for name in list(inspect.signature(each).parameters)
    } - {"options", "training", "kwargs", "args"}


def _is_given(path: str, words: Sequence[str]) -> bool:
    part, _, name = path.partition(".")
    return bool(find_options(words, f"--{path}", f"--{part}.init_args.{name}"))


def _unknown(path: str, options: SearchOptions) -> UserError:
    part, _, name = path.partition(".")
    if part == "trainer" or path == BITS:
        return UserError(f"space {options.space}: {path} is for networks")
    known: Mapping[str, Any] = {each: None for model in options.models for each in _options_of(_class_of(model))}
    what = (
        "the data have"
        if part == "data"
        else f"{' and '.join(options.models)} have"
        if len(options.models) > 1
        else f"{options.models[0]} has"
    )
    there = f" There are {', '.join(sorted(known))}" if part == "model" else ""
    return UserError(f"space {options.space}: {what} no option {name!r}.{did_you_mean(name, known)}{there}")
