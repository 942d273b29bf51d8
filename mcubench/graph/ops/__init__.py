"""The operations of a graph, at the level of a microcontroller's kernels.

Axes count within one sample. Spatial operations look at the last axes: (..., channels, *spatial) in a graph with layout
``channels_first``, (..., *spatial, channels) with ``channels_last``; weights have PyTorch's layout in both.
"""

from mcubench.graph.ops.arithmetic import Activation, Einsum, Elementwise, Function, MatMul, Reduce, Softmax
from mcubench.graph.ops.common import FUSIBLE
from mcubench.graph.ops.layers import (
    AdaptivePool,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Embedding,
    FakeQuantize,
    GroupNorm,
    LayerNorm,
    Pool,
    PReLU,
    RMSNorm,
    Site,
    TransposedConv,
)
from mcubench.graph.ops.recurrent import GRU, LSTM, RNN, Cell, Recurrent, RecurrentCell
from mcubench.graph.ops.rows import RowMean, UnitRow
from mcubench.graph.ops.shapes import Concat, Expand, Pad, Permute, Repeat, Reshape, Resize, Select, Slice, Take

__all__ = [
    "FUSIBLE",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdaptivePool",
    "BatchNorm",
    "Cell",
    "Concat",
    "Conv",
    "Dense",
    "DepthwiseConv",
    "Einsum",
    "Elementwise",
    "Embedding",
    "Expand",
    "FakeQuantize",
    "Function",
    "GroupNorm",
    "LayerNorm",
    "MatMul",
    "PReLU",
    "Pad",
    "Permute",
    "Pool",
    "RMSNorm",
    "Recurrent",
    "RecurrentCell",
    "Reduce",
    "Repeat",
    "Reshape",
    "Resize",
    "RowMean",
    "Select",
    "Site",
    "Slice",
    "Softmax",
    "Take",
    "TransposedConv",
    "UnitRow",
]
