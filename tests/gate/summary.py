"""What a run ends with: minutes by folder, and with ``--record-seconds`` what orders the files of the next one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest
from _pytest.terminal import TerminalReporter

from tests.gate.order import file_of
from tests.gate.seconds import Seconds, record

__all__ = ["by_folder", "summed"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that records."""
    parser.getgroup("gate").addoption(
        "--record-seconds", action="store_true", help="write what each file took to tests/gate/seconds.json"
    )


def summed(reports: Iterable[pytest.TestReport]) -> Seconds:
    """Set-up, call and tear-down of each test, and the sums of files."""
    files, tests = defaultdict[str, float](float), defaultdict[str, float](float)
    for report in reports:
        files[file_of(report.nodeid)] += report.duration
        tests[report.nodeid] += report.duration
    return Seconds(files, tests)


def by_folder(files: Mapping[str, float]) -> dict[str, float]:
    """Seconds by folder of ``tests/``, the most first; files that lie in none by themselves."""
    folders = defaultdict[str, float](float)
    for file, spent in files.items():
        folders["/".join(file.split("/")[:2])] += spent
    return dict(sorted(folders.items(), key=lambda each: -each[1]))


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Prints it, where all results are."""
    reports = [
        each for found in terminalreporter.stats.values() for each in found if isinstance(each, pytest.TestReport)
    ]
    seconds = summed(reports)
    if not seconds.files:
        return
    terminalreporter.section("minutes by folder")
    for folder, spent in by_folder(seconds.files).items():
        terminalreporter.write_line(f"{spent / 60:6.1f}  {folder}")
    if config.getoption("--record-seconds"):
        record(seconds)
        terminalreporter.write_line("recorded in tests/gate/seconds.json")
