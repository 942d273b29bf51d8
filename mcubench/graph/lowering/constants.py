"""What is known before the model runs: parameters, and what is computed from them alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from mcubench.graph.ir import Weight
from mcubench.graph.lowering.batch import AcrossSamplesError, Batch

__all__ = ["Constants"]


class Constants:
    """The weights of a graph; what is one tensor on a device is one weight here, however often it is read."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._by_path: dict[str, Weight] = {}
        self._slices: dict[tuple[object, ...], Weight] = {}

    def parameter(self, path: str, tensor: Tensor) -> Weight:
        """A parameter or buffer of the module; tied ones have the same path."""
        return self._by_path.setdefault(path, Weight(path, tensor, (path,)))

    def fold(self, node: fx.Node, read: Sequence[Weight], found: Mapping[fx.Node, Any]) -> Any:
        """Computes a call that depends on weights alone, as a compiler would ahead of time.

        Args:
            node: The call.
            read: The weights among its arguments.
            found: What stands for each node.
        """
        args: Any = fx.map_arg(node.args, lambda each: _tensors(found[each]))
        kwargs: Any = fx.map_arg(node.kwargs, lambda each: _tensors(found[each]))
        assert callable(node.target)
        with torch.no_grad():
            computed = node.target(*args, **kwargs)
        sources = tuple(dict.fromkeys(itertools.chain.from_iterable(each.sources for each in read)))

        def named(tensor: Any) -> Any:
            if not isinstance(tensor, Tensor):
                return tensor
            only = read[0] if len(read) == 1 else None
            if only is not None and tensor.untyped_storage().data_ptr() == only.tensor.untyped_storage().data_ptr():
                return self._view(only, tensor)
            return Weight(only.name if only is not None and len(sources) == 1 else node.name, tensor, sources)

        return tuple(named(each) for each in computed) if isinstance(computed, (tuple, list)) else named(computed)

    def _view(self, weight: Weight, tensor: Tensor) -> Weight:
        """The same weight in another form, or a slice of it, which is the same one whenever it is taken."""
        view = weight.derive(tensor)
        if view.size == weight.size:
            return view
        key = (weight.stored, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        return self._slices.setdefault(key, Weight(weight.name, tensor, weight.sources, part_of=weight.stored))

    def without_batch(self, weight: Weight, shape: Sequence[int]) -> Weight:
        """A weight that meets a traced tensor, without the axis that stands where the tensor has the batch.

        Raises:
            AcrossSamplesError: If samples meet different values.
        """
        batch = self._batch.own_axis(shape)
        axis = -1 if batch is None else weight.tensor.ndim - (len(shape) - batch)
        if axis < 0:
            return weight
        first = weight.tensor.select(axis, 0)
        if weight.tensor.shape[axis] not in (1, self._batch.size) or not torch.equal(
            first.unsqueeze(axis).expand_as(weight.tensor), weight.tensor
        ):
            raise AcrossSamplesError("a constant differs from sample to sample")
        return weight.derive(first)


def _tensors(found: Any) -> Any:
    if isinstance(found, tuple):
        return tuple(_tensors(each) for each in found)
    return found.tensor if isinstance(found, Weight) else found
