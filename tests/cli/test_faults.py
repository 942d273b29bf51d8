"""A process that is killed before or after any file is put in its place, against one that was not disturbed.

What a killed process leaves is what lies on the disk at that moment: it is copied there, in the middle of one fit that
comes to its end, and gone on with afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mcubench.cli.main import main
from mcubench.results import file_set
from mcubench.results.logged import Logged
from tests.foreign import MyNet
from tests.trained import digits_run

__all__ = ["digits_run"]

QUIET = ["--trainer.enable_progress_bar", "false", "--threads", "1"]
FITS = {
    "MLP": ["--model.hidden", "[8]", "--data.size", "8", "--checkpoint.every_n_train_steps", "30"],
    "foreign, quantised": [
        *("--model", "tests.cli.test_faults.EachStep", "--data", "tests.foreign.MyData"),
        *("--trainer.log_every_n_steps", "1", "--trainer.callbacks+=QuantizationAwareTraining"),
    ],
}


class EachStep(MyNet):
    """Logs every step and every epoch, and one metric of the first epoch alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_step=True, on_epoch=True)
        if self.current_epoch == 0:
            self.log("first", loss, on_step=False, on_epoch=True)
        return loss


class Camera:
    """Copies a folder before and after each rename."""

    def __init__(self, folder: Path, kept: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.kept = folder, kept
        self.names: list[str] = []
        for owner, name in ((os, "replace"), (os, "rename"), (file_set, "_exchange")):
            patch.setattr(owner, name, self.taking(getattr(owner, name)))

    def taking(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: Any, target: Any) -> None:
            self.take(f"before {Path(target).name}")
            real(source, target)
            self.take(f"after {Path(target).name}")

        return rename

    def take(self, name: str) -> None:
        self.names.append(f"{len(self.names):02} {name}")
        shutil.copytree(self.folder, self.kept / self.names[-1])


def content(folder: Path) -> dict[str, bytes]:
    """What files hold, but for those that were being written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".tmp" not in str(path)
    }


def outcome(run: Path) -> dict[str, Any]:
    """What a run leaves, but for times, the words that it was called with, and the commit of these tests."""
    row = json.loads((run / "result.json").read_text())
    weights = {
        f"{name} {key}": value
        for name in ("best", "last")
        if (path := run / "checkpoints" / f"{name}.ckpt").exists()
        for key, value in torch.load(path, weights_only=True)["state_dict"].items()
    }
    return {
        "row": {key: value for key, value in row.items() if key not in ("seconds", "command", "git_commit")},
        "timed": row["seconds"].keys(),
        "metrics": (run / "metrics.csv").read_bytes(),
        "config": _without_place(yaml.safe_load((run / "config.yaml").read_text())),
        "weights": {key: value.numpy().tobytes() for key, value in weights.items()},
        "files": {path.name for path in run.rglob("*")},
    }


def _without_place(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "trainer": {**config["trainer"], "default_root_dir": None}}


@pytest.fixture(scope="module", params=FITS)
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A run that was not disturbed, and what was there at each moment, where that was something else than before."""
    place = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        camera = Camera(place / "runs", place / "kills", patch)
        root = ["--trainer.default_root_dir", str(camera.folder)]
        assert main(["fit", "--trainer.max_epochs", "2", *FITS[request.param], *QUIET, *root]) == 0
    assert [name.partition("before ")[2] for name in camera.names[-2:]] == ["result.json", ""], "it is written last"
    (whole,) = camera.folder.iterdir()
    moments = {tuple(content(place / "kills" / name).items()): name for name in camera.names}
    return whole, [place / "kills" / name for name in sorted(moments.values())]


def go_on(moment: Path, to: Path) -> tuple[int, Path]:
    """Goes on with a copy of what a killed process left."""
    shutil.copytree(moment, to)
    (run,) = to.iterdir()
    return main(["fit", "--ckpt_path", "last", *QUIET[:2], "--trainer.default_root_dir", str(to)]), run


def test_a_run_that_goes_on_ends_like_one_that_was_not_killed(
    killed: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, moments = killed
    expected = outcome(whole)
    resumed = 0
    for moment in moments:
        code, run = go_on(moment, tmp_path / moment.name)
        if not (moment / run.name / "checkpoints" / "last.ckpt").exists():
            assert code == 2
            assert "--ckpt_path last: " in capsys.readouterr().err
            continue
        resumed += 1
        assert code == 0, moment.name
        found = outcome(run)
        for part, value in expected.items():
            assert found[part] == value, (moment.name, part)
    assert resumed >= 5


def test_without_what_was_logged_the_last_epoch_is_lost(
    killed: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake injected: what `Logged` is for."""
    whole, moments = killed
    monkeypatch.setattr(Logged, "on_fit_start", lambda *_: None)
    moment = next(each for each in reversed(moments) if not list(each.glob("*/result.json")))
    code, run = go_on(moment, tmp_path / "runs")
    assert code == 0
    assert outcome(run)["row"]["logged"] != outcome(whole)["row"]["logged"]


def test_an_export_is_the_old_one_or_the_new_one(digits_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["export", "--ckpt_path", str(digits_run), "--output", str(out / "set"), "--format", "tflite", "tflm", "c"]
    assert main(words) == 0
    (out / "set" / "model_c" / "own.txt").write_text("stays")
    old = content(out)
    with pytest.MonkeyPatch.context() as patch:
        camera = Camera(out, tmp_path / "kills", patch)
        assert main([*words, "--weight_bits", "4"]) == 0
    new = content(out)
    assert new.keys() == old.keys()
    assert all(new[name] != old[name] for name in old if name.rpartition("/")[2] in ("model.tflite", "model.json"))
    found = [content(tmp_path / "kills" / name) for name in camera.names]
    assert all(each in (old, new) for each in found)
    assert found[0] == old
    assert found[-1] == new
    assert not list(out.glob(".*")), "nothing else is left"
