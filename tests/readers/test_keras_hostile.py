"""Files that are not what they should be: each is one line that says so, nothing in them runs, and it takes moments.

Reference: the errors that a user can mend (`mcubench.errors`), and what was planted in each file.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import time
import warnings
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcubench import UserError
from mcubench.errors import CorruptDataError
from mcubench.readers import read_model
from mcubench.readers.keras import stored

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")

FLIPS = 16
SECONDS = 10.0  # far more than any of them takes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a small model as ``net.keras`` and ``net.h5``."""
    from mcubench.parity import load_keras

    keras = load_keras()
    made = tmp_path_factory.mktemp("files")
    model = keras.Sequential([
        keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, activation="relu", name="conv"),
        keras.layers.Flatten(), keras.layers.Dense(4, name="dense"),
    ])  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suffix in ("keras", "h5"):
            model.save(made / f"net.{suffix}")
    return made


def refused(content: bytes, path: Path, match: str = ".") -> None:
    path.write_bytes(content)
    began = time.monotonic()
    with pytest.raises(UserError, match=match) as raised:
        read_model(path)
    assert time.monotonic() - began < SECONDS
    assert "\n" not in str(raised.value)


def said_of(path: Path) -> str:
    """The error, if there is one that a user can mend."""
    try:
        read_model(path)
    except UserError as error:
        return str(error)
    return ""


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def members_of(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(folder / "net.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another configuration, and the same weights."""
    members = members_of(folder)
    config = json.loads(members["config.json"])
    change(config)
    return zipped({**members, "config.json": json.dumps(config).encode()})


def hdf5_with(folder: Path, path: Path, change: Callable[[Any], None]) -> bytes:
    import h5py

    path.write_bytes((folder / "net.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_truncated(folder: Path, tmp_path: Path, suffix: str) -> None:
    content = (folder / f"net.{suffix}").read_bytes()
    for part in (0.0, 0.01, 0.3, 0.6, 0.9, 0.99):
        refused(content[: int(len(content) * part)], tmp_path / f"net.{suffix}")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_bytes_altered_at_random(folder: Path, tmp_path: Path, suffix: str) -> None:
    """Each is refused in a line, or, where a weight or what nobody reads was hit, read."""
    content = np.frombuffer((folder / f"net.{suffix}").read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    stopped = 0
    for _ in range(FLIPS):
        altered = content.copy()
        altered[generator.integers(0, len(altered), 8)] ^= generator.integers(1, 256, 8).astype(np.uint8)
        (tmp_path / f"net.{suffix}").write_bytes(altered.tobytes())
        began = time.monotonic()
        said = said_of(tmp_path / f"net.{suffix}")
        assert "\n" not in said
        stopped += bool(said)
        assert time.monotonic() - began < SECONDS
    assert stopped > FLIPS // 3


class TestTheProcessThatOpensIt:
    """Some altered files make the library of HDF5 die, or work on: which, differs from version to version."""

    def test_its_crash_is_a_line(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        died = subprocess.CompletedProcess([], -signal.SIGSEGV, b"", b"")
        monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: died)
        refused((folder / "net.h5").read_bytes(), tmp_path / "net.h5", "ends in a crash")

    def test_it_has_so_much_time(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stored, "_SECONDS", 0.001)
        refused((folder / "net.h5").read_bytes(), tmp_path / "net.h5", "takes more than")


def test_neither_of_the_two(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    for content in (b"", b"PK", b"GIF89a" * 100, b"\x89HDF\r\n\x1a\n" * 100):
        path.write_bytes(content)
        with pytest.raises(CorruptDataError):
            read_model(path)


class TestNothingRuns:
    """What is planted would write a file."""

    def planted(self, kind: str, target: Path) -> dict[str, Any]:
        import marshal
        from base64 import b64encode

        code = compile(f"open({str(target)!r}, 'w')", "planted", "eval")
        encoded = b64encode(marshal.dumps(code)).decode()
        function = {"class_name": "__lambda__", "config": {"code": encoded, "defaults": None, "closure": None}}
        return {"module": "keras.layers", "class_name": kind, "config": {"name": "bad", "function": function}}

    def test_lambda_layers(self, folder: Path, tmp_path: Path) -> None:
        target = tmp_path / "written"

        def change(config: dict[str, Any]) -> None:
            config["config"]["layers"].append(self.planted("Lambda", target))

        refused(with_config(folder, change), tmp_path / "net.keras", "Lambda at bad can't be read: it is Python code")
        assert not target.exists()

    def test_lambda_within_another_layer(self, folder: Path, tmp_path: Path) -> None:
        target = tmp_path / "written"

        def change(config: dict[str, Any]) -> None:
            layer = config["config"]["layers"][1]["config"]
            layer["activation"] = self.planted("Lambda", target)["config"]["function"]

        refused(with_config(folder, change), tmp_path / "net.keras", "__lambda__ can't be read")
        assert not target.exists()

    def test_lambda_in_an_old_file(self, folder: Path, tmp_path: Path) -> None:
        def change(file: Any) -> None:
            config = json.loads(file.attrs["model_config"])
            config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "bad", "function": ["x"]}})
            file.attrs["model_config"] = json.dumps(config)

        refused(hdf5_with(folder, tmp_path / "other.h5", change), tmp_path / "net.h5", "Lambda at bad")

    @pytest.mark.parametrize(
        ("found", "message"),
        [
            ({"module": "os", "class_name": "Dense", "registered_name": None}, "Dense at dense .* it is of os"),
            ({"module": None, "class_name": "Mine", "registered_name": "my>Mine"}, "my>Mine at dense .* own class"),
            ({"module": "keras.utils", "class_name": "get_file", "registered_name": None}, "of keras.utils"),
            ({"module": "keras_hub.layers", "class_name": "Dense", "registered_name": None}, "of keras_hub.layers"),
            ({"module": "keras.layers", "class_name": "TFSMLayer", "registered_name": None}, "TFSMLayer .* no rule"),
        ],
    )
    def test_classes_of_others(self, folder: Path, tmp_path: Path, found: dict[str, Any], message: str) -> None:
        def change(config: dict[str, Any]) -> None:
            config["config"]["layers"][-1].update(found)

        refused(with_config(folder, change), tmp_path / "net.keras", message)

    def test_a_function_from_elsewhere(self, folder: Path, tmp_path: Path) -> None:
        def change(config: dict[str, Any]) -> None:
            config["config"]["layers"][-1]["config"]["activation"] = {
                "module": "os", "class_name": "function", "config": "system", "registered_name": "system",
            }  # fmt: skip

        refused(with_config(folder, change), tmp_path / "net.keras", "of os")


class TestBounds:
    @pytest.mark.parametrize("name", ["../outside", "/outside", "assets/../../outside", "..\\outside"])
    def test_members_outside(self, folder: Path, tmp_path: Path, name: str) -> None:
        refused(zipped({**members_of(folder), name: b"x"}), tmp_path / "net.keras", "outside of the archive")
        assert not list(tmp_path.parent.glob("outside"))

    def test_a_configuration_that_unpacks_to_too_much(self, folder: Path, tmp_path: Path) -> None:
        members = {**members_of(folder), "config.json": b" " * 2**27}
        refused(
            zipped(members, zipfile.ZIP_DEFLATED), tmp_path / "net.keras", "config.json would unpack to 134,217,728"
        )

    def test_members_that_unpack_to_too_much(self, folder: Path, tmp_path: Path) -> None:
        members = {**members_of(folder), "assets/zeros": bytes(2**28 + 1)}
        refused(zipped(members, zipfile.ZIP_DEFLATED), tmp_path / "net.keras", "would unpack to more than")

    def test_a_configuration_nested_without_end(self, folder: Path, tmp_path: Path) -> None:
        members = members_of(folder)
        for text in (b"[" * 100_000, b'{"a":' * 400 + b"1" + b"}" * 400):
            refused(zipped({**members, "config.json": text}), tmp_path / "net.keras")

    def test_weights_that_are_not_in_the_file(self, folder: Path, tmp_path: Path) -> None:
        """A terabyte of weights in a number."""

        def change(config: dict[str, Any]) -> None:
            config["config"]["layers"][-1]["config"]["units"] = 2**32

        refused(with_config(folder, change), tmp_path / "net.keras", "Dense at dense has weights of")

    def test_data_sets_that_store_nothing(self, folder: Path, tmp_path: Path) -> None:
        def change(file: Any) -> None:
            file.create_dataset("model_weights/zeros", (2**36,), "f4", chunks=(2**16,), compression="gzip")

        refused(hdf5_with(folder, tmp_path / "other.h5", change), tmp_path / "net.h5", "would unpack to more than")

    def test_links_and_data_elsewhere(self, folder: Path, tmp_path: Path) -> None:
        import h5py

        def link(file: Any) -> None:
            file["model_weights/link"] = h5py.ExternalLink("/etc/hostname", "/")

        def data(file: Any) -> None:
            file["model_weights"].create_dataset("data", (4,), "u1", external=[("/etc/hostname", 0, 4)])

        refused(hdf5_with(folder, tmp_path / "other.h5", link), tmp_path / "net.h5", "a link")
        refused(hdf5_with(folder, tmp_path / "other.h5", data), tmp_path / "net.h5", "lies outside")

    def test_groups_that_hold_themselves(self, folder: Path, tmp_path: Path) -> None:
        def change(file: Any) -> None:
            file["model_weights/again"] = file["model_weights"]

        (tmp_path / "net.h5").write_bytes(hdf5_with(folder, tmp_path / "other.h5", change))
        assert read_model(tmp_path / "net.h5").graph.nodes


def test_weights_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][-1]["config"]["units"] = 5

    refused(with_config(folder, change), tmp_path / "net.keras", "Keras can't load it")
