"""``emulate FILE``: the C of a ``.tflite``, compiled and run on an emulated core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import track

from mcubench.cli.files.options import FileParser, add_input_options, codes_for
from mcubench.cli.files.quantization import add_calibration_options, quantised
from mcubench.cli.options.core import core_of
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.codegen import DIALECTS, generate
from mcubench.console import say
from mcubench.cost import profile_graph
from mcubench.errors import UserError
from mcubench.export.unrolled import planned_arena
from mcubench.quant.integer.run import predict
from mcubench.readers import read_model
from mcubench.target import CORES, CompileError, EmulationError
from mcubench.target.measure import measure
from mcubench.target.packages import PACKAGES, load
from mcubench.target.report import DeviceReport, macs_by_layer
from mcubench.target.table import print_device

__all__ = ["run_emulate"]

_DIFFERENT = 1  # exit code


def run_emulate(args: Sequence[str]) -> int:
    """Compiles a file's C for a core, runs it there, and prints what it takes.

    Args:
        args: The words after ``emulate``, the file's name first.

    Returns:
        0, or 1 if a byte differs from the integer graph's.

    Raises:
        UserError: For every mistake in the options, a package that is missing, and a file without C.
    """
    given = _parser().parse_args(list(args))
    check_targets(vars(given), {"json": None})
    device, core = core_of(given.device, given.core)
    for package in PACKAGES:
        load(package)  # now, not after the work
    file = quantised(read_model(given.file), given.calibration, given.weight_bits)
    graph = file.in_integers()
    if (len(graph.inputs), len(graph.outputs)) != (1, 1):
        raise UserError(f"emulate takes models with one input and one output; {file.name} has others")
    codes = codes_for(graph, given)[0]
    (expected,) = predict(graph, codes)
    console = Console()

    def progress(steps: Iterable[int]) -> Iterable[int]:
        return track(list(steps), description=f"on {core.name}", console=console, transient=True)

    try:
        project = generate(graph, "model", given.dialect or core.dialect)
        on_core = measure(project, core, codes.numpy(), expected.numpy(), progress)
    except (NotImplementedError, CompileError, EmulationError) as error:
        raise UserError(f"{file.name}: {error}") from error
    costs = profile_graph(file.graph, file.name, file.widths)
    report = DeviceReport(
        model=file.name,
        data=None if given.inputs is None else str(given.inputs),
        found=on_core,
        accuracy=None,
        device=device,
        macs=macs_by_layer(
            on_core.layers,
            ((type(node.kernel).__name__, node.path) for node in graph.nodes),
            {layer.path: layer.macs for layer in costs.layers if layer.macs},
        ),
        input_bytes=graph.inputs[0].size,
        output_bytes=graph.outputs[0].size,
        flash_estimate=costs.flash_bytes,
        ram_planned=planned_arena(graph).peak,
        limits={},
    )
    print_device(report, console)
    for target in write_targets(vars(given), {"json": report.save_json}):
        say(console, f"wrote {target}")
    return _DIFFERENT if on_core.different else 0


def _parser() -> FileParser:
    parser = FileParser("emulate")
    parser.add_argument("--device", help="the microcontroller, as in stm32f446; profile lists them")
    parser.add_argument("--core", help=f"or its core alone: {', '.join(CORES)}; not set, cortex-m4")
    parser.add_argument("--dialect", choices=DIALECTS, help="what C is written for; not set, the core's")
    add_input_options(parser)
    add_calibration_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    return parser
