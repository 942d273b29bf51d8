"""The engine that writes a file's operators down as torch's; the rules, one file a family, register with `reads`.

What is known before the model runs is computed while it is read, so that only what depends on an input becomes calls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.readers.onnx.file import FileModel, FileNode
from mcubench.readers.onnx.tensors import TYPES
from mcubench.readers.program import Program
from mcubench.readers.rules import Rules

__all__ = ["RULES", "At", "Known", "Reading", "Rule", "Value", "aten", "reads"]

aten = torch.ops.aten

_LARGEST = 1 << 28  # elements of a value, for one sample
_FOLDED = 1 << 26  # elements of all that is computed while a file is read
_WORK = 1 << 33  # multiplications of the same

# What may be done with the number of samples, of which it stays a multiple.
_MOVES = {"reshape", "permute", "slice", "select", "index_select", "cat", "split_with_sizes", "to", "mul"}

_PRODUCTS = {"linear", "matmul", "einsum", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
             "conv_transpose3d", "lstm", "gru", "rnn_tanh", "rnn_relu"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor that is known before the model runs.

    Attributes:
        tensor: Its value, on the CPU.
        whole: The tensor that is stored, of which this one is all or a part, in the same memory.
        name: What that one is called.
        counts: Whether some of its elements are multiples of the number of samples in the batch.
    """

    tensor: Tensor
    whole: Tensor
    name: str
    counts: bool = False


Value = fx.Node | Known
Rule = Callable[["At"], Any]

# A rule reads the operator through `At` and returns what stands for its outputs: a value, or a tuple of these with
# ``None`` for those that it does not make.
RULES: Rules[Rule] = Rules()
reads = RULES.of


class Reading:
    """Writes a file into a program."""

    def __init__(self, model: FileModel, program: Program) -> None:
        """A reading of a file into a program."""
        self.model, self.program, self.samples = model, program, program.samples
        self.readers = Counter(name for node in model.nodes for name in node.inputs) + Counter(model.outputs)
        self.makers: dict[str, FileNode] = {name: node for node in model.nodes for name in node.outputs if name}
        self.values: dict[str, Value] = {name: Known(tensor, tensor, name) for name, tensor in model.tensors.items()}
        self.paths = dict(model.tensors)
        self.folded = 0
        self.work = 0

    def write(self, inputs: Sequence[fx.Node]) -> list[fx.Node]:
        """Writes all operators down, and returns the outputs.

        Raises:
            UserError: Of an operator that is not read, or whose arguments do not fit.
        """
        self.values.update(zip((each.name for each in self.model.inputs), inputs, strict=True))
        for node in self.model.nodes:
            at = At(self, node)
            with self.program.at(node.name):
                made = at.run()
            for index, name in enumerate(node.outputs):
                if not name:
                    continue
                found = made[index] if index < len(made) else None
                if found is None and self.readers[name]:
                    at.refuse(f"its output {index} ({name!r}) is not read")
                if found is not None:
                    self.values[name] = found
        return [self.lifted(self.values[name]) for name in self.model.outputs]

    def lifted(self, value: Any) -> Any:
        """What stands for a value in calls: a known tensor is a weight, or a view of one."""
        if not isinstance(value, Known):
            return value
        weight = self.program.weight(self._path(value), value.whole)
        tensor, whole = value.tensor, value.whole
        layout = (tuple(tensor.shape), tensor.stride(), tensor.storage_offset())
        if layout == (tuple(whole.shape), whole.stride(), whole.storage_offset()):
            return weight
        return self.program.call(aten.as_strided.default, weight, *map(_listed, layout))

    def _path(self, value: Known) -> str:
        """What its weight is called: another name than any other tensor's."""
        path = value.name
        while self.paths.setdefault(path, value.whole) is not value.whole:
            path += "'"
        return path


def _listed(found: Any) -> Any:
    return list(found) if isinstance(found, tuple) else found


class At:
    """One operator, for its rule."""

    def __init__(self, reading: Reading, node: FileNode) -> None:
        self.reading, self.node = reading, node
        self._counts = False
        self._made = 0

    @property
    def opset(self) -> int:
        """The operator set of the file."""
        return self.reading.model.opset

    @property
    def attributes(self) -> Any:
        """The operator's attributes, defaults filled in."""
        return self.node.attributes

    def run(self) -> tuple[Value | None, ...]:
        """What stands for the outputs.

        Raises:
            UserError: If the operator is not read, or its arguments do not fit.
        """
        rule = RULES.get(self.node.operator)
        if rule is None:
            self.refuse("the operator is not read")
        try:
            made = rule(self)
        except UserError:
            raise
        except Exception as error:  # whatever an operator says of arguments that do not fit
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            self.refuse(f"its arguments do not fit ({type(error).__name__}: {reason[:200]})")
        return made if isinstance(made, tuple) else (made,)

    def refuse(self, reason: str) -> NoReturn:
        """Says that the operator can't be read.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self.node} can't be read: {reason}")

    # --- what it reads ---

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def value(self, index: int) -> Value:
        """An input that the operator can't do without."""
        if not self.has(index):
            self.refuse(f"its input {index} is left out")
        found = self.reading.values[self.node.inputs[index]]
        if isinstance(found, Known):
            self._counts |= found.counts
        return found

    def optional(self, index: int) -> Value | None:
        """An input that may be left out."""
        return self.value(index) if self.has(index) else None

    def given(self) -> list[Value]:
        """All inputs of an operator that takes any number."""
        return [self.value(index) for index in range(len(self.node.inputs))]

    def known(self, index: int, what: str) -> Tensor:
        """The tensor of an input that has to be known before the model runs; `what` says in errors what it is."""
        found = self.value(index)
        if not isinstance(found, Known):
            self.refuse(f"{what} ({self.node.inputs[index]!r}) must be known before the model runs")
        return found.tensor

    def numbers(self, index: int, what: str) -> list[Any]:
        """Its elements, of a vector or a single one, none of which may be the number of samples.

        Raises:
            UserError: If it is not known, or has more axes.
        """
        tensor = self.known(index, what)
        if self._is_count(index):
            self.refuse(f"{what} depends on how many samples there are")
        if tensor.ndim > 1 or tensor.numel() > 1 << 20:
            self.refuse(f"{what} is no list: it is of shape {tuple(tensor.shape)}")
        return list(tensor.reshape(-1).tolist())

    def number(self, index: int, what: str) -> Any:
        """The only element of an input that is known."""
        found = self.known(index, what).reshape(-1)
        if self._is_count(index) or found.numel() != 1:
            self.refuse(f"{what} is no single number, or depends on how many samples there are")
        return found.item()

    def _is_count(self, index: int) -> bool:
        found = self.reading.values[self.node.inputs[index]]
        return isinstance(found, Known) and found.counts

    def sizes(self, index: int, what: str) -> list[int]:
        """Elements that are sizes for one sample: what is a multiple of the number of samples is divided by it.

        Raises:
            UserError: If they are not known, or something else was made of the number of samples.
        """
        before = self._counts
        tensor = self.known(index, what)
        samples = self.reading.samples
        self._counts = before
        if tensor.ndim > 1 or tensor.numel() > 64 or tensor.is_floating_point():
            self.refuse(f"{what} is no list of sizes: it is of shape {tuple(tensor.shape)}")
        sizes = [int(each) for each in tensor.reshape(-1).tolist()]
        if samples > 1 and self._is_count(index):
            sizes = [each // samples if each > 0 and each % samples == 0 else each for each in sizes]
            if any(each > 0 and each % samples == 0 for each in sizes):
                self.refuse(f"{what} have the number of samples in them twice")
        return sizes

    def axes(self, index: int, what: str = "axes") -> list[int] | None:
        """Numbers that are an attribute, or an input in later operator sets; ``None`` if they are left out."""
        if what in self.attributes:
            return [int(each) for each in self.attributes[what]]
        return [int(each) for each in self.numbers(index, f"its {what}")] if self.has(index) else None

    # --- shapes: with the batch as it is written down, or for one sample ---

    def traced(self, value: Value) -> tuple[int, ...]:
        """Shape with the batch in it."""
        tensor = value.tensor if isinstance(value, Known) else value.meta["val"]
        return tuple(int(size) for size in tensor.shape)

    def shape(self, value: Value) -> tuple[int, ...]:
        """Shape for one sample."""
        return self.traced(value) if isinstance(value, Known) else self.reading.program.shape(value)

    def rank(self, value: Value) -> int:
        """Number of axes."""
        return len(self.traced(value))

    def dtype(self, value: Value) -> torch.dtype:
        """Type of the elements."""
        found: torch.dtype = (value.tensor if isinstance(value, Known) else value.meta["val"]).dtype
        return found

    def count_samples(self, value: Value) -> None:
        """Says that sizes of a value are made numbers of, among which there is that of the samples."""
        self._counts |= isinstance(value, fx.Node) and self.reading.samples > 1

    def is_float(self, value: Value) -> bool:
        """Whether it has fractions."""
        return self.dtype(value).is_floating_point

    def batch_axis(self, value: Value) -> int | None:
        """Where the samples of the batch are, alone or with another axis; ``None`` if there is one sample only."""
        samples = self.reading.samples
        if samples == 1 or isinstance(value, Known):
            return None
        return next((axis for axis, size in enumerate(self.traced(value)) if size and size % samples == 0), None)

    def axis(self, value: Value, axis: int) -> int:
        """An axis from the front.

        Raises:
            UserError: If there is no such one.
        """
        rank = self.rank(value)
        if not -rank <= axis < rank:
            self.refuse(f"there is no axis {axis} in a tensor of {rank} axes")
        return axis % rank

    # --- what it makes ---

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Value:
        """Calls an operator of torch with values and numbers: at once, if all tensors are known."""
        found: Value = self._called(target, args, kwargs)
        return found

    def calls(self, count: int, target: Any, *args: Any) -> list[Value]:
        """The same for one that returns several tensors."""
        found = self._called(target, args, {})
        program = self.reading.program
        return [found[index] if isinstance(found, tuple) else program.item(found, index) for index in range(count)]

    def _called(self, target: Any, args: Any, kwargs: Any) -> Any:
        leaves = pytree.tree_leaves((args, kwargs))
        if not any(isinstance(each, fx.Node) for each in leaves):
            return self._folded(target, args, kwargs)
        if self._counts and any(isinstance(each, Known) and each.counts for each in leaves):
            self.refuse("it computes with the number of samples")
        lifted, named = pytree.tree_map(self.reading.lifted, (args, kwargs))
        found = self.reading.program.call(target, *lifted, **named)
        tensors = found.meta["val"]
        for each in tensors if isinstance(tensors, (tuple, list)) else (tensors,):
            if each.numel() // self.reading.samples > _LARGEST:
                self.refuse(f"it makes a tensor of {each.numel() // self.reading.samples:,} elements")
            if each.dtype not in TYPES.values():
                self.refuse(f"it computes in {str(each.dtype).removeprefix('torch.')}")
        return found

    def constant(self, tensor: Tensor, name: str | None = None) -> Known:
        """A tensor that is made while the file is read."""
        self._made += 1
        first = next(filter(None, self.node.outputs), self.node.name)
        # No two have the same name: they would be one weight.
        named = name or (f"{first}.{self._made}" if self._made > 1 else first)
        return Known(tensor, tensor, named, self._counts and self._is_multiple(tensor))

    def _is_multiple(self, tensor: Tensor) -> bool:
        return bool(((tensor != 0) & (tensor % self.reading.samples == 0)).any())

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """The same elements in the same order; `shape` is that for one sample, and the batch goes along."""
        if isinstance(value, Known):
            return self.call(aten.reshape.default, value, list(shape))
        before = self.shape(value)
        if math.prod(before) != math.prod(shape):
            self.refuse(f"it makes {list(shape)} of {list(before)}")
        wanted, batch = list(shape), self.batch_axis(value)
        if batch is not None:
            wanted[self._batch_after(before, shape, batch)] *= self.reading.samples
        if tuple(wanted) == self.traced(value):
            return value
        return self.call(aten.reshape.default, value, wanted)

    def _batch_after(self, before: Sequence[int], shape: Sequence[int], batch: int) -> int:
        """The axis that the batch is in when a shape has become another: where as many elements are before it."""
        ahead = math.prod(before[:batch])
        fitting = [axis for axis in range(len(shape)) if math.prod(shape[:axis]) == ahead]
        alone = [axis for axis in fitting if shape[axis] == 1 and before[batch] == 1]
        if not fitting:
            self.refuse("it moves elements of one sample between those of others")
        return batch if batch in alone else (alone or fitting[-1:])[0]

    def _folded(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Computes it, after its size."""
        bases = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Known)]

        def given(make: Callable[[Tensor], Tensor]) -> Any:
            return pytree.tree_map(lambda each: make(each.tensor) if isinstance(each, Known) else each, (args, kwargs))

        name, largest = str(target).split(".")[1], max((each.tensor.numel() for each in bases), default=1)
        if self._counts and name not in _MOVES:
            self.refuse("it computes with the number of samples")
        shapes, named = given(lambda tensor: tensor.to("meta"))
        made = [each for each in pytree.tree_leaves(target(*shapes, **named)) if isinstance(each, Tensor)]
        elements = sum(each.numel() for each in made if not each._is_view())
        repeated = sum(each.numel() for each in made if each._is_view() and each.numel() > largest)
        # What is repeated takes no memory by itself, but time where it is looked at.
        self._account(elements + repeated // 16, elements * largest if name in _PRODUCTS else 0)
        tensors, named = given(lambda tensor: tensor)
        with torch.no_grad():
            found = target(*tensors, **named)

        def known(tensor: Tensor) -> Known:
            for base in bases:
                if tensor.numel() and tensor.untyped_storage().data_ptr() == base.whole.untyped_storage().data_ptr():
                    return replace(base, tensor=tensor, counts=self._counts and self._is_multiple(tensor))
            return self.constant(tensor)

        return tuple(known(each) for each in found) if isinstance(found, (tuple, list)) else known(found)

    def _account(self, elements: int, work: int) -> None:
        """Keeps what is computed while a file is read within bounds."""
        self.reading.folded += elements
        self.reading.work += work
        if self.reading.folded > _FOLDED or self.reading.work > _WORK:
            self.refuse("what is known before the model runs is too much to be computed while the file is read")
