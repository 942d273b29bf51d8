"""``search``: the best model that fits a budget, among those that a space has."""

from __future__ import annotations

import hashlib
import json
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
from mcubench.errors import UserError
from mcubench.files import atomic_path
from mcubench.reading import read_json
from mcubench.results.run_folder import shown
from mcubench.search.plan import Plan
from mcubench.search.report import Report
from mcubench.search.storage import import_optuna
from mcubench.search.study import Study

__all__ = ["run_search"]

_ASKED = "study.json"


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
    folder = _folder(options, plan)
    study = Study(
        folder, folder.name, options.objectives, options.sampler, options.pruner, options.seed, options.storage
    )
    say(console, f"search in {shown(folder)}; budget: {options.budget}", style="bold")
    Search(options, plan, study, console).run()
    if study.is_under_way():
        say(console, f"other processes still train; who ends last sums up in {shown(folder)}")
        return
    rows, front = study.rows(), study.front()
    words = {row.number: plan.chosen(row.params).words(options.words[:-1]) for row in front}
    seeds = [options.seed + 1 + index for index in range(options.confirm_seeds)]
    confirmed = confirm(words, _data(options), seeds, folder, console) if seeds and front else {}
    report = Report(options.objectives, options.budget, plan, rows, front, confirmed, len(seeds), study.importances())
    report.save(folder)
    report.show(folder, console)


def _data(options: SearchOptions) -> str:
    words = options.words
    return words[words.index("--data") + 1].rpartition(".")[2] if "--data" in words else "data"


def _folder(options: SearchOptions, plan: Plan) -> Path:
    """The study's folder, which is made; it belongs to these options alone."""
    asked = {
        **plan.as_dict(),
        "budget": options.budget.as_dict(),
        "objectives": list(options.objectives),
        "sampler": options.sampler,
        "pruner": options.pruner,
        "folds": options.folds,
        "seed": options.seed,
    }
    folder = options.study or options.root / _name(options, asked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"a study can't be written to {folder}: {error.strerror}") from None
    path = folder / _ASKED
    if path.exists():
        before = read_json(path)
        different = [name for name, value in asked.items() if before.get(name) != value]
        if different:
            raise UserError(
                f"{shown(folder)} has a study with other {', '.join(different)}: give another --study, or the options "
                f"that it was begun with ({shown(path)})"
            )
    else:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asked, indent=2), "utf-8")
    return folder


def _name(options: SearchOptions, asked: Mapping[str, Any]) -> str:
    """What the folder of a study is called: other options make another one."""
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
    models = [model.rpartition(".")[2] for model in options.models]
    return "-".join(["search", *models, _data(options), digest])
