"""What a suite's file says, and the runs that it plans; needs no torch."""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcubench.bounded_yaml import read_yaml
from mcubench.errors import UserError, did_you_mean

__all__ = ["SUITES", "PlannedRun", "Suite", "find_suite"]

_FOLDER = Path(__file__).parent
SUITES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))

_KEYS = {"seeds", "tables"}
_TEACHERS = "teachers"
_DISTILL = ("--distill", "--distill.run")
_NOBODY: Mapping[str, str] = {}
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
        teachers: By name, words of ``fit``: models that rows learn from, by ``--distill`` and the name.
    """

    name: str
    seeds: tuple[int, ...]
    tables: dict[str, dict[str, tuple[str, ...]]]
    teachers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def lessons(self, root: Path) -> Iterator[PlannedRun]:
        """The runs of the teachers, of the first seed, which come before all others and stand in no table."""
        for name, words in self.teachers.items():
            yield self._planned(root, _TEACHERS, name, self.seeds[0], words)

    def runs(self, root: Path) -> Iterator[PlannedRun]:
        """All runs, one seed after the other, so that a table is complete before its intervals are.

        A row's folder has a digest of its words: one whose options, or whose teacher's, have changed is trained again,
        and nothing is overwritten.
        """
        learned = {run.row: str(run.folder / "checkpoints" / "best.ckpt") for run in self.lessons(Path())}
        for seed in self.seeds:
            for table, rows in self.tables.items():
                for row, words in rows.items():
                    yield self._planned(root, table, row, seed, words, learned)

    def _planned(
        self, root: Path, table: str, row: str, seed: int, words: Sequence[str], teachers: Mapping[str, str] = _NOBODY
    ) -> PlannedRun:
        """A run; teachers by name, below the folder of all runs."""
        digest = hashlib.sha256("\0".join(_taught(words, teachers)).encode()).hexdigest()[:8]
        folder = root / self.name / _slug(table) / f"{_slug(row)}-{digest}" / f"seed-{seed}"
        here = {name: str(root / path) for name, path in teachers.items()}
        return PlannedRun(table, row, seed, (*_taught(words, here), "--seed_everything", str(seed)), folder)


def _taught(words: Sequence[str], teachers: Mapping[str, str]) -> list[str]:
    """The words, with a teacher's checkpoint in the place of its name."""
    found = []
    for before, word in itertools.pairwise(("", *words)):
        option, equals, value = word.partition("=")
        if before in _DISTILL:
            found.append(teachers.get(word, word))
        elif option in _DISTILL:
            found.append(f"{option}{equals}{teachers.get(value, value)}")
        else:
            found.append(word)
    return found


def find_suite(given: str) -> Suite:
    """Reads a suite.

    Args:
        given: A name among `SUITES`, or the path of a YAML file: ``seeds``, a list, and ``tables``, each with
            ``options`` that its rows share and ``rows``, options of ``fit`` by name; and perhaps ``teachers``, options
            of ``fit`` by the name that a row's ``--distill`` has.

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
    whole = read_yaml(path, f"suite {path}")
    content = _keyed(
        path, "the file", whole, _KEYS | ({_TEACHERS} & whole.keys() if isinstance(whole, dict) else set())
    )
    teachers = _mapping(path, _TEACHERS, content[_TEACHERS]) if _TEACHERS in content else {}
    seeds, tables = content["seeds"], _mapping(path, "tables", content["tables"])
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise UserError(f"suite {path}: seeds must be a list of whole numbers from 0, as [0, 1, 2]; got {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"suite {path}: seeds has a seed twice: {seeds}")
    if max(seeds) > _LARGEST_SEED:
        raise UserError(f"suite {path}: seeds go up to {_LARGEST_SEED}; got {max(seeds)}")
    suite = Suite(
        path.stem,
        tuple(seeds),
        {name: _rows(path, name, table) for name, table in tables.items()},
        {name: _words(path, f"{_TEACHERS}, {name}", words) for name, words in teachers.items()},
    )
    _check_folders(path, suite)
    return suite


def _check_folders(path: Path, suite: Suite) -> None:
    """Sees that each row has a folder of its own."""
    rows: dict[Path, str] = {}
    one = replace(suite, seeds=suite.seeds[:1])
    for run in (*one.lessons(Path()), *one.runs(Path())):
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


def _keyed(
    path: Path, where: str, content: object, keys: set[str], may: AbstractSet[str] = frozenset()
) -> dict[str, Any]:
    found = _mapping(path, where, content)
    if set(found) - may != keys:
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
