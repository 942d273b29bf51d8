"""``emulate``: a trained model in C, compiled and run on an emulated core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mcubench.cli.options.c_project import (
    COptions,
    add_dialect_option,
    add_stream_option,
    add_trees_option,
    c_project,
)
from mcubench.cli.options.classical import Classical, classical
from mcubench.cli.options.core import core_of
from mcubench.cli.options.measured_budget import add_budget_options, measured_limits
from mcubench.cli.options.quantization import (
    Quantized,
    add_quantization_options,
    check_one_input,
    check_quantization,
    quantized,
)
from mcubench.cli.options.samples import labelled_test_samples
from mcubench.cli.options.subject import read_subject
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.cost import profile_graph
from mcubench.cost.macs import count_macs
from mcubench.errors import UserError
from mcubench.export.sample import describe_sample
from mcubench.export.unrolled import planned_arena
from mcubench.host_errors import check_writable
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import predict
from mcubench.quant.integer.streaming import streamed
from mcubench.results.result import RESULT, add_measured, result_of
from mcubench.results.run_folder import shown
from mcubench.target import CORES, CompileError, EmulationError
from mcubench.target.measure import OnCore, measure
from mcubench.target.packages import PACKAGES, load
from mcubench.target.report import DeviceReport, macs_by_layer, macs_in_order
from mcubench.target.table import print_device

__all__ = ["run_emulate"]

_SAMPLES = 1000
_FAILED = 1  # exit code


def run_emulate(args: Sequence[str]) -> int:
    """Compiles a trained model for a core, runs it there on test samples, and prints what it takes.

    Args:
        args: The words after ``emulate``.

    Returns:
        0, or 1 if a byte differs from the integer graph's or what was measured is over budget.

    Raises:
        UserError: For every mistake in the options, a package that is missing, and a model that has no integer form.
    """
    subject = read_subject("emulate", args, _add_options)
    config = subject.config
    check_targets(config, {"json": None})
    if subject.checkpoint is not None and result_of(subject.checkpoint) is not None:
        check_writable(subject.checkpoint.parents[1] / RESULT)  # it is to hold what is measured
    check_quantization(config)
    device, core = core_of(config.device, config.core)
    count = _count(config.samples)
    limits = measured_limits(config, subject.checkpoint)
    for package in PACKAGES:
        load(package)  # now, not after the work
    pl.seed_everything(config.seed_everything or 0, verbose=False)
    model, data = subject.instantiate()
    fitted = classical("emulate", model, config)
    if data is None:
        raise UserError("emulate runs test samples: name the data with --data")
    found = fitted or quantized(subject, model, data)
    check_one_input("emulate", found.integer)
    samples, classes = labelled_test_samples(data, count)
    name, source = type(model).__name__, type(data).__name__
    project = c_project(
        found.integer,
        data,
        describe_sample(data, samples.shape[1:]),
        [str(each) for each in getattr(data, "class_names", ())] or None,
        f"{name} on {source}",
        "model",
        COptions(config.dialect or core.dialect, stream=config.stream, trees=config.trees),
    )
    codes = found.integer.encode(samples)[0]
    (expected,) = predict(found.integer, codes)
    console = Console()

    def progress(steps: Iterable[int]) -> Iterable[int]:
        return track(list(steps), description=f"on {core.name}", console=console, transient=True)

    try:
        on_core = measure(project, core, codes.numpy(), expected.numpy(), progress)
    except (CompileError, EmulationError) as error:
        raise UserError(str(error)) from error
    report = DeviceReport(
        model=name,
        data=source,
        found=on_core,
        accuracy=_accuracy(found.integer, on_core.outputs, classes),
        device=device,
        input_bytes=project.input_size * codes.element_size(),
        output_bytes=found.integer.outputs[0].bytes,
        **_estimates(name, found, on_core),
        limits=limits,
    )
    print_device(report, console)
    if subject.checkpoint is not None and (result := add_measured(subject.checkpoint, report.as_dict())) is not None:
        say(console, f"added to {shown(result)}")
    for target in write_targets(config, {"json": report.save_json}):
        say(console, f"wrote {shown(target)}")
    return _FAILED if on_core.different or report.over_budget else 0


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str | None, help="the microcontroller, as in stm32f446; profile lists them")
    parser.add_argument("--core", type=str | None, help=f"or its core alone: {', '.join(CORES)}; not set, cortex-m4")
    parser.add_argument(
        "--samples", type=str | None, metavar="N", help=f"how many test samples to run, or all; not set, {_SAMPLES:,}"
    )
    add_dialect_option(parser, "the core's")
    add_stream_option(parser)
    add_trees_option(parser)
    add_budget_options(parser)
    add_quantization_options(parser)
    parser.add_argument("--json", type=str | None, metavar="FILE", help="write all figures to this file")


def _count(given: str | None) -> int | None:
    if given is None:
        return _SAMPLES
    if given == "all":
        return None
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise UserError(f"--samples must be a number from 1 on, or all; got {given}")
    return int(given)


def _accuracy(graph: IntegerGraph, outputs: NDArray[Any], classes: Tensor) -> float:
    return float((graph.classes(torch.from_numpy(outputs)) == classes).float().mean())


def _estimates(name: str, found: Quantized | Classical, on_core: OnCore) -> dict[str, Any]:
    """What was known of a model before it ran: its multiply-accumulates by layer, and bytes of memories."""
    if isinstance(found, Classical):
        return {
            "macs": macs_in_order(on_core.layers, found.macs),
            "flash_estimate": found.flash_estimate,
            "ram_planned": found.ram_estimate,
            "ram_origin": "estimated by formula",
        }
    return {
        "macs": _macs(found, on_core),
        "flash_estimate": profile_graph(found.graph, name, found.widths).flash_bytes,
        "ram_planned": planned_arena(found.integer).peak,
    }


def _macs(found: Quantized, on_core: OnCore) -> tuple[int, ...]:
    """Multiply-accumulates of each layer, which has the name of its node of the float graph."""
    counts = {node.name: count_macs(replace(found.graph, nodes=(node,))).counted for node in found.graph.nodes}
    if on_core.state_bytes is not None:  # of one step
        for whole, step in zip(found.integer.nodes, streamed(found.integer).nodes, strict=True):
            if any(whole.kernel.filters()) and whole.output.size > step.output.size:
                counts[whole.name] = counts.get(whole.name, 0) * step.output.size // whole.output.size
    kernels = ((type(node.kernel).__name__, node.name) for node in found.integer.nodes)
    return macs_by_layer(on_core.layers, kernels, counts)
