"""``compare``: finished runs in one table, as CSV and Markdown, and as a picture; it needs no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from mcubench.cli.help import describe
from mcubench.console import wide
from mcubench.errors import UserError, did_you_mean
from mcubench.results.comparison import compare_runs, print_comparison, save_comparison

__all__ = ["run_compare"]

_OPTIONS = ("--csv", "--markdown", "--plot", "--help")
_PICTURES = (".png", ".svg")


def run_compare(args: Sequence[str]) -> None:
    """Compares runs and prints, and perhaps writes, the comparison.

    Args:
        args: The words after ``compare``.

    Raises:
        UserError: For every mistake in the options, without runs, and for a result that can't be read.
    """
    options = _parse(args)
    _check_targets(options)
    comparison = compare_runs(options.runs)
    console = wide(Console())
    print_comparison(comparison, console)
    save_comparison(comparison, console, csv=options.csv, markdown=options.markdown, plot=options.plot)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line of ours."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"compare: {message}; try --help")


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m mcubench compare",
        usage="python -m mcubench compare [RUN ...] [options]",
        description=describe("compare"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="a run's folder, or a folder of runs; not given, the folder runs",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write all figures to this file, a row each")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the table to this file")
    parser.add_argument("--plot", metavar="STEM", help="draw accuracy over flash and over MACs: STEM.png and STEM.svg")
    options, unknown = parser.parse_known_intermixed_args(args)
    if unknown:
        option = unknown[0].partition("=")[0]
        raise UserError(
            f"there is no option {option}.{did_you_mean(option, _OPTIONS)} There are {', '.join(_OPTIONS)}."
        )
    options.runs = options.runs or [Path("runs")]
    return options


def _check_targets(options: argparse.Namespace) -> None:
    """Sees before the work that what is asked for can be written."""
    for name, suffix in (("csv", ".csv"), ("markdown", ".md")):
        given: Path | None = getattr(options, name)
        if given is not None and given.is_dir():
            raise UserError(f"--{name} {given} is a folder; give a file")
        if given is not None and given.suffix != suffix:
            raise UserError(f"--{name} {given}: its name must end in {suffix}; got {given.name}")
    if options.plot is None:
        return
    stem = Path(options.plot)
    if stem.is_dir():
        raise UserError(f"--plot {stem} is a folder; give the start of two files' names, as in {stem / 'pareto'}")
    if stem.suffix in _PICTURES:
        raise UserError(f"--plot writes {' and '.join(_PICTURES)}: give their name without it, as in {stem.stem}")
