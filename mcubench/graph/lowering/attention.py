"""The rule for attention: its two products and the softmax between them are values that a device has to hold."""

from __future__ import annotations

from mcubench.graph import ops
from mcubench.graph.ir import Input, Value
from mcubench.graph.lowering.batch import CannotLowerError
from mcubench.graph.lowering.lowerer import Lowerer, lowers

__all__: list[str] = []


@lowers("aten.scaled_dot_product_attention.default")
def _attention(low: Lowerer) -> Value:
    """softmax(q k^T * scale + mask) v."""
    args = low.args
    if args["enable_gqa"] or args["dropout_p"]:
        raise CannotLowerError("grouped queries and dropout at inference are not supported")
    query, key, value = low.values(args["query"], args["key"], args["value"])
    for each in (query, key, value):
        low.check_batch_before(each, 2)
    if len({len(each.shape) for each in (query, key, value)}) > 1:
        raise CannotLowerError("its heads broadcast")
    rank = len(key.shape)
    axes = (*range(rank - 2), rank - 1, rank - 2)
    scores = (*query.shape[:-1], key.shape[-2])
    turned = low.emit(ops.Permute(axes), [key], tuple(key.shape[axis] for axis in axes), is_call=False)
    found = low.emit(ops.MatMul((Input(0), Input(1))), [query, turned], scores)
    scale = query.shape[-1] ** -0.5 if args["scale"] is None else args["scale"]
    found = low.emit(ops.Elementwise("mul.Tensor", (Input(0), scale)), [found], scores)
    if args["attn_mask"] is not None:
        found = _masked(low, found)
    found = low.emit(ops.Softmax(rank - 1, causal=args["is_causal"]), [found], scores)
    return low.emit(ops.MatMul((Input(0), Input(1))), [found, value])


def _masked(low: Lowerer, scores: Value) -> Value:
    """Adds a mask of numbers; one of booleans keeps what is true."""
    mask = low.args["attn_mask"]
    tensor = mask if isinstance(mask, Value) else mask.tensor
    if tensor.dtype.is_floating_point:
        operands, values = low.operands(scores, mask)
        return low.emit(ops.Elementwise("add.Tensor", operands), values, scores.shape)
    operands, values = low.operands(mask, scores)
    return low.emit(ops.Elementwise("where.ScalarOther", (*operands, float("-inf"))), values, scores.shape)
