"""Which operators of ONNX are read, by the onnx package's own tests: computed and right, or refused with a reason.

    python -m benchmarks.onnx_backend [--write docs/onnx.md]

Takes half a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from importlib.metadata import version

import torch
from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from tests.readers.onnx_backend import GROUPS, Case, Verdict, cases, examine

KINDS = ("right", "refused", "wrong")
REASONS = 2  # of an operator


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    every = [case for group in GROUPS for case in cases(group)]
    verdicts = [(case, examine(case)) for case in track(every, "tests", total=len(every))]
    groups = {group: [each for case, each in verdicts if case.group == group] for group in GROUPS}
    totals = [[group, *_counts(found)] for group, found in groups.items()]
    totals.append(["all", *_counts([each for _, each in verdicts])])
    by_operator: dict[str, list[Verdict]] = defaultdict(list)
    for case, verdict in verdicts:
        by_operator[_row_of(case)].append(verdict)
    rows = [[name, *_counts(found), _reasons(found)] for name, found in sorted(by_operator.items())]
    never = [row for row in rows if row[1] == 0]
    head = "read and right: | refused: | wrong:"
    show(
        options,
        {
            "onnx in all": table(f"tests of onnx {version('onnx')} | {head}", totals),
            "onnx": table(f"operator | {head} | why", [row for row in rows if row[1] != 0]),
            "onnx refused": table("operator | tests: | why", [[row[0], row[2], row[4]] for row in never]),
        },
    )
    return int(any(each.kind == "wrong" for _, each in verdicts))


def _row_of(case: Case) -> str:
    return f"({case.operator})" if case.operator == "several" else case.operator


def _counts(found: list[Verdict]) -> list[int]:
    kinds = Counter(each.kind for each in found)
    return [kinds[kind] for kind in KINDS]


def _reasons(found: list[Verdict]) -> str:
    reasons = Counter(each.reason for each in found if each.kind != "right")
    return "; ".join(f"{reason.replace('|', '/')[:100]} ({count})" for reason, count in reasons.most_common(REASONS))


def main() -> int:
    """The command line."""
    return page_command(run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
