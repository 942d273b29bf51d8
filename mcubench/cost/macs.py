"""Multiply-accumulates, by a table of what each traced operator costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mcubench.errors import UserError
from mcubench.graph import Graph
from mcubench.graph.einsum import explicit
from mcubench.graph.ir import Call

__all__ = ["MacCount", "Unsupported", "count_macs", "handles"]

Handle = Callable[[Call], int]

_HANDLES: dict[str, Handle] = {}
_BIAS_ADDS: dict[str, Handle] = {}


def handles(*targets: str, bias: int | Handle | None = None) -> Callable[[Handle], Handle]:
    """Registers a function that counts the MACs of operators; it replaces the one that was registered before.

    Args:
        *targets: Operators by their full names, as in ``aten.conv2d.default`` or ``my_library.my_op.default``.
        bias: Position of the bias among the operator's arguments, for ``count_bias``; or a function that counts the
            additions of biases; ``None`` if it has no bias.

    Example:
        >>> @handles("my_library.shift_conv.default")
        ... def shift_conv(call):  # doctest: +SKIP
        ...     x, weight = call.args
        ...     return call.outputs[0].size * weight.shape[1]
    """

    def register(handle: Handle) -> Handle:
        for target in targets:
            _HANDLES[target] = handle
            _BIAS_ADDS.pop(target, None)
            if isinstance(bias, int):
                _BIAS_ADDS[target] = lambda call: call.outputs[0].size if call.args[bias] is not None else 0
            elif bias is not None:
                _BIAS_ADDS[target] = bias
        return handle

    return register


@dataclass(frozen=True)
class Unsupported:
    """An operation that a cost does not cover.

    Attributes:
        op: The traced operator.
        path: The module that it is in; empty for the outermost.
        reason: Why it is not covered.
    """

    op: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op} in {self.path or 'the outermost forward'} ({self.reason})"


@dataclass(frozen=True)
class MacCount:
    """Multiply-accumulates for one sample.

    Attributes:
        by_layer_and_op: By module path and operator; those without any are left out.
        unsupported: Operators that the table does not know; a total without them would be too small.
    """

    by_layer_and_op: dict[tuple[str, str], int]
    unsupported: tuple[Unsupported, ...]

    @property
    def counted(self) -> int:
        """The MACs of all operators that the table knows."""
        return sum(self.by_layer_and_op.values())

    @property
    def total(self) -> int:
        """All MACs.

        Raises:
            UserError: If there is an operator that the table does not know.
        """
        if self.unsupported:
            raise UserError(
                f"the MACs are not known: {'; '.join(map(str, self.unsupported))}. Register a count for it with "
                "mcubench.cost.handles"
            )
        return self.counted

    @property
    def by_layer(self) -> dict[str, int]:
        """By module path."""
        return self._summed(0)

    @property
    def by_op(self) -> dict[str, int]:
        """By operator."""
        return self._summed(1)

    def _summed(self, key: int) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for keys, macs in self.by_layer_and_op.items():
            sums[keys[key]] += macs
        return dict(sums)


def count_macs(graph: Graph, count_bias: bool = False) -> MacCount:
    """Counts the multiply-accumulates of one sample.

    y = W x with W (M x L) is L * M. Activations, pooling, normalisation, arithmetic on single elements, sums and means,
    and what depends on weights alone are 0, and so are the additions of biases.

    Args:
        graph: A graph, before or after passes.
        count_bias: Count the addition of a bias as one for each element of a layer's output, as some tools do.
    """
    counted: Counter[tuple[str, str]] = Counter()
    unsupported = []
    for node in graph.nodes:
        for call in node.calls:
            handle = _HANDLES.get(call.target)
            if handle is None and not _is_pointwise(call.target):
                unsupported.append(Unsupported(call.target, node.path, "it has no entry in the table of MACs"))
                continue
            try:
                macs = handle(call) if handle else 0
            except Exception as error:  # a call that the handle did not think of must not hide the others
                reason = f"its count failed: {type(error).__name__}: {error}"
                unsupported.append(Unsupported(call.target, node.path, reason))
                continue
            if count_bias and call.target in _BIAS_ADDS:
                macs += _BIAS_ADDS[call.target](call)
            if macs:
                counted[node.path, call.target] += macs
    return MacCount(dict(counted), tuple(dict.fromkeys(unsupported)))


def _is_pointwise(target: str) -> bool:
    """Whether torch itself says that an operator works on single elements."""
    namespace, _, name = target.partition(".")
    if namespace != "aten":  # not so ``cond`` and the like, which have no namespace
        return False
    operator, _, overload = name.partition(".")
    found = getattr(getattr(torch.ops.aten, operator, None), overload or "default", None)
    return torch.Tag.pointwise in getattr(found, "tags", ())


@handles("aten.linear.default", bias=2)
def _linear(call: Call) -> int:
    x = call.args[0]
    return int(call.outputs[0].size * x.shape[-1])


@handles("aten.addmm.default", "aten.baddbmm.default", "aten.addmv.default", bias=0)
def _add_product(call: Call) -> int:
    return int(call.outputs[0].size * call.args[1].shape[-1])


@handles("aten.addbmm.default", bias=0)
def _add_products(call: Call) -> int:
    """The products of all pairs of matrices, summed."""
    return int(call.args[1].size * call.args[2].shape[-1])


@handles("aten.mm.default", "aten.bmm.default", "aten.matmul.default", "aten.mv.default", "aten.dot.default")
def _product(call: Call) -> int:
    return int(call.outputs[0].size * call.args[0].shape[-1])


@handles("aten.einsum.default")
def _einsum(call: Call) -> int:
    """Operands are multiplied from left to right, as torch does without opt_einsum."""
    tensors = call.args[1]
    labels, out = explicit(call.args[0], [len(each.shape) for each in tensors])
    # A label of one operand alone that is not in the result is summed before anything is multiplied.
    times = Counter(label for term in labels for label in set(term))
    alone = {label for label, operands in times.items() if operands == 1} - set(out)
    sizes: dict[str, int] = {}
    for term, each in zip(labels, tensors, strict=True):
        for label, size in zip(term, each.shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))  # axes of size 1 broadcast
    macs, left = 0, set(labels[0]) - alone
    for index, term in enumerate(labels[1:], 1):
        both = left | (set(term) - alone)
        macs += math.prod(sizes[label] for label in both)
        left = {label for label in both if label in out or any(label in later for later in labels[index + 1 :])}
    return macs


@handles(*(f"aten.conv{rank}d.{overload}" for rank in (1, 2, 3) for overload in ("default", "padding")), bias=2)
def _conv(call: Call) -> int:
    """Every output needs inputs / groups * kernel products, those with padding included."""
    return int(call.outputs[0].size * math.prod(call.args[1].shape[1:]))


@handles(
    "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input", bias=2
)  # fmt: skip
def _conv_transpose(call: Call) -> int:
    """Every input is multiplied with outputs / groups * kernel weights."""
    return int(call.args[0].size * math.prod(call.args[1].shape[1:]))


@handles("aten.convolution.default", "aten._convolution.default", bias=2)
def _any_conv(call: Call) -> int:
    """Either, as the seventh argument says."""
    return _conv_transpose(call) if call.args[6] else _conv(call)


@handles("aten.scaled_dot_product_attention.default")
def _attention(call: Call) -> int:
    """Q k^T and its product with v, for all positions, masked or not."""
    query, key, value = call.args[:3]
    scores = query.size // query.shape[-1] * key.shape[-2]
    return int(scores * (query.shape[-1] + value.shape[-1]))


def _steps(call: Call) -> int:
    """Cells that run: steps of all sequences."""
    x = call.args[0]
    return int(x.size // x.shape[-1])


def _recurrent_bias_adds(call: Call) -> int:
    biases = sum(each.size for each in call.args[2] if len(each.shape) == 1)
    # The two biases of a gate are one in the end, but for the GRU's new gate, where the reset gate stands between them.
    return int(_steps(call) * (biases * 2 // 3 if "gru" in call.target else biases // 2))


@handles(
    "aten.lstm.input", "aten.gru.input", "aten.rnn_tanh.input", "aten.rnn_relu.input", bias=_recurrent_bias_adds
)  # fmt: skip
def _recurrent(call: Call) -> int:
    """Every step multiplies all matrices once; the products of gates work on single elements."""
    return int(_steps(call) * sum(each.size for each in call.args[2] if len(each.shape) == 2))


def _cell_bias_adds(call: Call) -> int:
    if call.args[4] is None:
        return 0
    return int(_steps(call) * (call.args[4].size * 4 // 3 if "gru" in call.target else call.args[4].size))


@handles(
    "aten.lstm_cell.default", "aten.gru_cell.default", "aten.rnn_tanh_cell.default", "aten.rnn_relu_cell.default",
    bias=_cell_bias_adds,
)  # fmt: skip
def _cell(call: Call) -> int:
    return int(_steps(call) * (call.args[2].size + call.args[3].size))


# What has no products of sums: it moves, adds, compares or normalises elements. Written out, so that nothing is free
# because nobody thought of it; operators that torch tags as pointwise need no entry.
_NO_PRODUCTS = """
    batch_norm.default _native_batch_norm_legit_no_training.default instance_norm.default layer_norm.default
    group_norm.default rms_norm.default embedding.default glu.default
    max_pool1d.default max_pool2d.default max_pool3d.default max_pool2d_with_indices.default avg_pool1d.default
    avg_pool2d.default avg_pool3d.default adaptive_avg_pool1d.default adaptive_avg_pool2d.default
    adaptive_avg_pool3d.default adaptive_max_pool1d.default adaptive_max_pool2d.default adaptive_max_pool3d.default
    softmax.int _softmax.default log_softmax.int _log_softmax.default mean.default mean.dim sum.default sum.dim_IntList
    amax.default amin.default max.default min.default max.dim min.dim logsumexp.default all.default all.dim any.default
    any.dim argmax.default argmin.default prod.default prod.dim_int cumsum.default cumprod.default topk.default
    sort.default var.default var.dim var.correction std.default std.dim std.correction linalg_vector_norm.default
    view.default reshape.default _unsafe_view.default flatten.using_ints unflatten.int squeeze.default squeeze.dim
    squeeze.dims unsqueeze.default view_as.default reshape_as.default ravel.default permute.default transpose.int
    t.default movedim.int movedim.intlist swapaxes.default numpy_T.default mT.default adjoint.default expand.default
    expand_as.default broadcast_to.default broadcast_tensors.default repeat.default tile.default
    repeat_interleave.self_int select.int
    slice.Tensor narrow.default split.Tensor split.sizes split_with_sizes.default chunk.default tensor_split.sections
    unsafe_chunk.default unsafe_split.Tensor unbind.int cat.default concat.default concatenate.default stack.default
    index_select.default index.Tensor gather.default flip.default roll.default pixel_shuffle.default
    pixel_unshuffle.default select_scatter.default slice_scatter.default copy.default clone.default contiguous.default
    pad.default constant_pad_nd.default reflection_pad1d.default reflection_pad2d.default reflection_pad3d.default
    replication_pad1d.default replication_pad2d.default replication_pad3d.default
    upsample_nearest1d.default upsample_nearest1d.vec upsample_nearest2d.default upsample_nearest2d.vec
    upsample_nearest3d.default upsample_nearest3d.vec upsample_linear1d.default upsample_linear1d.vec
    upsample_bilinear2d.default upsample_bilinear2d.vec upsample_bicubic2d.default upsample_bicubic2d.vec
    upsample_trilinear3d.default upsample_trilinear3d.vec
    to.dtype to.dtype_layout to.device to.other _to_copy.default type_as.default dropout.default
    feature_dropout.default alpha_dropout.default feature_alpha_dropout.default
    fake_quantize_per_tensor_affine.default fake_quantize_per_tensor_affine.tensor_qparams
    fake_quantize_per_channel_affine.default fused_moving_avg_obs_fake_quant.default
    _fake_quantize_learnable_per_tensor_affine.default _fake_quantize_learnable_per_channel_affine.default
    _fused_moving_avg_obs_fq_helper.default _fused_moving_avg_obs_fq_helper_functional.default
    prelu.default hardtanh.default leaky_relu.default elu.default celu.default selu.default silu.default mish.default
    gelu.default hardswish.default hardsigmoid.default softplus.default log_sigmoid.default relu6.default
    softshrink.default hardshrink.default threshold.default rrelu.default square.default addcmul.default
    addcdiv.default masked_fill.Scalar masked_fill.Tensor lerp.Scalar clip.default
    floor_divide.default where.ScalarOther where.ScalarSelf where.Scalar _upsample_nearest_exact1d.default
    _upsample_nearest_exact1d.vec _upsample_nearest_exact2d.default _upsample_nearest_exact2d.vec
    _upsample_nearest_exact3d.default _upsample_nearest_exact3d.vec rsub.Tensor __and__.Tensor __and__.Scalar
    __or__.Tensor __or__.Scalar __xor__.Tensor __xor__.Scalar zeros_like.default new_zeros.default
    ones_like.default new_ones.default full_like.default new_full.default
"""


@handles(*(f"aten.{name}" for name in _NO_PRODUCTS.split()))
def _none(_call: Call) -> int:
    return 0
