"""How long a command takes to start: seconds to the first training step, to the end, and what is imported.

    python -m benchmarks.start_up [--checkouts PATH ...] [--repeats 5] [--imports COMMAND ...] [--write FILE]

Every command runs in a process of its own, in an empty folder, with one thread. Checkouts take turns, so that a machine
whose speed drifts does it to all alike, and medians are printed. CPU seconds are of the process and its children: on a
busy machine they say more than the clock. A first run of each, which may have to compile modules, is not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs by its path

from rich.progress import track

from benchmarks.command_line import exit_code
from benchmarks.tables import table, write_tables
from mcubench.errors import UserError

COMMANDS = ("fit --trainer.max_epochs 1", "fit --help", "profile", "test --ckpt_path best", "compare")
SHOWN = 12
PROBE = """
import time
import lightning.pytorch as pl

class Probe(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 0:
            with open("first_step", "w") as file:
                file.write(repr(time.time()))
"""


@dataclass(frozen=True)
class Start:
    """One process.

    Attributes:
        step: Seconds to the first training step, if it trained.
        end: Seconds to its end.
        cpu: CPU seconds.
    """

    step: float | None
    end: float
    cpu: float


def execute(words: list[str], checkout: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs python with these words, the package of a checkout and the probe.

    Raises:
        UserError: If it fails.
    """
    paths = os.pathsep.join([str(checkout), str(folder)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"{shlex.join(words)} ended with {done.returncode} in {checkout}: {done.stderr[-500:]}")
    return done


def start(command: str, checkout: Path, folder: Path) -> Start:
    words = ["-m", "mcubench", *shlex.split(command)]
    if words[2] == "fit":
        words.append("--trainer.callbacks+=probe.Probe")
    mark = folder / "first_step"
    mark.unlink(missing_ok=True)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    execute(words, checkout, folder)
    end, after = time.time() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Start(float(mark.read_text()) - begin if mark.exists() else None, end, cpu)


def imports(command: str, checkout: Path, folder: Path) -> str:
    """The packages that take longest to import: sums over their modules, each without those that it imports."""
    report = execute(["-X", "importtime", "-m", "mcubench", *shlex.split(command)], checkout, folder).stderr
    milliseconds: dict[str, float] = {}
    modules = Counter[str]()
    for line in report.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if line.startswith("import time:") and own.strip().isdigit():
            package = rest.rpartition("|")[2].strip().partition(".")[0]
            milliseconds[package] = milliseconds.get(package, 0) + int(own) / 1000
            modules[package] += 1
    dearest = sorted(milliseconds.items(), key=lambda each: -each[1])
    total = sum(milliseconds.values())
    rows = [[name, modules[name], f"{spent:,.0f}", f"{spent / total:.0%}"] for name, spent in dearest[:SHOWN]]
    rows.append(["all", f"{modules.total():,}", f"{total:,.0f}", ""])
    return table("package | modules: | ms: | share:", rows)


def run(options: argparse.Namespace) -> int:
    checkouts = [path.absolute() for path in options.checkouts]
    for path in checkouts:
        if not (path / "mcubench").is_dir():
            raise UserError(f"{path} is no checkout: it has no folder mcubench")
    cases = [(command, path) for command in options.commands for path in checkouts]
    measured: dict[tuple[str, Path], list[Start]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "probe.py").write_text(PROBE)
        for path in checkouts:
            start(COMMANDS[0], path, folder)  # also the run that others measure or compare
        for case in track([*cases, *cases * options.repeats], "processes"):
            measured[case].append(start(case[0], case[1], folder))
        imported = {command: imports(command, checkouts[-1], folder) for command in options.imports}
    rows = []
    for (command, path), starts in measured.items():
        steps, ends, cpus = ([getattr(each, key) for each in starts[1:]] for key in ("step", "end", "cpu"))
        step = f"{statistics.median(steps):.1f}" if None not in steps else ""
        label = [path.name] if len(checkouts) > 1 else []
        rows.append([f"`{command}`", *label, step, f"{statistics.median(ends):.1f}", f"{statistics.median(cpus):.1f}"])
    head = f"command | {'checkout | ' if len(checkouts) > 1 else ''}first step [s]: | end [s]: | CPU [s]:"
    note = f"Medians of {options.repeats} processes that took turns."
    tables = {"start-up": f"{table(head, rows)}\n\n{note}"}
    tables |= {f"imports of {command}": content for command, content in imported.items()}
    if options.write:
        write_tables(options.write, tables)
    else:
        print("\n\n".join(f"{name}\n\n{content}" for name, content in tables.items()))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", nargs="+", default=COMMANDS, help=f"default: {'; '.join(COMMANDS)}")
    parser.add_argument("--checkouts", nargs="+", type=Path, default=[Path(__file__).parents[1]], help="default: this")
    parser.add_argument("--repeats", type=int, default=5, help="processes of each (default: 5)")
    parser.add_argument("--imports", nargs="*", default=[], help="commands of which the imports are shown, too")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
