"""Trainings side by side as a table, for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcubench.console import say, wide
from mcubench.parity.training.curves import Estimate, TrainingParity

__all__ = ["print_training"]

_ROWS = 11  # of the curve; all of it is in the JSON


def print_training(training: TrainingParity, console: Console) -> None:
    """Prints both curves of losses, what Keras' defaults do if that was measured, and the verdict."""
    console = wide(console)
    steps = len(training.torch.losses)
    title = f"{training.model}, {steps} steps of {training.optimizer} at {training.learning_rate:g}"
    table = Table(title=Text(title), title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("step", "PyTorch", f"Keras ({training.backend})", "relative gap"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = sorted({round(index * (steps - 1) / max(_ROWS - 1, 1)) for index in range(_ROWS)})
    for step in shown:
        table.add_row(str(step + 1), *_losses(training.torch.losses[step], training.keras.losses[step]))
    if training.torch.held_out is not None and training.keras.held_out is not None:
        table.add_section()
        table.add_row("held out", *_losses(training.torch.held_out, training.keras.held_out))
    console.print(table)
    if training.defaults:
        _print_defaults(training, console)
    say(
        console,
        f"PyTorch itself, from weights that differ in their last bit: largest relative gap {training.rounding:.2g}; "
        "what is about as small is rounding, which training amplifies",
        style="dim",
    )
    for note in training.notes:
        say(console, note, style="dim")
    say(console, training.verdict(), style="green" if training.passed else "red")


def _losses(ours: float, theirs: float) -> tuple[str, str, str]:
    gap = abs(theirs - ours) / abs(ours) if ours else float(theirs != ours)
    return f"{ours:.6f}", f"{theirs:.6f}", f"{gap:.1e}"


def _print_defaults(training: TrainingParity, console: Console) -> None:
    table = Table(
        title=Text("the same with Keras' own defaults, one at a time"),
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("what", overflow="fold", min_width=20)
    table.add_column("PyTorch", overflow="fold")
    table.add_column("Keras", overflow="fold")
    for heading in ("largest gap", "last losses", "held out"):
        table.add_column(heading, justify="right", no_wrap=True)
    held_out = training.torch.held_out
    last = f"{training.torch.last:.4f}"
    table.add_row("PyTorch", "", "", "", last, "" if held_out is None else f"{held_out:.4f}", style="bold")
    for effect in training.defaults:
        table.add_row(
            Text(f"{effect.name} ({len(effect.layers)})" if effect.layers else effect.name),
            effect.pytorch,
            effect.keras,
            _estimate(effect.gap, ".1e" if effect.gap.mean < 1e-3 else ".2%"),
            _estimate(effect.last, ".4f"),
            "" if effect.held_out is None else _estimate(effect.held_out, ".4f"),
        )
    console.print(table)
    say(
        console,
        "(n): in n layers; largest gap: of the losses to PyTorch's, relative; last losses: mean of the last tenth of "
        "the steps; ±: 95 % interval over seeds. What moves them less than PyTorch's other seeds do matters less than "
        "luck.",
        style="dim",
    )


def _estimate(value: Estimate, form: str) -> str:
    half = "" if value.half is None else f" ± {value.half:{form}}"
    return f"{value.mean:{form}}{half}"
