"""Run folders: how they are named, and how ``last``, ``best`` or a path names one of their checkpoints."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from mcubench.errors import UnreadableError, UserError

__all__ = ["CONFIG", "claim_run", "config_of", "resolve_checkpoint", "run_of", "shown"]

CONFIG = "config.yaml"


def claim_run(root: Path, title: str) -> Path:
    """Makes the folder of a new run, with a name that sorts by time, as in ``20260131-154502-CNN-MNIST``.

    Runs that start in the same second get different folders, because making a folder is what claims its name.

    Args:
        root: The folder that holds all runs.
        title: What is run.

    Raises:
        UserError: If the folder can't be made.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{title}"
    for count in itertools.count(1):
        folder = root / (name if count == 1 else f"{name}-{count}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not root.is_dir():
                raise UserError(f"runs can't be written to {root}, which is no folder") from None
        except OSError as error:
            how = "name another folder with --trainer.default_root_dir"
            raise UserError(f"runs can't be written to {root}: {error.strerror}; {how}") from None
        else:
            return folder
    raise AssertionError("count never ends")


def resolve_checkpoint(spec: str, root: Path, option: str = "--ckpt_path") -> Path:
    """Finds the checkpoint that a user means.

    Args:
        spec: ``last``, ``best`` or ``averaged`` for the newest run under `root`; or a run's folder, for its last
            checkpoint; or a file.
        root: The folder that holds all runs.
        option: The option that it was given by, for messages.

    Returns:
        The absolute path of an existing file.

    Raises:
        UserError: If there is no such checkpoint; it says where it was looked for.
    """
    if spec in ("last", "best", "averaged"):
        runs = [*root.glob("*"), *root.glob("*/fold-*"), *root.glob("*/seed-*")]  # each of several is a run
        written = sorted(((time, run) for run in runs if (time := _last_written(run))), reverse=True)
        newest = next((run for _, run in written if _is_given_out(run)), None)
        if newest is None:
            where = f"there is no run under {root.resolve()}"
            raise UserError(f"{option} {spec}: {where}; run fit first, or give a file")
        path = newest / "checkpoints" / f"{spec}.ckpt"
        if not path.exists():
            raise UserError(f"{option} {spec}: the newest run, {shown(newest)}, has no {spec}.ckpt; give another run")
        return path.resolve()
    try:
        path = Path(spec).expanduser()
        if path.is_dir():
            path = path / "checkpoints" / "last.ckpt"
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # the latter if there is no such user
        raise UnreadableError(f"{option} {spec} can't be read: {getattr(error, 'strerror', error)}") from None
    if not is_file:
        raise UserError(f"{option}: there is no file {path}; give a checkpoint, a run's folder, last or best")
    return path.resolve()


def _last_written(run: Path) -> float:
    """When a run was begun or saved last, in seconds; 0 for a folder that holds none, or that can't be looked into."""
    try:
        return max((file.stat().st_mtime for file in _signs_of(run) if file.is_file()), default=0.0)
    except OSError:
        return 0.0


def _is_given_out(run: Path) -> bool:
    """Whether the system lets us read a run: that of another user is not the one that is meant."""
    try:
        for file in _signs_of(run):
            if file.is_file():
                file.open("rb").close()
    except OSError:
        return False
    return True


def _signs_of(run: Path) -> tuple[Path, Path]:
    """What a folder has that a fit has begun to write, or has written."""
    return run / CONFIG, run / "checkpoints" / "last.ckpt"


def shown(path: Path) -> str:
    """A path as people read it: relative to the working folder if it lies in it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def run_of(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint belongs to, by where it lies; ``None`` if that is in no run's folder."""
    return checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else None


def config_of(checkpoint: Path) -> Path | None:
    """The configuration of the run that a checkpoint belongs to, or ``None`` if it lies in no run's folder."""
    run = run_of(checkpoint)
    return run / CONFIG if run is not None and (run / CONFIG).is_file() else None
