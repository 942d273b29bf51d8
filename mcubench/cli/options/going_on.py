"""What a fit that goes on may do otherwise than its run did: taken over, or refused by name."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from mcubench.errors import UserError

__all__ = ["check_options", "noted_options", "take_up_parts"]

Config = Mapping[str, Any]

# What has an effect on the rest of the run, and none on what a result says.
_FREE = {
    *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "fast_dev_run", "barebones"),
    *("default_root_dir", "logger", "profiler", "plugins", "model_registry", "enable_autolog_hparams"),
    *("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "num_sanity_val_steps"),
    *("limit_test_batches", "limit_predict_batches", "benchmark", "detect_anomaly", "inference_mode"),
}
# What the best epoch so far was chosen by, and whether it is kept, with the values that leave it as it is.
_CHOICE: dict[str, tuple[Any, ...]] = {
    "limit_val_batches": (0, None, 1.0),
    "overfit_batches": (),
    "enable_checkpointing": (None, True),
}
_FREE_OF_CLASSES = {"data": {"root"}, "model": {"steps_per_execution"}}
_RATES = {"learning_rate", "weight_decay"}  # which a classifier's optimiser takes over
_ROUNDS = "QuantizationAwareTraining"  # which knows what its checkpoint was rounded to


def take_up_parts(options: dict[str, Any], args: Sequence[str]) -> list[str]:
    """Has ``--trainer.callbacks+=X`` mean the X that the run has, with its options, and not a second one.

    Args:
        options: Those of the run; callbacks and loggers that are asked for again are taken out.
        args: The options that were given, in which these stand from now on.
    """
    trainer = options.get("trainer") or {}
    return [_taken_up(trainer, arg) for arg in args]


def _taken_up(trainer: Mapping[str, Any], arg: str) -> str:
    option, _, value = arg.partition("=")
    parts = trainer.get(option.removeprefix("--trainer.").removesuffix("+"))
    if option not in ("--trainer.callbacks+", "--trainer.logger+") or not isinstance(parts, list):
        return arg
    given = yaml.safe_load(value)
    given = given if isinstance(given, dict) else {"class_path": value}
    found = next((each for each in parts if _is_named(each["class_path"], str(given.get("class_path")))), None)
    if found is None:
        return arg
    parts.remove(found)
    init_args = {**(found.get("init_args") or {}), **(given.get("init_args") or {})}
    return f"{option}={json.dumps({**found, 'init_args': init_args})}"


def _is_named(path: str, name: str) -> bool:
    """Whether a class is meant by its name or its path, which may lead through the package that exports it."""
    package, _, last = name.rpartition(".")
    return path.rpartition(".")[2] == last and (not package or path.partition(".")[0] == package.partition(".")[0])


def check_options(before: Config, now: Config, run: str) -> None:
    """Sees before anything is changed that a run can go on as it is asked to.

    Args:
        before: The configuration of the run.
        now: That of the fit that goes on with it.
        run: Its folder, for the message.

    Raises:
        UserError: If an option differs that would have no effect any more, or leave the best epoch so far untrue.
    """
    refused = [f"{option} is {_shown(old)} there and {_shown(new)} here" for option, old, new in _refused(before, now)]
    if refused:
        raise UserError(
            f"the run in {run} can't go on with other options: {'; '.join(refused)}. Leave out what differs, or train "
            "anew without --ckpt_path"
        )


def noted_options(config: Config) -> dict[str, str]:
    """The options that may change when a run goes on, and are told in its result if they do, as text."""
    noted = {f"--trainer.{name}": _shown(value) for name, value in (config.get("trainer") or {}).items()}
    noted = {option: value for option, value in noted.items() if option.removeprefix("--trainer.") not in _FREE}
    noted["--trainer.callbacks"] = ", ".join(map(_part_shown, _parts(config))) or "none"
    init_args = (config.get("model") or {}).get("init_args") or {}
    return noted | {f"--model.{name}": _shown(init_args[name]) for name in sorted(_RATES & init_args.keys())}


def _refused(before: Config, now: Config) -> Iterator[tuple[str, Any, Any]]:
    if before.get("seed_everything") != now.get("seed_everything"):
        yield "--seed_everything", before.get("seed_everything"), now.get("seed_everything")
    for kind, free in _FREE_OF_CLASSES.items():
        yield from _refused_of_class(kind, before.get(kind) or {}, now.get(kind) or {}, free)
    for name in ("monitor", "mode"):
        old, new = ((config.get("checkpoint") or {}).get(name) for config in (before, now))
        if old != new:
            yield f"--checkpoint.{name}", old, new
    yield from _refused_teaching(*((config.get("distill") or {}) for config in (before, now)))
    for name, allowed in _CHOICE.items():
        old, new = ((config.get("trainer") or {}).get(name) for config in (before, now))
        if old != new and new not in allowed:
            yield f"--trainer.{name}", old, new
    yield from _refused_parts(_parts(before), _parts(now))


def _refused_teaching(before: Config, now: Config) -> Iterator[tuple[str, Any, Any]]:
    """Another path may be given to the same teacher, whom the checkpoint knows by its weights."""
    old, new = before.get("run"), now.get("run")
    if bool(old) != bool(new):
        yield "--distill", old, new
    for name in ("weight", "temperature") if old and new else ():
        if before.get(name) != now.get(name):
            yield f"--distill.{name}", before.get(name), now.get(name)


def _refused_of_class(kind: str, before: Config, now: Config, free: set[str]) -> Iterator[tuple[str, Any, Any]]:
    old, new = before.get("class_path"), now.get("class_path")
    if old != new:
        yield f"--{kind}", old, new
        return
    if kind == "model" and old is not None and _follows_rates(old):
        free = free | _RATES
    for group in ("init_args", "dict_kwargs"):
        had, has = before.get(group) or {}, now.get(group) or {}
        names = had.keys() & has.keys() if group == "init_args" else had.keys() | has.keys()
        for name in sorted(names - free):
            if had.get(name) != has.get(name):
                yield f"--{kind}.{name}", had.get(name), has.get(name)


def _follows_rates(path: str) -> bool:
    """Whether a class has the optimisers of ours, whose rates follow its options."""
    from mcubench.models.base import Classifier

    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type) or not issubclass(found, Classifier):
        return False
    return found.configure_optimizers is Classifier.configure_optimizers


def _refused_parts(before: Sequence[Config], now: Sequence[Config]) -> Iterator[tuple[str, Any, Any]]:
    """Callbacks that the run had and the fit has not, or has with other options; others may be added."""
    left = list(now)
    for each in before:
        alike = [other for other in left if other["class_path"] == each["class_path"]]
        found = each if each in alike else next(iter(alike), None)
        name = each["class_path"].rpartition(".")[2]
        if found is None:
            yield "--trainer.callbacks", f"with {name}", "without"
            continue
        left.remove(found)
        if found != each and name != _ROUNDS:
            yield f"--trainer.callbacks {name}", each.get("init_args"), found.get("init_args")


def _parts(config: Config) -> list[Config]:
    callbacks = (config.get("trainer") or {}).get("callbacks") or []
    return callbacks if isinstance(callbacks, list) else [callbacks]


def _part_shown(part: Config) -> str:
    options = ", ".join(f"{name} {_shown(value)}" for name, value in (part.get("init_args") or {}).items())
    return f"{part['class_path'].rpartition('.')[2]}" + (f" ({options})" if options else "")


def _shown(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # an option that may be either is read as one or the other
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value)
