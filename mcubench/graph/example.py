"""The example that a module is traced with: one sample, and the same repeated as a batch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.graph.copying import in_float

__all__ = ["Example", "declared_shape", "one_sample"]


def one_sample(example: Any, batch_dim: int = 0) -> Any:
    """Narrows every tensor of a batch to its first sample: what `mcubench.graph.trace` takes.

    Args:
        example: A tensor, or tuples, lists and dicts of tensors.
        batch_dim: Where the batch stands.

    Raises:
        UserError: If there is no sample in it.
    """

    def narrow(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.ndim <= batch_dim:
            return leaf
        if leaf.shape[batch_dim] == 0:
            raise UserError(f"an example of shape {tuple(leaf.shape)} has no sample along axis {batch_dim}")
        return leaf.narrow(batch_dim, 0, 1).detach()

    return pytree.tree_map(narrow, example)


def declared_shape(owner: object) -> tuple[int, ...] | None:
    """The ``input_shape`` of a module or data module, if it can be the shape of a sample; others mean other things."""
    try:
        found = getattr(owner, "input_shape", None)
        sizes = tuple(map(operator.index, found)) if isinstance(found, (tuple, list)) else ()
    except Exception:  # a property may raise anything before all is set up, and what is in a list may be anything
        return None
    return sizes if sizes and min(sizes) > 0 else None


@dataclass(frozen=True)
class Example:
    """Arguments of forward.

    Attributes:
        args: Those by position.
        kwargs: Those by name.
        batch_dim: Where the batch stands in every tensor of them; ``None`` if it stands nowhere.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch_dim: int | None

    @classmethod
    def of_one(cls, given: Any, batch_dim: int | None) -> Example:
        """One sample: a tensor, a tuple of positional or a dict of keyword arguments.

        Raises:
            UserError: If it is more than one sample, or none.
        """
        if isinstance(given, dict):
            example = cls((), given, batch_dim)
        else:
            example = cls(tuple(given) if isinstance(given, (tuple, list)) else (given,), {}, batch_dim)
        example._check()
        return example

    def _check(self) -> None:
        if not list(self.tensors()):
            raise UserError("the example input has no tensor in it; give one sample, as in torch.zeros(1, 3, 32, 32)")
        if self.batch_dim is None:
            return
        if self.batch_dim < 0:
            raise UserError(f"batch_dim must be 0 or more, or None for an input without a batch; got {self.batch_dim}")
        for tensor in self.tensors():
            if tensor.ndim > self.batch_dim and tensor.shape[self.batch_dim] != 1:
                raise UserError(
                    f"the example input must be one sample, with 1 along axis {self.batch_dim}, where the batch is; "
                    f"got shape {tuple(tensor.shape)}. Give x[:1], or say batch_dim=... where the batch stands (None: "
                    "nowhere)"
                )

    def tensors(self) -> Iterator[Tensor]:
        """All tensors, in order."""
        return (leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor))

    def shapes(self) -> str:
        """Their shapes, for messages."""
        return ", ".join(str(tuple(tensor.shape)) for tensor in self.tensors())

    def repeated(self, batch: int) -> Example:
        """The same sample so many times, on the CPU and in single precision."""
        args, kwargs = pytree.tree_map(functools.partial(self._repeat, batch=batch), (self.args, self.kwargs))
        return Example(args, kwargs, self.batch_dim)

    def _repeat(self, leaf: Any, batch: int) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = in_float(leaf.detach().cpu())
        if batch == 1 or self.batch_dim is None or leaf.ndim <= self.batch_dim:
            return leaf.clone()  # inference tensors can't be traced; their copies can
        return leaf.repeat_interleave(batch, self.batch_dim).clone()  # which is no view: torch.export is quicker
