"""What every benchmark does with its command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from mcubench.errors import UserError

__all__ = ["exit_code"]


def exit_code(run: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> int:
    """Parses and runs; an error of the user's is one line, and exit code 2."""
    try:
        return run(parser.parse_args())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
