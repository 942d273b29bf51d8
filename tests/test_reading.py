"""Files of JSON that are read back, and what is said of those that can't be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcubench import reading
from mcubench.errors import CorruptDataError, UnreadableError
from mcubench.reading import read_json
from tests.unreadable import hidden_from_us


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not JSON"),
        (b'{"a": 1', "it is not JSON"),
        (b"\xff\xfe{}", "it is not JSON"),
        (b"\xef\xbb\xbf{}", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"1" * 10_000, "it is not JSON"),
        (b'{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}', "'c' stands there twice"),
        (b"[" + b"1," * 50 + b"1]", "it has more than 0 MB"),
    ],
    ids=["empty", "cut", "no text", "a mark", "nested", "a long number", "a name twice", "large"],
)
def test_what_is_no_json_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    if "more than" in message:
        monkeypatch.setattr(reading, "_LARGEST_JSON", 100)
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(CorruptDataError, match=rf"x\.json is damaged: .*{message}"):
        read_json(tmp_path / "x.json")


def test_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, 0.5, null], "b": {"a": "\u00e9"}}', "utf-8")
    assert read_json(tmp_path / "x.json") == {"a": [1, 0.5, None], "b": {"a": "\u00e9"}}


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "hidden").touch()
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nothing")
    with hidden_from_us(tmp_path / "hidden"):
        for name, message in (
            (".", "it is a folder"),
            ("pipe", "it is no plain file"),
            ("round", "Too many levels of symbolic links"),
            ("hidden", "Permission denied"),
        ):
            with pytest.raises(UnreadableError, match=rf"can't be read: {message}"):
                read_json(tmp_path / name)
    with pytest.raises(UnreadableError, match="can't be read: it is no plain file"):
        read_json(Path("/dev/zero"))
