"""Configurations: files of options, and the ``config.yaml`` of a run; what is wrong with one is said of its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mcubench.bounded_yaml import in_a_line, parse, read_yaml
from mcubench.errors import UserError

__all__ = [
    "MEASURED_WITH",
    "gives",
    "is_text",
    "read_configuration",
    "read_run_configuration",
    "read_section",
]

# What a trained model is measured with; the rest of a run's options concern training.
MEASURED_WITH = ("seed_everything", "model", "data")

# What a run's config.yaml always has; the last of it comes last in the file, so that a truncated one lacks it.
_COMPLETE = (*MEASURED_WITH, "ckpt_path")

_SECTIONS = ("trainer", "checkpoint", "budget", "distill")
_CLASSES = ("model", "data")
_NAMES = ("ckpt_path", "trainer.default_root_dir")
_FILES = (".yaml", ".yml", ".json")


def is_text(given: str) -> bool:
    """Whether a value of ``--config`` is a configuration itself, and not the name of its file."""
    return "\n" in given


def read_configuration(given: str) -> dict[str, Any]:
    """What a value of ``--config`` says.

    Args:
        given: The name of a file; or a configuration itself, with line breaks, as a run's is passed on.

    Raises:
        UserError: If the file is not there, or is no set of options; file and field are named.
    """
    if is_text(given):
        try:
            return _checked(parse(given), "the configuration")
        except yaml.YAMLError as error:
            raise UserError(f"the configuration is not YAML that can be used: {in_a_line(error)}") from None
    if not Path(given).is_file():
        raise UserError(f"--config {given}: there is no such file")
    return _read(Path(given), f"--config {given}")


def read_run_configuration(path: Path, shown: str) -> dict[str, Any]:
    """All options of a run.

    Args:
        path: Its ``config.yaml``.
        shown: The same, as people read it.

    Raises:
        UserError: If it is no set of options, or lacks what every run has.
    """
    options = _read(path, shown)
    if missing := [key for key in _COMPLETE if key not in options]:
        raise UserError(
            f"{shown} is no run's any more: it has no {' and no '.join(missing)}. It was altered or cut off; put it "
            "back, or give the options by --config and the weights as a file outside a run's folder"
        )
    callbacks = (options.get("trainer") or {}).get("callbacks") or []
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    for each in given:
        if not isinstance(each, dict) or not isinstance(each.get("class_path"), str):
            raise UserError(f"{shown}: trainer.callbacks must be a list of classes, each with class_path; got {each!r}")
    return options


def read_section(name: str, given: str) -> Any:
    """What a value of ``--model`` or ``--data`` says: the name of a class, or a section with one.

    Args:
        name: Of the option.
        given: The name of a file with the section; or the section itself, as YAML or JSON; or anything else.

    Raises:
        UserError: If it is no section.
    """
    what, section = f"--{name}", given
    try:
        if given.endswith(_FILES) and Path(given).is_file():
            what = f"--{name} {given}"
            section = read_yaml(Path(given), what)
        elif ":" in given:  # options of the class beside its path
            section = parse(given)
    except yaml.YAMLError as error:
        raise UserError(f"{what} is not YAML that can be used: {in_a_line(error)}") from None
    _check_class(section, what)
    return section


def gives(content: Any, option: str) -> bool:
    """Whether a configuration gives an option, as in ``--model.hidden``, or a part of it."""
    return _has(content, option.removeprefix("--").split("."))


def _has(section: Any, keys: Sequence[str]) -> bool:
    if not keys or not isinstance(section, dict):
        return True  # whatever is wrong with it, it stands here
    inner = section if keys[0] in section else section.get("init_args")
    return isinstance(inner, dict) and keys[0] in inner and _has(inner[keys[0]], keys[1:])


def _read(path: Path, what: str) -> dict[str, Any]:
    return _checked(read_yaml(path, what), what)


def _checked(content: Any, what: str) -> dict[str, Any]:
    """Sees that sections are sections and names are text, which no parser has looked at yet."""
    if content is None:
        raise UserError(f"{what} is empty; it has options, as in seed_everything: 1")
    if not isinstance(content, dict):
        raise UserError(f"{what} is not a YAML file of options, as in seed_everything: 1; got {_short(content)}")
    _check_keys(content, what)
    for name in content.keys() & set(_SECTIONS):
        if not isinstance(content[name], dict):
            raise UserError(f"{what}: {name} must be a set of options, as in {name}:; got {_short(content[name])}")
    for name in content.keys() & set(_CLASSES):
        if name == "model" or content[name] is not None:
            _check_class(content[name], f"{what}: {name}")
    for name in _NAMES:
        section, _, key = name.rpartition(".")
        value = (content.get(section, {}) if section else content).get(key)
        if not isinstance(value, (str, type(None))):
            raise UserError(f"{what}: {name} must be a name or null; got {_short(value)}")
    return content


def _check_keys(section: Mapping[Any, Any], what: str) -> None:
    for key, value in section.items():
        if not isinstance(key, str):
            raise UserError(f"{what}: names of options are text; got {_short(key)}")
        if isinstance(value, dict) and key in _SECTIONS:
            _check_keys(value, f"{what}: {key}")


def _check_class(value: Any, where: str) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, dict):
        raise UserError(f"{where} must have class_path and init_args; got {_short(value)}")
    if not isinstance(value.get("class_path"), str):
        raise UserError(f"{where}.class_path must name a class; got {_short(value.get('class_path'))}")
    if not isinstance(value.get("init_args"), (dict, type(None))):
        raise UserError(f"{where}.init_args must be a set of options; got {_short(value['init_args'])}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
