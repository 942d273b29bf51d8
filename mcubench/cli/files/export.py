"""``export FILE``: a ``.tflite`` in C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from mcubench.cli.files.options import FileParser, random_codes
from mcubench.cli.files.quantization import add_calibration_options, quantised
from mcubench.codegen import DIALECTS, Facts, Layout, generate
from mcubench.console import say
from mcubench.cost.units import bytes_text
from mcubench.errors import UserError
from mcubench.export.c_array import CModel, identifier
from mcubench.export.interpreters import smallest_arena
from mcubench.export.manifest import keeps_state
from mcubench.export.unrolled import planned_arena
from mcubench.files import atomic_path
from mcubench.host_errors import check_writable
from mcubench.readers import ModelFile, read_model
from mcubench.results.file_set import written_together

__all__ = ["run_export"]

_VECTORS = 3  # samples that the self-test runs


def run_export(args: Sequence[str]) -> None:
    """Writes a file in C.

    Args:
        args: The words after ``export``, the file's name first.

    Raises:
        UserError: For every mistake in the options, and for a file that has what no C is written for, which is named.
    """
    given = _parser().parse_args(list(args))
    if given.dialect not in DIALECTS:
        raise UserError(f"--dialect must be one of {', '.join(DIALECTS)}; got {given.dialect}")
    folder = Path(given.output) if given.output else given.file.with_name(f"{given.file.stem}_export")
    if folder.is_file():
        raise UserError(f"--output {folder} is a file; give a folder")
    for form in given.format:
        check_writable(folder / form / "README.md")
    found = quantised(read_model(given.file), given.calibration, given.weight_bits)
    stem = identifier(given.file.stem)
    # All are made before any is written.
    made = {folder / form: _WRITERS[form](found, stem, given.dialect, given.layout) for form in given.format}
    console = Console()
    try:
        with written_together(folder, set(_WRITERS)) as staging:
            for place, texts in made.items():
                for name, text in texts.items():
                    with atomic_path(staging / place.name / name) as temporary:
                        temporary.write_bytes(text)
    except OSError as error:
        raise UserError(f"{folder} can't be written to: {error.strerror or error}") from error
    for place, texts in made.items():
        size = bytes_text(sum(map(len, texts.values())))
        say(console, f"wrote {place} ({len(texts)} files, {size})")


def _c(found: ModelFile, stem: str, dialect: str, layout: Layout) -> dict[str, bytes]:
    graph = found.in_integers()
    vectors = random_codes(graph, _VECTORS, 0)[0].numpy() if len(graph.inputs) == len(graph.outputs) == 1 else None
    facts = Facts(title=f"{found.name}, int8", vectors=vectors, layout=layout)
    try:
        project = generate(graph, stem, dialect, facts)
    except (NotImplementedError, UserError) as error:
        raise UserError(f"{found.name}: {error}") from error
    return {name: text.encode() for name, text in project.files.items()}


def _tflm(found: ModelFile, stem: str, _dialect: str, _layout: Layout) -> dict[str, bytes]:
    graph, header = found.in_integers(), f"{stem}.h"
    text = CModel(
        name=stem,
        title=f"{found.name}, int8",
        model=found.content,
        operators=found.operators,
        arena=smallest_arena(found.content),
        head=planned_arena(graph).peak,
        inputs=[(each.size, each.grid) for each in graph.inputs],
        outputs=[(each.size, each.grid) for each in graph.outputs],
        class_names=None,
        keeps_state=keeps_state(graph),
    )
    return {header: text.header().encode(), f"{stem}.c": text.source(header).encode()}


def _tflite(found: ModelFile, stem: str, _dialect: str, _layout: Layout) -> dict[str, bytes]:
    if not found.not_integer:
        raise UserError(f"{found.name} is a .tflite in int8 as it is")
    return {f"{stem}.tflite": found.content}


_WRITERS = {"c": _c, "tflm": _tflm, "tflite": _tflite}


def _parser() -> FileParser:
    parser = FileParser("export")
    parser.add_argument(
        "--format", nargs="+", choices=_WRITERS, default=["c"], metavar="FORMAT", help="one or several: c tflm tflite"
    )
    add_calibration_options(parser)
    parser.add_argument("--output", metavar="FOLDER", help="where to write; not set, a folder beside the file")
    parser.add_argument("--dialect", default="c99", help=f"what C is written for: {', '.join(DIALECTS)}; not set, c99")
    parser.add_argument(
        "--layout", choices=get_args(Layout), default="cmake", help="of the folder of C: for CMake, or for Arduino"
    )
    return parser
