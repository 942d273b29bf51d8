"""Run folders: how they are named, and how ``last``, ``best`` or a path names one of their checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

from mcubench.errors import UserError

__all__ = ["CONFIG", "config_of", "new_run_name", "resolve_checkpoint", "shown"]

CONFIG = "config.yaml"


def new_run_name(root: Path, title: str) -> str:
    """A name for a new run that sorts by time and is not taken, as in ``20260131-154502-CNN-MNIST``.

    Args:
        root: The folder that holds all runs.
        title: What is run.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{title}"
    taken, count = name, 1
    while (root / taken).exists():
        count += 1
        taken = f"{name}-{count}"
    return taken


def resolve_checkpoint(spec: str, root: Path) -> Path:
    """Finds the checkpoint that a user means.

    Args:
        spec: ``last`` or ``best`` for the newest run under `root`; or a run's folder, for its last checkpoint; or a
            file.
        root: The folder that holds all runs.

    Returns:
        The absolute path of an existing file.

    Raises:
        UserError: If there is no such checkpoint; it says where it was looked for.
    """
    if spec in ("last", "best"):
        runs = root.glob("*/checkpoints/last.ckpt")
        newest = max(runs, key=lambda path: path.stat().st_mtime, default=None)
        if newest is None:
            where = f"no run under {root.resolve()} has a checkpoint"
            raise UserError(f"--ckpt_path {spec}: {where}; run fit first, or give a file")
        path = newest.with_name(f"{spec}.ckpt")
        if not path.exists():
            raise UserError(f"--ckpt_path {spec}: the newest run, {newest.parents[1]}, has no {spec}.ckpt")
        return path.resolve()
    path = Path(spec).expanduser()
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise UserError(f"--ckpt_path: there is no file {path}; give a checkpoint, a run's folder, last or best")
    return path.resolve()


def shown(path: Path) -> str:
    """A path as people read it: relative to the working folder if it lies in it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def config_of(checkpoint: Path) -> Path | None:
    """The configuration of the run that a checkpoint belongs to, or ``None`` if it lies in no run's folder."""
    config = checkpoint.parent.parent / CONFIG
    return config if config.is_file() else None
