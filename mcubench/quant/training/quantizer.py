"""Fake quantisation of a module's forward: hooks, ranges, and what of them a checkpoint keeps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.quant.grid import Grid
from mcubench.quant.recurrent import Levels
from mcubench.quant.training.fake import fake_quantize, fake_quantize_weight, in_bits
from mcubench.quant.training.mode import RoundedCalls
from mcubench.quant.training.observers import OBSERVERS, Observer, Range, averaged, batch_extremes
from mcubench.quant.training.plan import Plan, WeightSite
from mcubench.quant.training.recompute import Again, rounding_again
from mcubench.quant.training.recurrent import RoundedRecurrence
from mcubench.quant.training.schedule import Phase
from mcubench.quant.training.sites import forward_inputs
from mcubench.quant.training.state import state_of_widths

__all__ = ["FakeQuantizer"]


@dataclass(frozen=True)
class _Rounding:
    """What a forward is rounded with, from its beginning to the end of its backward.

    Attributes:
        grids: By group; values of others stay as they are.
        widths: Bits of weights and activations.
    """

    grids: Mapping[int, Grid]
    widths: BitWidths

    def weight(self, site: WeightSite, weight: Tensor) -> Tensor:
        return fake_quantize_weight(weight, self.widths.of(site.path), site.axis)

    def activation(self, _key: str, group: int, x: Tensor) -> Tensor:
        grid = self.grids.get(group)
        return x if grid is None else fake_quantize(x, grid, self.widths.activation)

    def gates(self, path: str, weight: Tensor, count: int) -> Tensor:
        """The weight of a recurrent layer, a scale for each gate."""
        flat = weight.reshape(count, -1)
        return fake_quantize_weight(flat, self.widths.of(path), 0).view_as(weight)

    def levels(self, group: int) -> Levels | None:
        grid = self.grids.get(group)
        if grid is None:
            return None
        half = 1 << ((self.widths.activation if grid.bits == 8 else grid.bits) - 1)
        return Levels(grid, -half, half - 1)


class FakeQuantizer:
    """Rounds what a module computes where its integer graph will, and learns the ranges of its values.

    In the first forward that it learns from, values stay as they are; from the next on they are rounded in the ranges
    that were learned before. So all that a step needs of its values is read at once, when forward has ended.

    Args:
        plan: Where to round.
        widths: Bits of weights and activations.
        observer: What range a batch has.
        largest: Makes of a tensor the largest values of all processes that train together; not given, there is one.

    Attributes:
        module: What is rounded at the moment; ``None`` while nothing is.
        ranges: By group; empty before anything was learned.
        batches: How many batches they were learned from.
        forwards: How many forwards of the module have run.
        is_running: Whether a forward is running, of the module or of a copy.
    """

    def __init__(
        self, plan: Plan, widths: BitWidths, observer: Observer, largest: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.plan = plan
        self.observe = OBSERVERS[observer]
        self.largest = largest
        self.module: nn.Module | None = None
        self.ranges: dict[int, Range] = {}
        self.batches = 0
        self.forwards = 0
        self._grids: dict[int, Grid] = {}
        self._observed: list[tuple[str, int, Tensor]] = []
        self._running: list[RoundedCalls] = []
        self._checkpoints = contextlib.ExitStack()  # what is open while a forward runs
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
        self.module = module
        own, self._phase = id(module), phase  # a copy of the module, as a trace makes it, has copies of these hooks
        begun: list[bool] = []  # for each call of the module that has not ended, whether it is a forward to round

        def enter(each: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
            if id(each) != own:
                return None
            begun.append(False)
            if self._running or _is_redirected(each):
                return None
            changed = self.begin(each, self._phase(), args, kwargs)
            begun[-1] = True
            return changed

        def leave(each: nn.Module, _args: Any, output: Any) -> None:
            if id(each) == own and begun and begun.pop() and self._running:
                self.forwards += output is not None
                self.end(failed=output is None)

        self._hooks = [
            module.register_forward_pre_hook(enter, with_kwargs=True),
            module.register_forward_hook(leave, always_call=True),
        ]

    def detach(self) -> None:
        """Lets the module be as it was, also in the middle of a forward that was interrupted."""
        self.module = None
        while self._hooks:
            self._hooks.pop().remove()
        if self._running:
            self.end(failed=True)

    def begin(
        self, module: nn.Module, phase: Phase, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Begins a forward of the module or of a copy, and rounds what it is given."""
        calls = self._calls(module, phase)
        changed = forward_inputs(module, args, kwargs, calls.rounded_input)
        self._checkpoints.enter_context(rounding_again(self._from_here))
        self._running.append(calls)
        calls.__enter__()
        return changed

    def end(self, failed: bool) -> None:
        """Ends the forward, and learns from it if it did not fail."""
        calls = self._running.pop()
        calls.__exit__(None, None, None)
        self._checkpoints.close()
        observed, self._observed = self._observed, []
        if not failed:
            calls.check_counts()
            if observed:
                self._learn(observed)

    def _calls(self, module: nn.Module, phase: Phase) -> RoundedCalls:
        if phase is Phase.FLOAT:
            whole = replace(self.plan, in_steps=frozenset())
            return RoundedCalls(module, whole, lambda _site, weight: weight, _unchanged, _unchanged)
        rounding, groups = _Rounding(self._grids, self._widths), self.plan.groups
        learns = phase is Phase.LEARN

        def observed(key: str, group: int, x: Tensor) -> None:
            if learns and group not in groups.fixed:
                observe = batch_extremes if group in groups.cells else self.observe  # 16 bits need no clipping
                self._observed.append((key, group, observe(x, rounding.widths.activation)))

        def learned(key: str, group: int, x: Tensor) -> Tensor:
            observed(key, group, x)
            return rounding.activation(key, group, x)

        recurrence = RoundedRecurrence(rounding.gates, rounding.levels, observed)
        return RoundedCalls(module, self.plan, rounding.weight, learned, rounding.activation, recurrence=recurrence)

    def _from_here(self) -> Again:
        """What computes a part of the running forward again, which begins now."""
        start = self._running[-1].from_here()

        @contextlib.contextmanager
        def again() -> Iterator[None]:
            calls = start.from_here()
            self._running.append(calls)
            try:
                with rounding_again(self._from_here), calls:
                    yield
            finally:
                self._running.remove(calls)

        return again

    def _weight(self, site: WeightSite, weight: Tensor) -> Tensor:
        return _Rounding(self._grids, self._widths).weight(site, weight)

    # --- ranges ---

    def _learn(self, observed: list[tuple[str, int, Tensor]]) -> None:
        """Takes one batch into the ranges: of a group the range that covers all its values, in all processes."""
        batch: dict[int, Range] = {}
        ends = torch.stack([each.float() for _, _, each in observed])
        if self.largest is not None:
            signs = ends.new_tensor([-1.0, 1.0])
            # Infinite where it is not finite, so that all processes see it: NaN has no place in an order.
            ends = self.largest(torch.where(ends.isfinite(), ends * signs, torch.inf)) * signs
        for (key, group, _), (low, high) in zip(observed, ends.tolist(), strict=True):  # waits for the device, once
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
        self._grids.update((group, self.plan.groups.grid(group, *ends, bits)) for group, ends in self.ranges.items())

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


def _unchanged(_key: str, _group: int, x: Tensor) -> Tensor:
    return x


def _is_redirected(module: nn.Module) -> bool:
    """Whether a call of the module is one of its steps: so Lightning has a step pass through what wraps the module."""
    forward = vars(module).get("forward")
    return getattr(forward, "__qualname__", "").startswith("_ForwardRedirection.")
