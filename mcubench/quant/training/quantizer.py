"""Fake quantisation of a module's forward: hooks, ranges, and what of them a checkpoint keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.quant.grid import Grid
from mcubench.quant.training.fake import fake_quantize, fake_quantize_weight, in_bits
from mcubench.quant.training.mode import RoundedCalls
from mcubench.quant.training.observers import OBSERVERS, Observer, Range, averaged
from mcubench.quant.training.plan import Plan, WeightSite
from mcubench.quant.training.schedule import Phase
from mcubench.quant.training.sites import forward_inputs
from mcubench.quant.training.state import state_of_widths

__all__ = ["FakeQuantizer"]


class FakeQuantizer:
    """Rounds what a module computes where its integer graph will, and learns the ranges of its values.

    In the first forward that it learns from, values stay as they are; from the next on they are rounded in the ranges
    that were learned before. So all that a step needs of its values is read at once, when forward has ended.

    Args:
        plan: Where to round.
        widths: Bits of weights and activations.
        observer: What range a batch has.

    Attributes:
        ranges: By group; empty before anything was learned.
        batches: How many batches they were learned from.
        forwards: How many forwards have run.
        is_running: Whether one is running.
    """

    def __init__(self, plan: Plan, widths: BitWidths, observer: Observer) -> None:
        self.plan = plan
        self.observe = OBSERVERS[observer]
        self.ranges: dict[int, Range] = {}
        self.batches = 0
        self.forwards = 0
        self._grids: dict[int, Grid] = {}
        self._observed: list[tuple[str, int, Tensor]] = []
        self._running: list[RoundedCalls] = []
        self._hooks: list[RemovableHandle] = []
        self._phase: Callable[[], Phase] = lambda: Phase.FLOAT
        self.widths = widths

    def __deepcopy__(self, memo: dict[int, Any]) -> FakeQuantizer:
        """The same: a copy of the module that it rounds is not rounded, and needs none of its own."""
        return self

    @property
    def widths(self) -> BitWidths:
        """Bits of weights and activations."""
        return self._widths

    @widths.setter
    def widths(self, widths: BitWidths) -> None:
        widths.check(self.plan.graph)
        self._widths = widths
        self._find_grids()

    @property
    def is_running(self) -> bool:
        """Whether a forward is running."""
        return bool(self._running)

    # --- the running module ---

    def attach(self, module: nn.Module, phase: Callable[[], Phase]) -> None:
        """Rounds every forward of a module from now on, as the phase of the moment says; not those of its copies."""
        own, self._phase = id(module), phase  # a copy of the module, as a trace makes it, has copies of these hooks

        def enter(each: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
            if id(each) != own or self._running:
                return None
            calls = self._calls(each, self._phase())
            changed = forward_inputs(each, args, kwargs, calls.rounded_input)
            self._running.append(calls)
            calls.__enter__()
            return changed

        def leave(each: nn.Module, _args: Any, output: Any) -> None:
            if id(each) == own and self._running:
                self._leave(failed=output is None)

        self._hooks = [
            module.register_forward_pre_hook(enter, with_kwargs=True),
            module.register_forward_hook(leave, always_call=True),
        ]

    def detach(self) -> None:
        """Lets the module be as it was, also in the middle of a forward that was interrupted."""
        while self._hooks:
            self._hooks.pop().remove()
        if self._running:
            self._leave(failed=True)

    def _calls(self, module: nn.Module, phase: Phase) -> RoundedCalls:
        if phase is Phase.FLOAT:
            return RoundedCalls(module, self.plan, lambda _site, weight: weight, lambda _key, _group, x: x)
        return RoundedCalls(module, self.plan, self._weight, self._learned if phase is Phase.LEARN else self._rounded)

    def _leave(self, failed: bool) -> None:
        calls = self._running.pop()
        calls.__exit__(None, None, None)
        observed, self._observed = self._observed, []
        if not failed:
            calls.check_counts()
            self.forwards += 1
            if observed:
                self._learn(observed)

    def _weight(self, site: WeightSite, weight: Tensor) -> Tensor:
        return fake_quantize_weight(weight, self._widths.of(site.path), site.axis)

    def _learned(self, key: str, group: int, x: Tensor) -> Tensor:
        if group not in self.plan.groups.fixed:
            self._observed.append((key, group, self.observe(x, self._widths.activation)))
        return self._rounded(key, group, x)

    def _rounded(self, key: str, group: int, x: Tensor) -> Tensor:
        grid = self._grids.get(group)
        return x if grid is None else fake_quantize(x, grid, self._widths.activation)

    # --- ranges ---

    def _learn(self, observed: list[tuple[str, int, Tensor]]) -> None:
        """Takes one batch into the ranges: of a group the range that covers all its values."""
        batch: dict[int, Range] = {}
        ends = torch.stack([each.float() for _, _, each in observed]).tolist()  # the step's only wait for the device
        for (key, group, _), (low, high) in zip(observed, ends, strict=True):
            if not (math.isfinite(low) and math.isfinite(high)):
                raise UserError(
                    f"values of {self.plan.paths.get(key) or 'the input or outermost forward'} ({key}) are not finite: "
                    "no range can be learned from them. Either the training has diverged (lower the learning rate) or "
                    "the data is not finite"
                )
            known = batch.get(group, (low, high))
            batch[group] = min(low, known[0]), max(high, known[1])
        for group, found in batch.items():
            old = self.ranges.get(group, found)
            self.ranges[group] = averaged(old, found, self.batches)
        self.batches += 1
        self._find_grids()

    def _find_grids(self) -> None:
        bits = self._widths.activation
        self._grids = {group: in_bits(grid, bits) for group, grid in self.plan.groups.fixed.items()}
        self._grids.update((group, Grid.of_range(*ends, bits)) for group, ends in self.ranges.items())

    def state(self) -> dict[str, Any]:
        """What `trained_ranges` and `load` read: plain values."""
        return {
            **state_of_widths(self._widths),
            "batches": self.batches,
            "ranges": {key: self.ranges[group] for group, key in self.plan.representatives.items() if self.ranges},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on with the ranges of a state; bits stay those of this object.

        Raises:
            UserError: If they are of another network.
        """
        self.ranges = self.plan.ranges_of(state)
        self.batches = int(state.get("batches", 0)) if self.ranges else 0
        self._find_grids()
