"""The mode that is on while a rounded forward runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.quant.training.derived import Derived
from mcubench.quant.training.plan import Plan, WeightSite
from mcubench.quant.training.recurrent import RoundedRecurrence
from mcubench.quant.training.recurrent_sites import RecurrentSite
from mcubench.quant.training.sites import NumberedCalls, weights_of
from mcubench.quant.training.steps import STEPS

__all__ = ["RoundedCalls", "whole"]


class RoundedCalls(NumberedCalls):
    """While it is on, a forward's weights and results are rounded where a plan says.

    Args:
        module: What runs; weights must be the parameters that it was traced with.
        plan: Where to round.
        weight: Rounds the weight of a site.
        activation: Rounds the result of a key, which is of a group.
        again: The same, where it is computed a second time and nothing is learned from it.
        derived: What is computed from weights alone; not given, so far nothing.
        recurrence: Makes the calls of recurrent layers and cells; not given, they stay as they are.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: Plan,
        weight: Callable[[WeightSite, Tensor], Tensor],
        activation: Callable[[str, int, Tensor], Tensor],
        again: Callable[[str, int, Tensor], Tensor],
        derived: Derived | None = None,
        recurrence: RoundedRecurrence | None = None,
    ) -> None:
        super().__init__(weights_of(module) if derived is None else derived)
        self.module = module
        self.plan = plan
        self.weight = weight
        self.activation = activation
        self.again = again
        self.recurrence = recurrence

    def from_here(self) -> Self:
        """The mode for computing once more what is called from now on: it has the same keys, and nothing is learned."""
        recurrence = None if self.recurrence is None else self.recurrence.unobserved()
        found = type(self)(self.module, self.plan, self.weight, self.again, self.again, self.derived, recurrence)
        found.counts = dict(self.counts)
        return found

    def rounded_input(self, key: str, x: Tensor) -> Tensor:
        """Rounds one of forward's inputs."""
        group = self.plan.activations.get(key)
        return x if group is None else self.activation(key, group, x)

    def called(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes the call, with a rounded weight if it has one, and rounds what it returns."""
        recurrent = self.plan.recurrent.get(key)
        if recurrent is not None:
            self._check_recurrent(key.rpartition(":")[0], recurrent, args)
            if self.recurrence is not None:
                return self.recurrence(key.rpartition(":")[0], recurrent, args)
        site = self.plan.weights.get(key)
        if site is not None:
            args, kwargs = self._with_weight(site, args, kwargs)
        result = self._in_steps(key, args, kwargs) if key in self.plan.in_steps else func(*args, **kwargs)
        group = self.plan.activations.get(key)
        if group is None or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        return self.activation(key, group, result)

    def _in_steps(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Computes what a call returns step by step, and rounds each."""

        def settle(step: str, x: Tensor) -> Tensor:
            group = self.plan.activations.get(inner := f"{key}.{step}")
            return x if group is None else self.activation(inner, group, x)

        return STEPS[key.rpartition(":")[0]](settle, *args, **kwargs)

    def _with_weight(
        self, site: WeightSite, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = site.argument in kwargs
        weight = kwargs[site.argument] if named else args[site.position]
        self._check_weight(site, weight)
        rounded = self.weight(site, weight)
        if named:
            return args, {**kwargs, site.argument: rounded}
        return (*args[: site.position], rounded, *args[site.position + 1 :]), kwargs

    def _check_recurrent(self, name: str, site: RecurrentSite, args: tuple[Any, ...]) -> None:
        """Whether a call has the weights that were traced, and goes on from a state that its kernel knows."""
        for each in pytree.tree_leaves(args[2:]):
            if isinstance(each, Tensor):
                self._check_weight(site, each)
        where = site.path or "(outermost)"
        for state in pytree.tree_leaves(args[1]):
            origin = self.derived.origin(state)
            if isinstance(origin, nn.Parameter) and origin.requires_grad:
                raise UserError(f"{where} begins with a state that is trained, and its kernel with 0: freeze it at 0")
            known = origin is not None or self.recurrence is None or self.recurrence.knows(state)
            if name == "gru_cell" and not known:
                raise UserError(
                    f"what {where} returned is changed, viewed or copied before its next step, which goes on from more "
                    "bits than it returns: hand the state on as it is"
                )

    def _check_weight(self, site: WeightSite | RecurrentSite, weight: Tensor) -> None:
        """Whether a parameter is the one that was traced; what is computed from parameters has no name."""
        weight = whole(weight)
        if not isinstance(weight, nn.Parameter) or any(
            _parameter(self.module, each) is weight for each in site.sources
        ):
            return
        name = next((name for name, each in self.module.named_parameters() if each is weight), "another parameter")
        raise UserError(
            f"the layer {site.path or '(outermost)'} was traced with {' and '.join(site.sources)}, and is called with "
            f"{name}: forward must make the same calls in training as in evaluation for QuantizationAwareTraining"
        )

    def check_counts(self) -> None:
        """Checks, when forward has ended, that it made the calls that were traced.

        Raises:
            UserError: If it did not.
        """
        for name, expected in self.plan.counts.items():
            if (found := self.counts.get(name, 0)) != expected:
                where = ", ".join(
                    sorted(
                        {path or "(outermost)" for key, path in self.plan.paths.items() if key.startswith(f"{name}:")}
                    )
                )
                raise UserError(
                    f"forward called {name} {found} times, and {expected} times when it was traced (in {where}): which "
                    "result is which can't be told. Forward must make the same calls in training as in evaluation for "
                    "QuantizationAwareTraining"
                )


def whole(tensor: Tensor) -> Tensor:
    """What a tensor is a view of, or the tensor."""
    return tensor if isinstance(tensor, nn.Parameter) or tensor._base is None else tensor._base


def _parameter(module: nn.Module, path: str) -> Tensor | None:
    owner, _, name = path.rpartition(".")
    found: nn.Module | None = module
    for part in owner.split(".") if owner else ():
        found = found._modules.get(part) if found is not None else None
    return found._parameters.get(name) if found is not None else None
