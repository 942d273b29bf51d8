"""Two processes on one study, of which one is killed at random moments: is a trial lost, or done twice?

    python -m benchmarks.search_kills [--kills 10] [--trials 24] [--seed 0] [--write docs/search.md]

Both run the same command in one folder. Whichever the dice say gets SIGKILL, and its command is given again, until as
many have been killed as were asked for; then both end by themselves. Trials that have ended before a kill must be there
after it, as they were; each ends once; no two that were trained are alike; and as many are trained as were asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.command_line import page_command, show
from benchmarks.studies import study_in
from benchmarks.tables import table
from mcubench.search.storage import JOURNAL, import_optuna
from mcubench.search.study import TRAINED, TrialRow

_ENDS = 6  # of Optuna's journal: a trial's state and values
_COMMAND = (
    *("search", "--model", "MLP", "DecisionTree", "--data", "Digits", "--trainer.max_epochs", "4", "--threads", "1"),
    *("--budget.flash", "3KiB", "--confirm_seeds", "0", "--study", "study"),
)


def _start(folder: Path, trials: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "mcubench", *_COMMAND, "--trials", str(trials)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(words, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet)  # type: ignore[call-overload,no-any-return]


def _rows(folder: Path) -> list[TrialRow]:
    place = folder / "study"
    return study_in(place).rows() if (place / JOURNAL).exists() else []


def _ended_twice(folder: Path) -> int:
    """Trials whose end stands in the journal more than once, with no process asked."""
    lines = (folder / "study" / JOURNAL).read_text().splitlines()
    ends = Counter(
        entry["trial_id"] for line in lines if (entry := json.loads(line))["op_code"] == _ENDS and entry["state"] != 0
    )
    return sum(count > 1 for count in ends.values())


def run(options: argparse.Namespace) -> int:
    import_optuna()  # quiet
    dice = random.Random(options.seed)
    lost = killed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = [_start(folder, options.trials) for _ in range(2)]
        known: dict[int, TrialRow] = {}
        while killed < options.kills and any(process.poll() is None for process in processes):
            time.sleep(dice.uniform(4, 12))
            victim = dice.randrange(2)
            if processes[victim].poll() is not None:
                continue
            known |= {row.number: row for row in _rows(folder)}
            processes[victim].send_signal(signal.SIGKILL)
            processes[victim].wait()
            killed += 1
            now = {row.number: row for row in _rows(folder)}
            lost += sum(now.get(number) != row for number, row in known.items())
            print(f"kill {killed} of {options.kills}: {len(known)} trials had ended, {lost} are lost", flush=True)
            processes[victim] = _start(folder, options.trials)
        codes = [process.wait() for process in processes]
        rows = _rows(folder)
        trained = [row for row in rows if row.outcome in TRAINED]
        alike = len(trained) - len({json.dumps(dict(row.params), sort_keys=True) for row in trained})
        figures = [killed, len(trained), lost, _ended_twice(folder), alike, " and ".join(map(str, codes))]
    head = "kills: | models trained: | lost: | ended twice: | trained twice: | exit codes of the last two:"
    show(options, {"kills": table(head, [figures])})
    return int(bool(lost or figures[3] or alike or len(trained) != options.trials or any(codes)))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=10, help="processes to kill (default: 10)")
    parser.add_argument("--trials", type=int, default=24, help="models to train (default: 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")


def main() -> int:
    """The command line."""
    return page_command(run, __doc__, add_options)


if __name__ == "__main__":
    sys.exit(main())
