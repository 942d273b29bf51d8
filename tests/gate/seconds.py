"""What files and tests took when they were measured last, from which the order of files and what is slow follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mcubench.files import atomic_path

__all__ = ["SLOW", "Seconds", "measured", "record"]

SLOW = 0.3  # seconds: with what takes longer left out, the rest is done in minutes

_FILE = Path(__file__).with_name("seconds.json")


@dataclass(frozen=True)
class Seconds:
    """Seconds of set-up, call and tear-down.

    Attributes:
        files: Of all tests of a file, by its path from the root of the repository.
        tests: Of a test, by its id; those that are not slow are left out.
    """

    files: Mapping[str, float] = field(default_factory=dict)
    tests: Mapping[str, float] = field(default_factory=dict)


def measured() -> Seconds:
    """What was measured last."""
    return Seconds(**json.loads(_FILE.read_text("utf-8")))


def record(found: Seconds) -> None:
    """Replaces what was measured before, of the files that ran and of those that are no longer there."""
    root, before = _FILE.parents[2], measured()
    kept = {file for file in before.files if file not in found.files and (root / file).is_file()}
    files = {file: before.files[file] for file in kept} | found.files
    tests = {test: spent for test, spent in before.tests.items() if test.partition("::")[0] in kept}
    tests |= {test: spent for test, spent in found.tests.items() if spent > SLOW}
    rows = Seconds(*({key: round(spent, 1) for key, spent in sorted(each.items())} for each in (files, tests)))
    with atomic_path(_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(rows), indent=1) + "\n", "utf-8")
