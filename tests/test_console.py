"""What a terminal of 80 columns shows: by the width of the lines, and by words that are whole."""

from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console
from rich.table import Table

from mcubench.cli.help import OVERVIEW, VERBS, describe
from mcubench.console import narrowed, say, say_command
from mcubench.cost import profile
from mcubench.cost.table import print_report
from mcubench.models import CNN, DSCNN
from mcubench.parity.comparing.compare import ParityReport
from mcubench.parity.comparing.report import Difference, LayerParity, OutputParity
from mcubench.parity.comparing.table import print_parity


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("text", [OVERVIEW, *map(describe, VERBS)])
def test_help_fits(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 80


def test_lines_are_wrapped_between_words_on_a_terminal_and_whole_in_a_file() -> None:
    line = "a sentence of many words, of which none may be cut at the edge " * 3
    console, file = terminal(), Console(file=io.StringIO(), width=80)
    say(console, line)
    say(file, line)
    assert max(map(len, shown(console))) <= 80
    assert " ".join(shown(console)).split() == line.split()
    assert len(shown(file)) == 1


def test_a_command_that_is_too_long_is_still_one_command() -> None:
    command = "python -m mcubench fit --config " + "runs/20261130-031542-Conv-Digits/config.yaml --data.split random"
    console = terminal()
    say_command(console, f"{command} --data.k_best 40    # fewer features cost less")
    lines = shown(console)
    assert max(map(len, lines)) <= 80
    joined = "\n".join(line for line in lines if "#" not in line).replace("\\\n", "")  # as a shell does
    assert shlex.split(joined) == [*command.split(), "--data.k_best", "40"]
    assert any("fewer features" in line for line in lines)


def test_columns_are_left_out_in_order_and_only_if_need_be() -> None:
    def table() -> Table:
        made = Table("name", "least", "less", "verdict")
        made.add_row("n" * 20, "1" * 20, "2" * 20, "yes")
        return made

    def headings(width: int) -> list[object]:
        return [column.header for column in narrowed(table(), terminal(width), "least", "less").columns]

    assert headings(80) == ["name", "least", "less", "verdict"]
    assert headings(70) == ["name", "less", "verdict"]
    assert headings(40) == ["name", "verdict"]


@pytest.mark.parametrize("model", [CNN((1, 28, 28), 10), DSCNN((1, 28, 28), 10)])
def test_the_table_of_costs_cuts_nothing(model: CNN | DSCNN) -> None:
    console = terminal()
    print_report(profile(model, model.example_input_array), console)
    assert max(map(len, shown(console))) <= 80
    assert "…" not in "".join(shown(console))


def test_the_table_of_parity_keeps_verdicts_and_whole_words() -> None:
    """A comparison of layers as MobileNets have them, which is wider than 80 columns in full."""
    same = Difference(4.8e-07, 6.7e-08, 1.0)
    kinds = [("DepthwiseConv2D", True), ("BatchNormalization", True), ("MaxPooling2D", False)]
    layers = tuple(
        LayerParity(f"blocks.{i}", "Depthwise 3x3 + relu6", f"blocks.{i}", kind, (112, 112, 64), (64, 64), same, agrees)
        for i, (kind, agrees) in enumerate(kinds)
    )
    outputs = (OutputParity("linear", (10,), same, 1.0, True),)
    report = ParityReport("Net", "tensorflow", {}, 100, 1e-4, layers, outputs, (), (64, 64), (1, 1), ())
    console = terminal()
    print_parity(report, console)
    lines = shown(console)
    assert max(map(len, lines)) <= 80
    assert sum("✓" in line for line in lines) == 3
    assert any("✗ first" in line for line in lines)
    for word in ("DepthwiseConv2D", "BatchNormalization", "MaxPooling2D", "relative"):
        assert any(word in line for line in lines), word
