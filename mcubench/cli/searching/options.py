"""The words after ``search``: its own options, and those of ``fit`` that all its models share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcubench.cli.options.verb_parser import VerbParser
from mcubench.errors import UserError, did_you_mean
from mcubench.quant.grid import WEIGHT_BITS
from mcubench.search.budget import Budget
from mcubench.search.study import OBJECTIVES, PRUNERS, SAMPLERS

__all__ = ["SearchOptions", "read_options"]

_LIMITS = ("flash", "ram", "macs", "latency", "device")
_NOT_FOR_FIT = {
    "--seeds": "models of the front are trained with several seeds: --confirm_seeds says with how many",
    "--ckpt_path": "a study goes on by the same command",
    "--config": "give its options as options",
    "-c": "give its options as options",
    "--trainer.default_root_dir": "--root says where studies lie",
    "--print_config": "each trial's folder has a config.yaml",
}
_FIT = ("--data", "--trainer", "--threads", "--checkpoint", "--model", "--distill")
_WIDTHS = tuple(sorted(WEIGHT_BITS, reverse=True))


@dataclass(frozen=True)
class SearchOptions:
    """What is asked for.

    Attributes:
        models: Classes, as typed.
        data: The data module's class, as typed, if it was.
        others: Other words of ``fit``, the same for all models.
        space: A file with dimensions, if one was given.
        bits: Widths of weights that networks are trained with.
        budget: What a model may cost.
        objectives: What is searched for.
        trials: How many models to train.
        sampler: How options are chosen.
        pruner: Which trainings are given up early.
        folds: Folds of cross-validation that a model is scored by, if it is.
        seed: Of the search, and of its trainings.
        confirm_seeds: With how many other seeds the models of the front are trained again.
        storage: A data base for the trials.
        study: The study's folder, if it was given.
        root: Where studies lie.
    """

    models: tuple[str, ...]
    data: str | None
    others: tuple[str, ...]
    space: Path | None
    bits: tuple[int, ...]
    budget: Budget
    objectives: tuple[str, ...]
    trials: int
    sampler: str
    pruner: str
    folds: int | None
    seed: int
    confirm_seeds: int
    storage: str | None
    study: Path | None
    root: Path

    @property
    def unseeded_words(self) -> tuple[str, ...]:
        """What follows ``fit`` for all models, without the seed."""
        return (*(() if self.data is None else ("--data", self.data)), *self.others)

    @property
    def words(self) -> tuple[str, ...]:
        """The same with the seed of the search."""
        return (*self.unseeded_words, f"--seed_everything={self.seed}")


def read_options(args: Sequence[str]) -> SearchOptions:
    """Reads the words after ``search``.

    Raises:
        UserError: For every mistake that can be seen without the model.
    """
    parser = _parser()
    given, words = parser.parse_known_args(list(args))
    _check_words(words, parser)
    objectives = tuple(given.objectives)
    if len(set(objectives)) < len(objectives) or len(set(given.model)) < len(given.model):
        raise UserError("each objective and each model is given once")
    if len(set(given.weight_bits)) < len(given.weight_bits):
        raise UserError(f"--weight_bits has a width twice: {' '.join(map(str, given.weight_bits))}")
    plain = objectives == ("accuracy",) and given.folds is None
    if given.pruner not in (None, "none") and not plain:
        raise UserError(
            f"--pruner {given.pruner} gives trainings up by their accuracy: it is for one objective, without --folds"
        )
    return SearchOptions(
        models=tuple(given.model),
        data=given.data or None,
        others=tuple(words),
        space=given.space,
        bits=tuple(given.weight_bits),
        budget=Budget.of(*(getattr(given, f"budget.{name}") for name in _LIMITS)),
        objectives=objectives,
        trials=given.trials,
        sampler=given.sampler,
        pruner=given.pruner or ("halving" if plain else "none"),
        folds=given.folds,
        seed=given.seed_everything,
        confirm_seeds=given.confirm_seeds,
        storage=given.storage,
        study=given.study,
        root=given.root,
    )


def _from(least: int) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 9 or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more; got {text!r}")
        return int(text)

    return number


def _parser() -> VerbParser:
    parser = VerbParser("search", "python -m mcubench search --model MODEL --data DATA --budget.flash 4KiB [options]")
    add = parser.add_argument
    add("--model", nargs="+", required=True, metavar="MODEL", help="one or several, classical ones too")
    add("--data", metavar="DATA", help="as fit takes it; its options too, as --data.inputs features")
    add("--trials", type=_from(1), default=30, metavar="N", help="models to train in all; by default 30")
    for name, text in (
        ("flash", "at most, as in 4KiB"),
        ("ram", "at most, as in 8KiB"),
        ("macs", "at most, as in 250k"),
        ("latency", "milliseconds on the device at most, by published cycles per MAC"),
        ("device", "flash and RAM of a part, as stm32g0b1"),
    ):
        add(f"--budget.{name}", metavar=name.upper(), help=text)
    add(
        "--objectives",
        nargs="+",
        default=["accuracy"],
        choices=list(OBJECTIVES),
        help="one or several; by default accuracy",
    )
    add(
        "--weight_bits",
        nargs="+",
        type=int,
        default=list(_WIDTHS),
        choices=_WIDTHS,
        help="widths of a network's weights to choose from, trained with rounding; by default 8 4 2",
    )
    add("--space", type=Path, metavar="FILE.yaml", help="what to vary, beside or instead of what the model says")
    add("--sampler", default="tpe", choices=SAMPLERS, help="how options are chosen; by default tpe")
    add("--pruner", choices=PRUNERS, help="which trainings are given up early; by default halving, with one objective")
    add("--folds", type=_from(2), metavar="K", help="score by cross-validation, where the set is small")
    add(
        "--confirm_seeds",
        type=_from(0),
        default=5,
        metavar="K",
        help="other seeds to train the front's models with, and to score the test set with; by default 5; 0 for none",
    )
    add(
        "--seed_everything",
        type=_from(0),
        default=0,
        metavar="SEED",
        help="of the search and its trainings; by default 0",
    )
    add(
        "--storage",
        metavar="URL",
        help="a data base for the trials, as postgresql://..., or grpc://host:port; not given, a journal in its folder",
    )
    add(
        "--study", type=Path, metavar="FOLDER", help="the study's folder; not given, one for these options under --root"
    )
    add("--root", type=Path, default=Path("runs"), metavar="FOLDER", help="where studies lie; by default runs")
    return parser


def _check_words(words: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Sees that what is left can be options of ``fit``."""
    for word in words:
        option = word.partition("=")[0]
        if option in _NOT_FOR_FIT:
            raise UserError(f"{option} is not for search: {_NOT_FOR_FIT[option]}")
        if option.startswith("-") and not option.startswith(_FIT) and not option[1:2].isdigit():
            known = [name for name in parser._option_string_actions if name.startswith("--")]
            raise UserError(
                f"search has no option {option}.{did_you_mean(option, known)} Its own are listed by --help; those of "
                "fit that begin with --model., --data. and --trainer. are taken, too"
            )
