"""Files that are replaced together, where folders can change places and where they can't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcubench.results import file_set
from mcubench.results.file_set import written_together

NAMES = {"a", "b", "c"}


def write(folder: Path, text: str, fail: bool = False) -> None:
    with written_together(folder, NAMES) as staging:
        (staging / "a").write_text(text)
        (staging / "b").mkdir()
        (staging / "b" / "x").write_text(text)
        if fail:
            raise OSError("no space")


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_new_and_again_with_what_else_lies_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "set"
    write(folder, "old")
    (folder / "c").write_text("kept")
    (folder / "b" / "y").write_text("kept")
    before = folder.stat().st_ino
    write(folder, "new")
    assert held(folder) == {"a": "new", "b/x": "new", "b/y": "kept", "c": "kept"}
    assert folder.stat().st_ino != before, "the folders changed places"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "set", "new", fail=True)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "set", "old")
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "set", "new", fail=True)
    assert set(held(tmp_path).values()) == {"old"}


@pytest.mark.parametrize("why", ["other names", "worked in", "can't exchange", "no links"])
def test_where_folders_can_not_change_places(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("not here")

    folder = tmp_path / "set"
    write(folder, "old")
    if why == "other names":
        (folder / "thesis.tex").write_text("kept")
    elif why == "worked in":
        monkeypatch.chdir(folder)
    else:
        (folder / "c").write_text("kept")
        monkeypatch.setattr(*((file_set, "_exchange") if why == "can't exchange" else (os, "link")), refuse)
    before = folder.stat().st_ino
    write(folder, "new")
    assert folder.stat().st_ino == before
    assert {name: text for name, text in held(folder).items() if text != "kept"} == {"a": "new", "b/x": "new"}
    assert not list(tmp_path.rglob(".*"))


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".set.123.tmp").mkdir()
    (tmp_path / ".set.123.tmp" / "half").touch()
    write(tmp_path / "set", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
