"""What a suite's file says, and the runs that it plans; needs no torch."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcubench.bounded_yaml import read_yaml
from mcubench.errors import UserError, did_you_mean

__all__ = ["SUITES", "PlannedRun", "Suite", "find_suite"]

_FOLDER = Path(__file__).parent
SUITES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))

_KEYS = {"seeds", "tables"}
_TABLE_KEYS = {"options", "rows"}
_OURS = {
    *("--seed_everything", "--trainer.default_root_dir", "--ckpt_path", "--folds", "--seeds"),
    *("--help", "-h", "--print_config", "--trust", "--debug"),
}
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class PlannedRun:
    """One fit of a suite.

    Attributes:
        table: The table that it stands in: a data set.
        row: Its row there: a model.
        seed: Of everything.
        words: What follows ``fit`` on the command line.
        folder: Where it writes.
    """

    table: str
    row: str
    seed: int
    words: tuple[str, ...]
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether it has run to its end: the result is what a fit writes last of all that counts."""
        return (self.folder / "result.json").is_file()

    def __str__(self) -> str:
        return f"{self.table}, {self.row}, seed {self.seed}"


@dataclass(frozen=True)
class Suite:
    """Rows of tables, each a model with options, and the seeds that each is trained with.

    Attributes:
        name: What its folder is called.
        seeds: Of ``--seed_everything``.
        tables: By name, rows by name, words of ``fit`` for each.
    """

    name: str
    seeds: tuple[int, ...]
    tables: dict[str, dict[str, tuple[str, ...]]]

    def runs(self, root: Path) -> Iterator[PlannedRun]:
        """All runs, one seed after the other, so that a table is complete before its intervals are.

        A row's folder has a digest of its words: one whose options have changed is trained again, and nothing is
        overwritten.
        """
        for seed in self.seeds:
            for table, rows in self.tables.items():
                for row, words in rows.items():
                    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]
                    folder = root / self.name / _slug(table) / f"{_slug(row)}-{digest}" / f"seed-{seed}"
                    yield PlannedRun(table, row, seed, (*words, "--seed_everything", str(seed)), folder)


def find_suite(given: str) -> Suite:
    """Reads a suite.

    Args:
        given: A name among `SUITES`, or the path of a YAML file: ``seeds``, a list, and ``tables``, each with
            ``options`` that its rows share and ``rows``, options of ``fit`` by name.

    Raises:
        UserError: If there is none, or it says something else; the place in the file is named.
    """
    if given in SUITES:
        return _read(_FOLDER / f"{given}.yaml")
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(
            f"there is no suite {given!r}.{did_you_mean(given, SUITES)} There are {', '.join(SUITES)}; one of your own "
            "is a YAML file (docs/result.md)"
        )
    if not path.is_file():
        raise UserError(f"--suite {given}: there is no such file")
    return _read(path)


def _read(path: Path) -> Suite:
    content = _keyed(path, "the file", read_yaml(path, f"suite {path}"), _KEYS)
    seeds, tables = content["seeds"], _mapping(path, "tables", content["tables"])
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise UserError(f"suite {path}: seeds must be a list of whole numbers from 0, as [0, 1, 2]; got {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"suite {path}: seeds has a seed twice: {seeds}")
    if max(seeds) > _LARGEST_SEED:
        raise UserError(f"suite {path}: seeds go up to {_LARGEST_SEED}; got {max(seeds)}")
    suite = Suite(path.stem, tuple(seeds), {name: _rows(path, name, table) for name, table in tables.items()})
    _check_folders(path, suite)
    return suite


def _check_folders(path: Path, suite: Suite) -> None:
    """Sees that each row has a folder of its own."""
    rows: dict[Path, str] = {}
    for run in replace(suite, seeds=suite.seeds[:1]).runs(Path()):
        row = f"{run.table}, {run.row}"
        if run.folder in rows:
            raise UserError(f"suite {path}: {rows[run.folder]} and {row} are one run under two names: keep one")
        rows[run.folder] = row


def _rows(path: Path, name: str, table: object) -> dict[str, tuple[str, ...]]:
    where = f"tables, {name}"
    content = _keyed(path, where, table, _TABLE_KEYS)
    shared = _words(path, f"{where}, options", content["options"])
    rows = _mapping(path, f"{where}, rows", content["rows"])
    return {row: (*shared, *_words(path, f"{where}, rows, {row}", words)) for row, words in rows.items()}


def _keyed(path: Path, where: str, content: object, keys: set[str]) -> dict[str, Any]:
    found = _mapping(path, where, content)
    if set(found) != keys:
        raise UserError(
            f"suite {path}: {where} must have {' and '.join(sorted(keys))}; got {', '.join(map(str, found))}"
        )
    return found


def _mapping(path: Path, where: str, content: object) -> dict[str, Any]:
    if not isinstance(content, dict) or not content:
        raise UserError(f"suite {path}: {where} must be a set of names with values; got {content!r}")
    named = {str(name): value for name, value in content.items()}
    if len(named) < len(content):
        raise UserError(f"suite {path}: {where} has a name twice: {', '.join(map(repr, content))}")
    return named


def _words(path: Path, where: str, options: object) -> tuple[str, ...]:
    if not isinstance(options, str):
        raise UserError(f"suite {path}: {where} must be options of fit in one line; got {options!r}")
    try:
        words = tuple(shlex.split(options))
    except ValueError as error:  # a quotation mark without its fellow
        raise UserError(f"suite {path}: {where}: {error} in {options!r}") from None
    for word in words:
        if word.partition("=")[0] in _OURS:
            raise UserError(f"suite {path}: {where}: {word} is not for suites, which see to it themselves")
    return words


def _slug(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "row"
