"""The engine that turns traced operator calls into nodes; the rules, one file a family, register with `lowers`."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from mcubench.errors import TraceError
from mcubench.graph import ops
from mcubench.graph.capture import Captured
from mcubench.graph.ir import Call, Graph, Input, Node, Op, Operand, TensorShape, Unknown, Value, Weight, reaching
from mcubench.graph.lowering.batch import SAME_OF_ONE, AcrossSamplesError, Batch, CannotLowerError
from mcubench.graph.lowering.calls import flatten, is_tagged, path_of, results_of, target_of
from mcubench.graph.lowering.constants import Constants

__all__ = ["MARKER", "RULES", "Lowerer", "Rule", "lowers"]

# The identity that marks a result with the call that made it (`mcubench.quant.training.sites`).
MARKER = "mcubench.site.default"

Rule = Callable[["Lowerer"], Any]

RULES: dict[str, Rule] = {}


def lowers(*targets: str) -> Callable[[Rule], Rule]:
    """Registers a rule for operators by their full names, as in ``aten.conv2d.default``.

    The rule reads the call through the `Lowerer` and returns what stands for its result: a `Value` (new, from `emit`,
    or one that was there), a `Weight`, or a tuple of these.
    """

    def register(rule: Rule) -> Rule:
        for target in targets:
            RULES[target] = rule
        return rule

    return register


@dataclass(frozen=True)
class _Missing:
    """Stands for a result that is no value: a number that was computed, or the indices of a pool.

    Attributes:
        target: The operator that returned it.
        reason: Why there is no value.
    """

    target: str
    reason: str


class Lowerer:
    """Walks through the traced calls and builds the graph.

    While a rule runs, ``args`` holds the call's arguments by their names in the operator's schema, defaults filled in,
    with a `Value` or `Weight` for every tensor.
    """

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self._batch = Batch(captured.batch, captured.batch_axis)
        self._found: dict[fx.Node, Any] = {}
        self._traced: dict[Value, tuple[int, ...]] = {}  # shapes with the batch in them
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._constants = Constants(self._batch)
        self._pending_call = False  # whether the call is still to be attached to its first node
        self.args: dict[str, Any] = {}
        self.node: fx.Node

    def run(self) -> Graph:
        """Builds the graph."""
        captured = self._captured
        inputs = []
        for node in captured.graph.nodes:
            self.node = node
            if node.op == "placeholder" and node.name in captured.tensors:
                self._found[node] = self._constants.parameter(*captured.tensors[node.name])
            elif node.op == "placeholder" and node.name in captured.inputs and isinstance(node.meta["val"], Tensor):
                self._found[node] = self.value(node.name, node.meta["val"])
                inputs.append(self._found[node])
            elif node.op == "placeholder":
                self._found[node] = node.meta["val"]  # a number among the inputs
            elif node.op == "call_function":
                self._found[node] = self._lower(node)
            elif node.op == "get_attr":
                self._found[node] = None  # a sub-graph, read by an operator that will be unknown
        outputs = []
        for returned in captured.outputs:
            found = self._found[returned]
            self.node, self.args = returned, {}
            if isinstance(found, Weight):
                why = CannotLowerError("the output does not depend on the input")
                found = self._unknown(str(returned.target), why, [found])
            elif isinstance(found, _Missing):
                found = self._unknown(found.target, CannotLowerError(found.reason), [])
            if not isinstance(found, Value):
                raise TraceError(f"an output can't be described: {found.target} returns it, but {found.reason}")
            outputs.append(found)
        return Graph(
            nodes=reaching(self._nodes, outputs),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            parameters=captured.parameters,
            states=captured.states,
        )

    # --- what rules use ---

    def emit(
        self,
        op: Op,
        inputs: Iterable[Value],
        shape: Sequence[int] | None = None,
        like: Tensor | None = None,
        is_call: bool = True,
    ) -> Value:
        """Adds a node with one output.

        Args:
            op: What it computes.
            inputs: What it reads.
            shape: Shape of its output for one sample; by default that of the call's output.
            like: The traced tensor that the output stands for, where the call has several.
            is_call: Whether the node may stand for the traced call and have its costs; the first that may, does.
        """
        traced = like if like is not None else self.result
        output = self.value(self.node.name, traced, shape)
        self.emit_node(op, inputs, (output,), is_call)
        return output

    def emit_node(
        self,
        op: Op,
        inputs: Iterable[Value],
        outputs: tuple[Value, ...],
        is_call: bool = True,
        call: Call | None = None,
    ) -> None:
        """Adds a node with outputs that were made by `value`.

        Where one call becomes several nodes that each have a part of its costs, `call` is the part of this one.
        """
        read = tuple(inputs)
        if any(map(self._has_batch, read)) and not all(map(self._has_batch, outputs)):
            raise AcrossSamplesError
        if call is None and self._pending_call and is_call:
            call = self.call()
        calls = () if call is None else (call,)
        self._pending_call = self._pending_call and not calls
        self._nodes.append(Node(outputs[0].name, op, read, outputs, path_of(self.node), calls))

    def value(self, name: str, traced: Tensor, shape: Sequence[int] | None = None) -> Value:
        """A new value that stands for a traced tensor; with another `shape` for one sample, if given."""
        unique = next(each for each in self._candidates(name) if each not in self._names)
        self._names.add(unique)
        value = Value(unique, self.sample_shape(traced) if shape is None else tuple(shape), traced.dtype)
        self._traced[value] = tuple(traced.shape)
        return value

    @property
    def result(self) -> Tensor:
        """The traced (fake) tensor that the call returned; the first, if it returned several."""
        found = self.node.meta.get("val")
        first = found[0] if isinstance(found, (tuple, list)) else found
        if not isinstance(first, Tensor):
            raise CannotLowerError("what it returns is read as a number")
        return first

    def sample_shape(self, traced: Tensor) -> tuple[int, ...]:
        """Shape of one sample of a traced tensor."""
        return self._batch.removed(traced.shape)

    def traced_shape(self, value: Value) -> tuple[int, ...]:
        """Shape of the traced tensor, batch included."""
        return self._traced[value]

    def traced_rank(self, value: Value) -> int:
        """Number of axes of the traced tensor, batch included."""
        return len(self._traced[value])

    def axis(self, value: Value, dim: int) -> int:
        """The axis of one sample that an axis of the traced tensor is, for a rule that computes along it.

        Raises:
            AcrossSamplesError: If it is the batch, or the batch is merged into it.
        """
        traced = self._traced[value]
        dim %= max(len(traced), 1)
        if dim == self._batch.position(traced):
            raise AcrossSamplesError
        return self.place(value, dim)

    def place(self, value: Value, dim: int) -> int:
        """The same for any axis but the batch, for a rule that only moves it."""
        own = self.batch_axis(value)
        return dim - (own is not None and dim > own)

    def batch_axis(self, value: Value) -> int | None:
        """Where the batch stands in the traced tensor, if it has an axis of its own."""
        return self._batch.own_axis(self._traced[value])

    def is_batch(self, shape: Sequence[int], dim: int) -> bool:
        """Whether an axis of a traced shape is the batch and nothing else."""
        return self._batch.own_axis(shape) == dim

    def batch_position(self, value: Value) -> int | None:
        """Where the batch stands in the traced tensor, alone or merged with another axis."""
        return self._batch.position(self._traced[value])

    def check_batch_before(self, value: Value, axes: int) -> None:
        """Checks that the batch is not among the last `axes` of a traced tensor, which a rule computes along.

        Raises:
            AcrossSamplesError: If it is.
        """
        position = self.batch_position(value)
        if position is not None and position >= self.traced_rank(value) - axes:
            raise AcrossSamplesError

    def check_number(self, number: object) -> None:
        """Checks that a number is not the size of the traced batch.

        Raises:
            AcrossSamplesError: If it is.
        """
        if self._batch.size > 1 and not isinstance(number, bool) and number == self._batch.size:
            raise AcrossSamplesError("it takes the number of samples in the batch for a number")

    def operands(self, *found: Any) -> tuple[tuple[Operand, ...], tuple[Value, ...]]:
        """Splits operands into the template that an op keeps and the values that its node reads.

        Weights lose the axis that stands where the result has the batch.
        """
        template: list[Operand] = []
        values: list[Value] = []
        for each in found:
            if isinstance(each, Value):
                template.append(Input(len(values)))
                values.append(each)
            elif isinstance(each, Weight):
                template.append(self._constants.without_batch(each, self.result.shape))
            elif each is None or isinstance(each, (int, float, bool)):
                template.append(each)
            else:
                raise CannotLowerError(f"argument {each!r} is not understood")
        return tuple(template), tuple(values)

    def values(self, *found: Any) -> tuple[Value, ...]:
        """The same, for arguments that must be computed from the input.

        Raises:
            CannotLowerError: If one is not.
        """
        if not all(isinstance(each, Value) for each in found):
            raise CannotLowerError("an argument that should be computed from the input is a constant")
        return found

    def weight(self, name: str) -> Weight | None:
        """An argument that must be a weight, or be left out.

        Raises:
            CannotLowerError: If it is computed from the input.
        """
        found = self.args.get(name)
        if found is not None and not isinstance(found, Weight):
            raise CannotLowerError(f"its {name} is computed from the input")
        return found

    def required_weight(self, name: str) -> Weight:
        """The same, for one that can't be left out."""
        found = self.weight(name)
        if found is None:
            raise CannotLowerError(f"it has no {name}")
        return found

    # --- the engine ---

    def _lower(self, node: fx.Node) -> Any:
        self.node = node
        target = target_of(node)
        if node.target is operator.getitem:
            return self._part(*node.args)
        self.args = self._bind(node)
        self._pending_call = True
        given = list(flatten(self.args.values()))
        read = [each for each in given if isinstance(each, (Value, Weight))]
        before = len(self._nodes)
        try:
            for each in given:
                if isinstance(each, _Missing):
                    target = each.target
                    raise CannotLowerError(each.reason)
            if not any(isinstance(each, Value) for each in read) and not is_tagged(
                node.target, torch.Tag.nondeterministic_seeded
            ):
                if target == MARKER:
                    return given[0]  # a copy would be another weight
                return self._constants.fold(node, [each for each in read if isinstance(each, Weight)], self._found)
            rule = RULES.get(target) or (RULES["pointwise"] if is_tagged(node.target, torch.Tag.pointwise) else None)
            if rule is None:
                raise CannotLowerError("it is not known")
            return rule(self)
        except CannotLowerError as error:
            why = error
            if target in SAME_OF_ONE and isinstance(error, AcrossSamplesError) and self._batch.size == 1:
                values = [each for each in read if isinstance(each, Value)]
                if [each.size for each in values] == [each.numel() for each in results_of(node)]:
                    return self._renamed(values[0])
        except Exception as error:  # arguments that a rule did not think of must not hide the operation
            why = CannotLowerError(f"it could not be read: {type(error).__name__}: {error}")
        del self._nodes[before:]  # what the rule made before it gave up
        self._pending_call = True
        return self._unknown(target, why, read)

    def _renamed(self, x: Value) -> Any:
        """The only sample of a batch, which was taken out of it or put back."""
        (result,) = results_of(self.node)
        shape = self.sample_shape(result)
        out = self.emit(ops.Reshape(shape), [x], shape, like=result)
        return out if isinstance(self.node.meta["val"], Tensor) else (out,)

    def _part(self, source: Any, index: Any) -> Any:
        """One of the results of a call that has several."""
        found = self._found[source]
        if not isinstance(found, tuple):
            return found  # an unknown op has one value for all outputs
        part = found[index]
        return _Missing(str(source.target), "not all that it returns has a counterpart") if part is None else part

    def _unknown(self, target: str, why: CannotLowerError, read: Sequence[Value | Weight]) -> Value | _Missing:
        weights = tuple(each for each in read if isinstance(each, Weight))
        values = tuple(each for each in read if isinstance(each, Value))
        across = isinstance(why, AcrossSamplesError)
        try:
            try:
                shape = self.sample_shape(self.result)
            except CannotLowerError as error:
                shape, across = self._batch.of_one(self.result.shape), across or isinstance(error, AcrossSamplesError)
            output = self.value(self.node.name, self.result, shape)
            calls = (self.call(),) if self._pending_call else ()
        except CannotLowerError as error:
            return _Missing(target, f"{why}, and {error}")
        if any(map(self._has_batch, values)):  # a part of the samples, or their number, may have gone into each result
            across |= not all(self._batch.is_in(each.shape) for each in results_of(self.node))
        op = Unknown(target, str(why), weights, across)
        self._nodes.append(Node(output.name, op, values, (output,), path_of(self.node), calls))
        return output

    def _has_batch(self, value: Value) -> bool:
        return self._batch.is_in(self._traced[value])

    def _bind(self, node: fx.Node) -> dict[str, Any]:
        """Arguments by name, with what was found for each node among them."""
        args = fx.map_arg(node.args, self._found.__getitem__)
        kwargs = fx.map_arg(node.kwargs, self._found.__getitem__)
        schema = getattr(node.target, "_schema", None)
        if schema is None:  # control flow and the like
            return {str(index): value for index, value in enumerate(args)} | kwargs
        bound = {}
        for index, argument in enumerate(schema.arguments):
            default = argument.default_value if argument.has_default_value() else None
            bound[argument.name] = args[index] if index < len(args) else kwargs.get(argument.name, default)
        return bound

    def call(self) -> Call:
        """The traced call, for a batch of one."""

        def described(found: Any) -> Any:
            if isinstance(found, Value):
                return TensorShape(self._batch.of_one(self._traced[found]), found.dtype)
            if isinstance(found, Weight):
                return TensorShape(self._batch.of_one(found.tensor.shape), found.tensor.dtype)
            return tuple(described(each) for each in found) if isinstance(found, (tuple, list)) else found

        return Call(
            target_of(self.node),
            tuple(described(each) for each in self.args.values()),
            tuple(TensorShape(self._batch.of_one(each.shape), each.dtype) for each in results_of(self.node)),
        )

    @staticmethod
    def _candidates(name: str) -> Iterable[str]:
        yield name
        for count in itertools.count(1):
            yield f"{name}.{count}"
