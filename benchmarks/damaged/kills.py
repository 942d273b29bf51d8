"""Processes that are killed, at any moment or at a file that they put in place, and what the same command does then."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.damaged.runs import BEST, FIT, FOLDER, state_of
from benchmarks.damaged.trial import REFUSED, Verdict, files_of, in_folder
from tests import forked

__all__ = ["Kill", "kills"]

Moment = Literal["before", "after"]
_EPOCHS = 3
_TRAIN = (*FIT, "--trainer.max_epochs", str(_EPOCHS))
_EXPORTS = tuple(
    ("export", "--ckpt_path", str(BEST), "--format", "c", "tflite", "--weight_bits", bits) for bits in "84"
)
# What python runs first in a process that finds it: the Nth file that takes its place ends it.
_AT_A_FILE = """
import os, signal
place, moment = {place}, "{moment}"
put = {{}}
def killing(real):
    def replace(*given, **options):
        put["n"] = put.get("n", 0) + 1
        if (put["n"], moment) == (place, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*given, **options)
        if (put["n"], moment) == (place, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return replace
os.replace, os.rename = killing(os.replace), killing(os.rename)
"""


@dataclass(frozen=True)
class Kill:
    """When a process is killed.

    Attributes:
        kind: What is killed.
        share: Of the time that it takes undisturbed; ``None``: at a file.
        place: Which file that it puts in its place.
        moment: Before or after.
    """

    kind: Literal["fit", "export"]
    share: float | None = None
    place: int = 0
    moment: Moment = "before"

    @property
    def name(self) -> str:
        """The moment in words."""
        return f"{self.moment} file {self.place}" if self.share is None else f"at {self.share:.0%} of its time"


class Undisturbed:
    """The same commands when nothing is killed: what they leave, and how long they take."""

    def __init__(self, folder: Path, pristine: Path) -> None:
        start = time.monotonic()
        ended = in_folder(folder, _TRAIN)
        self.seconds = {"fit": time.monotonic() - start}
        assert ended.code == 0, ended.err
        (run,) = (folder / "runs").iterdir()
        self.state = state_of(run)
        self.sets = []
        for words in _EXPORTS:
            other = folder / f"export{len(self.sets)}"
            shutil.copytree(pristine, other)
            shutil.rmtree(other / FOLDER / "export", ignore_errors=True)
            start = time.monotonic()
            assert in_folder(other, words).code == 0
            self.seconds["export"] = time.monotonic() - start
            self.sets.append(files_of(other / FOLDER / "export"))
        self.exported = folder / "export0"


def kills(pristine: Path, draw: random.Random, number: int) -> Iterator[tuple[Kill, Verdict, str]]:
    """Kills so many, and says what is to be thought of each."""
    with tempfile.TemporaryDirectory() as name:
        undisturbed = Undisturbed(Path(name), pristine)
        at_files = [
            Kill(kind, place=place, moment=moment)
            for kind, most in (("fit", 34), ("export", 8))
            for place in range(1, most + 1)
            for moment in ("before", "after")
        ][:number]
        rest = number - len(at_files)
        at_times = [Kill("export" if index % 6 == 0 else "fit", share=draw.uniform(0.05, 1.0)) for index in range(rest)]
        for kill in (*at_files, *at_times):
            with tempfile.TemporaryDirectory() as folder:
                yield kill, *{"fit": _fit, "export": _export}[kill.kind](Path(folder), kill, undisturbed)


def _killed(folder: Path, words: tuple[str, ...], kill: Kill, seconds: float) -> None:
    code = folder / "first"
    code.mkdir()
    environment = dict(os.environ)
    if kill.share is None:
        (code / "sitecustomize.py").write_text(_AT_A_FILE.format(place=kill.place, moment=kill.moment))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(code), environment.get("PYTHONPATH")]))
    process = forked.start(["-m", "mcubench", *words], cwd=folder, env=environment)
    if kill.share is not None:
        time.sleep(kill.share * seconds)
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)


def _fit(folder: Path, kill: Kill, undisturbed: Undisturbed) -> tuple[Verdict, str]:
    _killed(folder, _TRAIN, kill, undisturbed.seconds["fit"])
    again = in_folder(folder, (*_TRAIN, "--ckpt_path", "last"))
    if again.has_traceback or again.code not in (0, REFUSED):
        return "wrong", (again.err.strip().splitlines() or ["?"])[-1]
    runs = [each for each in (folder / "runs").glob("*") if (each / "checkpoints/last.ckpt").is_file()]
    if again.code == REFUSED:
        nothing_yet = not runs and len(again.refusals) == 1
        return ("refused", again.refusals[0]) if nothing_yet else ("wrong", f"refused with {len(runs)} runs")
    if len(runs) != 1:
        return "wrong", f"{len(runs)} runs"
    left = list(runs[0].rglob(".*"))
    if left:
        return "wrong", f"left {left[0].name}"
    names = ("weights", "metrics.csv", "result.json")
    differing = [
        name
        for name, found, expected in zip(names, state_of(runs[0]), undisturbed.state, strict=True)
        if found != expected
    ]
    return ("wrong", f"another {', '.join(differing)}") if differing else ("right", "as undisturbed")


def _export(folder: Path, kill: Kill, undisturbed: Undisturbed) -> tuple[Verdict, str]:
    shutil.copytree(undisturbed.exported, folder, dirs_exist_ok=True)
    _killed(folder, _EXPORTS[1], kill, undisturbed.seconds["export"])
    place = folder / FOLDER / "export"
    found = {path: content for path, content in files_of(place).items() if not path.endswith(".tmp")}
    if found not in undisturbed.sets:
        return "wrong", "a mixture of two exports"
    again = in_folder(folder, _EXPORTS[1])
    whole = again.code == 0 and files_of(place) == undisturbed.sets[1]
    return ("right", "the old set or the new one") if whole else ("wrong", "the same command does not mend it")
