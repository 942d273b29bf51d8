"""``parity FILE``: do two files compute the same, or a file and the model of a run?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mcubench._compat import mend_torchvision
from mcubench.cli.files.options import FileParser, natural, positive
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.parity import RTOL
from mcubench.parity.graphs.compare import INTEGER_RTOL, Side, compare_graphs, samples_for
from mcubench.parity.graphs.table import print_graph_parity
from mcubench.readers import is_model_file, read_model

__all__ = ["run_parity"]

_NOT_EQUAL = 1  # exit code, as of diff and cmp


def run_parity(args: Sequence[str]) -> int:
    """Compares a file with another, or with a run, and prints, and perhaps writes, the comparison.

    Args:
        args: The words after ``parity``, the file's name first.

    Returns:
        The exit code: 0 if both agree within the tolerance, 1 if not.

    Raises:
        UserError: For every mistake in the options, for a file that can't be read, and for models that do not take or
            give the same.
    """
    given = _parser().parse_args(list(args))
    check_targets(vars(given), {"json": None})
    if given.against is None:
        raise UserError("say with what it is to be compared: --against another file, best, last, or a run's folder")
    if given.rtol is not None and not given.rtol > 0:
        raise UserError(f"--rtol must be above 0; got {given.rtol}")
    one, other = _of_file(given.file), _against(given.against)
    rounded = one.integer is not None or other.integer is not None
    rtol = given.rtol or (INTEGER_RTOL if rounded else RTOL)
    report = compare_graphs(one, other, samples_for(one, other, given.samples, given.seed), rtol)
    console = Console()
    print_graph_parity(report, console)
    for target in write_targets(vars(given), {"json": report.save_json}):
        say(console, f"wrote {target}")
    return 0 if report.passed else _NOT_EQUAL


def _of_file(path: Path) -> Side:
    file = read_model(path)
    return Side.of(file.name, file.graph, file.integer)


def _against(word: str) -> Side:
    if is_model_file(word):
        return _of_file(Path(word))
    mend_torchvision()  # of which Lightning, which a run needs, imports some
    from mcubench.cli.options.samples import example_for
    from mcubench.cli.options.subject import read_subject
    from mcubench.graph import trace

    subject = read_subject("parity", [f"--ckpt_path={word}"], lambda _parser: None)
    model, data = subject.instantiate()
    return Side.of(f"{type(model).__name__} of {word}", trace(model, example_for(model, data)))


def _parser() -> FileParser:
    parser = FileParser("parity")
    parser.add_argument("--against", metavar="FILE_OR_RUN", help="another file; or best, last, a run's folder")
    parser.add_argument(
        "--rtol", type=float, help=f"largest relative error; not set, {RTOL:g}, in int8 {INTEGER_RTOL:g}"
    )
    parser.add_argument("--samples", type=positive, default=100, help="how many random samples")
    parser.add_argument("--seed", type=natural, default=0, help="of random samples")
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    return parser
