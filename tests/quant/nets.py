"""Nets of a layer or two: between them they have every kernel, and most of the ways to write what it computes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.graph.compare import Forward

__all__ = ["BEHIND", "NETS"]

IMAGE, VECTOR, SIGNAL, TOKENS = (4, 7, 6), (12,), (4, 9), (7, 12)

Net = tuple[Callable[[], nn.Module], tuple[int, ...], str]

LOOKED_UP = "QUANTIZE GATHER"


def behind(f: Callable[[Tensor], Tensor], operators: str) -> Net:
    """A function of an image that a convolution makes."""
    return lambda: Forward(lambda conv, x: f(conv(x)), nn.Conv2d(4, 5, 1)), IMAGE, f"CONV_2D {operators}"


def _scores(both: Tensor) -> Tensor:
    """Of queries and keys that are one tensor of five axes, from the second place on."""
    queries, keys = both[:, :, :, 1:].unbind()
    return queries @ keys.mT


# A net, the shape of a sample, and the operators that it must become.
NETS: dict[str, Net] = {
    "dense": (lambda: nn.Linear(12, 5), VECTOR, "FULLY_CONNECTED"),
    "dense, one output": (lambda: nn.Sequential(nn.Linear(12, 1), nn.ReLU()), VECTOR, "FULLY_CONNECTED"),
    "dense, no bias": (lambda: nn.Linear(12, 5, bias=False), VECTOR, "FULLY_CONNECTED"),
    "dense, relu6": (lambda: nn.Sequential(nn.Linear(12, 5), nn.ReLU6()), VECTOR, "FULLY_CONNECTED"),
    "dense on steps": (lambda: nn.Linear(9, 5), SIGNAL, "CONV_2D"),
    "convolution": (lambda: nn.Conv2d(4, 5, 3), IMAGE, "CONV_2D"),
    "convolution, no bias": (lambda: nn.Conv2d(4, 5, 3, bias=False), IMAGE, "CONV_2D"),
    "convolution, same": (lambda: nn.Conv2d(4, 5, 3, padding=1), IMAGE, "CONV_2D"),
    "convolution, stride": (lambda: nn.Conv2d(4, 5, 3, (2, 1)), IMAGE, "CONV_2D"),
    "convolution, stride 2 of 6 padded by 1": (lambda: nn.Conv2d(4, 5, 3, 2, 1), IMAGE, "PAD CONV_2D"),
    "convolution, dilated": (lambda: nn.Conv2d(4, 5, 2, dilation=2), IMAGE, "CONV_2D"),
    "convolution, groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), IMAGE, "CONV_2D"),
    "convolution of a signal": (lambda: nn.Conv1d(4, 5, 3, padding=1), SIGNAL, "CONV_2D"),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), IMAGE, "DEPTHWISE_CONV_2D"),
    "depthwise, two each": (lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), IMAGE, "DEPTHWISE_CONV_2D"),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 3, 2), IMAGE, "TRANSPOSE_CONV"),
    "transposed, relu": (lambda: nn.Sequential(nn.ConvTranspose1d(4, 3, 2, 2), nn.ReLU()), SIGNAL, "TRANSPOSE_CONV"),
    "transposed, hard tanh on a grid that reaches above 1": (
        lambda: Forward(
            lambda c, d, x: torch.cat([F.hardtanh(9 * c(x)), d(x)], 1), *(nn.ConvTranspose2d(4, 2, 2) for _ in "cd")
        ),
        IMAGE,
        "TRANSPOSE_CONV ADD CONCATENATION",
    ),
    "batch norm alone": (
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)), IMAGE, "DEPTHWISE_CONV_2D CONV_2D"
    ),
    "max-pool": (lambda: nn.MaxPool2d(2), IMAGE, "MAX_POOL_2D"),
    "max-pool, padded": (lambda: nn.MaxPool2d(3, 2, 1), IMAGE, "PADV2 MAX_POOL_2D"),
    "average": (lambda: nn.AvgPool2d(2), IMAGE, "AVERAGE_POOL_2D"),
    "average, zeros counted": (lambda: nn.AvgPool2d(3, 1, 1), IMAGE, "PAD AVERAGE_POOL_2D"),
    "average, zeros not counted": (
        lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), IMAGE, "AVERAGE_POOL_2D"
    ),
    "mean over positions": (
        lambda: Forward(lambda conv, x: conv(x).mean((2, 3)), nn.Conv2d(4, 5, 1)),
        IMAGE,
        "CONV_2D AVERAGE_POOL_2D RESHAPE"
    ),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((1, 2)), IMAGE, "AVERAGE_POOL_2D"),
    "sum": (lambda: Forward(lambda conv, x: x + conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D ADD"),
    "sum, relu": (lambda: Forward(lambda conv, x: F.relu(conv(x) + x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D ADD"),
    "difference": (lambda: Forward(lambda conv, x: x - conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D SUB"),
    "from a number": (lambda: Forward(lambda x: 2 - x), IMAGE, "SUB"),
    "quotient by a number": (lambda: Forward(lambda x: x / 3), IMAGE, "MUL"),
    "product": (lambda: Forward(lambda conv, x: x * conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D MUL"),
    "gate by channel": (
        lambda: Forward(lambda conv, x: x * conv(F.adaptive_avg_pool2d(x, 1)).sigmoid(), nn.Conv2d(4, 4, 1)),
        IMAGE,
        "AVERAGE_POOL_2D CONV_2D LOGISTIC MUL",
    ),
    "concatenation": (
        lambda: Forward(lambda conv, x: torch.cat([x, conv(x)], 1), nn.Conv2d(4, 2, 1)), IMAGE, "CONV_2D CONCATENATION"
    ),
    "concatenation with a fixed grid": (
        lambda: Forward(lambda conv, x: torch.cat([x, conv(x).tanh()], 1), nn.Conv2d(4, 2, 1)),
        IMAGE,
        "CONV_2D TANH QUANTIZE CONCATENATION",
    ),
    "relu alone": (lambda: Forward(lambda conv, x: F.relu(x) + conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "RELU CONV_2D ADD"),
    "relu6 alone": (
        lambda: Forward(lambda conv, x: F.relu6(x) + conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "RELU6 CONV_2D ADD"
    ),
    "softmax": (lambda: nn.Sequential(nn.Linear(12, 9), nn.Softmax(1)), VECTOR, "FULLY_CONNECTED SOFTMAX"),
    "softmax of channels": (lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.Softmax(1)), IMAGE, "CONV_2D SOFTMAX"),
    "padding": (lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.MaxPool2d(2)), IMAGE, "PAD MAX_POOL_2D"),
    "slice": (
        lambda: Forward(lambda conv, x: conv(x)[:, 1:3, ::2], nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D STRIDED_SLICE"
    ),
    "last step": (
        lambda: Forward(lambda conv, linear, x: linear(conv(x)[:, :, -1]), nn.Conv1d(4, 6, 3), nn.Linear(6, 2)),
        SIGNAL,
        "CONV_2D STRIDED_SLICE RESHAPE FULLY_CONNECTED",
    ),
    "transposition": (
        lambda: Forward(lambda one, two, x: two(one(x).transpose(1, 2)), nn.Linear(9, 3), nn.Linear(4, 5)),
        SIGNAL,
        "CONV_2D TRANSPOSE CONV_2D"
    ),
    "transposed input": (  # supplied so
        lambda: Forward(lambda linear, x: linear(x.transpose(1, 2)), nn.Linear(4, 5)), SIGNAL, "CONV_2D"
    ),
    "one layer twice": (
        lambda: Forward(lambda conv, x: conv(F.relu(conv(x))), nn.Conv2d(4, 4, 3, padding=1)), IMAGE, "CONV_2D"
    ),
    "batch norm of features": (
        lambda: nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)),
        VECTOR,
        "FULLY_CONNECTED RESHAPE DEPTHWISE_CONV_2D",
    ),
    "transposed, padded": (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), IMAGE, "TRANSPOSE_CONV STRIDED_SLICE"),
    "transposed, padded, more than there is": (
        lambda: nn.ConvTranspose2d(4, 3, 2, 3, 1, 2), IMAGE, "TRANSPOSE_CONV STRIDED_SLICE"
    ),
    "transposed signal, padded": (lambda: nn.ConvTranspose1d(4, 3, 4, 2, 1), SIGNAL, "TRANSPOSE_CONV STRIDED_SLICE"),
    "transposed, padded, hard tanh": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 3, 3, 2, (1, 0), (1, 0)), nn.Hardtanh()),
        IMAGE,
        "TRANSPOSE_CONV STRIDED_SLICE",
    ),
}  # fmt: skip

# What stands behind a layer of 8 bits, and does not depend on the width of its weights.
BEHIND: dict[str, Net] = {
    "log-softmax": (lambda: nn.Sequential(nn.Linear(12, 9), nn.LogSoftmax(1)), VECTOR, "FULLY_CONNECTED LOG_SOFTMAX"),
    "log-softmax of many": (
        lambda: nn.Sequential(nn.Linear(12, 300), nn.LogSoftmax(1)), VECTOR, "FULLY_CONNECTED LOG_SOFTMAX"
    ),
    "log-softmax of channels": behind(lambda t: F.log_softmax(t, 1), "LOG_SOFTMAX"),
    "silu": behind(F.silu, LOOKED_UP),
    "silu, written out": behind(lambda t: t * torch.sigmoid(t), LOOKED_UP),
    "hard sigmoid": behind(F.hardsigmoid, LOOKED_UP),
    "hard swish, written out": behind(lambda t: t * F.relu6(t + 3) / 6, "HARD_SWISH"),
    "gelu": behind(F.gelu, LOOKED_UP),
    "mish": behind(F.mish, LOOKED_UP),
    "elu": behind(F.elu, LOOKED_UP),
    "softplus": behind(F.softplus, LOOKED_UP),
    "leaky relu": behind(F.leaky_relu, "LEAKY_RELU"),
    "absolute": behind(torch.abs, "ABS"),
    "negative": behind(torch.neg, LOOKED_UP),
    "root of the absolute": behind(lambda t: t.abs().sqrt(), LOOKED_UP),
    "step, as a spiking net has it": behind(lambda t: (t > 0.1).float(), LOOKED_UP),
    "clamp to both sides": behind(lambda t: (t + t.flip(2)).clamp(-0.3, 0.7), "GATHER ADD"),
    "clamp of what others read": behind(lambda t: t.flip(2) * t.clamp(-0.3, 0.4), "GATHER MAXIMUM MINIMUM MUL"),
    "larger of two": behind(lambda t: torch.maximum(t, t.flip(3)), "GATHER QUANTIZE MAXIMUM"),
    "smaller of two": behind(lambda t: torch.minimum(t, t.flip(3)), "GATHER QUANTIZE MINIMUM"),
    "prelu": (lambda: nn.Sequential(nn.Conv2d(4, 5, 1), nn.PReLU(5)), IMAGE, "CONV_2D PRELU"),
    "prelu of nothing negative": (
        lambda: nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.PReLU(5)),
        IMAGE,
        "CONV_2D PRELU",
    ),
    "prelu, one slope": (lambda: nn.Sequential(nn.Conv2d(4, 5, 1), nn.PReLU()), IMAGE, "CONV_2D PRELU"),
    "prelu of a vector": (lambda: nn.Sequential(nn.Linear(12, 5), nn.PReLU(5)), VECTOR, "FULLY_CONNECTED PRELU"),
    "softmax over rows": behind(lambda t: t.softmax(2), "TRANSPOSE RESHAPE SOFTMAX"),
    "softmax over groups": behind(
        lambda t: t[:, :4].unflatten(1, (2, 2)).softmax(1).flatten(1, 2),
        "STRIDED_SLICE TRANSPOSE RESHAPE SOFTMAX",
    ),
    "softmax over groups of a row": behind(
        lambda t: t[:, :4].mean((2, 3)).view(-1, 2, 1, 2).softmax(1),
        "STRIDED_SLICE AVERAGE_POOL_2D RESHAPE TRANSPOSE SOFTMAX",
    ),
    "a choice of two branches": behind(
        lambda t: (t[:, :4].unflatten(1, (2, 2)) * t[:, 1:].mean((2, 3)).view(-1, 2, 2, 1, 1).softmax(1)).sum(1),
        "STRIDED_SLICE TRANSPOSE RESHAPE AVERAGE_POOL_2D SOFTMAX MUL SUM",
    ),
    # --- reductions ---
    "maximum over positions": behind(lambda t: t.amax((2, 3)), "MAX_POOL_2D RESHAPE"),
    "maximum over channels": behind(lambda t: t.amax(1, keepdim=True), "TRANSPOSE RESHAPE MAX_POOL_2D"),
    "mean in steps": behind(lambda t: t.mean(3).mean(2), "AVERAGE_POOL_2D RESHAPE"),
    "mean of what is flattened": behind(lambda t: t.flatten(2).mean(2), "AVERAGE_POOL_2D RESHAPE"),
    "mean over a row": behind(lambda t: t.mean(3), "TRANSPOSE RESHAPE AVERAGE_POOL_2D"),
    "mean of a vector": (
        lambda: Forward(lambda linear, x: linear(x).mean(1, keepdim=True), nn.Linear(12, 5)),
        VECTOR,
        "FULLY_CONNECTED RESHAPE AVERAGE_POOL_2D",
    ),
    "sum over positions": behind(lambda t: t.sum((2, 3)), "SUM RESHAPE"),
    "sum over channels": behind(lambda t: t.sum(1), "TRANSPOSE RESHAPE SUM"),
    "sum of all": behind(lambda t: t.sum((1, 2, 3)), "RESHAPE SUM"),
    "uneven windows": behind(lambda t: F.adaptive_avg_pool2d(t, 3), "STRIDED_SLICE AVERAGE_POOL_2D CONCATENATION"),
    "uneven windows, maxima": behind(
        lambda t: F.adaptive_max_pool2d(t, (4, 4)), "STRIDED_SLICE MAX_POOL_2D CONCATENATION"
    ),
    "average without its padding": behind(
        lambda t: F.avg_pool2d(t, 3, 2, 1, count_include_pad=False), "STRIDED_SLICE AVERAGE_POOL_2D CONCATENATION"
    ),
    # --- moves ---
    "nearest": behind(lambda t: F.interpolate(t, scale_factor=2), "GATHER"),
    "nearest, exact": behind(lambda t: F.interpolate(t, size=(10, 11), mode="nearest-exact"), "GATHER"),
    "bilinear": behind(lambda t: F.interpolate(t, scale_factor=2, mode="bilinear"), "RESIZE_BILINEAR"),
    "bilinear, corners": behind(
        lambda t: F.interpolate(t, size=(9, 13), mode="bilinear", align_corners=True), "RESIZE_BILINEAR"
    ),
    "bilinear, smaller": behind(lambda t: F.interpolate(t, size=(3, 4), mode="bilinear"), "RESIZE_BILINEAR"),
    "linear": (
        lambda: Forward(lambda conv, x: F.interpolate(conv(x), scale_factor=2, mode="linear"), nn.Conv1d(4, 5, 1)),
        SIGNAL,
        "CONV_2D RESIZE_BILINEAR",
    ),
    "reflected": behind(lambda t: F.pad(t, (1, 2, 2, 1), mode="reflect"), "GATHER"),
    "replicated": behind(lambda t: F.pad(t, (1, 2, 2, 1), mode="replicate"), "GATHER"),
    "padded with a number": behind(lambda t: F.pad(t, (1, 2, 2, 1), value=1.5), "PADV2"),
    "repeated": behind(lambda t: t.repeat(1, 2, 1, 2), "GATHER"),
    "channels chosen": behind(lambda t: t[:, [0, 2, 1]], "GATHER"),
    "channels shuffled": behind(lambda t: F.channel_shuffle(t[:, :4], 2), "STRIDED_SLICE GATHER"),
    "pixels shuffled": behind(lambda t: F.pixel_shuffle(t[:, :4], 2), "STRIDED_SLICE TRANSPOSE RESHAPE"),
    "five axes": behind(
        lambda t: t[:, :4].reshape(-1, 2, 2, 7, 6).permute(0, 3, 1, 4, 2).flatten(1), "STRIDED_SLICE TRANSPOSE RESHAPE"
    ),
    "a dozen parts": behind(lambda t: torch.cat([t] * 12, 1), "CONCATENATION"),
    # --- products of computed values, norms, what transformers are made of ---
    "rows times rows": (
        lambda: Forward(lambda dense, x: dense(x) @ x.mT, nn.Linear(12, 12)), TOKENS, "CONV_2D BATCH_MATMUL"
    ),
    "columns times columns": (
        lambda: Forward(lambda dense, x: x.mT @ dense(x), nn.Linear(12, 5)), TOKENS, "CONV_2D BATCH_MATMUL"
    ),
    "a constant times columns": (
        lambda: Forward(lambda dense, x: dense.weight @ x, nn.Linear(7, 5)), TOKENS, "BATCH_MATMUL"
    ),
    "rows weighed by their scores": (
        lambda: Forward(lambda score, x: (score(x).mT.softmax(2) @ x).squeeze(1), nn.Linear(12, 1)),
        TOKENS,
        "CONV_2D RESHAPE SOFTMAX BATCH_MATMUL",
    ),
    "a matrix times a vector": behind(
        lambda t: (t[:, 0] @ t[:, 1].mean(1)[..., None])[..., 0],
        "STRIDED_SLICE RESHAPE AVERAGE_POOL_2D BATCH_MATMUL",
    ),
    "attention": (
        lambda: Forward(
            lambda q, k, v, x: F.scaled_dot_product_attention(q(x), k(x), v(x)), *(nn.Linear(12, 8) for _ in "qkv")
        ),
        TOKENS,
        "CONV_2D BATCH_MATMUL MUL SOFTMAX",
    ),
    "attention with a bias for each place": (
        lambda: Forward(
            lambda q, bias, x: F.scaled_dot_product_attention(q(x), x, x, bias.weight),
            *(nn.Linear(12, 12), nn.Linear(7, 7)),
        ),
        TOKENS,
        "CONV_2D BATCH_MATMUL MUL ADD SOFTMAX",
    ),
    "attention of two heads": (
        lambda: Forward(lambda a, x: a(x, x, x)[0], nn.MultiheadAttention(12, 2, batch_first=True)),
        TOKENS,
        "CONV_2D RESHAPE TRANSPOSE STRIDED_SLICE MUL BATCH_MATMUL SOFTMAX",
    ),
    "scores of what stands side by side": (
        lambda: Forward(lambda qk, x: _scores(qk(x).view(-1, 7, 2, 3, 4).permute(2, 0, 3, 1, 4)), nn.Linear(12, 24)),
        TOKENS,
        "CONV_2D RESHAPE TRANSPOSE STRIDED_SLICE BATCH_MATMUL",
    ),
    "layer norm": (lambda: nn.LayerNorm(12), TOKENS, "MEAN SUB L2_NORMALIZATION DEPTHWISE_CONV_2D"),
    "layer norm of a vector": (
        lambda: nn.Sequential(nn.Linear(12, 9), nn.LayerNorm(9, elementwise_affine=False)),
        VECTOR,
        "FULLY_CONNECTED MEAN SUB L2_NORMALIZATION RESHAPE DEPTHWISE_CONV_2D",
    ),
    "layer norm of channels": behind(
        lambda t: F.layer_norm(t.movedim(1, 3), (5,)), "MEAN SUB L2_NORMALIZATION DEPTHWISE_CONV_2D"
    ),
    "layer norm of small values": (
        lambda: Forward(lambda norm, x: norm(x / 300), nn.LayerNorm(12)),
        TOKENS,
        "MUL MEAN SUB PADV2 L2_NORMALIZATION STRIDED_SLICE DEPTHWISE_CONV_2D",
    ),
    "root mean square norm": (
        lambda: nn.Sequential(nn.RMSNorm(12), nn.ReLU()), TOKENS, "L2_NORMALIZATION DEPTHWISE_CONV_2D RELU"
    ),
    "an encoder": (
        lambda: nn.TransformerEncoderLayer(12, 1, 16, activation="gelu", batch_first=True, norm_first=True),
        TOKENS,
        "MEAN SUB L2_NORMALIZATION DEPTHWISE_CONV_2D CONV_2D RESHAPE TRANSPOSE STRIDED_SLICE BATCH_MATMUL MUL SOFTMAX "
        "ADD QUANTIZE GATHER",
    ),
}  # fmt: skip
