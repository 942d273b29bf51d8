"""Rules for layers that hold weights, and for pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mcubench.graph import ops
from mcubench.graph.einsum import explicit
from mcubench.graph.ir import Value, Weight
from mcubench.graph.lowering.batch import AcrossSamplesError, CannotLowerError
from mcubench.graph.lowering.lowerer import MARKER, Lowerer, Rule, lowers

__all__: list[str] = []


def _spread(sizes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One size for each spatial axis: torch takes a single one for all."""
    found = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return found * rank if len(found) == 1 else found


@lowers("aten.linear.default")
def _linear(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    return low.emit(ops.Dense(low.required_weight("weight"), low.weight("bias")), [x])


@lowers("aten.addmm.default")
def _addmm(low: Lowerer) -> Value:
    (x,) = low.values(low.args["mat1"])
    low.axis(x, -1)
    weight, bias = low.required_weight("mat2"), low.required_weight("self")
    if low.args["beta"] != 1 or low.args["alpha"] != 1 or bias.tensor.ndim != 1:
        raise CannotLowerError("it scales its terms")
    return low.emit(ops.Dense(weight.derive(weight.tensor.T), bias), [x])


@lowers("aten.matmul.default", "aten.mm.default", "aten.bmm.default", "aten.mv.default", "aten.dot.default")
def _matmul(low: Lowerer) -> Value:
    left, right = list(low.args.values())[:2]
    return _product(low, left, right)


def _product(low: Lowerer, left: Value | Weight, right: Value | Weight) -> Value:
    for each in (left, right):  # the contracted axis must not be the batch
        if isinstance(each, Value):
            low.axis(each, -1 if each is left else -min(2, low.traced_rank(each)))
    if isinstance(left, Value) and isinstance(right, Weight) and right.tensor.ndim == 2:
        return low.emit(ops.Dense(right.derive(right.tensor.T)), [left])
    if isinstance(left, Value) and isinstance(right, Weight) and right.tensor.ndim == 1:
        shape = (*left.shape[:-1], 1)
        column = low.emit(ops.Dense(right.derive(right.tensor[None])), [left], shape)
        return low.emit(ops.Reshape(left.shape[:-1]), [column])
    operands, values = low.operands(left, right)
    return low.emit(ops.MatMul(operands), values)


@lowers("aten.baddbmm.default")
def _add_product(low: Lowerer) -> Value:
    if low.args["beta"] != 1 or low.args["alpha"] != 1:
        raise CannotLowerError("it scales its terms")
    product = _product(low, low.args["batch1"], low.args["batch2"])
    operands, values = low.operands(product, low.args["self"])
    return low.emit(ops.Elementwise("add.Tensor", operands), values)


@lowers("aten.einsum.default")
def _einsum(low: Lowerer) -> Value:
    tensors = low.args["tensors"]
    ranks = [low.traced_rank(each) if isinstance(each, Value) else each.tensor.ndim for each in tensors]
    labels, out = explicit(low.args["equation"], ranks)
    batches = {
        label[axis]
        for label, each in zip(labels, tensors, strict=True)
        if isinstance(each, Value) and (axis := low.batch_axis(each)) is not None
    }
    if len(batches) > 1 or any(label not in out for label in batches):
        raise AcrossSamplesError
    if any(batches & set(label) for label, each in zip(labels, tensors, strict=True) if isinstance(each, Weight)):
        raise AcrossSamplesError("a constant differs from sample to sample")
    equation = f"{','.join(labels)}->{out}".translate(str.maketrans("", "", "".join(batches)))
    operands = tuple(each if isinstance(each, Weight) else None for each in tensors)
    values = [each for each in tensors if isinstance(each, Value)]
    template, _ = low.operands(*values)
    inputs = iter(template)
    return low.emit(ops.Einsum(equation, tuple(each or next(inputs) for each in operands)), values)


@lowers("aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
@lowers("aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding")
def _conv(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    weight = low.required_weight("weight")
    kernel = tuple(weight.tensor.shape[2:])
    rank = len(kernel)
    low.check_batch_before(x, rank + 1)
    stride, dilation = (_spread(low.args[name], rank) for name in ("stride", "dilation"))
    padding: tuple[tuple[int, int], ...]
    if low.args["padding"] == "valid":
        padding = ((0, 0),) * rank
    elif low.args["padding"] == "same":  # stride is 1 here; torch pads the odd one behind
        around = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        padding = tuple((each // 2, each - each // 2) for each in around)
    else:
        padding = tuple((each, each) for each in _spread(low.args["padding"], rank))
    groups = low.args["groups"]
    depthwise = groups > 1 and weight.tensor.shape[1] == 1
    kind = ops.DepthwiseConv if depthwise else ops.Conv
    return low.emit(kind(weight, low.weight("bias"), stride, padding, dilation, groups), [x])


@lowers("aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input")
def _conv_transpose(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    weight = low.required_weight("weight")
    rank = weight.tensor.ndim - 2
    low.check_batch_before(x, rank + 1)
    op = ops.TransposedConv(
        weight,
        low.weight("bias"),
        stride=_spread(low.args["stride"], rank),
        padding=_spread(low.args["padding"], rank),
        output_padding=_spread(low.args["output_padding"], rank),
        dilation=_spread(low.args["dilation"], rank),
        groups=low.args["groups"],
    )
    return low.emit(op, [x])


@lowers("aten.convolution.default", "aten._convolution.default")
def _any_conv(low: Lowerer) -> Any:
    """What ``torch.jit.trace`` makes of both."""
    rule: Rule = _conv_transpose if low.args["transposed"] else _conv
    return rule(low)


@lowers("aten.batch_norm.default", "aten._native_batch_norm_legit_no_training.default")
def _batch_norm(low: Lowerer) -> Any:
    (x,) = low.values(low.args["input"])
    if low.args.get("training") or low.args["running_mean"] is None:
        raise CannotLowerError("it normalises with the statistics of the batch: use track_running_stats=True")
    low.check_batch_before(x, low.traced_rank(x) - 1)
    op = ops.BatchNorm(
        low.weight("weight"),
        low.weight("bias"),
        low.required_weight("running_mean"),
        low.required_weight("running_var"),
        low.args["eps"],
        low.traced_rank(x) - 2,
        low.args["momentum"],
    )
    out = low.emit(op, [x])
    return (out, None, None) if isinstance(low.node.meta["val"], (tuple, list)) else out


@lowers("aten.instance_norm.default")
def _instance_norm(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    low.check_batch_before(x, low.traced_rank(x) - 1)
    weight, bias, rank = low.weight("weight"), low.weight("bias"), low.traced_rank(x) - 2
    if low.args["use_input_stats"]:
        return low.emit(
            ops.GroupNorm(weight, bias, low.traced_shape(x)[1], low.args["eps"], rank, per_channel=True), [x]
        )
    mean, variance = low.required_weight("running_mean"), low.required_weight("running_var")
    op = ops.BatchNorm(weight, bias, mean, variance, low.args["eps"], rank, low.args["momentum"])
    return low.emit(op, [x])


@lowers("aten.layer_norm.default")
def _layer_norm(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    rank = len(low.args["normalized_shape"])
    low.check_batch_before(x, rank)
    return low.emit(ops.LayerNorm(low.weight("weight"), low.weight("bias"), rank, low.args["eps"]), [x])


@lowers("aten.rms_norm.default")
def _rms_norm(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    rank = len(low.args["normalized_shape"])
    low.check_batch_before(x, rank)
    eps = low.args["eps"]
    return low.emit(ops.RMSNorm(low.weight("weight"), rank, torch.finfo(x.dtype).eps if eps is None else eps), [x])


@lowers("aten.group_norm.default")
def _group_norm(low: Lowerer) -> Value:
    (x,) = low.values(low.args["input"])
    low.check_batch_before(x, low.traced_rank(x) - 1)
    weight, bias = low.weight("weight"), low.weight("bias")
    return low.emit(ops.GroupNorm(weight, bias, low.args["num_groups"], low.args["eps"], low.traced_rank(x) - 2), [x])


@lowers("aten.prelu.default")
def _prelu(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    weight = low.required_weight("weight")
    rank = max(low.traced_rank(x) - 2, 0)
    if weight.tensor.numel() > 1:
        low.check_batch_before(x, rank + 1)
    return low.emit(ops.PReLU(weight, rank), [x])


@lowers("aten.embedding.default")
def _embedding(low: Lowerer) -> Value:
    (indices,) = low.values(low.args["indices"])
    return low.emit(ops.Embedding(low.required_weight("weight")), [indices])


@lowers("aten.max_pool1d.default", "aten.max_pool2d.default", "aten.max_pool3d.default")
@lowers("aten.max_pool2d_with_indices.default", "aten.max_pool1d_with_indices.default")
@lowers("aten.avg_pool1d.default", "aten.avg_pool2d.default", "aten.avg_pool3d.default")
def _pool(low: Lowerer) -> Any:
    (x,) = low.values(low.args.get("self", low.args.get("input")))
    if low.args.get("divisor_override"):
        raise CannotLowerError("divisor_override is not supported")
    target = str(low.node.target)
    rank = int(target[target.index("pool") + 4])
    x, shape = _with_channels(low, x, rank)
    kernel = _spread(low.args["kernel_size"], rank)
    out = low.emit(
        ops.Pool(
            kind="max" if "max" in target else "average",
            kernel=kernel,
            stride=_spread(low.args["stride"], rank) if low.args["stride"] else kernel,
            padding=tuple((each, each) for each in _spread(low.args["padding"], rank)),
            dilation=_spread(low.args.get("dilation", 1), rank),
            ceil_mode=low.args["ceil_mode"],
            count_include_pad=low.args.get("count_include_pad", True),
        ),
        [x],
        shape,
    )
    if shape is not None:
        out = low.emit(ops.Reshape(shape[1:]), [out])
    return (out, None) if "with_indices" in target else out


def _with_channels(low: Lowerer, x: Value, rank: int) -> tuple[Value, tuple[int, ...] | None]:
    """A value whose samples have a channel axis, and the shape of the pooled result if one had to be added.

    Pools take (channels, *spatial) without a batch; samples without channels that are given so are pooled rightly.
    """
    if low.batch_position(x) != low.traced_rank(x) - rank - 1 or low.batch_axis(x) is None or len(x.shape) > rank:
        low.check_batch_before(x, rank)
        return x, None
    return low.emit(ops.Reshape((1, *x.shape)), [x], (1, *x.shape), is_call=False), (1, *low.sample_shape(low.result))


@lowers("aten.adaptive_avg_pool1d.default", "aten.adaptive_avg_pool2d.default", "aten.adaptive_avg_pool3d.default")
@lowers("aten.adaptive_max_pool1d.default", "aten.adaptive_max_pool2d.default", "aten.adaptive_max_pool3d.default")
def _adaptive_pool(low: Lowerer) -> Any:
    (x,) = low.values(low.args["self"])
    rank = int(str(low.node.target).partition("pool")[2][0])
    x, shape = _with_channels(low, x, rank)
    wanted = _spread(low.args["output_size"], rank)
    size = x.shape[len(x.shape) - rank :]
    kind = "max" if "max" in str(low.node.target) else "average"
    op: ops.Pool | ops.AdaptivePool
    if all(have % want == 0 for have, want in zip(size, wanted, strict=True)):
        kernel = tuple(have // want for have, want in zip(size, wanted, strict=True))
        op = ops.Pool(kind, kernel, kernel, ((0, 0),) * rank, (1,) * rank)
    else:
        op = ops.AdaptivePool(kind, wanted)
    out = low.emit(op, [x], shape)
    if shape is not None:
        out = low.emit(ops.Reshape(shape[1:]), [out])
    return (out, None) if kind == "max" else out


@lowers(
    "aten.fake_quantize_per_tensor_affine.default",
    "aten.fake_quantize_per_tensor_affine.tensor_qparams",
    "aten.fake_quantize_per_channel_affine.default",
    "aten.fused_moving_avg_obs_fake_quant.default",
    "aten._fake_quantize_learnable_per_tensor_affine.default",
    "aten._fake_quantize_learnable_per_channel_affine.default",
)
def _fake_quantize(low: Lowerer) -> Value:
    (x,) = low.values(low.args["self"])
    switch = low.args.get("fake_quant_on")
    if isinstance(switch, Weight) and not bool(switch.tensor.any()):
        return x
    grid: Any = tuple(low.args.get(name) for name in ("scale", "zero_point", "quant_min", "quant_max"))
    if not all(isinstance(each, (int, float)) for each in grid):
        grid = None
    return low.emit(ops.FakeQuantize(str(low.node.target), grid), [x])


@lowers("aten._fused_moving_avg_obs_fq_helper.default", "aten._fused_moving_avg_obs_fq_helper_functional.default")
def _fused_fake_quantize(low: Lowerer) -> tuple[Value | None, ...]:
    return _fake_quantize(low), None, None, None, None, None


@lowers(MARKER)
def _site(low: Lowerer) -> Value:
    (x,) = low.values(low.args["x"])
    return low.emit(ops.Site(low.args["key"]), [x])
