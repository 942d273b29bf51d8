"""The tests that the onnx package has for backends: models with inputs, and the outputs that ONNX says they have.

Each is read and computed as read and as deployed, and the outputs are compared; or it is refused. Nearly all give as
inputs what a file has as constants, weights and axes among them; so a test that is refused as it stands is tried with
some of its inputs as constants, too. What is refused in float64 is asked in float32.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcubench.errors import UserError
from mcubench.graph import Graph, deploy, interpret
from mcubench.readers.onnx import read_onnx

__all__ = ["GROUPS", "Case", "Verdict", "cases", "examine"]

GROUPS = ("pytorch-converted", "pytorch-operator", "simple", "node")

TOLERANCE = (1e-4, 1e-5)  # relative, absolute
LOOSE = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}  # whose outputs are written with four digits

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One test; inputs or outputs that are no tensors are ``None``."""

    group: str
    name: str
    model: Any
    inputs: tuple[Array | None, ...]
    outputs: tuple[Array | None, ...]

    @property
    def operator(self) -> str:
        """The operator that is tested; ``several`` if there are more, as of functions that are written out."""
        operators = list(dict.fromkeys(node.op_type for node in self.model.graph.node))
        return operators[0] if len(operators) == 1 else "several"


@dataclass(frozen=True)
class Verdict:
    """What became of a test: ``right``, ``refused`` or ``wrong``, and why."""

    kind: str
    why: str = ""

    @property
    def reason(self) -> str:
        """Why, without names."""
        text = re.sub(r"^.*?can't be read: ", "", self.why).partition(";")[0]
        text = re.sub(r" \('[^']*'\)", "", text)
        return re.sub(r"\b(input|tensor|[A-Z]\w+) '[^']*'", r"\1", text)


@functools.cache
def cases(group: str) -> tuple[Case, ...]:
    """All tests of a group."""
    return tuple(_nodes() if group == "node" else _stored(group))


def _nodes() -> Iterator[Case]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for each in collected:
        for inputs, outputs in each.data_sets if each.model is not None else ():
            yield Case("node", each.name, each.model, tuple(map(_array, inputs)), tuple(map(_array, outputs)))


def _stored(group: str) -> Iterator[Case]:
    import onnx

    for path in sorted((Path(onnx.__path__[0]) / "backend" / "test" / "data" / group).glob("*/model.onnx")):
        model = onnx.load(path)
        for folder in sorted(path.parent.glob("test_data_set_*")):
            inputs, outputs = (
                tuple(_proto(folder / f"{side}_{index}.pb") for index in range(len(list(folder.glob(f"{side}_*.pb")))))
                for side in ("input", "output")
            )
            yield Case(group, path.parent.name, model, inputs, outputs)


def _proto(path: Path) -> Array | None:
    import onnx

    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
        return _array(tensor)
    except Exception:  # a sequence, which is written without saying so
        return None


def _array(given: Any) -> Array | None:
    import onnx

    if isinstance(given, onnx.TensorProto):
        return onnx.numpy_helper.to_array(given)
    return np.asarray(given) if isinstance(given, (np.ndarray, np.generic, int, float)) else None


def examine(case: Case) -> Verdict:
    """Reads and computes a test, as it stands or with inputs as constants; the first form that is read counts."""
    refused = []
    for form in (case, _in_float32(case)):
        for model, kept in _forms(form) if form is not None else ():
            found = _computed(model.SerializeToString(), [form.inputs[index] for index in kept], form)
            if found.kind != "refused":
                return found
            refused.append(found)
    return refused[min(1, len(refused) - 1)]


def _in_float32(case: Case) -> Case | None:
    """A test in float64 with float32 in its place; ``None`` if it is none."""
    import onnx

    kinds = onnx.TensorProto
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    values = [each.type.tensor_type for each in (*model.graph.input, *model.graph.output)]
    attributes = [each for node in model.graph.node for each in node.attribute]
    tensors = [*model.graph.initializer, *(each.t for each in attributes if each.type == each.TENSOR)]
    doubles = [each for each in tensors if each.data_type == kinds.DOUBLE]
    wide = [each for each in values if each.elem_type == kinds.DOUBLE]
    if not doubles and not wide:
        return None
    for tensor in doubles:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in wide:
        value.elem_type = kinds.FLOAT
    inputs, outputs = (tuple(map(_narrow, side)) for side in (case.inputs, case.outputs))
    return replace(case, model=model, inputs=inputs, outputs=outputs)


def _narrow(array: Array | None) -> Array | None:
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if array is not None and array.dtype == np.float64 else array


def _forms(case: Case) -> Iterator[tuple[Any, Sequence[int]]]:
    """The model with the numbers of the inputs that stay."""
    import onnx

    every = range(len(case.inputs))
    yield case.model, every
    known = {each.name for each in case.model.graph.initializer}
    names = [each.name for each in case.model.graph.input if each.name not in known]
    arrays = [each for each in case.inputs if each is not None]
    if len(arrays) != len(case.inputs) or len(names) != len(arrays):
        return
    floats = [index for index in every if arrays[index].dtype.kind == "f"]
    forms = ([0], floats, [index for index in every if index != 1])
    for kept in forms if arrays else ():
        if 0 < len(kept) < len(arrays):
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            for index in sorted(set(every) - set(kept), reverse=True):
                model.graph.initializer.append(onnx.numpy_helper.from_array(arrays[index], names[index]))
                model.graph.input.remove(next(each for each in model.graph.input if each.name == names[index]))
            yield model, kept


def _computed(content: bytes, inputs: Sequence[Array | None], case: Case) -> Verdict:
    try:
        graph = read_onnx(content)
    except UserError as error:
        return Verdict("refused", str(error))
    if unknown := graph.unknown():
        return Verdict("refused", f"{unknown[0].op.label} can't be read: {unknown[0].op.reason}")  # type: ignore[attr-defined]
    tolerance = (1e-3, 1e-5) if case.name in LOOSE else TOLERANCE
    for form, each in (("read", graph), ("deployed", deploy(graph))):
        for found, wanted in zip(_outputs(graph, each, inputs), case.outputs, strict=True):
            if wrong := _different(found, wanted, tolerance):
                return Verdict("wrong", f"{form}: {wrong}")
    return Verdict("right")


def _outputs(graph: Graph, form: Graph, inputs: Sequence[Array | None]) -> list[Tensor]:
    """What a form of a graph computes from one sample, without the axis that samples stand along."""
    given = []
    for array, value, moved in zip(inputs, graph.inputs, form.input_axes_moved or [0] * len(inputs), strict=True):
        x = torch.from_numpy(np.array(array))
        x = x[None] if tuple(x.shape) == value.shape else x
        given.append(x.movedim(-1 - moved, -1) if moved else x)
    made = interpret(form, *given)
    moves = form.output_axes_moved or [0] * len(made)
    return [(y.movedim(-1, -1 - moved) if moved else y)[0] for y, moved in zip(made, moves, strict=True)]


def _different(found: Tensor, wanted: Array | None, tolerance: tuple[float, float]) -> str:
    """What is wrong, if anything."""
    assert wanted is not None
    y = found.numpy()
    if y.shape != wanted.shape:  # the axis of the only sample
        ones = [axis for axis, size in enumerate(wanted.shape) if size == 1]
        wanted = next((cut for axis in ones if (cut := wanted.squeeze(axis)).shape == y.shape), wanted)
    if y.shape != wanted.shape or y.dtype != wanted.dtype:
        return f"{y.shape} of {y.dtype} in place of {wanted.shape} of {wanted.dtype}"
    if np.allclose(y.astype(float), wanted.astype(float), *tolerance, equal_nan=True):
        return ""
    return f"they differ by {np.nanmax(np.abs(y.astype(float) - wanted.astype(float))):.3g}"
