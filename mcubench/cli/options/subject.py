"""What a verb about one model looks at: the model, by options or from a run, and the data that it is for."""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from mcubench.cli.help import describe
from mcubench.cli.options.carried import without_other_classes
from mcubench.cli.options.names import configured, expand_names, find_option, find_options, with_defaults
from mcubench.cli.options.parsing import HelpFormatter, link_data_to_model, mistake, plain_init_errors
from mcubench.cli.options.resume import does_not_fit, with_run_options, without_training
from mcubench.cli.options.wording import in_our_words
from mcubench.errors import UserError
from mcubench.results.checkpoint_io import load_checkpoint

__all__ = ["Subject", "read_subject"]


@dataclass(frozen=True)
class Subject:
    """The options of a command about one model.

    Attributes:
        config: All options.
        shape: Shape of one sample, if one was given.
        checkpoint: The checkpoint whose weights the model gets, if one was given.
        data_given: Whether data was named, by option, configuration or run, and not only by default.
    """

    config: Namespace
    shape: tuple[int, ...] | None
    checkpoint: Path | None
    data_given: bool
    _parser: ArgumentParser

    @functools.cached_property
    def trained(self) -> dict[str, Any]:
        """What the checkpoint holds; nothing without one.

        Raises:
            UserError: If it can't be read.
        """
        return {} if self.checkpoint is None else load_checkpoint(self.checkpoint)

    def instantiate(self) -> tuple[nn.Module, pl.LightningDataModule | None]:
        """The model, with the checkpoint's weights, and the data module.

        Raises:
            UserError: If one of them can't be made, or the checkpoint does not fit.
        """
        with plain_init_errors():
            built = self._parser.instantiate_classes(self.config)
        if self.checkpoint is not None:
            try:
                built.model.load_state_dict(self.trained["state_dict"])
            except RuntimeError as error:
                raise does_not_fit(self.checkpoint, error) from error
        return built.model, built.get("data")


def read_subject(
    verb: str, args: Sequence[str], add_options: Callable[[ArgumentParser], object] = lambda _: None
) -> Subject:
    """Reads the options of a verb.

    Args:
        verb: The verb.
        args: The words after it.
        add_options: Adds the verb's own options to the parser.

    Raises:
        UserError: For every mistake in the options.
    """
    shape = _shape(find_option(args, "--input_shape"))
    named, checkpoint = with_run_options(
        verb, expand_names(without_other_classes(without_training(args), any_module=True), any_module=True)
    )
    data_given = bool(find_options(named, "--data", "--data.class_path") or configured(named).get("data"))
    complete = with_defaults(named if shape is None else _without_data(named))
    if shape is not None:
        complete = _with_shape(complete, shape)
    parser = _parser(verb)
    add_options(parser)
    link_data_to_model(parser, complete)
    in_our_words(parser, _HELP)
    try:
        config = parser.parse_args(complete)
    except argparse.ArgumentError as error:
        raise mistake(error, parser._option_string_actions, args, checkpoint) from error
    return Subject(config, shape, checkpoint, data_given, parser)


_HELP = {"ckpt_path": "best, last, a run's folder or a file: its model"}


def _shape(given: str | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    try:
        shape = tuple(int(size) for size in given.strip("[]() ").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise UserError(f"--input_shape must be the sizes of one sample, as in 3,32,32; got {given!r}")
    return shape


def _without_data(args: Sequence[str]) -> list[str]:
    """A shape takes the place of the default data; what is named, or stands in a run's configuration, stays."""
    named = find_options(args, "--data", "--data.class_path") or configured(args).get("data")
    return [*args, *([] if named else ["--data=null"])]


def _with_shape(args: Sequence[str], shape: tuple[int, ...]) -> list[str]:
    """A shape is given to a model that asks for one."""
    added = []
    section = configured(args).get("model")
    model = find_option(args, "--model") or (section["class_path"] if isinstance(section, dict) else None)
    module, _, name = (model or "").rpartition(".")
    if module:
        takes = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        if "input_shape" in takes and not find_options(args, "--model.input_shape", "--model.init_args.input_shape"):
            added.append(f"--model.input_shape={list(shape)}")
    return [*args, *added]


def _parser(verb: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m mcubench",
        usage=f"python -m mcubench {verb} [options]",
        description=describe(verb),
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("-c", "--config", action="config", help="options from a YAML file, as every run folder has one")
    parser.add_argument("--seed_everything", type=int | bool, help=argparse.SUPPRESS)  # stands in a run's configuration
    parser.add_argument("--ckpt_path", type=str | None, help="best, last, a run's folder or a file: its model")
    parser.add_subclass_arguments(
        nn.Module, "model", required=True, fail_untyped=False, help="the model: any torch module"
    )
    parser.add_subclass_arguments(
        pl.LightningDataModule,
        "data",
        required=False,
        fail_untyped=False,
        help="the data that says the shape of a sample",
    )
    parser.add_argument("--input_shape", type=str | None, help="shape of one sample, as in 3,32,32; needs no data")
    return parser
