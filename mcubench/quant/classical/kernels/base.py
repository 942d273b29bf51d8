"""What kernels of classical models share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcubench.quant.integer.ir import IntegerNode, IntegerTensor, Kernel

__all__ = ["ArrayKernel", "centred", "squared_distances"]


class ArrayKernel(Kernel):
    """A kernel of vectors, on numpy's arrays."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """What the output holds, (N, elements), of its type."""
        x, output = node.inputs[0], node.output
        assert isinstance(x, IntegerTensor)
        found = self.compute(inputs[0].reshape(len(inputs[0]), -1).numpy(), x, output)
        return torch.from_numpy(np.ascontiguousarray(found)).to(output.dtype).reshape(len(found), *output.shape[1:])

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """The outputs (N, outputs) of x (N, inputs), integers or float32.

        Args:
            x: What the input holds.
            source: The input.
            target: The output.
        """
        raise NotImplementedError


def centred(x: NDArray[Any], source: IntegerTensor) -> NDArray[np.int64]:
    """Codes, int64, so that 0 stands for 0."""
    return x.astype(np.int64) - source.grid.zero_point


def squared_distances(x: NDArray[Any], vectors: NDArray[Any]) -> NDArray[np.int64]:
    """|x - v|^2 for codes (N, features) and (vectors, features), int64, shape (N, vectors).

    In float64, which holds sums of so many integers exactly: one product of matrices.
    """
    x, vectors = x.astype(np.float64), vectors.astype(np.float64)
    dots = x @ vectors.T
    dots *= -2
    dots += np.einsum("nf,nf->n", x, x)[:, None]
    dots += np.einsum("vf,vf->v", vectors, vectors)
    return np.asarray(dots, np.int64)
