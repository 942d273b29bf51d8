"""``fit --folds k``: cross-validation, one ordinary run a fold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mcubench.cli.fitting.by_workers import fit_each_by_workers, workers_from
from mcubench.cli.fitting.lightning import run_verb
from mcubench.cli.fitting.several import fit_each, only_asks, short_name
from mcubench.cli.fitting.unfinished import several_fits
from mcubench.cli.options.counts import count_of, workers_of
from mcubench.cli.options.names import configured, expand_names, find_options, named_class, with_defaults, wrapped_name
from mcubench.cli.options.parsing import class_options
from mcubench.cli.options.resume import root_of
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.results.cross_validation import CrossValidation, FoldScores
from mcubench.results.folds_table import fold_line, print_folds
from mcubench.results.plots import plot_folds
from mcubench.results.remarks import Remarks
from mcubench.results.result import read_result
from mcubench.results.run_folder import shown

__all__ = ["run_folds"]


def run_folds(args: Sequence[str]) -> None:
    """Fits once a fold, with all else as the user has it, and prints and writes what the folds say together.

    Args:
        args: The words after ``fit``, ``--folds`` among them.

    Raises:
        UserError: For every mistake in the options, the data or the configuration. Before the first training nothing
            is left on disk.
        KeyboardInterrupt: After Ctrl-C; the same words go on.
        Terminated: After SIGTERM, likewise.
    """
    args, number, scheduler = workers_of(args)  # others may go on with what these have begun
    rest, folds = count_of("folds", args)
    if only_asks(rest):
        run_verb("fit", [*rest, *_fold_words(folds, 0)])
        return
    model, data = _check(rest)
    console = Console(file=sys.stdout)  # the stream of now: folds print into their logs
    rows: list[FoldScores] = []

    def told(run: Path, fold: int) -> str:
        rows.append(FoldScores.read(run, fold))
        return fold_line(rows[-1], folds)

    workers = workers_from(number, scheduler)
    words = {fold: [*rest, *_fold_words(folds, fold)] for fold in range(folds)}
    with several_fits(root_of(rest), f"{model}-{data}-{folds}-folds", args, "fold") as fits:
        goes_on = ", goes on" if fits.goes_on else ""
        say(console, f"{model} on {data}, {folds} folds{goes_on}: {shown(fits.folder)}")
        if workers is None:
            fit_each(words, fits, told, console)
        else:
            fit_each_by_workers(words, fits, told, console, workers)
            rows.sort(key=lambda row: row.fold)
        _conclude(rows, fits.folder, (model, data), ["fit", *args], fits.remarks, console)


def _conclude(
    rows: list[FoldScores],
    folder: Path,
    names: tuple[str, str],
    command: list[str],
    remarks: Remarks,
    console: Console,
) -> None:
    first = read_result(folder / rows[0].run)
    split = first["split"]
    result = CrossValidation(
        *names,
        split={key: split[key] for key in ("kind", "seed")} if split else None,
        seed=first["seed"],
        command=["python", "-m", "mcubench", *command],
        folds=rows,
        notes=remarks.told(),
    )
    result.save(folder)
    if result.by_subject:
        plot_folds(result, folder / "folds.png")
    print_folds(result, folder, console)


def _fold_words(folds: int, fold: int) -> list[str]:
    return [f"--data.folds={folds}", f"--data.fold={fold}"]


def _check(args: Sequence[str]) -> tuple[str, str]:
    """Refuses what has no folds, and gives the names of model and data."""
    for name in ("folds", "fold"):
        if find_options(args, f"--data.{name}", f"--data.init_args.{name}"):
            raise UserError(f"--folds runs every fold, --data.{name} is about a single one: give one of the two")
    if find_options(args, "--ckpt_path") or configured(args).get("ckpt_path"):
        raise UserError("--folds trains each fold from the start: leave --ckpt_path out, or go on with a single fold")
    complete = with_defaults(expand_names(args))
    model, data = (named_class(kind, complete) for kind in ("model", "data"))
    assert model is not None
    if data in (None, "null"):
        raise UserError("--folds needs a data module that can be cut into folds; here the model brings its own data")
    assert data is not None
    if not {"folds", "fold"} <= set(class_options(data)):
        raise UserError(
            f"--folds needs a data module with the options folds and fold, which {short_name(data)} does not have; "
            "those of TensorDataModule come with it"
        )
    return short_name(wrapped_name(complete) or model), short_name(data)
