"""A trained model in C, as ``export`` writes it and ``emulate`` runs it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import lightning.pytorch as pl
import numpy as np
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from mcubench.cli.options.samples import labelled_test_samples
from mcubench.codegen import DIALECTS, Facts, Layout, Project, TreeForm, generate
from mcubench.errors import UserError
from mcubench.export.manifest import state_in_file, stored_tensors
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.streaming import streamed

if TYPE_CHECKING:
    from mcubench.codegen.features import FeatureProject

__all__ = [
    "COptions",
    "Sensor",
    "add_c_options",
    "add_dialect_option",
    "add_stream_option",
    "add_trees_option",
    "c_project",
    "in_manifest",
    "sensor_of",
]

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
    parser.add_argument(
        "--accelerometer",
        type=float | None,
        metavar="G",
        help="in front of a model of HAPT's features: full scale of the int16 accelerometer in g; not set, 4",
    )
    parser.add_argument(
        "--gyroscope",
        type=float | None,
        metavar="DEGREES",
        help="and of the gyroscope in degrees a second; not set, 500",
    )
    add_stream_option(parser)
    add_trees_option(parser)


@dataclass(frozen=True)
class Sensor:
    """The full scales of a sensor whose samples are int16.

    Attributes:
        accelerometer: In g.
        gyroscope: In degrees a second.
    """

    accelerometer: float = 4.0
    gyroscope: float = 500.0

    def features(self, sample: Mapping[str, Any], name: str) -> FeatureProject | None:
        """C that computes a model's inputs, if they are features that are known how to compute.

        Args:
            sample: As `mcubench.export.sample.describe_sample` says it.
            name: What names of the model begin with.
        """
        if sample.get("source") != "recomputed":
            return None
        from mcubench.codegen.features import generate_features  # which needs scipy

        made = generate_features(
            sample["features"],
            f"{name}_features",
            accelerometer_unit=self.accelerometer / 2**15,
            gyroscope_unit=math.radians(self.gyroscope) / 2**15,
        )
        assert [column.name for column in made.columns] == list(sample["features"]), (
            "rows have the order of features.txt"
        )
        return made


def sensor_of(accelerometer: float | None, gyroscope: float | None, sample: Mapping[str, Any]) -> Sensor:
    """The sensor that options describe.

    Raises:
        UserError: If they are for features and the model reads none, or are not positive.
    """
    both = {"accelerometer": accelerometer, "gyroscope": gyroscope}
    given = {name: each for name, each in both.items() if each is not None}
    for name, each in given.items():
        if sample.get("source") != "recomputed":
            raise UserError(f"--{name} is for models that read HAPT's features, computed from a sensor's samples")
        if not (math.isfinite(each) and each > 0):
            raise UserError(f"--{name} must be the sensor's full scale, above 0; got {each}")
    return Sensor(**given)


@dataclass(frozen=True)
class COptions:
    """How C is written.

    Attributes:
        dialect: What it is written for.
        layout: Of the folder.
        stream: Whether it is fed step by step.
        trees: How trees are written; ``None``: as suits their size.
        sensor: Whose samples features are computed from; ``None``: these are not written.
    """

    dialect: str = "c99"
    layout: Layout = "cmake"
    stream: bool = False
    trees: TreeForm | None = None
    sensor: Sensor | None = None


def in_manifest(project: Project, graph: IntegerGraph) -> dict[str, Any]:
    """What ``model.json`` says of a model in C: what it takes and gives, and whether it goes on from a state."""
    if project.state is not None:
        kept = {"kept_between_calls": True, "reset": f"{project.name}_reset", "bytes": project.state}
        return {"header": project.header, **stored_tensors(streamed(graph)), "state": kept}
    state = {"state": {"kept_between_calls": False, "reset": None}} if state_in_file(graph) else {}
    return {"header": project.header, **stored_tensors(graph), **state}


def add_stream_option(parser: ArgumentParser) -> None:
    """The option of models that are fed step by step."""
    parser.add_argument(
        "--stream",
        action="store_true",
        help="C of a recurrent model that is fed step by step: reset() and step(), in place of run()",
    )


def add_trees_option(parser: ArgumentParser) -> None:
    """The option of models of trees."""
    parser.add_argument(
        "--trees",
        type=TreeForm | None,
        help="trees as nested tests in code, or as stored splits and a loop, which takes half the flash and thrice the "
        "instructions; not set, nested up to 200 splits",
    )


def c_project(
    graph: IntegerGraph,
    data: pl.LightningDataModule | None,
    sample: Mapping[str, Any],
    class_names: Sequence[str] | None,
    title: str,
    name: str,
    options: COptions,
) -> Project:
    """Writes a model in C, with the functions that its data needs, and samples to test it with.

    Args:
        graph: The model in integers.
        data: Its data, whose first test samples are the self-test's; without it, it has random ones.
        sample: How a raw sample becomes an input, as `mcubench.export.sample.describe_sample` says it.
        class_names: In order of the outputs.
        title: What it is, in a line.
        name: What names in C begin with.
        options: How it is written.

    Raises:
        UserError: If there is no such dialect, a kernel has no C, one can't be fed step by step, or there are no trees
            to be written as asked for.
    """
    if options.dialect not in DIALECTS:
        raise UserError(f"--dialect must be one of {', '.join(DIALECTS)}; got {options.dialect}")
    if options.trees is not None and not _holds_trees(graph):
        raise UserError(f"--trees {options.trees} is for decision trees, forests and boosting: leave it out")
    vectors = None
    if len(graph.inputs) == len(graph.outputs) == 1:
        vectors = _vectors(graph, data)
    features = None if options.sensor is None else options.sensor.features(sample, name)
    facts = Facts(title, sample, class_names, vectors, features, options.layout)
    try:
        return generate(graph, name, options.dialect, facts, stream=options.stream, trees=options.trees)
    except NotImplementedError as error:
        raise UserError(str(error)) from error


def _holds_trees(graph: IntegerGraph) -> bool:
    from mcubench.quant.classical.kernels.trees import TreeKernel  # which needs scikit-learn

    return any(isinstance(node.kernel, TreeKernel) for node in graph.nodes)


def _vectors(graph: IntegerGraph, data: pl.LightningDataModule | None) -> NDArray[np.int8]:
    if data is None:
        shape = (_VECTORS, *graph.inputs[0].shape[1:])
        return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    samples, _ = labelled_test_samples(data, _VECTORS)
    codes: NDArray[np.int8] = graph.encode(samples)[0].numpy()
    return codes
