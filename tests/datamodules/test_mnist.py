"""MNIST: the IDX format by hand-made files, the real files against the published counts and torchvision's reader."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from mcubench.datamodules import MNIST, mnist_files
from mcubench.datamodules.mnist import read_idx
from mcubench.datamodules.mnist_files import Content
from mcubench.errors import CorruptDataError, MissingDataError, UserError
from tests.unreadable import hidden_from_us


def idx(shape: tuple[int, ...], values: bytes, code: int = 8) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + values


def written(folder: Path, content: bytes) -> Path:
    path = folder / "some-idx.gz"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_read_idx(tmp_path: Path, packed: bool) -> None:
    content = idx((2, 1, 3), bytes(range(6)))
    path = written(tmp_path, gzip.compress(content) if packed else content)
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not"),
        (b"plain text", "not a whole IDX file of unsigned bytes: it begins with '706c6169'"),
        (gzip.compress(idx((2, 3), bytes(6)))[:-9], "not a whole gzip file"),
        (gzip.compress(idx((2, 3), bytes(5))), r"announces shape \(2, 3\) but holds 5"),
        (idx((2, 3), bytes(5)), r"announces shape \(2, 3\) but holds 5"),
        (gzip.compress(idx((2, 3), bytes(7))), r"announces shape \(2, 3\) but holds 7"),
        (gzip.compress(idx((2, 3), bytes(24), code=0x0D)), "not a whole IDX file of unsigned bytes"),
        (gzip.compress(b"\0\0\x08\x03"), "not a whole IDX file"),
    ],
    ids=["empty", "no IDX", "cut gzip", "too few", "too few, plain", "too many", "floats", "cut header"],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(CorruptDataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


# A set of its own, small: what decides is the hash of the content, whatever the content is.
LITTLE = {
    "train-images-idx3-ubyte": idx((20, 28, 28), bytes(range(196)) * 80),
    "train-labels-idx1-ubyte": idx((20,), bytes(range(10)) * 2),
    "t10k-images-idx3-ubyte": idx((10, 28, 28), bytes(range(5, 201)) * 40),
    "t10k-labels-idx1-ubyte": idx((10,), bytes(range(10))),
}
IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder MNIST/raw of a root, still empty; `LITTLE` is expected in it, and nothing can be downloaded."""
    contents = {name: Content(len(held), hashlib.sha256(held).hexdigest()) for name, held in LITTLE.items()}
    monkeypatch.setattr(mnist_files, "CONTENTS", contents)
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])  # nothing listens there
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    return raw


def put(raw: Path, **others: bytes) -> None:
    """All four files as they are distributed, but for what is given instead, by the first letters of the name."""
    for name, held in LITTLE.items():
        instead = [content for key, content in others.items() if name.startswith(key.replace("_", "-"))]
        (raw / f"{name}.gz").write_bytes(instead[0] if instead else gzip.compress(held))


def read(raw: Path) -> None:
    """Reads both sets and holds them against what was written."""
    train, test = MNIST(root=str(raw.parents[1])).load()
    assert train.x.shape == (20, 1, 28, 28)
    assert train.x.tobytes() == LITTLE[IMAGES][16:]
    assert train.y.tolist() == [*range(10)] * 2
    assert test.x.tobytes() == LITTLE["t10k-images-idx3-ubyte"][16:]
    assert test.y.tolist() == [*range(10)]


FORMS: dict[str, Callable[[str, bytes], tuple[str, bytes]]] = {
    "as distributed": lambda name, held: (f"{name}.gz", gzip.compress(held)),
    "packed anew": lambda name, held: (f"{name}.gz", gzip.compress(held, 1, mtime=1)),
    "packed in two parts": lambda name, held: (f"{name}.gz", gzip.compress(held[:9]) + gzip.compress(held[9:])),
    "unpacked": lambda name, held: (name, held),
    "unpacked, named .gz": lambda name, held: (f"{name}.gz", held),
    "packed, not named so": lambda name, held: (name, gzip.compress(held)),
    "with a dot": lambda name, held: (name.replace("-idx", ".idx"), held),
    "in a folder of its name": lambda name, held: (f"{name}/{name}", held),
    "beside raw": lambda name, held: (f"../{name}", held),
    "in capitals": lambda name, held: (f"{name}.gz".upper(), gzip.compress(held)),
    "another name": lambda name, held: (f"copy of {name} (1).bin", held),
    "another name, packed": lambda name, held: (f"{name}.gz (1)", gzip.compress(held)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_content_decides_not_its_packing_or_name(little: Path, form: str) -> None:
    for name, held in LITTLE.items():
        called, content = FORMS[form](name, held)
        (little / called).parent.mkdir(exist_ok=True)
        (little / called).write_bytes(content)
    before = listing(little.parent)
    read(little)
    assert listing(little.parent) == before, "read in place"


def test_exchanged_names_are_seen_through(little: Path) -> None:
    put(little)
    one, two = (little / f"{part}-labels-idx1-ubyte.gz" for part in ("train", "t10k"))
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    read(little)


def test_a_good_copy_beside_a_bad_one_is_taken(little: Path) -> None:
    put(little, train_images=b"")
    (little / IMAGES).write_bytes(LITTLE[IMAGES])
    read(little)


ALTERED = LITTLE[IMAGES][:-1] + b"?"


def by_text(value: str | bytes) -> str:
    """A name for a case that is the same in all processes: gzip writes the time into what it packs."""
    return value if isinstance(value, str) else "file"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it is empty"),
        (gzip.compress(b""), "it is empty"),
        (gzip.compress(ALTERED), r"it has the right shape and other values \(sha256 "),
        (ALTERED, r"it has the right shape and other values \(sha256 "),
        (LITTLE[IMAGES][:-9], r"it announces 15,680 values of shape \(20, 28, 28\) and holds 15,671"),
        (gzip.compress(LITTLE[IMAGES])[:-9], "it is not a whole gzip file"),
        (gzip.compress(LITTLE[IMAGES] + b"more"), "it announces 15,680 values .* and holds more"),
        (gzip.compress(idx((4, 32, 32), bytes(4096))), r"it holds values of shape \(4, 32, 32\)"),
        (gzip.compress(LITTLE["t10k-images-idx3-ubyte"]), "it holds t10k-images-idx3-ubyte"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "it is a pointer of Git LFS"),
        (b"PK\x03\x04 and more", "it is not an IDX file of unsigned bytes: it begins with '504b0304'"),
    ],
    ids=by_text,
)
def test_a_refusal_says_what_was_found(little: Path, content: bytes, found: str) -> None:
    put(little, train_images=content)
    with pytest.raises(CorruptDataError, match=rf"{IMAGES}\.gz is not the original MNIST file: {found}"):
        MNIST(root=str(little.parents[1])).load()


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(little: Path) -> None:
    put(little, train_images=gzip.compress(LITTLE[IMAGES] + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(CorruptDataError, match="and holds more"):
        MNIST(root=str(little.parents[1])).load()
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_what_lies_there_instead_is_listed(little: Path) -> None:
    (little.parent / "mnist.npz").write_bytes(b"PK")
    with pytest.raises(MissingDataError, match=r"looked for train-images-idx3-ubyte, packed .*; found: mnist\.npz\."):
        MNIST(root=str(little.parents[1])).load()


def test_a_folder_in_the_place_of_a_file_is_named(little: Path) -> None:
    """What is downloaded could not take its place."""
    put(little)
    (little / f"{IMAGES}.gz").unlink()
    (little / f"{IMAGES}.gz").mkdir()
    with pytest.raises(
        CorruptDataError, match=rf"{IMAGES}\.gz is not the original .*: it can't be read: Is a directory"
    ):
        MNIST(root=str(little.parents[1])).load()


@pytest.mark.parametrize("hidden", ["MNIST", "MNIST/raw", f"MNIST/raw/{IMAGES}.gz"])
def test_what_we_may_not_read_is_named(little: Path, hidden: str) -> None:
    put(little)
    root = little.parents[1]
    with hidden_from_us(root / hidden), pytest.raises(UserError, match=rf"{hidden}.*Permission denied"):
        MNIST(root=str(root)).load()


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

    @pytest.mark.parametrize("packed", [True, False], ids=["named .gz", "unpacked"])
    def test_unpacked_files_are_the_same_data(
        self, module: MNIST, real_data: Path, tmp_path: Path, packed: bool
    ) -> None:
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for path in (real_data / "MNIST" / "raw").glob("*.gz"):
            (raw / (path.name if packed else path.stem)).write_bytes(gzip.decompress(path.read_bytes()))
        for ours, theirs in zip(MNIST(root=str(tmp_path)).load(), module.load(), strict=True):
            assert np.array_equal(ours.x, theirs.x)
            assert np.array_equal(ours.y, theirs.y)

    def test_hashes_of_contents_are_of_the_published_files(self, real_data: Path) -> None:
        """Of their md5, as torchvision published them for the unpacked files; ours are sha256 of the same bytes."""
        md5 = {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        }
        for name, content in mnist_files.CONTENTS.items():
            held = gzip.decompress((real_data / "MNIST" / "raw" / f"{name}.gz").read_bytes())
            assert hashlib.md5(held, usedforsecurity=False).hexdigest() == md5[name]
            assert Content(len(held), hashlib.sha256(held).hexdigest()) == content

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
        "train-images-idx3-ubyte, packed as .gz or not",
        str(tmp_path / "MNIST" / "raw"),
        "--data.root",
        "MCUBENCH_DATA",
        "network",
    ):
        assert part in message
    assert list(tmp_path.rglob("*.*")) == [], "nothing is half-installed"
