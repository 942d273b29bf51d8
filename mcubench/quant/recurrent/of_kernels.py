"""The float form of a kernel of the integer graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import Bias, Filter
from mcubench.quant.integer.kernels import Gru, Lstm, RecurrentKernel
from mcubench.quant.recurrent.layers import CellWeights, Stepped, gru_layer, lstm_layer
from mcubench.quant.recurrent.rounding import Levels

__all__ = ["layer_of"]


def layer_of(kernel: RecurrentKernel, backward: bool) -> Callable[[Tensor], Stepped]:
    """What a kernel computes, of values (N, steps, inputs), in float with its weights and roundings.

    Args:
        kernel: Of one direction; the sequence that it is given is in its order.
        backward: Whether the sequence that the function is given has to be turned for that.
    """
    weights, hidden = _weights(kernel), Levels(kernel.state, *kernel.state.ends)
    if isinstance(kernel, Lstm):
        grid = Grid(kernel.cell_scale, 0, bits=16)
        cell = Levels(grid, *grid.ends)
        return lambda x: lstm_layer(x, weights, hidden, cell, backward)
    assert isinstance(kernel, Gru)
    return lambda x: gru_layer(x, weights, hidden, backward)


def _weights(kernel: RecurrentKernel) -> CellWeights:
    gates, units = kernel.gates, kernel.units
    given, recalled = (
        torch.cat([_values(each) for each in filters])
        for filters in ([gate.input for gate in gates], [gate.recurrent for gate in gates])
    )
    if gates[0].bias is None:
        return given, recalled, None, None
    biases, again = (
        torch.cat([_biases(each, units) for each in found])
        for found in ([gate.bias for gate in gates], [gate.recurrent_bias for gate in gates])
    )
    return given, recalled, biases, again


def _values(filter_: Filter) -> Tensor:
    return filter_.codes.float() * filter_.scales


def _biases(bias: Bias | None, units: int) -> Tensor:
    return torch.zeros(units) if bias is None else (bias.codes.double() * bias.scales.double()).float()
