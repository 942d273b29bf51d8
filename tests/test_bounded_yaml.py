"""YAML within bounds.

References: PyYAML's own safe loader for what is within them; values written out by hand for the rest.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mcubench.bounded_yaml import in_a_line, parse, read_yaml
from mcubench.errors import UserError

CONFIGURATION = """\
seed_everything: 0
model:
  class_path: mcubench.models.MLP
  init_args: {hidden: [42, 10], learning_rate: 0.005, schedule: null}
shared: &one {a: 1}
again: [*one, *one]
merged: {<<: *one, b: 'two: 2'}
"""


def test_a_configuration_is_what_pyyaml_reads() -> None:
    assert parse(CONFIGURATION) == yaml.safe_load(CONFIGURATION)
    assert parse("") is None


def test_numbers_are_those_of_json_and_dates_are_text() -> None:
    assert parse("[1e-3, 1E5, .5, 1., -1.5e+3, 12, .inf]") == [0.001, 1e5, 0.5, 1.0, -1500.0, 12, float("inf")]
    assert parse("[2026-01-31, e5, 1e, .]") == ["2026-01-31", "e5", "1e", "."]


def test_what_is_parsed_may_be_changed() -> None:
    first = parse("a: [1]")
    first["a"].append(2)
    assert parse("a: [1]") == {"a": [1]}


def aliases(levels: int) -> str:
    """Lists of nine times the list before: nine to the power of their number of values, in a few lines."""
    lines = ["- &a0 [1]", *(f"- &a{level} [{', '.join(9 * [f'*a{level - 1}'])}]" for level in range(1, levels))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "'b' is given twice, in lines 2 and 4"),
        ('x: [{a: 1, "a": 2}]', "'a' is given twice, in line 1"),
        ("- " * 10_000, "nested more than 48 deep"),
        ("[" * 10_000, "line 1, column 50: nested more than 48 deep"),
        ("{" * 10_000, "nested more than 48 deep"),
        ("a: &a [*a]", "line 1, column 4: .*"),
        ("a: &a {b: *a}", "line 1, column 8: .*"),
        ("\n".join(["- &a0 [1]", *(f"- &a{each} [*a{each - 1}]" for each in range(1, 200))]), "nested more than 48"),
        (aliases(8), "aliases stand for more than 65536 values"),
        ("x" * 2**19, "has 524288 characters; at most 262144"),
        ("a: " + "1" * 5000, "not of its type: .*4300 digits"),
        ("a: !!bool x", "not of its type"),
        ("a: !!int ''", "not of its type"),
        ("a: !!timestamp x", "not of its type"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("? [a]\n: b", "unhashable key"),
        ("a: *b", "undefined alias"),
        ("a\x00", "#x0000"),
        ("- a\n--- b", "another document"),
    ],
)
def test_mistakes_are_said_in_a_line(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError) as error:
        parse(text)
    line = in_a_line(error.value)
    assert re.search(message, line)
    assert "\n" not in line


def test_aliases_within_the_bounds_are_read() -> None:
    content = parse(aliases(4))
    assert len(content[3]) == 9
    assert content[3][0] == content[2]


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("a: für".encode("latin-1"))
    with pytest.raises(UserError, match="the file is not UTF-8 text: byte 4 is 0xfc; save it as UTF-8"):
        read_yaml(path, "the file")
    path.write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(UserError, match="the file is not UTF-8 text: byte 0 is 0xff"):
        read_yaml(path, "the file")
    with pytest.raises(UserError, match="the file can't be read: Is a directory"):
        read_yaml(tmp_path, "the file")
