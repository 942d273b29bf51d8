"""``fit --folds k``: cross-validation, one ordinary run a fold."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from mcubench.cli.lightning import run_verb
from mcubench.cli.names import configured, expand_names, find_options, named_class, with_defaults
from mcubench.cli.parsing import class_options
from mcubench.cli.resume import root_of
from mcubench.cli.run_log import RUN_LOG, printing_to
from mcubench.errors import UserError
from mcubench.results.cross_validation import CrossValidation, FoldScores, Remarks
from mcubench.results.folds_table import fold_line, print_folds
from mcubench.results.plots import plot_folds
from mcubench.results.result import read_result
from mcubench.results.run_folder import claim_run, shown

__all__ = ["run_folds"]


def run_folds(args: Sequence[str]) -> None:
    """Fits once a fold, with all else as the user has it, and prints and writes what the folds say together.

    Args:
        args: The words after ``fit``, ``--folds`` among them.

    Raises:
        UserError: For every mistake in the options, the data or the configuration. Before the first training nothing
            is left on disk.
        KeyboardInterrupt: After Ctrl-C; finished folds are kept.
    """
    rest, folds = _without_folds(args)
    if any(arg.endswith("help") or arg == "-h" or arg.startswith("--print_config") for arg in rest):
        run_verb("fit", [*rest, *_fold_words(folds, 0)])
        return
    model, data = _check(rest)
    folder = claim_run(root_of(rest), f"{model}-{data}-{folds}-folds")
    console = Console(file=sys.stdout)  # the stream of now: folds print into their logs
    console.print(f"{model} on {data}, {folds} folds: {shown(folder)}", markup=False, highlight=False, soft_wrap=True)
    rows: list[FoldScores] = []
    remarks = Remarks()
    try:
        for fold in range(folds):
            if console.is_terminal:
                console.print(f"fold {fold}, {fold + 1} of {folds} ...", end="\r", highlight=False)
            run = folder / f"fold-{fold}"
            _fit([*rest, *_fold_words(folds, fold)], run, fold, remarks)
            rows.append(FoldScores.read(run, fold))
            console.print(fold_line(rows[-1], folds), highlight=False, soft_wrap=True)
    except UserError as error:
        if not rows:
            raise
        raise UserError(f"fold {fold} of {folds}: {error} (finished folds are kept in {shown(folder)})") from error
    except KeyboardInterrupt:
        done = ", ".join(str(row.fold) for row in rows)
        kept = f"; finished before it, and kept: fold {done} in {shown(folder)}" if rows else ""
        console.print(f"Stopped in fold {fold} of {folds}{kept}", markup=False, highlight=False, soft_wrap=True)
        raise
    finally:
        with contextlib.suppress(OSError):  # the folder is kept if anything was written there
            folder.rmdir()
    _conclude(rows, folder, (model, data), ["fit", *args], remarks, console)


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


def _without_folds(args: Sequence[str]) -> tuple[list[str], int]:
    """The other words, and k."""
    rest, value, pending = [], "", False
    for arg in args:
        option, equals, given = arg.partition("=")
        if pending or option == "--folds":
            value = arg if pending else given
            pending = not pending and not equals
        else:
            rest.append(arg)
    if not value.isdecimal() or int(value) < 2:
        raise UserError(
            f"--folds must be a number of folds, 2 or more; got {value!r}. As many as there are subjects, with a split "
            "by subject, is leave-one-subject-out"
        )
    return rest, int(value)


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
            f"--folds needs a data module with the options folds and fold, which {_short(data)} does not have; those "
            "of TensorDataModule come with it"
        )
    return _short(model), _short(data)


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def _fit(args: list[str], run: Path, fold: int, remarks: Remarks) -> None:
    """Runs one fold; what it prints goes to the log in its folder, what it warns of to the remarks, too."""
    run.mkdir()
    try:
        with printing_to(run), _remarked(fold, remarks):
            run_verb("fit", args, run)
    finally:
        if [path.name for path in run.iterdir()] == [RUN_LOG]:  # it was refused before anything was trained
            (run / RUN_LOG).unlink()
            run.rmdir()
    with contextlib.suppress(OSError):
        for note in read_result(run)["notes"]:
            remarks.add(fold, note)


@contextlib.contextmanager
def _remarked(fold: int, remarks: Remarks) -> Iterator[None]:
    """Takes down what is warned of and logged, which k folds would say k times."""

    class Listener(logging.StreamHandler):  # type: ignore[type-arg]
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            remarks.add(fold, record.getMessage(), str(record.msg))

    logger, listener = logging.getLogger("mcubench"), Listener()
    logger.addHandler(listener)
    try:
        with warnings.catch_warnings():
            show = warnings.showwarning

            def listen(message: Warning | str, *rest: object) -> None:
                show(message, *rest)  # type: ignore[arg-type]
                remarks.add(fold, str(message))

            warnings.showwarning = listen  # type: ignore[assignment]
            yield
    finally:
        logger.removeHandler(listener)
