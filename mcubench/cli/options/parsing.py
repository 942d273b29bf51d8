"""What the parsers of all verbs share."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from mcubench.cli.options.makers import FUNCTIONS
from mcubench.cli.options.names import FROM_DATA, named_class
from mcubench.errors import UserError

__all__ = ["HelpFormatter", "class_options", "link_data_to_model", "plain_init_errors"]


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


@contextlib.contextmanager
def plain_init_errors() -> Iterator[None]:
    """Raises what a class's ``__init__`` raised, which jsonargparse buries in a report of its own."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise (error.__cause__ or error) from None
