"""``export``: a trained model as files that run without mcubench."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.cli.options.c_project import COptions, add_c_options, c_project, in_manifest, sensor_of
from mcubench.cli.options.classical import Classical, classical
from mcubench.cli.options.destination import Format, Target, target_of
from mcubench.cli.options.quantization import (
    QUANTIZATION_OPTIONS,
    Quantized,
    add_quantization_options,
    check_quantization,
    quantized,
)
from mcubench.cli.options.samples import example_for
from mcubench.cli.options.subject import Subject, read_subject
from mcubench.console import say
from mcubench.cost import profile_graph
from mcubench.cost.units import bytes_text
from mcubench.errors import UserError
from mcubench.export.backend import installed, load
from mcubench.export.c_array import CModel, identifier
from mcubench.export.float_onnx import to_float_onnx
from mcubench.export.interpreters import recorded_arena, smallest_arena
from mcubench.export.manifest import (
    Source,
    file_entry,
    float_tensors,
    keeps_state,
    quantization,
    save_manifest,
    state_in_file,
    stored_tensors,
)
from mcubench.export.opsets import LOWEST, OPSET, check_opset
from mcubench.export.qdq import shapes_of, to_onnx
from mcubench.export.sample import describe_sample
from mcubench.export.tflite import operators_of, to_tflite
from mcubench.export.unrolled import planned_arena
from mcubench.files import atomic_path
from mcubench.graph import deploy, trace
from mcubench.host_errors import check_writable
from mcubench.quant.integer import NotInIntegersError
from mcubench.results.file_set import written_together
from mcubench.results.result import RESULT, package_versions, read_result
from mcubench.results.run_folder import config_of, run_of, shown

__all__ = ["run_export"]

_PACKAGES: dict[Format, tuple[str, ...]] = {
    "tflite": ("ai_edge_litert.schema_py_generated", "flatbuffers"),
    "tflm": ("ai_edge_litert.schema_py_generated", "flatbuffers"),
    "c": (),
    "onnx": ("onnx", "onnxscript"),
    "keras": (),
}
_RECORDER = "tflite_micro"
_FLOAT = "the float model: nothing is quantised in it"


def run_export(args: Sequence[str]) -> None:
    """Writes a trained model, and the ``model.json`` that says how to feed it.

    Args:
        args: The words after ``export``.

    Raises:
        UserError: For every mistake in the options, a package that is missing, and a model that a format can't hold.
    """
    subject = read_subject("export", args, _add_options)
    config = subject.config
    formats: list[Format] = list(dict.fromkeys(config.format))
    check_quantization(config)
    assert subject.checkpoint is not None  # `with_run_options` refuses to go on without
    target = target_of(config.output, formats, subject.checkpoint)
    _check_together(config, formats)
    for file in (target.file(".json"), *(file for each in formats for file in target.files(each))):
        check_writable(file)
    if "c" in formats:
        check_writable(target.c_folder / "README.md")
    _check_packages(formats)
    if "onnx" in formats:
        check_opset(OPSET if config.opset is None else config.opset)
    pl.seed_everything(config.seed_everything or 0, verbose=False)
    model, data = subject.instantiate()
    fitted = classical("export", model, config)
    if fitted is not None and (others := [each for each in formats if each != "c"]):
        raise UserError(f"{type(model).__name__} is a classical model, and {others[0]} holds networks: use --format c")
    source = _source(subject, model, data)
    found = None if fitted else _quantized(subject, model, data) if _in_integers(config, formats) else None
    sensor = sensor_of(config.accelerometer, config.gyroscope, source.sample)
    of_c = COptions(config.dialect or "c99", config.layout, config.stream, config.trees, sensor)
    options = FormatOptions(config.opset or OPSET, config.batch, of_c)
    try:
        example = example_for(model, data, subject.shape)
        with written_together(target.folder, target.names) as staging:
            place = replace(target, folder=staging)
            manifest = _Export(place, source, model, example, found or fitted, data, options).write(formats)
    except OSError as error:
        raise UserError(f"{shown(target.folder)} can't be written to: {error.strerror or error}") from error
    _print(manifest, target, formats, Console())


@dataclass(frozen=True)
class FormatOptions:
    """How formats are written.

    Attributes:
        opset: Operator set of ONNX.
        batch: How many samples at a time ONNX takes; ``None``: any number.
        c: How C is written.
    """

    opset: int
    batch: int | None
    c: COptions


def _in_integers(config: Namespace, formats: Sequence[Format]) -> bool:
    """Whether something is quantised."""
    return bool(set(formats) - ({"keras", "onnx"} if config.float else {"keras"}))


def _quantized(subject: Subject, model: nn.Module, data: pl.LightningDataModule | None) -> Quantized:
    try:
        return quantized(subject, model, data)
    except NotInIntegersError as error:
        raise UserError(f"{error}; in float, --format onnx --float writes it") from error


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        nargs="+",
        choices=get_args(Format),
        default=["tflite"],
        help="one or several: tflite tflm c onnx keras",
    )
    parser.add_argument(
        "--output",
        type=str | None,
        metavar="FILE_OR_FOLDER",
        help="where to write; not set, the folder export of the run",
    )
    parser.add_argument("--float", action="store_true", help="with --format onnx: the float model, not quantised")
    parser.add_argument(
        "--opset", type=int | None, metavar="N", help=f"operator set of ONNX, from {LOWEST} on; not set, {OPSET}"
    )
    parser.add_argument(
        "--batch", type=int | None, metavar="N", help="samples that ONNX takes at a time; not set, any number"
    )
    add_c_options(parser)
    add_quantization_options(parser)


def _check_together(config: Namespace, formats: Sequence[Format]) -> None:
    """Refuses options of formats that are not written, and of quantisation where nothing is quantised."""
    asked = " ".join(formats)
    for name in ("float", "opset", "batch"):
        if config[name] and "onnx" not in formats:
            raise UserError(f"--{name} is for --format onnx, asked for is {asked}")
    of_c = {name: config[name] for name in ("dialect", "stream", "trees", "accelerometer", "gyroscope")}
    for name, given in {**of_c, "layout": config.layout != "cmake"}.items():
        if given and "c" not in formats:
            raise UserError(f"--{name} is for --format c, asked for is {asked}")
    if config.float and (others := [each for each in formats if each in ("tflite", "tflm", "c")]):
        raise UserError(
            f"--float writes the float model, {others[0]} holds integers: export it by a command of its own"
        )
    if config.batch is not None and config.batch < 1:
        raise UserError(f"--batch must be at least 1; got {config.batch}")
    given = [name for name in QUANTIZATION_OPTIONS if config[name] is not None]
    if given and not _in_integers(config, formats):
        raise UserError(f"--format {' '.join(formats)} writes the float model: leave out --{given[0]}")


def _check_packages(formats: Sequence[Format]) -> None:
    """Sees before the work that what formats need is installed."""
    for each in formats:
        for package in _PACKAGES[each]:
            load(package)
    if "keras" in formats:
        from mcubench.parity.backend import check_backend

        try:
            check_backend("tensorflow")
        except UserError:
            raise UserError("--format keras needs tensorflow: pip install 'mcubench[keras]'") from None


def _source(subject: Subject, model: nn.Module, data: pl.LightningDataModule | None) -> Source:
    """What is known of the model's origin, from its run's folder."""
    assert subject.checkpoint is not None
    run = run_of(subject.checkpoint)
    row = {} if run is None or not (run / RESULT).exists() else read_result(run)
    shapes = _shapes(example_for(model, data, subject.shape))
    names = getattr(data, "class_names", None)
    return Source(
        model=type(model).__name__,
        run=None if run is None or config_of(subject.checkpoint) is None else run.name,
        checkpoint=subject.checkpoint.name,
        git_commit=row.get("git_commit"),
        data=None if data is None else type(data).__name__,
        sample=describe_sample(data, shapes[0] if len(shapes) == 1 else shapes),
        class_names=None if names is None else tuple(map(str, names)),
    )


def _shapes(example: Any) -> list[tuple[int, ...]]:
    """The shape of one sample of each tensor that a model takes."""
    return [tuple(leaf.shape[1:]) for leaf in pytree.tree_leaves(example) if isinstance(leaf, Tensor)]


class _Export:
    """The files of one command, written one format after the other."""

    def __init__(
        self,
        target: Target,
        source: Source,
        model: nn.Module,
        example: Any,
        found: Quantized | Classical | None,
        data: pl.LightningDataModule | None,
        options: FormatOptions,
    ) -> None:
        self.target, self.source, self.model, self.found = target, source, model, found
        self.example, self.data, self.options = example, data, options
        self.facts = source.as_dict()
        if isinstance(found, Quantized):
            self.facts["quantization"] = quantization(found.ranges, found.widths)
        elif found is not None:
            self.facts["classical"] = {"estimator": found.estimator, "form": found.form}

    def write(self, formats: Sequence[Format]) -> dict[str, Any]:
        """Writes them, and what belongs into the manifest beside them, which is returned."""
        writers: dict[Format, Callable[[], dict[str, Any]]] = {
            "tflite": self.tflite,
            "tflm": self.tflm,
            "c": self.c,
            "onnx": self.onnx,
            "keras": self.keras,
        }
        costs = self.costs() if {"tflite", "tflm"} & set(formats) else {}
        files = {each: writers[each]() for each in formats}
        manifest = {**self.facts, "files": files, **costs, "versions": _versions(formats)}
        save_manifest(manifest, self.target.file(".json"))
        return manifest

    @property
    def quantized(self) -> Quantized:
        assert isinstance(self.found, Quantized)
        return self.found

    def costs(self) -> dict[str, Any]:
        """Operators, RAM and flash; and keeps the ``.tflite`` for the formats that need it."""
        found = self.quantized
        integer = found.integer
        description = f"{self.source.model} on {self.source.data}, by mcubench"
        self.content = to_tflite(integer, description, self.facts)
        self.operators = operators_of(integer)
        self.head = planned_arena(integer).peak
        self.arena, recorded = None, None
        if installed(_RECORDER):
            arena, self.arena = recorded_arena(self.content), smallest_arena(self.content)
            recorded = {"head": arena.head, "tail": arena.tail, "smallest": self.arena, "on": "a 64-bit host"}
        report = profile_graph(found.graph, self.source.model, found.widths)
        return {
            "operators": self.operators,
            "arena": {"planned_head": self.head, "recorded": recorded},
            "flash_estimate": report.flash_bytes,
        }

    def tflite(self) -> dict[str, Any]:
        path = self.target.file(".tflite")
        _write(path, self.content)
        integer = self.quantized.integer
        return file_entry(path, {**stored_tensors(integer), **state_in_file(integer)})

    def tflm(self) -> dict[str, Any]:
        integer = self.quantized.integer
        header, source = self.target.file(".h"), self.target.file(".c")
        text = CModel(
            name=identifier(self.target.stem),
            title=f"{self.source.model} on {self.source.data}, int8, by mcubench from {self.source.checkpoint}",
            model=self.content,
            operators=self.operators,
            arena=self.arena,
            head=self.head,
            inputs=[(each.size, each.grid) for each in integer.inputs],
            outputs=[(each.size, each.grid) for each in integer.outputs],
            class_names=self.source.class_names,
            keeps_state=keeps_state(integer),
        )
        _write(header, text.header().encode())
        _write(source, text.source(header.name).encode())
        return file_entry(source, {"header": header.name, **stored_tensors(integer), **state_in_file(integer)})

    def c(self) -> dict[str, Any]:
        assert self.found is not None
        integer, folder = self.found.integer, self.target.c_folder
        form = self.found.form if isinstance(self.found, Classical) else "int8"
        title = f"{self.source.model} on {self.source.data}, {form}, from {self.source.checkpoint}"
        described = self.source
        project = c_project(
            integer,
            self.data,
            described.sample,
            described.class_names,
            title,
            self.target.stem,
            self.options.c,
        )
        for name, text in project.files.items():
            _write(folder / name, text.encode())
        entry = file_entry(folder / project.source, in_manifest(project, integer))
        return {"folder": folder.name, "dialect": project.dialect, "arena": project.arena, **entry}

    def onnx(self) -> dict[str, Any]:
        path, options = self.target.file(".onnx"), self.options
        if not isinstance(self.found, Quantized):
            written = to_float_onnx(self.model, self.example, self.facts, opset=options.opset, batch=options.batch)
            content = written.content
            tensors: dict[str, Any] = {"note": _FLOAT, **written.described()}
        else:
            graph = self.found.graph
            content = to_onnx(graph, self.found.integer, self.facts, opset=options.opset, batch=options.batch)
            inputs, outputs = ([(options.batch, *each) for each in side] for side in shapes_of(graph))
            tensors = float_tensors(inputs, outputs)
        _write(path, content)
        return file_entry(path, {"opset": options.opset, **tensors})

    def keras(self) -> dict[str, Any]:
        from mcubench.parity import save_model, to_keras

        path, example = self.target.file(".keras"), self.example
        twin = to_keras(self.model, example, backend="tensorflow")
        save_model(twin, path)
        moved = deploy(trace(self.model, example)).input_axes_moved
        inputs, outputs = ([tuple(each.shape) for each in side] for side in (twin.inputs, twin.outputs))
        tensors = float_tensors(inputs, outputs, moved)
        return file_entry(path, {"note": _FLOAT, **tensors})


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _versions(formats: Sequence[Format]) -> dict[str, str]:
    """Versions of what computed and wrote."""
    used = {package.partition(".")[0].replace("_", "-") for each in formats for package in _PACKAGES[each]}
    used |= {"keras", "tensorflow"} if "keras" in formats else set()
    used |= {"tflite-micro"} if {"tflite", "tflm"} & set(formats) and installed(_RECORDER) else set()
    return {**package_versions(), **{name: importlib.metadata.version(name) for name in sorted(used)}}


def _print(manifest: dict[str, Any], target: Target, formats: Sequence[Format], console: Console) -> None:
    for each in formats:
        if each == "c":
            described = manifest["files"]["c"]
            text = f"C for {described['dialect']}, {described['arena']:,} B of arena"
            say(console, f"wrote {shown(target.c_folder)} ({text})", style="none")
        for path in target.files(each):
            size = bytes_text(path.stat().st_size)
            note = ", the float model" if "note" in manifest["files"][each] else ""
            say(console, f"wrote {shown(path)} ({size}{note})", style="none")
    say(console, f"wrote {shown(target.file('.json'))}: how to feed it", style="none")
    if "classical" in manifest:
        described = manifest["classical"]
        say(console, f"{described['estimator']} in {described['form']}, as the run is scored", style="none")
    if "quantization" in manifest:
        described = manifest["quantization"]
        others = "".join(f", {path}: {bits}" for path, bits in described["bits_per_layer"].items())
        say(console, f"weights {described['weight_bits']} bits{others}; ranges {described['ranges']}", style="none")
    if "arena" in manifest:
        planned, recorded = manifest["arena"]["planned_head"], manifest["arena"]["recorded"]
        say(console, f"operators {', '.join(manifest['operators'])}", style="none")
        ram = f"RAM: {planned:,} B of activations planned"
        if recorded is None:
            say(console, f"{ram}; not recorded, as tflite-micro is not installed", style="none")
        else:
            text = (
                f"; TFLite Micro takes {recorded['head']:,} B, and {recorded['tail']:,} B of structures on this host, "
                f"and starts in {recorded['smallest']:,} B"
            )
            say(console, f"{ram}{text}", style="none")
