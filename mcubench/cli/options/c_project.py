"""A trained model in C, as ``export`` writes it and ``emulate`` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from mcubench.cli.options.samples import labelled_test_samples
from mcubench.codegen import DIALECTS, Facts, Layout, Project, generate
from mcubench.errors import UserError
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["add_dialect_option", "c_project"]

_VECTORS = 3  # samples that the self-test runs


def add_dialect_option(parser: ArgumentParser, otherwise: str) -> None:
    """The option that says which C is written.

    Args:
        parser: Of the verb.
        otherwise: What is written if it is not set, in words.
    """
    parser.add_argument(
        "--dialect",
        type=str | None,
        help=f"what C is written for: {', '.join(DIALECTS)}; not set, {otherwise}",
    )


def c_project(
    graph: IntegerGraph,
    data: pl.LightningDataModule | None,
    sample: Mapping[str, Any],
    class_names: Sequence[str] | None,
    title: str,
    name: str,
    dialect: str,
    layout: Layout = "cmake",
) -> Project:
    """Writes a model in C, with the functions that its data needs, and samples to test it with.

    Args:
        graph: The model in integers.
        data: Its data, whose first test samples are the self-test's; without it, it has random ones.
        sample: How a raw sample becomes an input, as `mcubench.export.sample.describe_sample` says it.
        class_names: In order of the outputs.
        title: What it is, in a line.
        name: What names in C begin with.
        dialect: What it is written for.
        layout: Of the folder.

    Raises:
        UserError: If there is no such dialect, or a kernel has no C.
    """
    if dialect not in DIALECTS:
        raise UserError(f"--dialect must be one of {', '.join(DIALECTS)}; got {dialect}")
    vectors = None
    if len(graph.inputs) == len(graph.outputs) == 1:
        vectors = _vectors(graph, data)
    facts = Facts(title=title, sample=sample, class_names=class_names, vectors=vectors, layout=layout)
    try:
        return generate(graph, name, dialect, facts)
    except NotImplementedError as error:
        raise UserError(str(error)) from error


def _vectors(graph: IntegerGraph, data: pl.LightningDataModule | None) -> NDArray[np.int8]:
    if data is None:
        shape = (_VECTORS, *graph.inputs[0].shape[1:])
        return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    samples, _ = labelled_test_samples(data, _VECTORS)
    codes: NDArray[np.int8] = graph.encode(samples)[0].numpy()
    return codes
