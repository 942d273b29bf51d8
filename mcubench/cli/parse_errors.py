"""Turns the argument parser's many-line reports into one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from mcubench.errors import did_you_mean

__all__ = ["explain"]

_UNKNOWN = re.compile(r"[Uu]nrecognized arguments?: (--?[^\s=]+)|does not accept option '([\w.]+)'")
_NOT_ACCEPTED = re.compile(r"Problem with given class_path '([\w.]+)':.*?Option '([\w.]+)' is not accepted", re.DOTALL)
_INCOMPLETE = re.compile(r"Namespace\(class_path='([\w.]+)', init_args=Namespace\((.*)\)\)")
_BAD_VALUE = re.compile(r"Expected an? (.+?)\. Got value: (.*)")
_KEY = re.compile(r'Parser key "([\w.]+)"')
_SUBTYPES = re.compile(r"Subtypes: \[(.*?)\]\n")
_GIVEN = re.compile(r"Given value: (?!NestedArg)(.*)")
_NESTED = re.compile(r"Given value: NestedArg\(key='([\w.]+)', val='?(.*?)'?\)")
_LITERAL = re.compile(r"(?:typing\.)?Literal\[(.*?)\]")
_TYPE_NAME = re.compile(r"<class '([\w.]+)'>")


def explain(
    message: str,
    options: Iterable[str],
    class_options: Callable[[str], Iterable[str]],
    required_options: Callable[[str], Iterable[str]],
) -> str:
    """One line for an error of the argument parser.

    Args:
        message: What the parser said.
        options: The options of the verb, as in ``--trainer.max_epochs``.
        class_options: Gives the options of a class by its path.
        required_options: Gives those of them that have no default.
    """
    if match := _UNKNOWN.search(message):
        option = match[1] or f"--{match[2]}"
        known = list(options)
        guess = did_you_mean(option, known) or did_you_mean(option.partition(".")[0], known)
        return f"there is no option {option}.{guess} Try --help."
    if match := _NOT_ACCEPTED.search(message):
        path, name = match.groups()
        known = sorted(class_options(path))
        allowed = f" It has {', '.join(known)}." if known else ""
        return f"{path.rpartition('.')[2]} has no option {name!r}.{did_you_mean(name, known)}{allowed}"
    keys = _KEY.findall(message)
    option = "--" + ".".join(dict.fromkeys(keys)) if keys else "the command line"
    if match := _NESTED.search(message):
        option, given = f"{option.split('.')[0]}.{match[1]}", match[2]
    elif match := _GIVEN.search(message):
        given = match[1]
    else:
        given = ""
    if match := _INCOMPLETE.search(message):
        missing = [f"{option}.{name}" for name in required_options(match[1]) if f"{name}=None" in match[2]]
        name = match[1].rpartition(".")[2]
        if missing:
            return f"{name} needs {' and '.join(missing)}; its options: {option}.help {name}"
    if match := _BAD_VALUE.search(message):
        return f"{option}: expected {_plain(match[1])}, got {match[2].strip()!r}"
    if given and (match := _SUBTYPES.search(message)):
        return f"{option}: expected {_plain(match[1]).replace(', ', ' or ')}, got {given!r}"
    return " ".join(_KEY.sub(r"--\1", message).split())


def _plain(types: str) -> str:
    """Types as one says them: ``int``, not ``<class 'int'>``; ``null`` for None; the values of a choice."""
    named = _TYPE_NAME.sub(lambda match: match[1].rpartition(".")[2], types).replace("NoneType", "null")
    return _LITERAL.sub(lambda match: match[1].replace("'", "").replace(", ", " or "), named)
