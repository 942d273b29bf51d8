"""Recurrent layers and cells of a running forward, rounded within as their kernels are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.quant.recurrent import (
    CellWeights,
    Levels,
    Stepped,
    gru_layer,
    gru_step,
    lstm_layer,
    lstm_step,
    results_of,
)
from mcubench.quant.training.recurrent_sites import CELLS, LayerSite, RecurrentSite

__all__ = ["RoundedRecurrence"]


class RoundedRecurrence:
    """Makes the calls of one forward.

    Args:
        weight: Rounds a weight whose gates, so many, have a scale each.
        levels: Those of a group; ``None`` before any were learned.
        observe: Is told what a key, which is of a group, would be without rounding.
    """

    def __init__(
        self,
        weight: Callable[[str, Tensor, int], Tensor],
        levels: Callable[[int], Levels | None],
        observe: Callable[[str, int, Tensor], Any],
    ) -> None:
        self.weight = weight
        self.levels = levels
        self.observe = observe
        # By the id of a tensor, which is held so that it stays: what a GRU's cell goes on from, which is finer than the
        # state that it returns; and the rounded form of a weight.
        self._exact: dict[int, tuple[Tensor, Tensor]] = {}
        self._rounded: dict[int, tuple[Tensor, Tensor]] = {}

    def unobserved(self) -> RoundedRecurrence:
        """The same, from which nothing is learned; it knows the states and the rounded weights so far."""
        found = RoundedRecurrence(self.weight, self.levels, lambda _key, _group, _x: None)
        found._exact.update(self._exact)
        found._rounded.update(self._rounded)
        return found

    def knows(self, state: Tensor) -> bool:
        """Whether a cell has returned a state."""
        return id(state) in self._exact

    def __call__(self, name: str, site: RecurrentSite, args: tuple[Any, ...]) -> Any:
        """What a function returns, of its arguments; in the weights' precision in a mixed one, too, as 16 bits need."""
        x, *others = args
        with torch.autocast(x.device.type, enabled=False), torch._C.DisableTorchFunction():  # thousands of calls
            if name in CELLS:
                return self._cell(name, site, x, *others)
            return self._layers(name, site, x, *others)

    def _layers(
        self,
        name: str,
        site: RecurrentSite,
        x: Tensor,
        _state: Any,  # 0, or there is no kernel for it
        params: Sequence[Tensor],
        biased: bool,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        size, directions = 4 if biased else 2, 2 if bidirectional else 1
        last: list[tuple[Tensor, ...]] = []
        sequence = (x if batch_first else x.transpose(0, 1)).to(params[0].dtype)
        for index, layer in enumerate(site.layers):
            found = []
            for direction in range(directions):
                at = (index * directions + direction) * size
                weights = self._weights(name, site, params[at : at + size])
                found.append(self._direction(name, layer, sequence, weights, backward=direction == 1))
            self._observe(layer, found)
            sequence, *states = results_of(found)
            last.append(tuple(states))
            if dropout and train and index + 1 < layers:
                sequence = F.dropout(sequence, dropout)
        finals = (torch.cat(each, 1).transpose(0, 1) for each in zip(*last, strict=True))
        return sequence if batch_first else sequence.transpose(0, 1), *finals

    def _direction(self, name: str, layer: LayerSite, x: Tensor, weights: CellWeights, backward: bool) -> Stepped:
        hidden, cell = self._levels_of(layer)
        if name == "lstm":
            return lstm_layer(x, weights, hidden, cell, backward)
        return gru_layer(x, weights, hidden, backward)

    def _observe(self, layer: LayerSite, found: Sequence[Stepped]) -> None:
        self.observe(*layer.hidden, torch.cat([each.unrounded for each in found], -1))
        if layer.cell is not None:
            self.observe(*layer.cell, torch.cat([each.cell for each in found if each.cell is not None], -1))

    def _cell(self, name: str, site: RecurrentSite, x: Tensor, state: Any, *params: Tensor | None) -> Any:
        (layer,) = site.layers
        hidden, cell = self._levels_of(layer)
        weights = self._weights(name, site, params)
        x = x.to(weights[0].dtype)
        if name == "lstm_cell":
            shown, after, exact = lstm_step(x, tuple(state), weights, hidden, cell)
            self.observe(*layer.hidden, exact)
            assert layer.cell is not None
            self.observe(*layer.cell, after)
            return shown, after
        _, before = self._exact.get(id(state), (state, state))
        shown, exact = gru_step(x, (state, before), weights, hidden)
        self.observe(*layer.hidden, exact)
        self._exact[id(shown)] = shown, exact
        return shown

    def _levels_of(self, layer: LayerSite) -> tuple[Levels | None, Levels | None]:
        return self.levels(layer.hidden[1]), None if layer.cell is None else self.levels(layer.cell[1])

    def _weights(self, name: str, site: RecurrentSite, params: Sequence[Tensor | None]) -> CellWeights:
        w_input, w_state, *biases = params
        assert w_input is not None
        assert w_state is not None
        gates = 4 if name.startswith("lstm") else 3
        b_input, b_state = biases or (None, None)
        return self._weight(site.path, w_input, gates), self._weight(site.path, w_state, gates), b_input, b_state

    def _weight(self, path: str, weight: Tensor, gates: int) -> Tensor:
        """The rounded weight, which the steps of a cell share."""
        known = self._rounded.get(id(weight))
        if known is None:
            known = self._rounded[id(weight)] = weight, self.weight(path, weight, gates)
        return known[1]
