"""Which tensors of a running forward come from weights alone, whatever its input is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["Derived"]


class Derived:
    """Parameters, buffers, and what calls have made of them alone.

    A weight that is pruned, normalised or composed is computed anew in every forward, in training often with other
    calls than in evaluation. None of that is a value of the deployed graph, where such a weight is a constant.

    Args:
        weights: Parameters and buffers.
    """

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        self._known = {id(each): (each, each) for each in weights}  # held, so that no other tensor gets the id

    def origin(self, tensor: Tensor) -> Tensor | None:
        """The weight that a tensor is or was made of, a parameter if there is one among several."""
        found = self._known.get(id(tensor))
        return None if found is None else found[1]

    def of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        """The same for all tensors of a call; ``None`` if there are none, or one comes from elsewhere."""
        if args and isinstance(args[0], Tensor) and id(args[0]) not in self._known:
            return None  # nearly all calls, at the price of a look
        origins = [self.origin(each) for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if not origins or any(each is None for each in origins):
            return None
        return next((each for each in origins if isinstance(each, nn.Parameter)), origins[0])

    def is_in(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a tensor of a call is known."""
        if not self._known:
            return False  # nearly always
        return any(id(each) in self._known for each in pytree.tree_leaves((args, kwargs)))

    def is_all(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether all tensors of a call are."""
        tensors = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        return all(id(each) in self._known for each in tensors)

    def note(self, origin: Tensor, result: Any) -> None:
        """Takes up what such a call returned."""
        for each in pytree.tree_leaves(result):
            if isinstance(each, Tensor) and not (isinstance(origin, nn.Parameter) and each is origin.grad):
                self._known.setdefault(id(each), (each, origin))

    def forget(self, result: Any) -> None:
        """Drops a tensor that another call returned: if it is a known one, it was written to."""
        self._known.pop(id(result), None)
