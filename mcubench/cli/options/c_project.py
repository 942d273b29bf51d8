"""A trained model in C, as ``export`` writes it and ``emulate`` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import lightning.pytorch as pl
import numpy as np
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from mcubench.cli.options.samples import labelled_test_samples
from mcubench.codegen import DIALECTS, Facts, Layout, Project, generate
from mcubench.errors import UserError
from mcubench.export.manifest import int8_tensors, state_in_file
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.streaming import streamed

__all__ = ["add_c_options", "add_dialect_option", "add_stream_option", "c_project", "in_manifest"]

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


def add_c_options(parser: ArgumentParser) -> None:
    """What is to be said of C that is written to a folder."""
    add_dialect_option(parser, "c99")
    parser.add_argument(
        "--layout",
        choices=get_args(Layout),
        default="cmake",
        help="of the folder of C: for CMake, or as a library for Arduino and PlatformIO",
    )
    add_stream_option(parser)


def in_manifest(project: Project, graph: IntegerGraph) -> dict[str, Any]:
    """What ``model.json`` says of a model in C: what it takes and gives, and whether it goes on from a state."""
    if project.state is not None:
        kept = {"kept_between_calls": True, "reset": f"{project.name}_reset", "bytes": project.state}
        return {"header": project.header, **int8_tensors(streamed(graph)), "state": kept}
    state = {"state": {"kept_between_calls": False, "reset": None}} if state_in_file(graph) else {}
    return {"header": project.header, **int8_tensors(graph), **state}


def add_stream_option(parser: ArgumentParser) -> None:
    """The option of models that are fed step by step."""
    parser.add_argument(
        "--stream",
        action="store_true",
        help="C of a recurrent model that is fed step by step: reset() and step(), in place of run()",
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
    stream: bool = False,
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
        stream: Whether it is fed step by step.

    Raises:
        UserError: If there is no such dialect, a kernel has no C, or one can't be fed step by step.
    """
    if dialect not in DIALECTS:
        raise UserError(f"--dialect must be one of {', '.join(DIALECTS)}; got {dialect}")
    vectors = None
    if len(graph.inputs) == len(graph.outputs) == 1:
        vectors = _vectors(graph, data)
    facts = Facts(title=title, sample=sample, class_names=class_names, vectors=vectors, layout=layout)
    try:
        return generate(graph, name, dialect, facts, stream=stream)
    except NotImplementedError as error:
        raise UserError(str(error)) from error


def _vectors(graph: IntegerGraph, data: pl.LightningDataModule | None) -> NDArray[np.int8]:
    if data is None:
        shape = (_VECTORS, *graph.inputs[0].shape[1:])
        return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    samples, _ = labelled_test_samples(data, _VECTORS)
    codes: NDArray[np.int8] = graph.encode(samples)[0].numpy()
    return codes
