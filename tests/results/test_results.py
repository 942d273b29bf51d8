"""Run folders, metrics, evaluation, result rows and plots."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
import subprocess
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import nn

from mcubench.errors import CorruptDataError, UnreadableError, UserError
from mcubench.features import feature_cost
from mcubench.files import atomic_path
from mcubench.results import metrics_log
from mcubench.results.best_checkpoint import BestCheckpoint, mode_of
from mcubench.results.checkpoint_io import AtomicCheckpointIO, load_checkpoint
from mcubench.results.evaluation import NotScorableError, score
from mcubench.results.metrics_log import MetricsLog, read_metrics
from mcubench.results.plots import plot_confusion, plot_curves
from mcubench.results.result import git_commit, result_of
from mcubench.results.run_folder import claim_run, config_of, resolve_checkpoint, run_of
from mcubench.results.table import _features
from tests.trained import drawing
from tests.unreadable import hidden_from_us

CPU = torch.device("cpu")


class TestAtomicPath:
    def test_appears_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "file.txt"
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert not target.exists()
        assert target.read_text() == "half"
        assert list(target.parent.iterdir()) == [target]

    def test_a_failure_keeps_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "file.txt"
        target.write_text("old")

        def fail() -> None:
            with atomic_path(target) as temporary:
                temporary.write_text("half")
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            fail()
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_what_a_killed_process_left_is_swept_away(self, tmp_path: Path) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        stale, alive = tmp_path / f".file.txt.{ended.pid}.tmp", tmp_path / f".file.txt.{os.getppid()}.tmp"
        stale.touch()
        alive.touch()
        with atomic_path(tmp_path / "file.txt") as temporary:
            temporary.write_text("new")
        assert not stale.exists()
        assert alive.exists(), "another process may still be writing"

    @pytest.mark.parametrize("middle", ["abc", "1.2", "-1", "", "9" * 30, "\u0661"])
    def test_what_lies_there_of_others_is_no_obstacle(self, tmp_path: Path, middle: str) -> None:
        (tmp_path / f".file[1].txt.{middle}.tmp").mkdir()
        with atomic_path(tmp_path / "file[1].txt") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "file[1].txt").read_text() == "new"

    def test_names_are_no_patterns(self, tmp_path: Path) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        ours, theirs = (tmp_path / f".file{each}.txt.{ended.pid}.tmp" for each in ("[1]", "1"))
        for path in (ours, theirs):
            path.touch()
        with atomic_path(tmp_path / "file[1].txt") as temporary:
            temporary.write_text("new")
        assert not ours.exists()
        assert theirs.exists()


class TestRunFolder:
    def checkpoint(self, root: Path, run: str, name: str = "last", age: float = 0) -> Path:
        path = root / run / "checkpoints" / f"{name}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
        return path

    def test_last_and_best_are_of_the_newest_run(self, tmp_path: Path) -> None:
        self.checkpoint(tmp_path, "b", age=100)
        newest = self.checkpoint(tmp_path, "a")
        best = self.checkpoint(tmp_path, "a", "best")
        assert resolve_checkpoint("last", tmp_path) == newest
        assert resolve_checkpoint("best", tmp_path) == best

    def test_a_folder_or_a_file(self, tmp_path: Path) -> None:
        path = self.checkpoint(tmp_path, "a")
        assert resolve_checkpoint(str(tmp_path / "a"), tmp_path) == path
        assert resolve_checkpoint(str(path), tmp_path) == path

    def test_absence_is_an_error(self, tmp_path: Path) -> None:
        for spec, message in (
            ("last", "there is no run under"),
            ("best", "there is no run under"),
            ("x.ckpt", "there is no file"),
        ):
            with pytest.raises(UserError, match=message):
                resolve_checkpoint(spec, tmp_path)
        self.checkpoint(tmp_path, "a")
        with pytest.raises(UserError, match=r"has no best\.ckpt"):
            resolve_checkpoint("best", tmp_path)

    def test_config_of(self, tmp_path: Path) -> None:
        path = self.checkpoint(tmp_path, "a")
        assert config_of(path) is None
        (tmp_path / "a" / "config.yaml").touch()
        assert config_of(path) == tmp_path / "a" / "config.yaml"

    def test_a_checkpoint_that_lies_in_no_run(self, tmp_path: Path) -> None:
        """Two folders up from it there may be none, or somebody's own config.yaml."""
        (tmp_path / "config.yaml").touch()
        for path in (Path("/x.ckpt"), tmp_path / "weights" / "x.ckpt"):
            assert config_of(path) is None
            assert run_of(path) is None
            assert result_of(path) is None

    @pytest.mark.parametrize("hidden", ["", "config.yaml", "checkpoints", "checkpoints/last.ckpt"])
    def test_the_newest_run_is_one_that_we_may_read(self, tmp_path: Path, hidden: str) -> None:
        ours = self.checkpoint(tmp_path, "ours", age=100)
        theirs = self.checkpoint(tmp_path, "theirs").parents[1]
        (theirs / "config.yaml").touch()
        with hidden_from_us(theirs / hidden):
            assert resolve_checkpoint("last", tmp_path) == ours
            if hidden in ("", "checkpoints"):
                with pytest.raises(UnreadableError, match=r"can't be read: Permission denied"):
                    resolve_checkpoint(str(theirs), tmp_path)

    @pytest.mark.parametrize("spec", ["~nobody-of-this-name/x.ckpt", "x" * 5000])
    def test_paths_that_are_none(self, tmp_path: Path, spec: str) -> None:
        with pytest.raises(UserError, match="--ckpt_path"):
            resolve_checkpoint(spec, tmp_path)

    def test_the_newest_run_without_a_checkpoint_is_not_passed_over(self, tmp_path: Path) -> None:
        self.checkpoint(tmp_path, "old", age=100)
        (tmp_path / "killed").mkdir()
        (tmp_path / "killed" / "config.yaml").touch()
        with pytest.raises(UserError, match=r"killed, has no last\.ckpt"):
            resolve_checkpoint("last", tmp_path)

    def test_runs_of_the_same_second_have_their_own_folders(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.strftime", lambda _: "20260131-154502")
        with ThreadPoolExecutor(8) as pool:
            folders = list(pool.map(lambda _: claim_run(tmp_path / "runs", "CNN-MNIST"), range(8)))
        names = {folder.name for folder in folders}
        assert names == {"20260131-154502-CNN-MNIST", *(f"20260131-154502-CNN-MNIST-{n}" for n in range(2, 9))}

    def test_a_root_that_can_not_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for root in (tmp_path / "file", tmp_path / "file" / "runs"):
            with pytest.raises(UserError, match="runs can't be written to"):
                claim_run(root, "CNN-MNIST")


class TestBestCheckpoint:
    @pytest.mark.parametrize(
        ("monitor", "mode"),
        [
            ("val/loss", "min"),
            ("val_loss", "min"),
            ("my-error", "min"),
            ("val/accuracy", "max"),
            ("val/macro_f1", "max"),
        ],
    )
    def test_mode_by_name(self, monitor: str, mode: str) -> None:
        assert mode_of(monitor) == mode

    def test_a_name_that_does_not_tell(self) -> None:
        with pytest.raises(UserError, match=r"say --checkpoint\.mode min or max"):
            mode_of("gloss")

    def test_a_given_mode_counts(self, tmp_path: Path) -> None:
        assert BestCheckpoint(tmp_path, "val/loss", "max").mode == "max"


class TestMetricsLog:
    def test_one_row_a_step(self, tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, "run")
        log.log_metrics({"val/loss": 0.5, "epoch": 0.0}, step=9)
        log.log_metrics({"train/loss": 0.75, "epoch": 0.0}, step=9)
        log.log_metrics({"train/loss": 0.25, "epoch": 1.0}, step=19)
        log.finalize("success")
        with (tmp_path / "run" / "metrics.csv").open() as file:
            assert list(csv.reader(file)) == [
                ["step", "epoch", "train/loss", "val/loss"],
                ["9", "0", "0.75", "0.5"],
                ["19", "1", "0.25", ""],
            ]

    def test_resume_keeps_the_rows_before(self, tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, "run")
        for step in (9, 19, 29):
            log.log_metrics({"loss": float(step)}, step=step)
        log.save()
        again = MetricsLog(tmp_path, "run")
        again.resume_at(20)
        again.log_metrics({"loss": -1.0}, step=24)
        again.save()
        assert [row["step"] for row in read_metrics(again.path)] == [9, 19, 24]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "line 1 has no column step"),
            (b"step,epoch,x", "line 1 has no column step"),
            (b"step,epoch,x\n1,0,abc\n", "line 2, x: 'abc' is no number"),
            (b"step,epoch,x\n1,0,2\n1.5,0,2\n", "line 3, step: '1.5' is no whole number"),
            (b"step,epoch,x\n,0,2\n", "line 2, step: '' is no whole number"),
            (b"step,epoch,x\n-1,0,2\n", "line 2, step: -1 is no count"),
            (b"step,epoch,x\n1," + b"9" * 300 + b",2\n", "line 2, epoch: 9+ is no count"),
            (b"step,epoch,x\n1," + b"9" * 5000 + b",2\n", "line 2, epoch: '9{40}' is no whole number"),
            (b"step,epoch,x\n1,0\n", "line 2 has fewer values"),
            (b"step,epoch,x\n1,0,2,3\n", "line 2 has more values"),
            (b"epoch,x\n0,2\n", "line 1 has no column step"),
            (b"step,step\n0,2\n", "line 1 has no column step, or has a column twice"),
            (b'step,x\n0,"2\n', "unexpected end of data"),
            (b"step,x\n0,\xff\n", "can't decode"),
            (b"PK\x03\x04\0\0\n", "line 1 has no column step"),
        ],
    )
    def test_a_damaged_file_is_named_with_line_and_column(self, tmp_path: Path, content: bytes, message: str) -> None:
        log = MetricsLog(tmp_path, "run")
        log.path.parent.mkdir()
        log.path.write_bytes(content)
        with pytest.raises(CorruptDataError, match=rf"metrics\.csv is damaged: .*{message}.*; restore it, or move it"):
            log.resume_at(5)
        assert log.path.read_bytes() == content, "nothing is lost"

    @pytest.mark.parametrize("change", [(b"0.125", b"0.25"), (b"1,,0.125\r\n", b"")], ids=["a value", "a row"])
    def test_rows_that_a_checkpoint_does_not_know(self, change: tuple[bytes, bytes], tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, "run")
        for step in range(4):
            log.log_metrics({"loss": 0.125 * step}, step=step)
        log.save()
        known = log.rows_before(3)
        MetricsLog(tmp_path, "run").resume_at(4, known)
        log.path.write_bytes(log.path.read_bytes().replace(*change))
        with pytest.raises(CorruptDataError, match="its rows before step 3 are not the 3 that were logged; restore it"):
            MetricsLog(tmp_path, "run").resume_at(4, known)
        log.path.unlink()
        MetricsLog(tmp_path, "run").resume_at(4, known)

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.csv").mkdir()
        with pytest.raises(UnreadableError, match=r"metrics\.csv can't be read: it is a folder"):
            read_metrics(tmp_path / "metrics.csv")

    def test_losses_that_are_no_numbers_are_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.csv").write_text("step,epoch,x,y\n1,0,nan,\n2,0,,-inf\n")
        first, second = read_metrics(tmp_path / "metrics.csv")
        assert math.isnan(first["x"])
        assert second == {"step": 2, "epoch": 0, "y": -math.inf}

    def test_rows_are_appended_and_the_last_may_grow(self, tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, "run")
        log.log_metrics({"loss": 1.0, "late": 2.0}, step=0)
        log.save()
        file = log.path.stat().st_ino
        for step in range(1, 4):
            log.log_metrics({"loss": float(step)}, step=step)
            log.save()
        log.log_metrics({"late": 0.5}, step=3)
        log.save()
        log.log_metrics({"late": 5.0, "loss": 1.0}, step=3)  # a shorter line than before
        log.save()
        assert log.path.stat().st_ino == file, "the file was written once"
        expected = [{"step": 0, "loss": 1, "late": 2}, {"step": 1, "loss": 1}, {"step": 2, "loss": 2}]
        assert read_metrics(log.path) == [*expected, {"step": 3, "late": 5, "loss": 1}]

    @pytest.mark.parametrize(
        "change", [{"new": 1.0}, {"earlier": 1.0}, {"elsewhere": 1.0}], ids=["column", "earlier step", "by others"]
    )
    def test_what_can_not_be_appended_is_written_anew(self, change: dict[str, float], tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, "run")
        for step in (0, 5):
            log.log_metrics({"loss": 1.0, "earlier": 0.0, "elsewhere": 0.0}, step=step)
        log.save()
        if "elsewhere" in change:
            log.path.write_text("somebody's notes")
        log.log_metrics(change, step=2 if "earlier" in change else 6)
        log.save()
        rows = read_metrics(log.path)
        assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
        assert sum(row.get(next(iter(change)), 0) for row in rows) == 1
        assert len(rows) == 3

    def test_a_line_that_was_cut_short_is_left_out(self, tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, "run")
        for step in range(3):
            log.log_metrics({"loss": 0.125}, step=step)
        log.save()
        content = log.path.read_bytes()
        for cut in range(1, len("2,,0.125\r\n")):
            log.path.write_bytes(content[:-cut])
            assert [row["step"] for row in read_metrics(log.path)] == [0, 1]

    def test_a_full_disk_keeps_what_was_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        log, real, tried = MetricsLog(tmp_path, "run"), metrics_log._replace_tail, list[bytes]()
        log.log_metrics({"a": 1.0, "b": 2.0}, step=0)
        log.save()
        before = log.path.read_bytes()

        def full(file: Any, start: int, text: bytes) -> None:
            tried.append(text)
            real(file, start, text if len(tried) > 1 else text[:2])
            if len(tried) == 1:
                raise OSError("no space")

        monkeypatch.setattr(metrics_log, "_replace_tail", full)
        log.log_metrics({"a": 3.0}, step=0)
        with pytest.raises(OSError, match="no space"):
            log.save()
        assert log.path.read_bytes() == before

    def test_no_file_no_rows(self, tmp_path: Path) -> None:
        assert read_metrics(tmp_path / "metrics.csv") == []


class TestScore:
    BATCHES = ((torch.tensor([[3.0, 1, 0], [0, 2, 1]]), torch.tensor([0, 2])), (torch.eye(3), torch.tensor([0, 1, 1])))

    def test_by_hand(self) -> None:
        module = nn.Identity().train()
        scores = score(module, self.BATCHES, 3, CPU)
        # predicted 0 1 | 0 1 2, true 0 2 | 0 1 1
        assert scores.accuracy == 3 / 5
        # F1: class 0: 1; class 1: tp 1, fp 1, fn 1 = 1/2; class 2: 0
        assert scores.macro_f1 == pytest.approx((1 + 0.5 + 0) / 3)
        assert scores.confusion.tolist() == [[2, 0, 0], [0, 1, 1], [0, 1, 0]]
        assert np.array_equal(scores.confusion, confusion_matrix([0, 2, 0, 1, 1], [0, 1, 0, 1, 2]))
        assert scores.samples == 5
        assert module.training

    def test_evaluation_mode(self) -> None:
        module = nn.Sequential(nn.Dropout(0.999), nn.Identity())
        assert score(module, self.BATCHES, 3, CPU).accuracy == 3 / 5

    def test_batches_are_prepared_as_the_data_module_asks(self) -> None:
        assert score(nn.Identity(), self.BATCHES, 3, CPU, lambda batch: (batch[0], batch[0].argmax(1))).accuracy == 1

    def test_in_the_precision_of_the_module(self) -> None:
        module = nn.Linear(3, 3, bias=False).double()
        module.weight.data = torch.eye(3).double()
        assert score(module, self.BATCHES, 3, CPU).accuracy == 3 / 5

    @pytest.mark.parametrize(
        ("batches", "classes", "message"),
        [
            ([torch.ones(2, 3)], 3, "not pairs"),
            ([(torch.ones(2, 3), [0, 1])], 3, "not pairs"),
            (BATCHES, 4, r"forward gives \(2, 3\) for 2 samples, not \(2, 4\)"),
            ([], 3, "no batches"),
            ([(torch.eye(3), torch.eye(3))], 3, "targets are not classes"),
            ([(torch.eye(3), torch.ones(3))], 3, "targets are not classes"),
            ([(torch.eye(3) * math.nan, torch.tensor([0, 1, 2]))], 3, "not finite"),
        ],
    )
    def test_other_forms_are_refused(self, batches: Any, classes: int, message: str) -> None:
        module = nn.Identity().train()
        with pytest.raises(NotScorableError, match=message):
            score(module, batches, classes, CPU)
        assert module.training, "its mode is restored all the same"


class TestCheckpointIO:
    def test_a_failing_save_keeps_the_old_one(self, tmp_path: Path) -> None:
        io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
        io.save_checkpoint({"state_dict": {}, "step": 1}, path)
        with pytest.raises(Exception, match="pickle"):
            io.save_checkpoint({"state_dict": {}, "step": lambda: 2}, path)
        assert load_checkpoint(path)["step"] == 1
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "damaged"),
            (b"no checkpoint", "damaged"),
            (pickle.dumps({"state_dict": {}}), "is damaged, or is no checkpoint"),
            (b"PK\x03\x04", "not a whole zip file"),
            ({"weights": 1}, "no Lightning checkpoint: state_dict is missing"),
            ([1], "no Lightning"),
            ({"state_dict": [1]}, "state_dict is no set of values by name"),
            ({"state_dict": {}, "epoch": -1}, "epoch is -1, and must be a whole number"),
            ({"state_dict": {}, "global_step": 1.5}, "global_step is 1.5"),
            ({"state_dict": {}, "callbacks": None}, "callbacks is null, and must be an object"),
            ({"state_dict": {}, "optimizer_states": {}}, "optimizer_states is {}, and must be a list"),
            ({"state_dict": {}, "optimizer_states": [{}]}, r"optimizer_states\[0\].state is missing"),
            ({"state_dict": {}, "loops": {"fit_loop": {}}}, "loops.validate_loop is missing"),
            ({"state_dict": {}, "pytorch-lightning_version": "x"}, "version is 'x', and must be a version"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, content: Any, message: str) -> None:
        path = tmp_path / "x.ckpt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(UserError, match=message):
            load_checkpoint(path)

    @pytest.mark.parametrize(
        "entries",
        [
            {"word/document.xml": b"<w/>"},
            {"archive/data.pkl": b"hello", "archive/version": b"3"},
            {"archive/data.pkl": b"", "archive/version": b"3"},
            {"archive/data.pkl": b"\x80\x02e.", "archive/version": b"3"},  # appends to a stack that has no list
        ],
        ids=["document", "text", "nothing", "stack"],
    )
    def test_other_zips_are_refused(self, tmp_path: Path, entries: dict[str, bytes]) -> None:
        with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        with pytest.raises(UserError, match=r"x\.ckpt is (damaged|refused)"):
            load_checkpoint(tmp_path / "x.ckpt")

    def test_no_file_and_no_plain_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")  # which would be waited for
        for name, message in ((".", "it is a folder"), ("pipe", "it is no plain file"), ("x", "there is no")):
            with pytest.raises(UserError, match=message):
                load_checkpoint(tmp_path / name)

    def test_a_flipped_bit_is_seen_or_changes_nothing(self, tmp_path: Path) -> None:
        """Most are of what is saved. Of the rest, as the padding before a tensor, nothing is read."""
        saved = {"state_dict": {"w": torch.randn(40), "b": torch.arange(7)}, "global_step": 3, "epoch": 1}
        path, refused = tmp_path / "x.ckpt", 0
        torch.save(saved, path)
        content = path.read_bytes()
        for bit in range(0, 8 * len(content), 37):
            altered = bytearray(content)
            altered[bit // 8] ^= 1 << bit % 8
            path.write_bytes(altered)
            try:
                found = load_checkpoint(path)
            except UserError:
                refused += 1
                continue
            for name, value in saved["state_dict"].items():  # type: ignore[attr-defined]
                assert torch.equal(found["state_dict"][name], value)
            assert {**found, "state_dict": 0} == {**saved, "state_dict": 0}
        assert refused > 100

    def test_torch_alone_believes_a_flipped_bit(self, tmp_path: Path) -> None:
        path = tmp_path / "x.ckpt"
        weights = torch.full((1000,), 0.5)
        torch.save({"state_dict": {"w": weights}}, path)
        content = bytearray(path.read_bytes())
        content[content.find(weights.numpy().tobytes()) + 3] ^= 0x40
        path.write_bytes(content)
        assert torch.load(path, weights_only=True)["state_dict"]["w"][0] > 1e30
        with pytest.raises(CorruptDataError, match=r"x/data/0 in it is not what was saved \(its CRC-32 says so\)"):
            load_checkpoint(path)

    def test_a_truncated_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "x.ckpt"
        torch.save({"state_dict": {"w": torch.randn(1000)}}, path)
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint(path)

    def test_code_in_a_checkpoint_does_not_run(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return (os.mkdir, (str(tmp_path / "owned"),))

        torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "evil.ckpt")
        with pytest.raises(UserError, match="is refused"):
            load_checkpoint(tmp_path / "evil.ckpt")
        assert not (tmp_path / "owned").exists()


class TestGitCommit:
    def test_commit_and_dirty(self, workplace: Path) -> None:
        def git(*words: str) -> str:
            identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
            return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

        assert git_commit() is None
        git("init", "-q")
        (workplace / "file").write_text("one")
        git("add", "file")
        git("commit", "-qm", "one")
        git("tag", "v1", "-m", "an annotated tag does not hide the commit")
        assert git_commit() == git("rev-parse", "HEAD")
        (workplace / "file").write_text("two")
        assert git_commit() == git("rev-parse", "HEAD") + "-dirty"


class TestPlots:
    @pytest.fixture(autouse=True)
    def _drawn(self) -> Iterator[None]:
        with drawing():
            yield

    ROWS = tuple(
        {"step": step, "epoch": step, "train/loss": 1.0 / (step + 1), "val/accuracy": 0.5} for step in range(4)
    )

    def test_curves(self, tmp_path: Path) -> None:
        assert plot_curves(self.ROWS, tmp_path / "curves.png")
        assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

    def test_nothing_to_draw(self, tmp_path: Path) -> None:
        assert not plot_curves([{"step": 1, "my_loss": 3.0}], tmp_path / "curves.png")
        assert list(tmp_path.iterdir()) == []

    def test_confusion_of_a_class_that_never_occurs(self, tmp_path: Path) -> None:
        plot_confusion(np.array([[2, 1], [0, 0]]), ("a", "b"), "test", tmp_path / "confusion.png")
        assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_result_is_plain_json(tmp_path: Path) -> None:
    from mcubench.results.result import SCHEMA_VERSION, Result, package_versions

    scores = {"train": 0.5, "val": None, "test": 0.25}
    result = Result(
        model={"name": "M", "class_path": "m.M", "init_args": {}},
        data=None,
        inputs=None,
        split=None,
        seed=0,
        accuracy=scores,
        macro_f1=scores,
        params=1,
        macs=None,
        flash_bytes=5,
        ram_bytes=6,
        bits={"weight": 8, "activation": 8},
        epochs=1,
        steps=1,
        seconds={"epoch": 0.1, "fit": 0.2},
        checkpoint={"path": None},
        logged={},
        versions=package_versions(),
        command=["python"],
        git_commit=None,
    )
    row = json.loads(result.save(tmp_path).read_text())
    assert row["schema_version"] == SCHEMA_VERSION
    assert row["accuracy"] == {"train": 0.5, "val": None, "test": 0.25}
    assert row["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "33"),
        ({"scaling": {"mean": [0.0], "std": [1.0]}}, "33"),
        ({"source": "recomputed", "scaling": {"fitted_on": "train"}}, "33 recomputed; scaled by the ranges of train"),
    ],
)
def test_features_of_any_data_module_are_told(inputs: dict[str, Any], said: str) -> None:
    # Means: of 5 signals of 3 axes and 5 magnitudes in time, of 3 and 4 among spectra, less one copy.
    (_, first), _ = _features(inputs, feature_cost("mean").as_dict())
    assert first.replace(", 1 of them copies of others", "") == said
