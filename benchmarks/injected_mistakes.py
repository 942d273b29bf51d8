"""Whether the tests see what they are there to see: ten mistakes, each made in a copy of the package and looked for.

    python -m benchmarks.injected_mistakes [--checkouts PATH ...] [--only NAME ...] [--write FILE]

For each mistake the tests of the folders that should see it are run in a process of their own, up to the first failure.
Several checkouts are compared: what was caught before a change of the tests has to be caught after it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs by its path

from rich.progress import track

from benchmarks.command_line import exit_code
from benchmarks.tables import table, write_tables
from mcubench.errors import UserError

NOT_COPIED = shutil.ignore_patterns(".*", "runs", "*.egg-info", "__pycache__")


@dataclass(frozen=True)
class Mistake:
    """A line as it should be, as somebody might get it wrong, and the tests that should see it.

    Attributes:
        name: What is wrong.
        file: The file, in the package.
        right: The text, which stands in it once.
        wrong: What is put in its place.
        tests: Files or folders of tests, from ``tests/``.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


MISTAKES = (
    Mistake(
        "graph: a folded bias is not scaled",
        "graph/passes/batch_norm.py",
        "offset + op.bias.tensor * scale",
        "offset + op.bias.tensor",
        ("graph",),
    ),
    Mistake(
        "graph: padding 'same' has the odd zero in front",
        "graph/lowering/layers.py",
        "padding = tuple((each // 2, each - each // 2) for each in around)",
        "padding = tuple((each - each // 2, each // 2) for each in around)",
        ("graph",),
    ),
    Mistake(
        "cost: a transposed convolution counts its outputs",
        "cost/macs.py",
        "return int(call.args[0].size * math.prod(call.args[1].shape[1:]))",
        "return int(call.outputs[0].size * math.prod(call.args[1].shape[1:]))",
        ("cost",),
    ),
    Mistake(
        "cost: a buffer is free in the step that last reads it",
        "cost/memory.py",
        "return self.first <= other.last and other.first <= self.last",
        "return self.first < other.last and other.first < self.last",
        ("cost",),
    ),
    Mistake(
        "quant: halves of negative numbers are rounded up",
        "quant/fixed_point.py",
        "(x + half).add_(minus_one_if_negative)",
        "(x + half)",
        ("quant",),
    ),
    Mistake(
        "quant: the first batch is all of the range",
        "quant/training/observers.py",
        "share = max(1 / (batches + 1), _MOMENTUM)",
        "share = _MOMENTUM",
        ("quant/training",),
    ),
    Mistake(
        "parity: 'same' has the odd zero in front",
        "parity/building/padding.py",
        "return total // 2, total - total // 2",
        "return total - total // 2, total // 2",
        ("parity",),
    ),
    Mistake(
        "parity: any error is within the tolerance",
        "parity/comparing/report.py",
        "return self.relative <= rtol",
        "return True",
        ("parity",),
    ),
    Mistake(
        "seeds: all have the batches of the first",
        "seeds/data.py",
        "EpochPermutation(len(tensors[0]), seed) for seed in seeds",
        "EpochPermutation(len(tensors[0]), seeds[0]) for seed in seeds",
        ("seeds",),
    ),
    Mistake(
        "resume: random states are not restored",
        "callbacks/random_state.py",
        "if not state:\n            return",
        "if state:\n            return",
        ("callbacks",),
    ),
)

_CATCHER = re.compile(r"^(?:FAILED|ERROR) tests/(\S+)", re.MULTILINE)


def catcher(mistake: Mistake, checkout: Path) -> str | None:
    """The test that fails when the mistake is made in a copy of a checkout; ``None`` if none does.

    Raises:
        UserError: If the mistake can't be made there, or the tests can't be run.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / checkout.name
        shutil.copytree(checkout, copy, ignore=NOT_COPIED)
        file = copy / "mcubench" / mistake.file
        text = file.read_text("utf-8")
        if text.count(mistake.right) != 1:
            raise UserError(f"{mistake.right!r} does not stand once in {mistake.file} of {checkout}")
        file.write_text(text.replace(mistake.right, mistake.wrong), "utf-8")
        data = os.environ.get("MCUBENCH_DATA") or str(checkout.parent / "shared" / "data")
        words = ["-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--durations", "0", "--tb", "no"]
        done = subprocess.run(
            [sys.executable, *words, *(f"tests/{each}" for each in mistake.tests)],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "CI": "true", "MCUBENCH_DATA": data},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 1):
        raise UserError(f"pytest ended with {done.returncode} in {checkout}: {(done.stdout + done.stderr)[-500:]}")
    found = _CATCHER.search(done.stdout)
    return found[1] if found else None


def run(options: argparse.Namespace) -> int:
    checkouts = [path.absolute() for path in options.checkouts]
    chosen = [each for each in MISTAKES if not options.only or any(word in each.name for word in options.only)]
    rows, missed = [], 0
    for mistake in track(chosen, "mistakes"):
        caught = [catcher(mistake, checkout) for checkout in checkouts]
        missed += caught.count(None)
        rows.append([mistake.name, f"`{mistake.file}`", *(f"`{each}`" if each else "not caught" for each in caught)])
    heads = [f"caught in {path.name}" if len(checkouts) > 1 else "caught by" for path in checkouts]
    content = table(" | ".join(["mistake", "in", *heads]), rows)
    if options.write:
        write_tables(options.write, {"injected mistakes": content})
    else:
        print(content)
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", nargs="+", type=Path, default=[Path(__file__).parents[1]], help="default: this")
    parser.add_argument("--only", nargs="*", default=[], help="mistakes with one of these words in their names")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
