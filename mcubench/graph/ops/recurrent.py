"""Recurrent layers and cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcubench.graph.ir import Op, Operand, Weight

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Recurrent", "RecurrentCell"]


@dataclass(frozen=True, eq=False)
class Cell(Op):
    """Weights of one direction of one recurrent layer, in PyTorch's order of gates (LSTM: i f g o; GRU: r z n)."""

    weight_ih: Weight
    weight_hh: Weight
    bias_ih: Weight | None
    bias_hh: Weight | None


@dataclass(frozen=True, eq=False)
class Recurrent(Op):
    """One recurrent layer over the first axis; one cell, or two for both directions.

    Outputs: the sequence (steps, hidden * directions), the last hidden state (directions, hidden) and, for an LSTM, the
    last cell state. ``state`` are the initial ones; ``None`` is zero.
    """

    cells: tuple[Cell, ...]
    state: tuple[Operand, ...]

    @property
    def hidden(self) -> int:
        """Size of the hidden state of one direction."""
        return int(self.cells[0].weight_hh.tensor.shape[1])

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """The weights of all cells, and of constant initial states."""
        for cell in self.cells:
            yield from cell.weights()
        yield from super().weights()

    @property
    def label(self) -> str:
        """The name, marked if it runs in both directions."""
        return f"{'Bidirectional ' if len(self.cells) > 1 else ''}{type(self).__name__}"


@dataclass(frozen=True, eq=False)
class LSTM(Recurrent):
    """Long short-term memory."""


@dataclass(frozen=True, eq=False)
class GRU(Recurrent):
    """Gated recurrent unit, the reset gate applied after the recurrent product."""


@dataclass(frozen=True, eq=False)
class RNN(Recurrent):
    """The plain recurrent layer, with tanh or relu."""

    nonlinearity: str = "tanh"


@dataclass(frozen=True, eq=False)
class RecurrentCell(Op):
    """One step of a recurrent cell; `kind` as in ``lstm_cell``. Inputs: x, hidden state, for an LSTM the cell state."""

    kind: str
    cell: Cell
    operands: tuple[Operand, ...]

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """The weights of the cell."""
        yield from self.cell.weights()
        yield from super().weights()

    @property
    def label(self) -> str:
        """The cell's name."""
        return self.kind
