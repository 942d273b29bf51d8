"""``compare``: finished runs, or those of a suite, in one table, as CSV and Markdown, and as a picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mcubench.cli.fitting.suite import run_suite
from mcubench.cli.options.verb_parser import VerbParser
from mcubench.console import wide
from mcubench.errors import UserError, did_you_mean
from mcubench.host_errors import check_writable
from mcubench.results.comparison import compare_runs, print_comparison, save_comparison
from mcubench.suites import SUITES, find_suite

if TYPE_CHECKING:
    from mcubench.cli.cluster.client import Workers

__all__ = ["run_compare"]

_OPTIONS = ("--suite", "--root", "--workers", "--scheduler", "--csv", "--markdown", "--plot", "--help")
_PICTURES = (".png", ".svg")


def run_compare(args: Sequence[str]) -> None:
    """Compares runs and prints, and perhaps writes, the comparison; only a suite that is not done yet needs torch.

    Args:
        args: The words after ``compare``.

    Raises:
        UserError: For every mistake in the options, without runs, for a result that can't be read, and after runs of
            a suite that failed.
        KeyboardInterrupt: After Ctrl-C in a suite.
        Terminated: After SIGTERM.
    """
    options = _parse(args)
    _check_targets(options)
    console = wide(Console(file=sys.stdout))  # this stream, also while a suite's fits print to their logs
    if options.suite is not None:
        run_suite(find_suite(options.suite), options.root, console, _workers(options))
        return
    comparison = compare_runs(options.runs)
    print_comparison(comparison, console)
    save_comparison(comparison, console, csv=options.csv, markdown=options.markdown, plot=options.plot)


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = VerbParser(
        "compare",
        "python -m mcubench compare [RUN ...] [options]\n"
        "       python -m mcubench compare --suite SUITE [--root FOLDER]\n"
        "                                  [--workers N | --scheduler ADDRESS]",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="a run's folder, or a folder of runs; not given, the folder runs",
    )
    parser.add_argument(
        "--suite",
        metavar="SUITE",
        help=f"train what a suite plans and is not done yet, then compare it: {', '.join(SUITES)}, or a YAML file",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="where a suite's folder lies, with runs and tables; by default runs"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="run a suite's fits in so many processes at once, with a thread each"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="run them on the workers of a Dask cluster, as in tcp://host:8786"
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
    _check_suite(options)
    options.runs = options.runs or [Path("runs")]
    options.root = options.root or Path("runs")
    return options


def _check_suite(options: argparse.Namespace) -> None:
    """Sees that what is given goes together: a suite has runs and files of its own."""
    if options.suite is None and options.root is not None:
        raise UserError("--root is where a suite's folder lies: give --suite with it")
    for name in ("workers", "scheduler"):
        if options.suite is None and getattr(options, name) is not None:
            raise UserError(f"--{name} is who runs a suite's fits: give --suite with it")
    if options.workers is not None and options.scheduler is not None:
        raise UserError("--workers are this machine's, --scheduler has its own: give one of the two")
    given = [f"--{name}" for name in ("csv", "markdown", "plot") if getattr(options, name) is not None]
    given += ["RUN"] if options.runs else []
    if options.suite is not None and given:
        raise UserError(f"--suite compares its own runs and writes all files beside them: leave {given[0]} out")


def _workers(options: argparse.Namespace) -> Workers | None:
    """Who runs a suite's fits, if not this process."""
    if options.workers is None and options.scheduler is None:
        return None
    from mcubench.cli.cluster.client import Workers

    return Workers(options.workers, options.scheduler)


def _check_targets(options: argparse.Namespace) -> None:
    """Sees before the work that what is asked for can be written."""
    for name, suffix in (("csv", ".csv"), ("markdown", ".md")):
        given: Path | None = getattr(options, name)
        if given is None:
            continue
        check_writable(given, f"--{name}")
        if given.suffix != suffix:
            raise UserError(f"--{name} {given}: its name must end in {suffix}; got {given.name}")
    if options.plot is None:
        return
    stem = Path(options.plot)
    if stem.is_dir():
        raise UserError(f"--plot {stem} is a folder; give the start of two files' names, as in {stem / 'pareto'}")
    if stem.suffix in _PICTURES:
        raise UserError(f"--plot writes {' and '.join(_PICTURES)}: give their name without it, as in {stem.stem}")
    check_writable(Path(f"{stem}{_PICTURES[0]}"), "--plot")
