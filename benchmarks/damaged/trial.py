"""A command in a folder that something was done to, and what is to be thought of how it ended."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tests import forked

__all__ = ["REFUSED", "Ended", "Outcome", "Trial", "Verdict", "files_of", "in_folder", "said", "tried"]

Verdict = Literal["right", "refused", "wrong"]
# What a command made of a folder: to be compared with what it makes of one that nothing was done to.
Outcome = Callable[[Path, "Ended"], object]

REFUSED = 2  # exit code of what is refused
_SECONDS = 120  # of which most take one; what takes longer hangs
_ENVIRONMENT = {"COLUMNS": "200", "CI": "1"}


@dataclass(frozen=True)
class Ended:
    """How a process ended: ``None`` for one that had to be killed as it did not."""

    code: int | None
    out: str
    err: str

    @property
    def refusals(self) -> list[str]:
        """The lines in which it refuses."""
        return [line for line in self.err.splitlines() if "mcubench: error: " in line]

    @property
    def has_traceback(self) -> bool:
        """Whether it shows its users what they can't read."""
        return "Traceback (most recent call last)" in self.out + self.err


@dataclass(frozen=True)
class Trial:
    """A command that meets a fault.

    Attributes:
        kind: What kind of fault.
        name: Which one.
        words: The command, behind ``mcubench``.
        damage: What is done to the folder before it.
        pristine: The folder that is copied.
        outcome: What is as it would be without the fault, if the command ends well; ``None``: it must be refused.
        about: What the output may name instead, where one bad file of many must not end all.
    """

    kind: str
    name: str
    words: tuple[str, ...]
    damage: Callable[[Path], object]
    pristine: Path
    outcome: Outcome | None = None
    about: str | None = None


def tried(trial: Trial) -> tuple[Verdict, str]:
    """Does it in a copy of the folder, and says what is to be thought of it, and why."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        shutil.copytree(trial.pristine, folder, symlinks=True)
        trial.damage(folder)
        before = files_of(folder)
        ended = in_folder(folder, trial.words)
        if why := _wrong_in_itself(ended):
            return "wrong", why
        if ended.code == REFUSED:
            after = files_of(folder)
            lost = [path for path, content in before.items() if after.get(path) != content]
            return ("wrong", f"refused, and {lost[0]} is another or gone") if lost else ("refused", ended.refusals[0])
        if trial.about is not None and trial.about in ended.out + ended.err:
            return "right", "named"
        if trial.outcome is None:
            return "wrong", "accepted"
        same = trial.outcome(folder, ended) == _undisturbed(trial.pristine, trial.words, trial.outcome)
        return ("right", "as without it") if same else ("wrong", "accepted, with another outcome")


def _wrong_in_itself(ended: Ended) -> str:
    """What is wrong with how a command ended, whatever it was about."""
    if ended.code is None:
        return "it did not end"
    if ended.has_traceback:
        return f"a traceback: {(ended.err.strip().splitlines() or ['?'])[-1]}"
    if ended.code not in (0, REFUSED):
        return f"exit code {ended.code}"
    if ended.code == REFUSED and len(ended.refusals) != 1:
        return f"{len(ended.refusals)} lines of refusal"
    return ""


@cache
def _undisturbed(pristine: Path, words: tuple[str, ...], outcome: Outcome) -> object:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        shutil.copytree(pristine, folder, symlinks=True)
        ended = in_folder(folder, words)
        assert ended.code == 0, ended.err
        return outcome(folder, ended)


def in_folder(folder: Path, words: tuple[str, ...], **environment: str) -> Ended:
    """Runs a command of mcubench in a folder."""
    try:
        done = forked.run(
            ["-m", "mcubench", *words], timeout=_SECONDS, cwd=folder, env=os.environ | _ENVIRONMENT | environment
        )
    except subprocess.TimeoutExpired:
        return Ended(None, "", "")
    return Ended(done.returncode, done.stdout, done.stderr)


def files_of(folder: Path) -> dict[str, str]:
    """Hashes of all files by their paths."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def said(_folder: Path, ended: Ended) -> str:
    """What a command wrote, without what the clock says."""
    return re.sub(r"[\d.]+ (ms|s|min)\b", "? s", ended.out)
