"""Rules for what is known before the model runs: constants, shapes, and what is counted from them."""

from __future__ import annotations

import math

import torch

from mcubench.readers.onnx.reading import At, Known, Value, aten, reads
from mcubench.readers.onnx.tensors import TYPES

__all__: list[str] = []


@reads("Constant")
def _constant(at: At) -> Known:
    given = at.attributes
    if len(given) != 1:
        at.refuse("it has no value, or several")
    ((name, value),) = given.items()
    if name == "value":
        return at.constant(value)
    dtype = {"value_float": torch.float32, "value_floats": torch.float32, "value_int": torch.int64,
             "value_ints": torch.int64}.get(name)  # fmt: skip
    if dtype is None:
        at.refuse("it is a text or a sparse tensor")
    return at.constant(torch.tensor(value, dtype=dtype))


@reads("Shape")
def _shape(at: At) -> Known:
    x = at.value(0)
    at.count_samples(x)
    start, end = at.attributes.get("start", 0), at.attributes.get("end")
    return at.constant(torch.tensor(at.traced(x)[start:end], dtype=torch.int64))


@reads("Size")
def _size(at: At) -> Known:
    x = at.value(0)
    at.count_samples(x)
    return at.constant(torch.tensor(math.prod(at.traced(x)), dtype=torch.int64))


@reads("ConstantOfShape")
def _constant_of_shape(at: At) -> Value:
    found = at.attributes.get("value")
    value = torch.zeros(1) if found is None else found
    if value.numel() != 1:
        at.refuse("its value is no single number")
    # It is checked for one sample, and made for all: what it makes meets tensors that have them.
    sizes = at.sizes(0, "its shape")
    shape = at.reading.values[at.node.inputs[0]]
    assert isinstance(shape, Known)
    if min(sizes, default=0) < 0:
        at.refuse(f"it makes a tensor of shape {sizes}")
    whole = [int(each) for each in shape.tensor.reshape(-1).tolist()]
    return at.call(aten.expand.default, at.constant(value.reshape(())), whole)


@reads("Range")
def _range(at: At) -> Known:
    start, limit, step = (at.number(index, "a bound or step") for index in range(3))
    if step == 0 or not all(map(math.isfinite, (start, limit, step))):
        at.refuse(f"there is no range from {start} to {limit} by {step}")
    count = max(math.ceil((limit - start) / step), 0)
    if count > 1 << 24:
        at.refuse(f"it makes {count:,} numbers")
    dtype = at.dtype(at.value(0))
    numbers = torch.arange(count, dtype=torch.float64 if dtype.is_floating_point else torch.int64)
    return at.constant((numbers * step + start).to(dtype))


@reads("NonZero")
def _non_zero(at: At) -> Known:
    return at.constant(at.known(0, "what it counts").nonzero().T.contiguous())


@reads("EyeLike")
def _eye(at: At) -> Known:
    x = at.value(0)
    kinds = {1: "FLOAT", 2: "UINT8", 3: "INT8", 5: "INT16", 6: "INT32", 7: "INT64", 9: "BOOL"}
    kind = at.attributes.get("dtype")
    if at.rank(x) != 2 or (kind is not None and kind not in kinds) or max(at.shape(x)) > 1 << 12:
        at.refuse("it makes no matrix, a large one, or one of a type that is not read")
    if isinstance(x, torch.fx.Node) and at.reading.samples > 1:
        at.refuse("it makes something of the number of samples")
    rows, columns = at.shape(x)
    dtype = at.dtype(x) if kind is None else TYPES[kinds[kind]]
    shifted = torch.arange(columns)[None] - torch.arange(rows)[:, None]
    return at.constant((shifted == at.attributes["k"]).to(dtype))


@reads("OneHot")
def _one_hot(at: At) -> Value:
    indices, depth = at.value(0), at.number(1, "its depth")
    values = at.known(2, "its values")
    axis, rank = at.attributes["axis"], at.rank(indices) + 1
    if values.numel() != 2 or not 0 < depth <= 1 << 16 or depth != int(depth) or not -rank <= axis < rank:
        at.refuse("its values, its depth or its axis are out of range")
    axis, depth = axis % rank, int(depth)
    shape = at.shape(indices)
    places = at.constant(torch.arange(depth).to(at.dtype(indices)).reshape(-1, *(1,) * (rank - 1 - axis)))
    wide = at.reshaped(indices, (*shape[:axis], 1, *shape[axis:]))
    positive = at.call(aten.where.self, at.call(aten.lt.Scalar, wide, 0), at.call(aten.add.Tensor, wide, depth), wide)
    off, on = (at.constant(each.clone()) for each in values.reshape(-1))
    return at.call(aten.where.self, at.call(aten.eq.Tensor, positive, places), on, off)


@reads("Trilu")
def _trilu(at: At) -> Value:
    x, offset = at.value(0), int(at.number(1, "its diagonal")) if at.has(1) else 0
    if at.rank(x) < 2 or max(at.shape(x)[-2:]) > 1 << 12:
        at.refuse("it takes no matrices, or large ones")
    rows, columns = at.shape(x)[-2:]
    shifted = torch.arange(columns)[None] - torch.arange(rows)[:, None]
    mask = at.constant(shifted >= offset if at.attributes["upper"] else shifted <= offset)
    zero = at.constant(torch.zeros((), dtype=at.dtype(x)))
    return at.call(aten.where.self, mask, x, zero)
