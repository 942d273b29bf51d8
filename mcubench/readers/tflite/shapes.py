"""Shapes that a file computes: sizes are known, so what is made of them alone is computed while it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mcubench.readers.tflite.content import FileOperator, FileTensor

__all__ = ["Known", "computed_ahead", "sliced"]

Known = dict[FileTensor, NDArray[np.int64]]

_Fold = Callable[[FileOperator, list[NDArray[np.int64]]], NDArray[np.int64]]


def computed_ahead(operator: FileOperator, known: Known) -> bool:
    """Computes an operator if all that it reads is known, and keeps what it makes.

    Args:
        operator: The operator.
        known: Numbers by their tensors; those that stand in the file are added.
    """
    for tensor in operator.inputs:
        if tensor is not None and tensor.data is not None and tensor.kind in ("INT32", "INT64"):
            known.setdefault(tensor, tensor.data.astype(np.int64))
    if operator.name == "SHAPE" and operator.inputs and operator.inputs[0] is not None:
        known[operator.outputs[0]] = np.array(operator.inputs[0].shape, np.int64)
        return True
    read = [known.get(tensor) if tensor is not None else None for tensor in operator.inputs]
    fold = _FOLDS.get(operator.name)
    if fold is None or not read or any(each is None for each in read):
        return False
    made = fold(operator, [each for each in read if each is not None])
    if made.shape != operator.outputs[0].shape:
        raise operator.refuse(f"what it computes of shapes has shape {list(made.shape)}")
    known[operator.outputs[0]] = made
    return True


def sliced(
    operator: FileOperator, shape: tuple[int, ...], known: Mapping[FileTensor, NDArray[np.int64]]
) -> tuple[tuple[slice | int, ...], tuple[slice, ...]]:
    """What a STRIDED_SLICE takes of each axis.

    Returns:
        As it stands, with a number for an axis that goes away; and with that axis kept, of length 1.
    """
    begin, end, strides = ([int(each) for each in known[t].reshape(-1)] for t in operator.inputs[1:4] if t is not None)
    options = operator.options
    if options is not None and (options.EllipsisMask() or options.NewAxisMask()):
        raise operator.refuse("it has an ellipsis or a new axis")
    masks = (0, 0, 0) if options is None else (options.BeginMask(), options.EndMask(), options.ShrinkAxisMask())
    if not len(begin) == len(end) == len(strides) <= len(shape):
        raise operator.refuse("its begin, end and strides do not fit its input")
    found: list[slice | int] = []
    kept: list[slice] = []
    for axis, size in enumerate(shape):
        if axis >= len(begin):
            found.append(slice(0, size, 1))
            kept.append(slice(0, size, 1))
            continue
        start, step = begin[axis], strides[axis]
        if step <= 0:
            raise operator.refuse(f"its stride is {step}")
        if masks[2] >> axis & 1:
            place = start + size if start < 0 else start
            if not 0 <= place < size:
                raise operator.refuse(f"it takes place {start} of {size}")
            found.append(place)
            kept.append(slice(place, place + 1, 1))
            continue
        first, last, _ = slice(
            None if masks[0] >> axis & 1 else start, None if masks[1] >> axis & 1 else end[axis], step
        ).indices(size)
        found.append(slice(first, last, step))
        kept.append(slice(first, last, step))
    return tuple(found), tuple(kept)


def _slice(operator: FileOperator, read: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    known = {tensor: value for tensor, value in zip(operator.inputs, read, strict=True) if tensor is not None}
    return np.asarray(read[0][sliced(operator, read[0].shape, known)[0]])


def _pack(operator: FileOperator, read: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.stack(read, 0 if operator.options is None else operator.options.Axis())


def _concatenate(operator: FileOperator, read: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(read, 0 if operator.options is None else operator.options.Axis())


_FOLDS: dict[str, _Fold] = {
    "STRIDED_SLICE": _slice,
    "PACK": _pack,
    "CONCATENATION": _concatenate,
    "MUL": lambda _, read: np.asarray(read[0] * read[1]),
    "ADD": lambda _, read: np.asarray(read[0] + read[1]),
    "REDUCE_PROD": lambda operator, read: np.asarray(
        read[0].prod(tuple(read[1].reshape(-1)), keepdims=bool(operator.options and operator.options.KeepDims()))
    ),
    "RESHAPE": lambda operator, read: read[0].reshape(operator.outputs[0].shape),
    "CAST": lambda _, read: read[0],
}
