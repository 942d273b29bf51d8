"""Turns the argument parser's many-line reports into one line that says what to do."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mcubench.cli.options.names import FROM_DATA, typed_name
from mcubench.errors import did_you_mean

__all__ = ["explain"]

_UNKNOWN = re.compile(r"[Uu]nrecognized arguments?: (--?[^\s=]+)|does not accept option '([\w.]+)'")
_KEY = re.compile(r'\s*Parser key "([\w.]+)":\s*\n(.*)', re.DOTALL)
_ANY_KEY = re.compile(r'Parser key "([\w.]+)"')
_CLASS = re.compile(r"^( *)(?:- )?Problem with given class_path '([\w.]+)':\n((?:\1 +.*(?:\n|\Z)|\n)+)", re.MULTILINE)
_NOT_ACCEPTED = re.compile(r"Option '([\w.]+)' is not accepted")
_REQUIRED = re.compile(r"the following arguments are required: ([\w., ]+)")
_BAD_VALUE = re.compile(r"Expected an? (.+?)\. Got value: (.*)")
_SUBTYPES = re.compile(r"Subtypes: \[(.*)\]\n")
_GIVEN = re.compile(r"Given value: (?!NestedArg)(.*)")
_NESTED = re.compile(r"Given value: NestedArg\(key='([\w.]+)', val='?(.*?)'?\)\s*$")
_LITERAL = re.compile(r"(?:typing\.)?Literal\[(.*?)\]")
_TYPE_NAME = re.compile(r"<class '([\w.]+)'>")
_DENIED = re.compile(r"Importing '([\w.]+)' is not allowed")
_NO_BLANK = re.compile(r":(?=[^\s:/])")


# What options can't give to an optimiser or a schedule, and the annotation of what makes one later.
_MADE_LATER = {"params": "OptimizerCallable", "optimizer": "LRSchedulerCallable"}


@dataclass(frozen=True)
class _Place:
    """Where in a report the fault is.

    Attributes:
        keys: The option's name, part by part; empty if the report names none.
        owner: Path of the class whose options are wrong, if the fault lies between them.
        text: What the report says of this place.
    """

    keys: tuple[str, ...]
    owner: str | None
    text: str

    @property
    def option(self) -> str:
        """The option, as it is typed."""
        return "--" + ".".join(self.keys) if self.keys else "the command line"


def explain(
    message: str,
    options: Iterable[str],
    class_options: Callable[[str], Iterable[str]],
) -> str:
    """One line for an error of the argument parser.

    Args:
        message: What the parser said.
        options: The options of the verb, as in ``--trainer.max_epochs``.
        class_options: Gives the options of a class by its path.
    """
    if match := _UNKNOWN.search(message):
        option = match[1] or f"--{match[2]}"
        known = list(options)
        guess = did_you_mean(option, known) or did_you_mean(option.partition(".")[0], known)
        return f"there is no option {option}.{guess} Try --help."
    place = _innermost(message)
    if match := _DENIED.search(message):
        return f"{place.option}: {match[1]} can start programs or read files, and no option may name it"
    if place.owner is not None and (match := _NOT_ACCEPTED.search(place.text)):
        known = sorted(class_options(place.owner))
        allowed = f" It has {', '.join(known)}." if known else ""
        return f"{place.owner.rpartition('.')[2]} has no option {match[1]!r}.{did_you_mean(match[1], known)}{allowed}"
    if place.owner is not None and (match := _REQUIRED.search(place.text)):
        return _missing(place, match[1].split(", "))
    if place.owner is not None and len(place.text.strip().splitlines()) == 1:
        return f"{place.option} {place.owner}: {place.text.strip()}"
    return _wrong_value(place) or " ".join(_ANY_KEY.sub(r"--\1", message).split())


def _innermost(message: str) -> _Place:
    """Follows a report, which has a branch for every type that an option may be of, to what is wrong.

    Branches of classes come first: the others only say that what was given is none of theirs.
    """
    keys: list[str] = []
    owner, text = None, message
    while True:
        if match := _KEY.match(text):
            keys += match[1].split(".")
            owner, text = None, textwrap.dedent(match[2])
        elif match := _CLASS.search(text):
            owner, text = match[2], textwrap.dedent(match[3])
        else:
            return _Place(tuple(keys), owner, text)


def _missing(place: _Place, names: list[str]) -> str:
    """What a class needs and was not given; what it takes from the data is not the user's to give."""
    assert place.owner is not None
    if place.owner.startswith("torch.optim.") and names[0] in _MADE_LATER:
        return (
            f"{place.option}: {place.owner.rpartition('.')[2]} can't be made before its {names[0]} is known: annotate "
            f"the argument as lightning.pytorch.cli.{_MADE_LATER[names[0]]}, and call it in configure_optimizers"
        )
    wanted = [name for name in names if name not in FROM_DATA] or names
    needs = " and ".join(f"{place.option}.{name}" for name in wanted)
    own = f"; its options: {place.option}.help {typed_name(place.owner)}" if len(place.keys) == 1 else ""
    return f"{place.owner.rpartition('.')[2]} needs {needs}{own}"


def _wrong_value(place: _Place) -> str | None:
    """What was expected and what was given; ``None`` if the report does not say."""
    option, text = place.option, place.text
    if (match := _SUBTYPES.search(text)) and (given := _GIVEN.search(text)):
        expected = " or ".join(map(_plain, _separate(match[1])))
    elif match and (given := _NESTED.search(text)):
        option, expected = f"{option}.{given[1]}", " or ".join(map(_plain, _separate(match[1])))
        return f"{option}: expected {expected}, got {given[2]!r}"
    elif given := _BAD_VALUE.search(text):
        return f"{option}: expected {_plain(given[1])}, got {given[2].strip()!r}"
    else:
        return None
    value = given[1].strip()
    hint = ""
    if "dict" in expected and value.startswith(("{", "[{")) and _NO_BLANK.search(value):
        hint = f"; a mapping has a blank behind each colon: '{_NO_BLANK.sub(': ', value)}'"
    return f"{option}: expected {expected}, got {value!r}{hint}"


def _separate(types: str) -> list[str]:
    """Types of a list; those in brackets stay together."""
    found, depth = [""], 0
    for character in types:
        depth += (character == "[") - (character == "]")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found]


def _plain(types: str) -> str:
    """Types as one says them: ``int``, not ``<class 'int'>``; ``null`` for None; the values of a choice."""
    named = _TYPE_NAME.sub(lambda match: match[1].rpartition(".")[2], types).replace("NoneType", "null")
    chosen = _LITERAL.sub(lambda match: match[1].replace("'", "").replace(", ", " or "), named)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", chosen)
