"""``import mcubench`` alone reaches every package, and the documents spell out names that there are."""

from __future__ import annotations

import pkgutil
import re

import pytest

import mcubench
from tests.conftest import REPOSITORY

_NAME = re.compile(r"(?<![\w/.-])mcubench(?:\.[A-Za-z_]\w*)+")
# Behind the command line, or reached by what they hold.
_INSIDE = {"bounded_yaml", "cli", "console", "errors", "files", "host_errors", "reading", "schema", "stopping"}


def packages() -> list[str]:
    """Top-level packages and modules, from the files."""
    found = {path.stem for path in (REPOSITORY / "mcubench").glob("*.py")}
    found |= {path.parent.name for path in (REPOSITORY / "mcubench").glob("*/__init__.py")}
    return sorted({name for name in found if not name.startswith("_")} - _INSIDE)


@pytest.mark.parametrize("name", packages())
def test_every_package_is_reached_from_the_top(name: str) -> None:
    assert mcubench.__getattr__(name).__name__ == f"mcubench.{name}"  # whether it was imported before or not
    assert name in mcubench.__all__


def test_names_in_the_documents_are_there() -> None:
    texts = [path.read_text("utf-8") for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"))]
    names = {name for text in texts for name in _NAME.findall(text)}
    assert "mcubench.quant.integer.predict" in names
    for name in names:
        assert pkgutil.resolve_name(name) is not None
