"""What is malformed, and what is killed: each is right afterwards, or refused in one line; nothing is lost or believed.

    python -m benchmarks.faults [--kills 200] [--seed 0] [--only KIND] [--write docs/reliability.md]

Every command is a process of its own in a folder of its own. One that meets a fault is *refused* if it ends with exit
code 2 and one line, and every file is what it was; *right* if it ends as it does without the fault, or names what it
leaves out; all else is *wrong*: a traceback, another outcome, a hang of two minutes. A training that is killed goes on
by the same command with ``--ckpt_path last``; weights, logged metrics and the row are then those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.damaged import files, own_data, words
from benchmarks.damaged.kills import kills
from benchmarks.damaged.runs import BEST, prepared
from benchmarks.damaged.trial import Trial, in_folder, tried
from benchmarks.tables import table

_KINDS = (
    files.checkpoints,
    files.rows,
    files.metrics,
    files.configurations,
    files.suites,
    files.model_files,
    words.options,
    own_data.data,
)
_VERDICTS = ("right", "refused", "wrong")
Count = Counter[tuple[str, str]]


def trials(pristine: Path, seed: int) -> Iterator[Trial]:
    for number, kind in enumerate(_KINDS):
        yield from kind(pristine, random.Random(f"{seed} {number}"))


def counted(found: Iterable[tuple[str, str, str, str]]) -> Count:
    """Counts verdicts by kind, and says on stderr what is wrong."""
    count: Count = Counter()
    for kind, name, verdict, why in found:
        count[kind, verdict] += 1
        if verdict == "wrong":
            print(f"wrong: {kind}: {name}: {why}", file=sys.stderr, flush=True)
    return count


def lines(count: Count) -> str:
    kinds = dict.fromkeys(kind for kind, _ in count)
    rows = [
        [kind, sum(count[kind, each] for each in _VERDICTS), *(count[kind, each] for each in _VERDICTS)]
        for kind in kinds
    ]
    rows.append(["all", *(sum(row[column] for row in rows) for column in range(1, 5))])
    return table("fault | tried: | right: | refused: | wrong:", rows)


def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as name:
        pristine = prepared(Path(name) / "pristine")
        ended = in_folder(pristine, ("export", "--ckpt_path", str(BEST), "--format", "tflite", "onnx"))
        assert ended.code == 0, f"{ended.code}: {ended.err}"
        (pristine / "export").mkdir()
        for path in (pristine / BEST).parents[1].joinpath("export").glob("model.*"):
            path.rename(pristine / "export" / path.name)
        wanted = [each for each in trials(pristine, options.seed) if options.only in each.kind]
        inputs = counted((each.kind, each.name, *tried(each)) for each in track(wanted, "faults"))
        found = kills(pristine, random.Random(options.seed), options.kills)
        of_kills = counted(
            (kill.kind, kill.name, verdict, why) for kill, verdict, why in track(found, "kills", total=options.kills)
        )
    show(options, {"faults": lines(inputs), "kills": lines(of_kills)})
    return int(any(verdict == "wrong" for _, verdict in (*inputs, *of_kills)))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=200, help="processes to kill (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--only", default="", metavar="KIND", help="kinds of faults with this in their name")


def main() -> int:
    """The command line."""
    return page_command(run, __doc__, add_options)


if __name__ == "__main__":
    sys.exit(main())
