"""MNIST: the IDX format by hand-made files, the real files against the published counts and torchvision's reader."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from mcubench.datamodules import MNIST
from mcubench.datamodules.mnist import read_idx
from mcubench.errors import CorruptDataError, MissingDataError


def idx(shape: tuple[int, ...], values: bytes, code: int = 8) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + values


def written(folder: Path, content: bytes) -> Path:
    path = folder / "some-idx.gz"
    path.write_bytes(content)
    return path


def test_read_idx(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(idx((2, 1, 3), bytes(range(6)))))
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not"),
        (b"plain text", "not a whole gzip file"),
        (gzip.compress(idx((2, 3), bytes(6)))[:-9], "not a whole gzip file"),
        (gzip.compress(idx((2, 3), bytes(5))), r"announces shape \(2, 3\) but holds 5"),
        (gzip.compress(idx((2, 3), bytes(7))), r"announces shape \(2, 3\) but holds 7"),
        (gzip.compress(idx((2, 3), bytes(24), code=0x0D)), "not an IDX file of unsigned bytes"),
        (gzip.compress(b"\0\0\x08\x03"), "announces shape"),
    ],
    ids=["empty", "no gzip", "cut gzip", "too few", "too many", "floats", "cut header"],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(CorruptDataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.fixture(scope="module")
def module(real_data: Path) -> MNIST:
    return MNIST(root=str(real_data))


@pytest.mark.real_data
class TestRealFiles:
    # Published counts of the classes 0 to 9.
    TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)

    def test_counts(self, module: MNIST) -> None:
        train, val, test = (np.bincount(module.arrays(part)[1]) for part in ("train", "val", "test"))
        assert tuple(train + val) == self.TRAIN
        assert tuple(test) == self.TEST
        assert val.sum() == 6000

    def test_scaling_is_close_to_the_published(self, module: MNIST) -> None:
        # 0.1307 and 0.3081 are of all 60,000 images, divided by 255; ours of the training part.
        scaling = module.describe()["inputs"]["scaling"]
        assert scaling["mean"][0] / 255 == pytest.approx(0.1307, abs=5e-4)
        assert scaling["std"][0] / 255 == pytest.approx(0.3081, abs=5e-4)

    def test_reads_as_torchvision_does(self, module: MNIST, real_data: Path, tmp_path: Path) -> None:
        name = "t10k-images-idx3-ubyte"
        unpacked = tmp_path / name
        unpacked.write_bytes(gzip.decompress((real_data / "MNIST" / "raw" / f"{name}.gz").read_bytes()))
        assert np.array_equal(
            read_idx(real_data / "MNIST" / "raw" / f"{name}.gz"), read_sn3_pascalvincent_tensor(unpacked)
        )

    def test_the_root_is_left_as_it_was(self, module: MNIST, real_data: Path) -> None:
        before = listing(real_data)
        MNIST(root=str(real_data)).setup()
        assert listing(real_data) == before

    @pytest.mark.parametrize("damage", ["cut", "altered"])
    def test_a_damaged_file_is_named(self, real_data: Path, tmp_path: Path, damage: str) -> None:
        raw = tmp_path / "MNIST" / "raw"
        shutil.copytree(real_data / "MNIST" / "raw", raw)
        path = raw / "t10k-labels-idx1-ubyte.gz"
        content = bytearray(path.read_bytes())
        content = content[:-10] if damage == "cut" else content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
        path.write_bytes(content)
        with pytest.raises(CorruptDataError, match=r"t10k-labels-idx1-ubyte\.gz is not the original"):
            MNIST(root=str(tmp_path)).setup()


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_missing_files_say_where_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])  # nothing listens there
    with pytest.raises(MissingDataError) as caught:
        MNIST(root=str(tmp_path)).setup()
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte.gz",
        str(tmp_path / "MNIST" / "raw"),
        "--data.root",
        "MCUBENCH_DATA",
        "network",
    ):
        assert part in message
    assert list(tmp_path.rglob("*.*")) == [], "nothing is half-installed"
