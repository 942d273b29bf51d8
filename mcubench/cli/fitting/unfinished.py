"""The folder of several fits, which the same command goes on with after it was interrupted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcubench.files import atomic_path
from mcubench.results.lock import alone_in
from mcubench.results.remarks import Remarks
from mcubench.results.run_folder import claim_run

__all__ = ["SeveralFits", "several_fits"]

_MARK = "unfinished.json"


@dataclass(frozen=True)
class SeveralFits:
    """Several fits of one command.

    Attributes:
        folder: Where they are.
        words: The words after ``fit``.
        remarks: What they have to say.
        goes_on: Whether the command was interrupted before.
    """

    folder: Path
    words: Sequence[str]
    remarks: Remarks
    goes_on: bool

    def save(self) -> None:
        """Notes whose folder it is, as long as something is to be done in it, and what was said so far."""
        with atomic_path(self.folder / _MARK) as temporary:
            temporary.write_text(json.dumps({"words": list(self.words), "remarks": self.remarks.said}), "utf-8")


@contextlib.contextmanager
def several_fits(root: Path, title: str, words: Sequence[str], what: str) -> Iterator[SeveralFits]:
    """Keeps others out of the folder of several fits until all are summed up; it goes if nothing is left in it.

    It is that of the same command, if it was interrupted, else a new one.

    Args:
        root: The folder that holds all runs.
        title: What is run, for a new folder's name.
        words: The words after ``fit``.
        what: What each of them is: ``fold``, ``seed``.

    Yields:
        Where they are, and what was said in it so far.

    Raises:
        UserError: If a new folder can't be made.
    """
    with contextlib.ExitStack() as alone:
        fits = _interrupted(root, words, what, alone)
        if fits is None:
            fits = SeveralFits(claim_run(root, title), words, Remarks(what), goes_on=False)
            alone.enter_context(alone_in(fits.folder))
            fits.save()
        mark = fits.folder / _MARK
        try:
            yield fits
            mark.unlink()
        finally:
            if list(fits.folder.iterdir()) == [mark]:
                mark.unlink()
            with contextlib.suppress(OSError):  # the folder is kept if anything was written there
                fits.folder.rmdir()


def _interrupted(root: Path, words: Sequence[str], what: str, alone: contextlib.ExitStack) -> SeveralFits | None:
    """The newest that the same words have begun, and nobody is at work with."""
    for mark in sorted(root.glob(f"*/{_MARK}"), reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # damaged, or somebody is at work
            content = json.loads(mark.read_text("utf-8"))
            if content["words"] == list(words):
                alone.enter_context(alone_in(mark.parent))
                return SeveralFits(mark.parent, words, Remarks(what, content["remarks"]), goes_on=True)
    return None
