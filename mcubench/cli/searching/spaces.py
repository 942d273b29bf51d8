"""The space of each model: what its class and the data say, what a file adds, without what is given."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    subjects = {model: _Subject.read(model, options) for model in options.models}
    for path in given:
        if not any(subject.takes(path) for subject in subjects.values()):
            raise _unknown(path, options, subjects)
    return Plan({model: _space(subject, options, given) for model, subject in subjects.items()}, options.words)


@dataclass(frozen=True)
class _Subject:
    """A model and its data, of which options are varied.

    Attributes:
        name: The model, as typed.
        model: Its class.
        data: The data module.
        trained_with_rounding: Whether it is a network, whose weights may have several widths.
    """

    name: str
    model: type
    data: object
    trained_with_rounding: bool

    @classmethod
    def read(cls, model: str, options: SearchOptions) -> _Subject:
        words = ["--model", model, *of_model_and_data(options.words)]
        made, data = read_subject("profile", words, lambda _: None).instantiate()
        module, _, name = class_path("model", model).rpartition(".")
        return cls(model, getattr(importlib.import_module(module), name), data, not hasattr(made, "is_fitted"))

    def takes(self, path: str) -> bool:
        """Whether it has an option."""
        part, _, name = path.partition(".")
        if path == BITS:
            return self.trained_with_rounding
        return part == "trainer" or name in _options_of(self.model if part == "model" else type(self.data))

    def says(self) -> dict[str, Dimension]:
        """What can be varied of it, as it says itself."""
        found: dict[str, Dimension] = {}
        for part, own in (("model", self.model), ("data", self.data)):
            space = getattr(own, "search_space", None)
            found |= {f"{part}.{name}": each for name, each in (space() if space else {}).items()}
        return found


def _space(subject: _Subject, options: SearchOptions, given: Space) -> Space:
    found = {path: each for path, each in subject.says().items() if not _is_given(path, options.words)}
    found |= {path: each for path, each in given.items() if subject.takes(path)}
    if not found:
        raise UserError(
            f"nothing of {subject.name} can be varied: give its class a classmethod search_space, or --space FILE; "
            f"its options are {', '.join(sorted(_options_of(subject.model)))}"
        )
    return {BITS: Choice(options.bits), **found} if subject.trained_with_rounding else found


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


def _unknown(path: str, options: SearchOptions, subjects: Mapping[str, _Subject]) -> UserError:
    part, _, name = path.partition(".")
    if path == BITS:
        return UserError(f"space {options.space}: {BITS} is for networks, which {' and '.join(subjects)} are not")
    kinds = (
        [each.model for each in subjects.values()] if part == "model" else [type(next(iter(subjects.values())).data)]
    )
    known = sorted({option for kind in kinds for option in _options_of(kind)})
    names = " and ".join(kind.__name__ for kind in kinds)
    have = "have" if len(kinds) > 1 else "has"
    return UserError(
        f"space {options.space}: {names} {have} no option {name!r}.{did_you_mean(name, known)} There are "
        f"{', '.join(known)}"
    )
