"""What every benchmark does with its command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.tables import write_tables
from mcubench.errors import UserError

__all__ = ["exit_code", "page_command", "show"]


def exit_code(run: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> int:
    """Parses and runs; an error of the user's is one line, and exit code 2."""
    try:
        return run(parser.parse_args())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def page_command(
    run: Callable[[argparse.Namespace], int],
    description: str | None,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> int:
    """The command line of a benchmark that makes tables of a page: where data are, and which page.

    Args:
        run: What it does.
        description: What it says of itself.
        add_options: Adds options of its own.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="the data root; not set, as of mcubench")
    parser.add_argument("--write", type=Path, help="the page whose tables to replace; not set, they are printed")
    add_options(parser)
    return exit_code(run, parser)


def show(options: argparse.Namespace, tables: Mapping[str, str]) -> None:
    """Puts tables into the page, or prints them."""
    if options.write:
        write_tables(options.write, dict(tables))
    else:
        print(*tables.values(), sep="\n\n")
