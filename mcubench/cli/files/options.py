"""Options of verbs about a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcubench.cli.help import describe_file
from mcubench.errors import UserError, did_you_mean
from mcubench.quant.integer.ir import IntegerGraph

__all__ = [
    "FileParser",
    "add_input_options",
    "codes_for",
    "given_array",
    "natural",
    "positive",
    "random_codes",
]

_SAMPLES = 200  # random ones


class FileParser(argparse.ArgumentParser):
    """A parser whose mistakes are the user's to mend."""

    def __init__(self, verb: str) -> None:
        super().__init__(
            prog=f"python -m mcubench {verb}",
            description=describe_file(verb),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("file", metavar="FILE", type=Path, help="the model")

    def error(self, message: str) -> NoReturn:
        """Names the option that is meant, where one is unknown.

        Raises:
            UserError: Always.
        """
        if message.startswith("unrecognized arguments: "):
            word = message.partition(": ")[2].split()[0].partition("=")[0]
            known = [each for each in self._option_string_actions if each.startswith("--")]
            guess = did_you_mean(word, known)
            raise UserError(f"there is no option {word} for a file.{guess} There are {', '.join(sorted(known))}")
        raise UserError(message.replace("argument ", "", 1))


def positive(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {number}")
    return number


def natural(text: str) -> int:
    """A whole number from 0 on."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0; got {number}")
    return number


def add_input_options(parser: FileParser) -> None:
    """The options that say what a model is run on."""
    parser.add_argument(
        "--samples", type=positive, default=None, help="how many; not set, 200 random ones, or all given"
    )
    parser.add_argument("--seed", type=natural, default=0, help="of random samples")
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="FILE.npy",
        help="samples, (N, *shape): float values, or int8 codes; not set, random",
    )


def given_array(path: Path, option: str) -> NDArray[Any]:
    """An array from a file of NumPy's.

    Raises:
        UserError: If it can't be read, or holds objects, which could run code.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"--{option} {path} can't be read as an array of numbers: {error}") from error
    if not isinstance(found, np.ndarray):
        raise UserError(f"--{option} {path} is an archive of arrays: give one array, as numpy.save writes it")
    if found.dtype.kind == "f":
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
        if not np.isfinite(found).all():
            raise UserError(f"--{option} {path} has values that are not finite in single precision")
    native: NDArray[Any] = found.astype(found.dtype.newbyteorder("="))
    return native


def codes_for(graph: IntegerGraph, given: argparse.Namespace) -> tuple[Tensor, ...]:
    """What an integer graph is run on: random codes, or those of a file.

    Raises:
        UserError: If a file does not fit.
    """
    if given.inputs is None:
        return random_codes(graph, given.samples or _SAMPLES, given.seed)
    if len(graph.inputs) != 1:
        raise UserError(f"--inputs is for models with one input; this one has {len(graph.inputs)}")
    array, tensor = given_array(given.inputs, "inputs"), graph.inputs[0]
    stored, moved = tensor.shape[1:], graph.input_axes_moved[0]
    taken = stored if array.dtype == np.int8 or not moved else (tensor.shape[-1], *tensor.shape[-1 - moved : -1])
    if array.dtype != np.int8 and array.dtype.kind != "f":
        raise UserError(f"--inputs {given.inputs} holds {array.dtype}: float values, or int8 codes, are taken")
    if array.ndim < 1 or not len(array) or array.shape[1:] not in (taken, (1, *taken)):
        wanted = ", ".join(map(str, taken))
        raise UserError(f"--inputs {given.inputs} has shape {array.shape}; the model takes (N, {wanted})")
    chosen = torch.from_numpy(array[: given.samples].reshape(-1, *taken))
    return (chosen,) if array.dtype == np.int8 else graph.encode(chosen)


def random_codes(graph: IntegerGraph, samples: int, seed: int) -> tuple[Tensor, ...]:
    """Random codes for each input; of integers that are places, what a table of any size has."""
    generator = np.random.default_rng(seed)
    return tuple(
        torch.from_numpy(generator.integers(-128, 128, (samples, *each.shape[1:])).astype(np.int8))
        if each.width == 1
        else torch.zeros((samples, *each.shape[1:]), dtype=torch.int32)
        for each in graph.inputs
    )
