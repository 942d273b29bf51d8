"""The parser of verbs that need no jsonargparse: their options are plain words and numbers."""

from __future__ import annotations

import argparse
from typing import NoReturn

from mcubench.cli.help import describe
from mcubench.errors import UserError

__all__ = ["VerbParser"]


class VerbParser(argparse.ArgumentParser):
    """A parser whose errors are one line of ours.

    Args:
        verb: What it reads the options of.
        usage: How its help begins.
    """

    def __init__(self, verb: str, usage: str) -> None:
        self.verb = verb
        super().__init__(
            prog=f"python -m mcubench {verb}",
            usage=usage,
            description=describe(verb),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Says what is wrong.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self.verb}: {message}; try --help")
