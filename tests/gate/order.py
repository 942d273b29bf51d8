"""Which process runs what, and when: a file is a unit, the longest is begun first, those with Keras stay together.

A file's tests share fixtures and what they have cached, so one process runs them. What is begun late is what one
process ends on while the others wait, so the longest come first, by the seconds that were measured last. Importing
tensorflow takes as long as many tests, so one process takes the files that need it, and the others take them only when
nothing else is left. Sweeps (``tests/sweeps``) come behind all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.gate.seconds import SLOW, measured

__all__ = ["file_of", "in_order", "is_sweep", "next_file"]

_SWEEPS = "tests/sweeps/"
# Where most tests need it.
_KERAS = ("tests/parity/", "tests/cli/test_parity", "tests/readers/test_keras", f"{_SWEEPS}test_keras")
_UNKNOWN = 5.0  # seconds, of a file that nobody has measured


def file_of(nodeid: str) -> str:
    """The file that a test stands in."""
    return nodeid.partition("::")[0]


def is_sweep(nodeid: str) -> bool:
    """Whether a file or a test is one of those that run last."""
    return nodeid.startswith(_SWEEPS)


def in_order(files: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """Sweeps last, and of both parts the longest first."""
    return sorted(files, key=lambda file: (is_sweep(file), -seconds.get(file, _UNKNOWN)))


def next_file(waiting: Iterable[str], with_keras: bool) -> str:
    """What a process begins next: the first that needs Keras if it has it, else the first that does not.

    Sweeps are taken only when all others are, and what suits the process less only when nothing else is left.
    """
    files = list(waiting)
    part = [file for file in files if is_sweep(file) == is_sweep(files[0])]
    return next((file for file in part if file.startswith(_KERAS) == with_keras), part[0])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks sweeps and what took long as slow, and puts the files into order."""
    seconds = measured()
    for item in items:
        if is_sweep(item.nodeid) or seconds.tests.get(item.nodeid, 0.0) > SLOW:
            item.add_marker(pytest.mark.slow)
    files = in_order(dict.fromkeys(file_of(item.nodeid) for item in items), seconds.files)
    place = {file: index for index, file in enumerate(files)}
    items.sort(key=lambda item: place[file_of(item.nodeid)])  # stable: a file's tests keep their order


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under ``--dist loadfile``, the first process is the one with Keras."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FewWithKeras(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            chosen = next_file(self.workqueue, with_keras=node.gateway.id == "gw0")
            self.workqueue.move_to_end(chosen, last=False)
            super()._assign_work_unit(node)

    return FewWithKeras(config, log)
