"""Folders with runs that were trained to their end, which trials damage copies of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.damaged.trial import Ended, files_of, in_folder

__all__ = ["BEST", "FIT", "FOLDER", "LAST", "RESULT", "RUN", "exported", "prepared", "state_of", "weights"]

_QUIET = ("--threads", "1", "--trainer.enable_progress_bar", "false")
FIT = ("fit", "--model", "MLP", "--model.hidden", "[8]", "--data", "Digits", "--data.size", "8", *_QUIET)
TREE = ("fit", "--model", "DecisionTree", "--model.max_depth", "4", "--data", "Digits", "--data.size", "8", *_QUIET)
FOLDER = Path("runs/one")
BEST, LAST = FOLDER / "checkpoints/best.ckpt", FOLDER / "checkpoints/last.ckpt"
RUN, RESULT = str(FOLDER), FOLDER / "result.json"
# Of a row: what the clock says, and what is different between a run at once and one that was resumed, as it should be.
_OTHERWISE = {"seconds", "command", "git_commit", "versions"}


# With a schedule that lets it be extended.
_LONG = (*FIT, "--trainer.max_epochs", "3", "--model.schedule", "constant")


def prepared(folder: Path, words: tuple[str, ...] = _LONG) -> Path:
    """A folder in which a command was run, which has made one run; that is then called `RUN`."""
    folder.mkdir(parents=True)
    ended = in_folder(folder, words)
    assert ended.code == 0, ended.err
    (run,) = (folder / "runs").iterdir()
    run.rename(folder / FOLDER)
    return folder


def weights(path: Path) -> Mapping[str, Any]:
    """The weights in a checkpoint, as lists."""
    content = torch.load(path, weights_only=True)
    return {name: each.tolist() for name, each in content["state_dict"].items()}


def state_of(run: Path) -> object:
    """What a run left, but for what the clock says: weights, logged metrics and the row."""
    row = json.loads((run / "result.json").read_text("utf-8"))
    return (
        [weights(run / "checkpoints" / name) for name in ("last.ckpt", "best.ckpt")],
        (run / "metrics.csv").read_text("utf-8"),
        {key: value for key, value in row.items() if key not in _OTHERWISE},
    )


def exported(folder: Path, _ended: Ended) -> object:
    """Hashes of what ``export`` wrote."""
    return {path: content for path, content in files_of(folder).items() if "export" in Path(path).parts}
