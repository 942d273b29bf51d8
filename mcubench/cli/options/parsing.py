"""What the parsers of all verbs share."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, get_loader, set_loader, set_parsing_settings

from mcubench.bounded_yaml import parse, read_yaml
from mcubench.cli.options.configurations import gives, is_text
from mcubench.cli.options.makers import FUNCTIONS
from mcubench.cli.options.names import FROM_DATA, find_options, named_class
from mcubench.cli.options.parse_errors import explain
from mcubench.errors import UserError
from mcubench.results.run_folder import config_of, shown

__all__ = ["HelpFormatter", "class_options", "link_data_to_model", "mistake", "plain_init_errors"]

_load = get_loader("yaml")


def _load_within_bounds(text: str) -> Any:
    parse(text)
    return _load(text)


# For values and for the files that an option may name, which the parser reads itself: within our bounds, and without
# functions of Python's that start programs or read files.
set_loader("yaml", _load_within_bounds, exceptions=(yaml.YAMLError,))
set_parsing_settings(import_path_allowlist=[])


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help, with the description's lines as they were written and without hundreds of class names."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = super()._get_help_string(action)
        return re.sub(r", known subclasses: [^)]*", "", text)


def link_data_to_model(parser: ArgumentParser, args: Sequence[str]) -> None:
    """Has the model take from the data what it is not given among the options, and make its own optimiser."""
    named = named_class("model", args)  # which reads its annotations, wherever the class is named
    if named in FUNCTIONS:  # the parser has no links to what functions are given
        return
    for name in FROM_DATA:
        if not any(arg.startswith((f"--model.{name}", f"--model.init_args.{name}")) for arg in args):
            parser.link_arguments("data", f"model.init_args.{name}", compute_fn=_reader(name), apply_on="instantiate")


def _reader(name: str) -> Callable[[object], Any]:
    """What a model takes from the data module; `Classifier` explains what to do where there is none."""

    def read(data: object) -> Any:
        return getattr(data, name, None)

    read.__name__ = read.__qualname__ = f"{name}_of"  # as the help text has it
    return read


def class_options(path: str) -> Iterable[str]:
    """The options of a class, inherited ones included."""
    parser = ArgumentParser()
    parser.add_class_arguments(_class_at(path), fail_untyped=False)
    return [key for key in parser.get_defaults().as_dict() if key not in FROM_DATA]


def _class_at(path: str) -> type:
    module, _, name = path.rpartition(".")
    kind: type = getattr(importlib.import_module(module), name)
    return kind


def mistake(
    error: argparse.ArgumentError, options: Iterable[str], words: Sequence[str], checkpoint: Path | None
) -> UserError:
    """The error for options that do not parse, with the file that gives the wrong one.

    Args:
        error: What the parser said.
        options: Those of the verb, as in ``--trainer.max_epochs``.
        words: What was typed after the verb.
        checkpoint: The checkpoint whose run's options stand in, if there is one.
    """
    line = explain(str(error), options, class_options)
    option = line.partition(" ")[0].rstrip(":")
    if not option.startswith("--") or any(word.startswith(option) for word in words):
        return UserError(line)
    run = None if checkpoint is None else config_of(checkpoint)
    named = [Path(each) for each in find_options(words, "--config", "-c") if not is_text(each)]
    for file in reversed([*([run] if run else []), *named]):
        if gives(read_yaml(file, shown(file)), option):
            return UserError(f"{shown(file)}: {line}")
    return UserError(line)


@contextlib.contextmanager
def plain_init_errors() -> Iterator[None]:
    """Raises what a class's ``__init__`` raised, which jsonargparse buries in a report of its own."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise (error.__cause__ or error) from None
