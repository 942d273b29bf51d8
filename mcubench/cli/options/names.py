"""Class names on the command line: short names of ours, full paths of anyone's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from mcubench.cli.options.configurations import is_text, read_configuration, read_section
from mcubench.cli.options.makers import OWN, check_package, check_part, under_one_name, with_makers, wrapper_of
from mcubench.cli.options.trust import guards
from mcubench.errors import UserError, did_you_mean

__all__ = [
    "BASELINES",
    "DATA",
    "FROM_DATA",
    "MODELS",
    "class_path",
    "configured",
    "expand_names",
    "find_option",
    "find_options",
    "is_foreign",
    "named_class",
    "typed_name",
    "with_defaults",
    "wrapped_name",
]

Kind = Literal["model", "data"]

# Written out, so that help and typing errors need no import of torch; a test holds them against the packages.
MODELS = ("MLP", "CNN", "LeNet", "CNN1d", "DSCNN", "ConvNet", "GRU", "LSTM")
BASELINES = (
    "DecisionTree",
    "RandomForest",
    "ExtraTrees",
    "LinearSVM",
    "SVM",
    "LogisticRegression",
    "KNN",
    "GaussianNB",
    "SklearnMLP",
    "NumpyMLP",
    "Sklearn",
)
DATA = ("Digits", "MNIST", "HAPT")

# What a model takes from the data module where it has these arguments and they are not given.
FROM_DATA = ("input_shape", "num_classes")

_PARTS = ("--trainer.callbacks", "--trainer.callbacks+", "--trainer.logger", "--trainer.logger+")

_SHORT = {
    "model": {name: f"mcubench.models.{name}" for name in MODELS}
    | {name: f"mcubench.baselines.{name}" for name in BASELINES},
    "data": {name: f"mcubench.datamodules.{name}" for name in DATA},
}


def find_options(args: Sequence[str], *names: str) -> list[str]:
    """All values given for an option, as ``--name value`` or ``--name=value``, in order."""
    values = []
    for index, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option in names and equals:
            values.append(value)
        elif option in names and index + 1 < len(args):
            values.append(args[index + 1])
    return values


def find_option(args: Sequence[str], name: str) -> str | None:
    """The last value given for an option, the one that counts; ``None`` if it is not given."""
    return next(reversed(find_options(args, name)), None)


def expand_names(args: Sequence[str], any_module: bool = False) -> list[str]:
    """Replaces the values of ``--model`` and ``--data``, and of their ``.help``, by full class paths that exist.

    Values that name a YAML or JSON file are left alone, and ``null``, which stands for no data module.

    Args:
        args: The options.
        any_module: Whether a model may be any torch module, as it may where nothing is trained.

    Raises:
        UserError: If there is no such class, or it is not one that can be used there.
    """
    expanded: list[str] = []
    named: dict[str, str] = {}
    wrapper = _configured_class(args)
    words = iter(args)
    for arg in words:
        option, equals, value = arg.partition("=")
        kind = _kind(option)
        if option in _PARTS:
            part = under_one_name(value if equals else next(words, ""))
            check_part(option, part)
            expanded.append(f"{option}={part}")
            continue
        given = value if equals else next(words, None) if kind else None
        if kind is None or given is None or given.startswith("-"):  # help without a class, perhaps
            expanded += [arg] if equals or given is None else [arg, given]
            continue
        path = class_path(kind, given, any_module)
        made = wrapper_of(path, any_module) if kind == "model" and is_foreign(path) else None
        expanded.append(f"{option}={made or path}")
        if option != f"--{kind}.help":
            named[kind] = made or path
            wrapper = made if kind == "model" else wrapper
            expanded += [f"--model.net={path}"] if made else []
    for each, path in named.items():  # help without a class is about the one that is named
        expanded = [f"{arg}={path}" if arg == f"--{each}.help" else arg for arg in expanded]
    return with_makers(expanded, wrapper)


def _configured_class(args: Sequence[str]) -> str | None:
    """The path of the model that configurations among the options name."""
    section = configured(args).get("model") if find_options(args, "--config", "-c") else None
    path = section.get("class_path") if isinstance(section, dict) else None
    return path if isinstance(path, str) else None


def is_foreign(path: str) -> bool:
    """Whether a value names somebody's class: it is no file, no YAML, and none of ours."""
    return "." in path and all(part.isidentifier() for part in path.split(".")) and not path.startswith("mcubench.")


def _kind(option: str) -> Kind | None:
    if option in ("--model", "--model.class_path", "--model.help"):
        return "model"
    return "data" if option in ("--data", "--data.class_path", "--data.help") else None


def class_path(kind: Kind, name: str, any_module: bool = False) -> str:
    """The full path of a class.

    Args:
        kind: What it will be used as.
        name: A short name, or ``module.Class`` of anyone's, importable from the working folder.
        any_module: Whether a model may be any torch module.

    Raises:
        UserError: As `expand_names` does.
    """
    short = _SHORT[kind]
    if name in short:
        return short[name]
    if name == "null" or name.endswith((".yaml", ".yml", ".json")) or name.startswith("{"):
        return name
    module_name, _, class_name = name.rpartition(".")
    if not all(part.isidentifier() for part in name.split(".")) or not module_name:
        raise UserError(
            f"--{kind} {name}: there is no such class.{did_you_mean(name, short)} There are {', '.join(short)}; a "
            "class of your own is given with its module, as in my_file.MyClass."
        )
    _check(kind, name, module_name, class_name, any_module)
    found = getattr(sys.modules[module_name], class_name)
    if kind == "model" and isinstance(found, type):
        from mcubench.cli.options.factories import read_as_factories

        read_as_factories(found)
    return name


def typed_name(path: str) -> str:
    """What is typed for a class: its short name if it has one, else its path."""
    names = {full: short for known in _SHORT.values() for short, full in known.items()}
    return names.get(path, path)


def _check(kind: Kind, name: str, module_name: str, class_name: str, any_module: bool) -> None:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise UserError(f"--{kind} {name}: {module_name} imports {error.name!r}, which is not installed") from error
        raise UserError(
            f"--{kind} {name}: there is no module {error.name!r} here or among the installed packages"
        ) from None
    import lightning.pytorch as pl
    from torch import nn

    model = nn.Module if any_module else pl.LightningModule
    base: type = model if kind == "model" else pl.LightningDataModule
    classes = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)]
    if not hasattr(module, class_name):
        raise UserError(
            f"--{kind} {name}: module {module_name} has no {class_name!r}.{did_you_mean(class_name, classes)} It has "
            f"{', '.join(classes) or f'no {base.__name__} at all'}."
        )
    found = getattr(module, class_name)
    check_package(f"--{kind} {name}: {class_name}", found)
    if kind == "model":
        wrapper_of(name, any_module)
    elif class_name not in classes:
        raise UserError(f"--{kind} {name}: {class_name} is not a {base.__name__}")


def configured(args: Sequence[str]) -> dict[str, Any]:
    """What the configurations among the options say, by top-level key; later ones win.

    Raises:
        UserError: As `read_configuration` does.
    """
    merged: dict[str, Any] = {}
    for config in find_options(args, "--config", "-c"):
        content = read_configuration(config)
        if not is_text(config):
            guards(Path(config), content)
        merged.update(content)
    return merged


def with_defaults(args: Sequence[str]) -> list[str]:
    """Adds the default model and data where neither the options nor a configuration name them.

    They are added as options, not as the parser's defaults: a default would pass its own arguments on to the class that
    replaces it. A model that brings its own data gets no default data. Likewise a number of steps that is asked for
    replaces the default number of epochs.

    Args:
        args: Options with classes by full path.
    """
    config = configured(args)
    trainer = config.get("trainer") or {}
    added = []
    if "model" not in config and not find_options(args, "--model", "--model.class_path"):
        added.append(f"--model={_SHORT['model']['MLP']}")
    if "data" not in config and not find_options(args, "--data", "--data.class_path"):
        own = _brings_data(named_class("model", args))
        added.append("--data=null" if own else f"--data={_SHORT['data']['Digits']}")
    steps = find_option(args, "--trainer.max_steps") or trainer.get("max_steps", -1) != -1
    if steps and "max_epochs" not in trainer and not find_option(args, "--trainer.max_epochs"):
        added.append("--trainer.max_epochs=-1")
    return [*added, *args]


def named_class(kind: Kind, args: Sequence[str]) -> str | None:
    """The full path of the class that the options name, else the configurations among them; ``None`` if none does.

    Raises:
        UserError: As `expand_names` and `configured` do.
    """
    given = find_options(args, f"--{kind}", f"--{kind}.class_path")
    section: Any = given[-1] if given else configured(args).get(kind)
    if isinstance(section, str):
        section = read_section(kind, section)
    name = section.get("class_path") if isinstance(section, dict) else section
    return class_path(kind, name, any_module=True) if isinstance(name, str) else None


def wrapped_name(args: Sequence[str]) -> str | None:
    """The path of a plain module that one of our classes wraps, if the options or a configuration name one."""
    section = configured(args).get("model")
    options = section.get("init_args") if isinstance(section, dict) else None
    found = find_option(args, "--model.net") or (options or {}).get("net")
    return found if isinstance(found, str) and named_class("model", args) in OWN else None


def _brings_data(model: str | None) -> bool:
    import lightning.pytorch as pl

    module, _, name = (model or "").rpartition(".")
    own = getattr(sys.modules.get(module), name, object)
    return (
        isinstance(own, type)
        and issubclass(own, pl.LightningModule)
        and own.train_dataloader is not pl.LightningModule.train_dataloader
    )
