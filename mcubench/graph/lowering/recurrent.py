"""Rules for recurrent layers: one node a layer, so that the sequence between two layers is a value of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mcubench.graph import ops
from mcubench.graph.ir import Call, Input, Operand, TensorShape, Value, Weight
from mcubench.graph.lowering.batch import AcrossSamplesError, CannotLowerError
from mcubench.graph.lowering.lowerer import Lowerer, lowers

__all__: list[str] = []


@lowers("aten.lstm.input", "aten.gru.input", "aten.rnn_tanh.input", "aten.rnn_relu.input")
def _recurrent(low: Lowerer) -> tuple[Value, ...]:
    (x,) = low.values(low.args["input"])
    kind = str(low.node.target).split(".")[1]
    steps_first = not low.args["batch_first"]
    if low.traced_rank(x) == 3 and low.batch_axis(x) == (0 if steps_first else 1):
        raise AcrossSamplesError(
            f"it steps through the batch, mixing samples: batch_first={low.args['batch_first']} does not fit its input"
        )
    among = 1 if steps_first else 0
    alone = len(x.shape) == 3 and x.shape[among] == 1  # one sequence, in a batch that is no batch of samples
    if alone:
        shape = (*x.shape[:among], *x.shape[among + 1 :])
        x = low.emit(ops.Reshape(shape), [x], shape, is_call=False)
    if len(x.shape) != 2:
        raise CannotLowerError("it runs several sequences for each sample")
    state = low.args["hx"] if kind == "lstm" else [low.args["hx"]]
    directions = 2 if low.args["bidirectional"] else 1
    cells = _cells(low, directions)
    results = [_layer(low, kind, cells[0], x, [_initial(each, 0, directions) for each in state])]
    for index, layer in enumerate(cells[1:], 1):
        state_of_layer = [_initial(each, index, directions) for each in state]
        results.append(_layer(low, kind, layer, results[-1][0], state_of_layer))
    finals = [_finals(low, [result[1 + each] for result in results], each) for each in range(len(state))]
    outputs = (results[-1][0], *finals)
    if not alone:
        return outputs
    return tuple(_put_back(low, each, traced) for each, traced in zip(outputs, low.node.meta["val"], strict=True))


def _put_back(low: Lowerer, value: Value, traced: Tensor) -> Value:
    """A result with the axis of the only sequence where torch has it."""
    shape = low.sample_shape(traced)
    return low.emit(ops.Reshape(shape), [value], shape, like=traced, is_call=False)


def _cells(low: Lowerer, directions: int) -> list[tuple[ops.Cell, ...]]:
    params = low.args["params"]
    if not all(isinstance(each, Weight) for each in params):
        raise CannotLowerError("its weights are computed from the input")
    size = 4 if low.args["has_biases"] else 2
    if len(params) != size * directions * low.args["num_layers"]:
        raise CannotLowerError("projections (proj_size) are not supported")
    cells = [ops.Cell(*(*params[at : at + size], None, None)[:4]) for at in range(0, len(params), size)]
    return [tuple(cells[at : at + directions]) for at in range(0, len(cells), directions)]


def _initial(state: Any, layer: int, directions: int) -> Operand:
    """The initial state of one layer, shape (directions, hidden); ``None`` for zeros."""
    if not isinstance(state, Weight):
        raise CannotLowerError("its initial state is computed from the input")
    part = state.tensor.narrow(0, layer * directions, directions)
    if part.ndim == 3:  # the batch, in which all samples are alike
        if not (part == part[:, :1]).all():
            raise AcrossSamplesError("its initial state differs from sample to sample")
        part = part[:, 0]
    return state.derive(part) if part.any() else None


def _layer(low: Lowerer, kind: str, cells: tuple[ops.Cell, ...], x: Value, state: list[Operand]) -> tuple[Value, ...]:
    initial = tuple(state)
    op: ops.Recurrent
    if kind == "lstm":
        op = ops.LSTM(cells, initial)
    elif kind == "gru":
        op = ops.GRU(cells, initial)
    else:
        op = ops.RNN(cells, initial, kind.removeprefix("rnn_"))
    name, (sequence, *last) = low.node.name, low.node.meta["val"]
    outputs = (
        low.value(name, sequence, (x.shape[0], op.hidden * len(cells))),
        *(low.value(f"{name}.state", each, (len(cells), op.hidden)) for each in last),
    )
    args = list(low.call().args)
    args[0] = TensorShape((1, *x.shape), x.dtype)
    args[2] = tuple(TensorShape(tuple(each.tensor.shape), x.dtype) for cell in cells for _, each in cell.weights())
    low.emit_node(op, [x], outputs, call=Call(str(low.node.target), tuple(args), ()))
    return outputs


def _finals(low: Lowerer, layers: list[Value], each: int) -> Value:
    """The last state of all layers, shape (layers * directions, hidden)."""
    if len(layers) == 1:
        return layers[0]
    traced = low.node.meta["val"][1 + each]
    shape = (sum(value.shape[0] for value in layers), layers[0].shape[1])
    return low.emit(ops.Concat(0, tuple(Input(index) for index in range(len(layers)))), layers, shape, like=traced)


@lowers("aten.lstm_cell.default", "aten.gru_cell.default", "aten.rnn_tanh_cell.default", "aten.rnn_relu_cell.default")
def _cell(low: Lowerer) -> Any:
    (x,) = low.values(low.args["input"])
    kind = str(low.node.target).split(".")[1]
    if len(x.shape) != 1:
        raise CannotLowerError("it runs several sequences for each sample")
    cell = ops.Cell(low.required_weight("w_ih"), low.required_weight("w_hh"), low.weight("b_ih"), low.weight("b_hh"))
    state = low.args["hx"] if kind == "lstm_cell" else [low.args["hx"]]
    operands, values = low.operands(x, *state)
    op = ops.RecurrentCell(kind, cell, operands)
    if kind != "lstm_cell":
        return low.emit(op, values)
    outputs = tuple(low.value(low.node.name, each) for each in low.node.meta["val"])
    low.emit_node(op, values, outputs)
    return outputs
