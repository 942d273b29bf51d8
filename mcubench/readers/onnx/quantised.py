"""Rules for quantised tensors: rounding between floats is fake quantisation, codes of constants become floats."""

from __future__ import annotations

import torch

from mcubench.readers.onnx.elementwise import cast, clamped
from mcubench.readers.onnx.layers import convolved, product
from mcubench.readers.onnx.reading import At, Known, Value, aten, reads

__all__: list[str] = []

_CODES = (torch.uint8, torch.int8, torch.int16, torch.int32)


def _by_channel(at: At, parameter: Value, x: Value, axis: int) -> Value:
    """A scale or zero point that broadcasts: one for all, one for each along an axis, or one for each block of it."""
    shape = at.shape(parameter)
    if shape in ((), (1,)):
        return at.reshaped(parameter, ())
    axis = at.axis(x, axis)
    if len(shape) == 1 and shape[0] == at.shape(x)[axis]:
        return at.reshaped(parameter, (shape[0], *(1,) * (at.rank(x) - axis - 1)))
    block = at.attributes.get("block_size", 0)
    wanted = [size if place != axis else -(-size // block) for place, size in enumerate(at.shape(x))] if block else []
    if block < 1 or list(shape) != wanted:
        at.refuse(f"it has scales of shape {shape} for a tensor of shape {at.shape(x)}")
    repeated = at.call(aten.repeat_interleave.self_int, parameter, block, axis)
    return at.call(aten.slice.Tensor, repeated, axis, 0, at.shape(x)[axis])


def _dequantised(at: At, codes: Value, scale: Value, zero_point: Value | None, axis: int) -> Value:
    """(codes - zero point) * scale."""
    if at.dtype(scale) != torch.float32 or at.dtype(codes) not in _CODES:
        at.refuse("its scale is not in float32, or its codes are of a type that is not read")
    wide = cast(at, codes, torch.float32)
    if zero_point is not None and not (isinstance(zero_point, Known) and not zero_point.tensor.any()):
        shift = cast(at, _by_channel(at, zero_point, codes, axis), torch.float32)
        wide = at.call(aten.sub.Tensor, wide, shift)
    return at.call(aten.mul.Tensor, wide, _by_channel(at, scale, codes, axis))


def _quantised(at: At, x: Value, scale: Value, zero_point: Value | None, axis: int, dtype: torch.dtype) -> Value:
    """round(x / scale) + zero point, within the range of the type."""
    if at.dtype(scale) != torch.float32 or at.dtype(x) != torch.float32 or dtype not in _CODES[:3]:
        at.refuse("its scale or input is not in float32, or its codes are of a type that is not read")
    codes = at.call(aten.round.default, at.call(aten.div.Tensor, x, _by_channel(at, scale, x, axis)))
    if zero_point is not None and not (isinstance(zero_point, Known) and not zero_point.tensor.any()):
        codes = at.call(aten.add.Tensor, codes, cast(at, _by_channel(at, zero_point, x, axis), torch.float32))
    info = torch.iinfo(dtype)
    return cast(at, clamped(at, codes, float(info.min), float(info.max)), dtype)


@reads("QuantizeLinear")
def _quantize(at: At) -> Value:
    x, scale, zero_point = at.value(0), at.value(1), at.optional(2)
    given = at.attributes
    if given.get("precision") or given.get("output_dtype", 0) not in (0, 2, 3, 5):
        at.refuse("its precision or output_dtype is not read")
    named = {2: torch.uint8, 3: torch.int8, 5: torch.int16}.get(given.get("output_dtype", 0), torch.uint8)
    dtype = named if zero_point is None else at.dtype(zero_point)
    return _quantised(at, x, scale, zero_point, given.get("axis", 1), dtype)


@reads("DequantizeLinear")
def _dequantize(at: At) -> Value:
    codes, scale, zero_point = at.value(0), at.value(1), at.optional(2)
    if at.attributes.get("output_dtype"):
        at.refuse("its output_dtype is not read")
    before = at.reading.makers.get(at.node.inputs[0])
    if isinstance(codes, torch.fx.Node) and before is not None and before.operator == "QuantizeLinear":
        rounded = _fake_quantised(at, before.inputs, at.dtype(codes))
        if rounded is not None:
            return rounded
    return _dequantised(at, codes, scale, zero_point, at.attributes.get("axis", 1))


def _fake_quantised(at: At, quantize: tuple[str, ...], dtype: torch.dtype) -> Value | None:
    """What is rounded and read back by one scale and zero point, if it is."""
    values = at.reading.values
    pairs = [[values[name] for name in names[1:3] if name] for names in (quantize, at.node.inputs)]
    flat = [[each.tensor.reshape(-1) for each in pair if isinstance(each, Known)] for pair in pairs]
    counts = {len(each) for each in pairs} | {len(each) for each in flat}
    if len(counts) > 1 or any(each.numel() != 1 for pair in flat for each in pair):
        return None
    if not all(torch.equal(one, other) for one, other in zip(*flat, strict=True)):
        return None
    scale, zero_point = float(flat[0][0]), int(flat[0][1]) if len(flat[0]) > 1 else 0
    info, x = torch.iinfo(dtype), values[quantize[0]]
    if isinstance(x, Known) or scale <= 0:
        return None
    if zero_point == info.min and not _is_positive(x):  # what it cuts off is a ReLU that was left out
        high = scale * (info.max - zero_point)
        relu = aten.relu6.default if abs(high - 6) < 1e-4 else aten.relu.default
        x = at.call(relu, x)
    return at.call(aten.fake_quantize_per_tensor_affine.default, x, scale, zero_point, info.min, info.max)


_POSITIVE = {"relu", "relu6", "sigmoid", "softmax", "hardsigmoid"}
_KEEPING = {"max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
            "reshape", "permute", "mean", "slice", "fake_quantize_per_tensor_affine"}  # fmt: skip


def _is_positive(x: torch.fx.Node) -> bool:
    """Whether nothing in it is below zero, as far as that is seen at once."""
    while True:
        name = str(x.target).split(".")[1] if "." in str(x.target) else ""
        if name in _POSITIVE:
            return True
        if name not in _KEEPING or not isinstance(x.args[0], torch.fx.Node):
            return False
        x = x.args[0]


def _shifted(at: At, codes: Value, zero_point: Value | None, axis: int) -> Value:
    """Codes without their zero point, as int32."""
    wide = cast(at, codes, torch.int32)
    if zero_point is None or (isinstance(zero_point, Known) and not zero_point.tensor.any()):
        return wide
    shift = cast(at, _by_channel(at, zero_point, codes, axis), torch.int32)
    return at.call(aten.sub.Tensor, wide, shift)


@reads("ConvInteger")
def _conv_integer(at: At) -> Value:
    return convolved(at, *_operands(at, 0, 1, 2, 3, 0), None)


@reads("MatMulInteger")
def _matmul_integer(at: At) -> Value:
    return product(at, *_operands(at, 0, 1, 2, 3, -1))


def _operands(at: At, left: int, right: int, left_zero: int, right_zero: int, axis: int) -> tuple[Value, Value]:
    """Two operands without their zero points, in types that say how large they may be."""
    found = []
    for index, zero, along in ((left, left_zero, -2), (right, right_zero, axis)):
        codes, zero_point = at.value(index), at.optional(zero)
        if at.dtype(codes) not in (torch.uint8, torch.int8):
            at.refuse("its codes are not of 8 bits")
        none = zero_point is None or (isinstance(zero_point, Known) and not zero_point.tensor.any())
        shifted = codes if none else _shifted(at, codes, zero_point, along)
        if not isinstance(shifted, Known) and not none:
            shifted = cast(at, shifted, torch.int16)  # it holds all differences of codes of 8 bits
        found.append(shifted)
    return found[0], found[1]


@reads("QLinearConv", "QLinearMatMul")
def _qlinear(at: At) -> Value:
    """The integers' sum, rescaled to the codes of the output."""
    conv = at.node.operator == "QLinearConv"
    left, right = _operands(at, 0, 3, 2, 5, 0 if conv else -1)
    scales = [at.value(index) for index in (1, 4, 6)]
    if any(at.dtype(each) != torch.float32 for each in scales) or any(at.rank(each) > 1 for each in scales):
        at.refuse("its scales are not in float32, or of several axes")
    bias = at.optional(8) if conv else None
    total = convolved(at, left, right, None) if conv else product(at, left, right)
    axis = 1 if conv else -1
    if bias is not None:
        total = at.call(aten.add.Tensor, total, _by_channel(at, bias, total, axis))
    factor = at.call(aten.div.Tensor, at.call(aten.mul.Tensor, scales[0], scales[1]), scales[2])
    wide = at.call(aten.mul.Tensor, cast(at, total, torch.float32), _by_channel(at, factor, total, axis))
    zero_point = at.value(7)
    one = at.constant(torch.ones(()))
    return _quantised(at, wide, one, zero_point, axis, at.dtype(zero_point))
