"""What is said of full disks and of memory that is not there.

References: the errors that the system, numpy and torch raise themselves.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mcubench.files import atomic_path
from mcubench.host_errors import DiskError, OutOfMemoryError, check_writable, host_error
from mcubench.results.checkpoint_io import AtomicCheckpointIO


@pytest.fixture
def small_files() -> Iterator[int]:
    """Files may have so many bytes at most."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda: torch.empty(2**50), "(tried to allocate 4503599627370496 bytes)"),
        (lambda: np.empty(2**50), "(Unable to allocate 8.00 PiB)"),
        (lambda: bytearray(2**62), "there is not enough memory: "),
    ],
    ids=["torch", "numpy", "python"],
)
def test_too_little_memory(compute: Callable[[], object], said: str) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        compute()
    told = host_error(caught.value)
    assert isinstance(told, OutOfMemoryError)
    assert said in str(told)


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")
    with (
        pytest.raises(OSError, match="No space left") as caught,
        atomic_path(target) as temporary,
        temporary.open("w") as file,
        Path("/dev/full").open("w") as full,
    ):
        _ = file.write("after"), os.dup2(full.fileno(), file.fileno())
    told = host_error(caught.value)
    assert isinstance(told, DiskError)
    assert str(told) == f"{target}: No space left on device; free some space, or write elsewhere"
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("elements", [1_024, 1_000_000], ids=["at the end", "in the middle"])
def test_a_checkpoint_that_is_too_large_leaves_the_one_before(tmp_path: Path, small_files: int, elements: int) -> None:
    """Torch raises an error of its bookkeeping, or none before the file is closed."""
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, target)
    with pytest.raises(OSError, match="File too large") as caught:
        AtomicCheckpointIO().save_checkpoint({"state_dict": torch.zeros(elements)}, target)
    told = host_error(caught.value)
    assert told is not None
    assert f"{target}: File too large; raise the limit" in str(told)
    assert torch.load(target, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), RuntimeError("mat1 and mat2"), FileNotFoundError(errno.ENOENT, "no file")]
)
def test_other_errors_are_not_the_machines(error: Exception) -> None:
    assert host_error(error) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "folder is a folder; give a file"),
        ("file/a.csv", "file: Not a directory"),
        ("/proc/new/a.csv", "--csv /proc/new/a.csv can't be written: /proc: "),
    ],
)
def test_what_can_not_be_written_is_seen_before(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=said):
        check_writable(tmp_path / name, "--csv")


def test_the_trial_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder" / "a.csv")
    assert not list(tmp_path.iterdir())
