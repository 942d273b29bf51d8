"""YAML files, read within bounds: of size, depth and aliases, and with each key once; errors become one line."""

from __future__ import annotations

import copy
import functools
import re
from pathlib import Path
from typing import Any

import yaml

from mcubench.errors import UserError

__all__ = ["in_a_line", "parse", "read_yaml"]

# A configuration has some thousand characters and four levels. Scanners of YAML take time with the square of the depth
# of brackets that are never closed, and the one in C ends the process on lists that are as deep.
_LONGEST = 2**18  # characters
_DEEPEST = 48  # levels
_MOST_NODES = 2**16  # values, those behind aliases counted wherever they are referred to


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that stops at what is too deep; dates stay text, and 1e-3 is a number, as in JSON."""

    def fetch_more_tokens(self) -> Any:
        if self.flow_level + len(self.indents) > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested more than {_DEEPEST} deep", problem_mark=self.get_mark())
        return super().fetch_more_tokens()


_Loader.yaml_implicit_resolvers = {
    letter: [each for each in known if each[0] not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")]
    for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+]?[0-9]+)?)"
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(rf"(?:{_FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
    list("-+0123456789."),
)


def parse(text: str) -> Any:
    """What YAML says, as plain values.

    Raises:
        yaml.YAMLError: If it is none, is too large or too deep, has a key twice, or refers to itself.
    """
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=64)  # a command looks at its configuration some ten times
def _parsed(text: str) -> Any:
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"it has {len(text)} characters; at most {_LONGEST} are read")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _measured(node, {}, 0)[0] > _MOST_NODES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_NODES} values")
        return loader.construct_document(node)
    except (ValueError, LookupError, AttributeError) as error:  # of numbers with too many digits, and of tags
        raise yaml.YAMLError(f"a value is not of its type: {error}") from None
    finally:
        loader.dispose()


def _measured(node: yaml.Node, known: dict[int, tuple[int, int]], above: int) -> tuple[int, int]:
    """How many values a node stands for and how deep they lie, with aliases written out; its keys are looked at.

    Args:
        node: The node.
        known: What was found of nodes seen before, which aliases refer to.
        above: How many nodes it lies in.
    """
    if id(node) not in known:
        if above > 2 * _DEEPEST:  # keys and values, which the scanner has counted once
            raise yaml.MarkedYAMLError(problem="an alias refers to what it stands in", problem_mark=node.start_mark)
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [part for pair in node.value for part in pair]
        inner = [_measured(part, known, above + 1) for part in parts]
        known[id(node)] = 1 + sum(count for count, _ in inner), 1 + max((deep for _, deep in inner), default=0)
    if above + known[id(node)][1] > 2 * _DEEPEST:
        raise yaml.MarkedYAMLError(problem=f"nested more than {_DEEPEST} deep", problem_mark=node.start_mark)
    return known[id(node)]


def _check_keys(node: yaml.MappingNode) -> None:
    """Sees that no key stands there twice, of which all parsers would keep the last without a word."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                where = f"lines {lines[name]} and {line}" if line != lines[name] else f"line {line}"
                raise yaml.YAMLError(f"{key.value!r} is given twice, in {where}: keep one")
            lines[name] = line


def read_yaml(path: Path, what: str) -> Any:
    """Reads a file.

    Args:
        path: The file.
        what: What it should be, and where it was named, as errors have it: ``{what} is not UTF-8``.

    Raises:
        UserError: If it can't be read, or is no YAML within the bounds; the place in the file is named.
    """
    try:
        return parse(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{what} can't be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{what} is not YAML that can be used: {in_a_line(error)}") from None


def in_a_line(error: yaml.YAMLError) -> str:
    """What is wrong with YAML, and where."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return place + " ".join((problem or str(error)).split())
