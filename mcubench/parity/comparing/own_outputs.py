"""What a module itself returns for samples, however its forward takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.graph.copying import Copy, copy_of
from mcubench.graph.outputs import output_tensors

__all__ = ["own_outputs"]


def own_outputs(
    module: nn.Module, x: Any, references: Sequence[Tensor], by_name: bool, batch_dim: int = 0
) -> tuple[list[Tensor], list[Any], list[str]]:
    """The module's own outputs with the batch in front, their names or positions, and notes.

    A forward that fails on several samples is run sample by sample. Where outputs can't be told apart they are the
    graph's.

    Args:
        module: The module; a copy of it is run.
        x: Samples as it takes them.
        references: The graph's outputs, the batch in front.
        by_name: Whether the outputs of a dict are known by their names.
        batch_dim: Where the batch stands in `x`.

    Raises:
        UserError: If forward fails on one sample too, or gives values that are not finite.
    """
    positions: list[Any] = list(range(len(references)))
    notes = []
    try:
        result = _called(copy_of(module), x)
        leaves = output_tensors(result)
    except UserError:
        raise
    except Exception:  # somebody's forward may raise anything; a single sample tells whether it is to blame
        result, leaves = None, _one_by_one(module, x, references, batch_dim)
        notes.append("its forward fails on several samples, and was run on one after the other")
    if len(leaves) != len(references):
        return list(references), positions, ["outputs are compared with the graph's: forward also returns constants"]
    named = by_name and isinstance(result, dict) and len(result) == len(leaves)
    keys = list(result) if named else positions
    found = [_batch_in_front(leaf, reference) for leaf, reference in zip(leaves, references, strict=True)]
    if any(each is None for each in found):
        note = "outputs are compared with the graph's: where forward has the batch is not known"
        return list(references), keys, [note]
    if not all(torch.isfinite(each).all() for each in found if each is not None and each.is_floating_point()):
        raise UserError(
            f"{type(module).__name__} gives values that are not finite for these samples: nothing to compare"
        )
    return [each for each in found if each is not None], keys, notes


def _called(copied: Copy, x: Any) -> Any:
    fed = pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, x)
    with torch.no_grad(), copied.running():
        if isinstance(x, dict):
            return copied.module(**fed)
        return copied.module(*fed) if isinstance(x, (tuple, list)) else copied.module(fed)


def _one_by_one(module: nn.Module, x: Any, references: Sequence[Tensor], batch_dim: int) -> list[Tensor]:
    """The outputs for each sample alone, side by side; of as many as the graph has, each in the graph's shape."""
    rows, copied = [], copy_of(module)
    for index in range(len(references[0])):
        one = pytree.tree_map(lambda leaf: _narrowed(leaf, index, batch_dim), x)  # noqa: B023 - called at once
        try:
            rows.append(output_tensors(_called(copied, one)))
        except UserError:
            raise
        except Exception as error:
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            raise UserError(
                f"{type(module).__name__} fails on one of these samples: {type(error).__name__}: {reason}. "
                "Give samples that it takes"
            ) from error
    columns = list(zip(*rows, strict=False))
    if len(columns) != len(references):
        return [torch.cat(column) for column in columns]
    shapes = [each.shape[1:] for each in references]
    return [
        torch.stack([each.reshape(shape) for each in column]) for column, shape in zip(columns, shapes, strict=True)
    ]


def _narrowed(leaf: Any, index: int, batch_dim: int) -> Any:
    has_batch = isinstance(leaf, Tensor) and leaf.ndim > batch_dim
    return leaf.narrow(batch_dim, index, 1) if has_batch else leaf


def _batch_in_front(leaf: Tensor, reference: Tensor) -> Tensor | None:
    """The output with that axis first which makes it the graph's."""
    turned = [leaf.movedim(axis, 0) for axis in range(leaf.ndim)]
    fitting = [each for each in turned if each.shape == reference.shape]
    return min(fitting, key=lambda each: float((each.double() - reference.double()).norm()), default=None)
