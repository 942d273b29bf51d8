"""What each recipe of training is worth to a small network: validation accuracy with and without it.

    python -m benchmarks.recipes [--seeds 5] [--jobs 2] [--write docs/recipes.md]

Every run is a `fit` with rounding to 8 bits in a process of its own, one thread each; the teacher is trained once, in
float. Seeds are the same for all recipes, so that differences are taken pair by pair. The test set is not looked at.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.tables import interval, table
from mcubench.errors import UserError
from mcubench.results.result import read_result

PLAIN = "nothing"
ROUNDED = "--trainer.callbacks+=QuantizationAwareTraining"
DISTILLED = "--distill TEACHER --distill.weight 0.7"


def callback(name: str, **options: float) -> str:
    words = [f"--trainer.callbacks.{option}={value}" for option, value in options.items()]
    return " ".join([f"--trainer.callbacks+={name}", *words])


@dataclass(frozen=True)
class Task:
    """A network and its data.

    Attributes:
        name: As the page has it.
        fit: The words after ``fit``, of the small network.
        teacher: Those of the large one.
        recipes: Words that are added, by what they are called.
    """

    name: str
    fit: str
    teacher: str
    recipes: Mapping[str, str]


COMMON = {
    "label smoothing 0.1": "--model.label_smoothing 0.1",
    "mixup 0.2": callback("Mixup", alpha=0.2),
    "averaged weights": callback("EMAWeightAveraging", decay=0.998),
    "a teacher": DISTILLED,
    "twice as long": "TWICE",
}
TASKS = {
    "mnist": Task(
        "ConvNet on MNIST",
        "--data MNIST --model ConvNet --model.channels=[4,6,8]",
        "--data MNIST --model LeNet --model.channels=[16,48] --model.learning_rate 0.01 "
        + callback("ImageAugmentation", shift=2, rotate=10, scale=0.1),
        {
            "shift by 1 pixel": callback("ImageAugmentation", shift=1),
            "turn by 10 degrees, scale by 0.1": callback("ImageAugmentation", rotate=10, scale=0.1),
            "elastic, 0.5 pixels": callback("ImageAugmentation", elastic=0.5),
            **COMMON,
        },
    ),
    "hapt": Task(
        "DSCNN 16 on HAPT's windows",
        "--data HAPT --model DSCNN --model.channels 16",
        "--data HAPT --model DSCNN --model.channels 64 --model.blocks 4",
        {
            "turn by 20 degrees": callback("SignalAugmentation", rotate=20),
            "magnitude 0.2": callback("SignalAugmentation", magnitude=0.2),
            "time warp 0.2": callback("SignalAugmentation", time_warp=0.2),
            "jitter 0.1": callback("SignalAugmentation", jitter=0.1),
            **COMMON,
        },
    ),
}


def fitted(words: str, folder: Path, root: Path | None) -> float:
    """Trains in a process of its own.

    Returns:
        Validation accuracy, in percent.

    Raises:
        UserError: If it fails.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    if root is not None:
        environment["MCUBENCH_DATA"] = str(root.absolute())
    command = [sys.executable, "-m", "mcubench", "fit", *shlex.split(words), "--threads", "1"]
    command += ["--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{shlex.join(command)} has failed: {done.stderr.strip()[-500:]}")
    (run,) = folder.iterdir()
    return 100 * float(read_result(run)["accuracy"]["val"])


def rows_of(task: Task, options: argparse.Namespace, folder: Path) -> list[Sequence[object]]:
    """A row a recipe."""
    epochs = f"--trainer.max_epochs {options.epochs}"
    taught = fitted(f"{task.teacher} {epochs}", folder / "teacher", options.root)
    (teacher,) = (folder / "teacher").iterdir()

    def measured(place: tuple[int, str, int]) -> float:
        number, words, seed = place
        words = words.replace("TEACHER", str(teacher / "checkpoints" / "best.ckpt"))
        longer = f"--trainer.max_epochs {2 * options.epochs}"
        words = longer if words == "TWICE" else f"{epochs} {words}"
        words = f"{task.fit} {words} {ROUNDED} --seed_everything {seed}"
        return fitted(words, folder / f"{number}-{seed}", options.root)

    recipes = {PLAIN: "", **task.recipes}
    places = [(number, words, seed) for number, words in enumerate(recipes.values()) for seed in range(options.seeds)]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(track(pool.map(measured, places), total=len(places), description=task.name))
    plain = found[: options.seeds]
    rows: list[Sequence[object]] = []
    for number, name in enumerate(recipes):
        values = found[number * options.seeds :][: options.seeds]
        more = [value - before for value, before in zip(values, plain, strict=True)]
        rows.append((name, interval(values), "" if name == PLAIN else interval(more, form="+.2f")))
    return [*rows, ("the teacher itself, in float", f"{taught:.2f}", "")]


def run(options: argparse.Namespace) -> int:
    tables = {}
    for name in options.tasks:
        task = TASKS[name]
        with tempfile.TemporaryDirectory() as folder:
            rows = rows_of(task, options, Path(folder))
        head = f"{task.name}, {options.epochs} epochs | validation [%]: | beside nothing [points]:"
        tables[name] = f"{table(head, rows)}\n\n`fit {task.fit}`; {options.seeds} seeds, mean and 95 % interval."
    show(options, tables)
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="which (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each recipe (default: 5)")
    parser.add_argument("--epochs", type=int, default=8, help="of each run (default: 8)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: 2)")


if __name__ == "__main__":
    sys.exit(page_command(run, __doc__, add_options))
