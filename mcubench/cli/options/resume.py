"""Checkpoints on the command line: which one is meant, and the options of the run that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mcubench.cli.options.configurations import MEASURED_WITH, read_run_configuration
from mcubench.cli.options.going_on import take_up_parts
from mcubench.cli.options.names import configured, find_option, find_options
from mcubench.cli.options.trust import guards
from mcubench.errors import UserError
from mcubench.results.run_folder import config_of, resolve_checkpoint, shown

__all__ = ["DEFAULT_ROOT", "does_not_fit", "root_of", "with_run_options", "without_training"]

DEFAULT_ROOT = "runs"

_RUN_BY_A_TRAINER = ("validate", "test", "predict")

_TRAINED_WITH = ("trainer", "checkpoint", "budget", "distill", "threads", "ckpt_path")

# And of a run's callbacks this one, which is part of what forward computes.
_ROUNDS = "mcubench.callbacks.QuantizationAwareTraining"


def does_not_fit(checkpoint: Path, error: Exception) -> UserError:
    """The error for a checkpoint whose weights a model has no place for."""
    return UserError(
        f"the checkpoint {checkpoint} does not fit this model: name the model that it was trained with, with the same "
        f"options ({' '.join(str(error).split())[:200]})"
    )


def root_of(args: Sequence[str]) -> Path:
    """The folder that holds all runs, as the options have it."""
    configured_root = (configured(args).get("trainer") or {}).get("default_root_dir")
    return Path(find_option(args, "--trainer.default_root_dir") or configured_root or DEFAULT_ROOT)


def without_training(args: Sequence[str]) -> list[str]:
    """The options, without what configurations among them say about training, as that in a run's folder does."""
    if not find_options(args, "--config", "-c"):
        return list(args)
    kept = {key: value for key, value in configured(args).items() if key not in _TRAINED_WITH}
    rest, skip = [], False
    for arg in args:
        if skip or arg.partition("=")[0] in ("--config", "-c"):
            skip = not skip and "=" not in arg
        else:
            rest.append(arg)
    return ["--config", yaml.safe_dump(kept), *rest]


def with_run_options(verb: str, args: Sequence[str]) -> tuple[list[str], Path | None]:
    """Finds the checkpoint that is asked for, and puts the options of its run before those given.

    Args:
        verb: The verb.
        args: Its options.

    Returns:
        The options, and the checkpoint's path if one is asked for.

    Raises:
        UserError: If there is no such checkpoint, or a verb that measures is given none.
    """
    config = configured(args)
    spec = find_option(args, "--ckpt_path") or config.get("ckpt_path")
    if spec is None or spec == "null":
        if verb not in ("fit", "profile", "parity") and not any(
            arg.endswith("help") or arg in ("-h", "--print_config") for arg in args
        ):
            raise UserError(f"{verb} needs a trained model: --ckpt_path best, last, a run's folder or a file")
        return list(args), None
    checkpoint = resolve_checkpoint(spec, root_of(args))
    args = [*args, f"--ckpt_path={checkpoint}"]
    config_path = config_of(checkpoint)
    if config_path is None:
        return args, checkpoint
    options = read_run_configuration(config_path, shown(config_path))
    if verb != "fit":
        callbacks = (options.get("trainer") or {}).get("callbacks") or []
        rounding = [each for each in callbacks if each["class_path"] == _ROUNDS]
        options = {key: options[key] for key in MEASURED_WITH}
        if rounding and verb in _RUN_BY_A_TRAINER:
            options["trainer"] = {"callbacks": rounding}
    for key in ("model", "data"):  # another class takes nothing over from the one that it replaces
        if find_option(args, f"--{key}") and not _is_named(args, key, options[key] or {}):
            del options[key]
    guards(config_path, options, run=True)
    args = take_up_parts(options, args)
    return ["--config", yaml.safe_dump(options), *args], checkpoint


def _is_named(args: Sequence[str], key: str, section: Mapping[str, Any]) -> bool:
    """Whether the options name the class of a section again, and the module that it wraps, if it wraps one."""
    net = (section.get("init_args") or {}).get("net")
    named = find_option(args, f"--{key}")
    return named == section.get("class_path") and find_option(args, f"--{key}.net") in (None, net)
