"""``search``: the best model that fits a budget, among those that a space has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mcubench.cli.searching.confirm import confirm
from mcubench.cli.searching.options import SearchOptions, read_options
from mcubench.cli.searching.running import Search
from mcubench.cli.searching.spaces import plan_of
from mcubench.console import say, wide
from mcubench.errors import CorruptDataError, UserError
from mcubench.files import atomic_path
from mcubench.reading import read_json
from mcubench.results.lock import alone_in
from mcubench.results.run_folder import shown
from mcubench.search.plan import Plan
from mcubench.search.report import Report
from mcubench.search.storage import import_optuna, locked
from mcubench.search.study import ASKED, Study

__all__ = ["run_search"]


def run_search(args: Sequence[str]) -> None:
    """Searches, with others that work on the same study; who ends last confirms and reports.

    Args:
        args: The words after ``search``.

    Raises:
        UserError: For every mistake in the options, if nothing fits the budget, or a study is one of something else.
        KeyboardInterrupt: After Ctrl-C; the same command goes on.
        Terminated: After SIGTERM, likewise.
    """
    options = read_options(args)
    import_optuna()
    plan = plan_of(options)
    console = wide(Console(file=sys.stdout))  # this stream, also while fits print to their logs
    folder, name = _joined(options, plan)
    study = Study(folder, name, options.objectives, options.sampler, options.pruner, options.seed, options.storage)
    say(console, f"search in {shown(folder)}; budget: {options.budget}", style="bold")
    Search(options, plan, study, console).run()
    with contextlib.ExitStack() as alone:
        try:
            alone.enter_context(alone_in(folder))
        except UserError:
            say(console, f"another process sums up in {shown(folder)}")
            return
        if study.is_under_way():
            say(console, f"other processes still train; who ends last sums up in {shown(folder)}")
            return
        _sum_up(options, plan, study, console)


def _sum_up(options: SearchOptions, plan: Plan, study: Study, console: Console) -> None:
    rows, front = study.rows(), study.front()
    words = {row.number: plan.chosen(row.params).words(options.unseeded_words) for row in front}
    seeds = [options.seed + 1 + index for index in range(options.confirm_seeds)]
    confirmed = confirm(words, _data(options), seeds, study.folder, console) if seeds and front else {}
    report = Report(options.objectives, options.budget, plan, rows, front, confirmed, len(seeds), study.importances())
    report.save(study.folder)
    report.show(study.folder, console)


def _data(options: SearchOptions) -> str:
    """What the data are called."""
    return (options.data or "data").rpartition(".")[2]


def _joined(options: SearchOptions, plan: Plan) -> tuple[Path, str]:
    """The study's folder, which belongs to these options alone and is made if there is none, and the study's name."""
    asked = {
        **plan.as_dict(),
        "budget": options.budget.as_dict(),
        "objectives": list(options.objectives),
        "sampler": options.sampler,
        "pruner": options.pruner,
        "folds": options.folds,
        "seed": options.seed,
    }
    folder = options.study or options.root / _title(options, asked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"a study can't be written to {folder}: {error.strerror}") from None
    path = folder / ASKED
    with locked(folder / ".lock"):
        if not path.exists():
            named = {"name": f"{folder.name}-{secrets.token_hex(4)}"}  # a data base may hold others of its title
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(asked | named, indent=2), "utf-8")
        before = read_json(path)
    if not isinstance(before, dict) or not isinstance(before.get("name"), str):
        raise CorruptDataError(f"{path} is damaged: it has no name of a study; restore it, or give another --study")
    different = [name for name, value in asked.items() if before.get(name) != value]
    if different:
        raise UserError(
            f"{shown(folder)} has a study with other {', '.join(different)}: give another --study, or the options that "
            f"it was begun with ({shown(path)})"
        )
    return folder, before["name"]


def _title(options: SearchOptions, asked: Mapping[str, Any]) -> str:
    """What the folder of a study is called: other options make another one."""
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
    models = [model.rpartition(".")[2] for model in options.models]
    return "-".join(["search", *models, _data(options), digest])
