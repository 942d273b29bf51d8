"""Every option of every operation reaches Keras, or is refused.

Reference: the graph's interpreter, which runs torch's own functions. A rule that passes over an option builds a model
that computes something else; the table has another value for each field of each class, so that none can be forgotten.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.graph import Graph, Node, interpret, ops
from mcubench.graph.ir import Input, Op, Value, Weight
from mcubench.parity import to_keras
from mcubench.parity.building import build, unread, watched
from mcubench.parity.building.reading import irrelevant
from tests.graph.compare import Forward
from tests.parity.test_rules import outputs_of

BOUND = 1e-5
X, Y = Input(0), Input(1)
_numbers = itertools.count()


def weight(*shape: int) -> Weight:
    """Random numbers, other ones at each call."""
    generator = torch.Generator().manual_seed(next(_numbers))
    return Weight("w", torch.randn(shape, generator=generator), ("w",))


def positive(*shape: int) -> Weight:
    made = weight(*shape)
    return replace(made, tensor=made.tensor.abs() + 0.3)


def indices(*values: int) -> Weight:
    return Weight("i", torch.tensor(values))


def cell(gates: int, inputs: int = 4, hidden: int = 3) -> ops.Cell:
    rows = gates * hidden
    return ops.Cell(weight(rows, inputs), weight(rows, hidden), weight(rows), weight(rows))


@dataclass(frozen=True)
class Case:
    """An operation, the shapes of its inputs (channels last), and changes of its fields, each alone or with others.

    A field whose other value computes the same is named in `silent`: it must not, and need not, be seen in the outputs.
    """

    op: Op
    shapes: tuple[tuple[int, ...], ...]
    changes: dict[str, list[dict[str, Any]]]
    integers: bool = False
    silent: tuple[str, ...] = ()


def each(name: str, *values: Any) -> dict[str, list[dict[str, Any]]]:
    """Other values of a field."""
    return {name: [{name: value} for value in values]}


def function(*steps: Op) -> Graph:
    """Steps one after the other, each of a single value."""
    values = [Value(f"v{number}", (), torch.float32) for number in range(len(steps) + 1)]
    nodes = [
        Node(after.name, op, (before,), (after,), "")
        for op, before, after in zip(steps, values, values[1:], strict=False)
    ]
    return Graph(tuple(nodes), (values[0],), (values[-1],))


CONV = ops.Conv(weight(6, 2, 3, 2), weight(6), (1, 1), ((0, 1), (2, 0)), (1, 1), 2)
DEPTHWISE = ops.DepthwiseConv(weight(4, 1, 3, 2), weight(4), (1, 1), ((0, 1), (2, 0)), (1, 1), 4)
TRANSPOSED = ops.TransposedConv(weight(4, 3, 3, 3), weight(6), (2, 3), (1, 1), (0, 0), (1, 1), 2)
MAX = ops.Pool("max", (2, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), False, True)
NORM: dict[str, list[dict[str, Any]]] = {**each("weight", weight(4), None), **each("bias", weight(4), None)}
RESIZE = ops.Resize("nearest", (12, 16), None, None)

CASES: dict[str, Case] = {
    "dense": Case(
        ops.Dense(weight(5, 8), weight(5)),
        ((7, 8),),
        {**each("weight", weight(5, 8)), **each("bias", weight(5), None), **each("activation", "relu", "relu6")},
    ),
    "convolution": Case(
        CONV,
        ((9, 11, 4),),
        {
            **each("weight", weight(6, 2, 3, 2)),
            **each("bias", weight(6), None),
            **each("stride", (2, 1), (3, 3)),
            **each("padding", ((1, 0), (0, 2)), ((1, 1), (0, 1))),
            **each("dilation", (2, 1), (1, 3)),
            "groups": [{"groups": 1, "weight": weight(6, 4, 3, 2)}],
            **each("activation", "relu", "relu_n1_to_1"),
        },
    ),
    "depthwise": Case(
        DEPTHWISE,
        ((9, 11, 4),),
        {
            "weight": [{"weight": weight(4, 1, 3, 2)}, {"weight": weight(8, 1, 3, 2), "bias": weight(8)}],
            **each("bias", weight(4), None),
            **each("stride", (2, 2), (1, 2)),
            **each("padding", ((1, 0), (0, 2))),
            **each("dilation", (2, 1)),
            **each("groups"),  # always as many as channels
            **each("activation", "relu6"),
        },
    ),
    "transposed": Case(
        TRANSPOSED,
        ((5, 6, 4),),
        {
            **each("weight", weight(4, 3, 3, 3)),
            **each("bias", weight(6), None),
            **each("stride", (1, 1), (3, 2)),
            **each("padding", (0, 1), (2, 2)),
            **each("output_padding", (1, 0), (0, 2)),
            **each("dilation", (2, 1)),
            "groups": [{"groups": 1, "weight": weight(4, 6, 3, 3)}],
            **each("activation", "relu"),
        },
    ),
    "maximum": Case(
        MAX,
        ((10, 12, 4),),
        {
            **each("kind", "average"),
            **each("kernel", (2, 2)),
            **each("stride", (1, 3)),
            **each("padding", ((0, 0), (1, 1))),
            **each("dilation", (2, 1)),
            **each("ceil_mode", True),
            **each("count_include_pad", False),
        },
        silent=("count_include_pad",),  # a maximum counts nothing
    ),
    "average": Case(
        replace(MAX, kind="average"),
        ((9, 12, 4),),
        {
            **each("kind", "max"),
            **each("kernel", (3, 3)),
            **each("stride", (1, 3)),
            **each("padding", ((0, 0), (1, 1))),
            **each("dilation"),  # averages have none
            **each("ceil_mode", True),
            **each("count_include_pad", False),
        },
    ),
    "all of it": Case(
        ops.Pool("max", (9, 11), (9, 11), ((0, 0), (0, 0)), (1, 1)),
        ((9, 11, 4),),
        {
            **each("kind", "average"),
            **each("kernel", (8, 11), (9, 6)),
            **each("stride", (1, 1)),
            **each("padding", ((1, 1), (0, 0))),
            **each("dilation"),
            **each("ceil_mode", True),
            **each("count_include_pad", False),
        },
        silent=("stride", "ceil_mode", "count_include_pad"),
    ),
    "adaptive": Case(
        ops.AdaptivePool("max", (4, 5)), ((9, 11, 4),), {**each("kind", "average"), **each("size", (2, 4))}
    ),
    "batch norm": Case(
        ops.BatchNorm(weight(4), weight(4), weight(4), positive(4), 1e-5, 1),
        ((7, 4),),
        {
            **NORM,
            **each("mean", weight(4)),
            **each("variance", positive(4)),
            **each("eps", 0.5),
            **each("rank", 0),
            **each("momentum", 0.3),
        },
        silent=("rank", "momentum"),  # steps before it are like samples; and what training is for
    ),
    "layer norm": Case(
        ops.LayerNorm(weight(4), weight(4), 1, 1e-5),
        ((7, 4),),
        {**NORM, "rank": [{"rank": 2, "weight": weight(7, 4), "bias": weight(7, 4)}], **each("eps", 0.5)},
    ),
    "group norm": Case(
        ops.GroupNorm(weight(4), weight(4), 2, 1e-5, 1),
        ((7, 4),),
        # Of groups of two elements that are nearly equal, a small eps makes numbers that two backends round apart.
        {
            **NORM,
            **each("groups", 1, 4),
            **each("eps", 0.5),
            "rank": [{"rank": 0, "eps": 0.1}],
            **each("per_channel", True),
        },
        silent=("per_channel",),  # how it was written
    ),
    "rms norm": Case(
        ops.RMSNorm(weight(4), 1, 1e-5),
        ((7, 4),),
        {**each("weight", weight(4), None), "rank": [{"rank": 2, "weight": weight(7, 4)}], **each("eps", 0.5)},
    ),
    "prelu": Case(
        ops.PReLU(weight(4), 1),
        ((7, 4),),
        {**each("weight", weight(4), weight(1)), **each("rank", 0)},
        silent=("rank",),
    ),
    "embedding": Case(ops.Embedding(weight(5, 3)), ((6,),), each("weight", weight(5, 3)), integers=True),
    "activation": Case(
        ops.Activation("leaky_relu", (0.2,)), ((8,),), {**each("kind", "elu", "celu"), **each("parameters", (0.4,), ())}
    ),
    "elementwise": Case(
        ops.Elementwise("sub.Tensor", (X, Y), (("alpha", 2.0),)),
        ((7, 4), (7, 4)),
        {
            "kind": [{"kind": "add.Tensor"}, {"kind": "mul.Tensor", "keywords": ()}],
            **each("operands", (Y, X), (X, X), (X, weight(4))),
            **each("keywords", (("alpha", 0.5),), ()),
            **each("activation", "relu", "relu6"),
        },
    ),
    "division": Case(
        ops.Elementwise("div.Tensor", (X, Y)),
        ((7, 4), (7, 4)),
        {
            **each("kind", "atan2.default"),
            **each("operands", (Y, X)),
            "keywords": [{"kind": "div.Tensor_mode", "keywords": (("rounding_mode", "floor"),)}],
            **each("activation", "relu_n1_to_1"),
        },
    ),
    "where": Case(
        ops.Elementwise("where.self", (Weight("m", torch.tensor([True, False, True, False])), X, Y)),
        ((7, 4), (7, 4)),
        {
            "kind": [{"kind": "maximum.default", "operands": (X, Y)}],
            **each("operands", (Weight("m", torch.tensor([False, False, True, True])), X, Y)),
            "keywords": [{"kind": "add.Tensor", "operands": (X, Y), "keywords": (("alpha", 3.0),)}],
            **each("activation", "relu"),
        },
    ),
    "function": Case(
        ops.Function(function(ops.Activation("tanh"))),
        ((5, 4),),
        each("body", function(ops.Elementwise("mul.Tensor", (X, weight())), ops.Activation("tanh"))),
    ),
    "softmax": Case(
        ops.Softmax(1),
        ((2, 5, 5),),
        {**each("axis", 0, 2), **each("log", True), "causal": [{"axis": 2, "causal": True}]},
    ),
    "product": Case(ops.MatMul((X, Y)), ((5, 5), (5, 5)), each("operands", (Y, X), (X, X))),
    "product with a weight": Case(
        ops.MatMul((X, weight(2, 5, 5))), ((2, 5, 5),), each("operands", (weight(2, 5, 5), X))
    ),
    "einsum": Case(
        ops.Einsum("ij,jk->ik", (X, weight(5, 5))),
        ((5, 5),),
        {**each("equation", "ij,jk->ki", "ji,jk->ik"), **each("operands", (weight(5, 5), X))},
    ),
    "reduction": Case(
        ops.Reduce("var", (0, 1), False, 1),
        ((5, 6, 4),),
        {
            **each("kind", "std"),
            "kind ": [{"kind": kind, "correction": None} for kind in ("mean", "amax", "amin", "sum", "norm2")],
            **each("axes", (0,), (1, 2), (0, 1, 2)),
            **each("keepdim", True),
            **each("correction", 0, 2),
        },
    ),
    "mean": Case(
        ops.Reduce("mean", (0, 1), False),
        ((5, 6, 4),),
        {**each("kind", "amax"), **each("axes", (2,)), **each("keepdim", True), **each("correction", 1)},
        silent=("correction",),
    ),
    "concatenation": Case(
        ops.Concat(0, (X, Y)), ((4, 4), (4, 4)), {**each("axis", 1), **each("operands", (Y, X), (X, weight(4, 4)))}
    ),
    "reshape": Case(ops.Reshape((2, 6)), ((3, 4),), each("shape", (12,), (6, 2))),
    "permute": Case(ops.Permute((1, 0, 2)), ((4, 4, 4),), each("axes", (2, 0, 1), (1, 2, 0))),
    "slice": Case(
        ops.Slice(0, 1, 5, 2), ((7, 7),), {**each("axis", 1), **each("start", 0), **each("stop", 7), **each("step", 1)}
    ),
    "select": Case(ops.Select(0, 2), ((5, 5),), {**each("axis", 1), **each("index", 4)}),
    "take": Case(ops.Take(0, indices(2, 0, 2)), ((5, 5),), {**each("axis", 1), **each("indices", indices(1, 4))}),
    "pad": Case(
        ops.Pad(((1, 2), (0, 1)), "constant", 0.5),
        ((5, 6),),
        {
            **each("padding", ((2, 1), (0, 0)), ((-1, 2), (1, 0))),
            **each("mode", "reflect", "replicate", "circular"),
            **each("value", 0.0, -2.0),
        },
    ),
    "pad with zeros": Case(
        ops.Pad(((1, 2), (0, 0))),
        ((5, 6),),
        {**each("padding", ((2, 1), (0, 0))), **each("mode", "reflect"), **each("value", 1.0)},
    ),
    "reflect": Case(
        ops.Pad(((1, 2), (0, 1)), "reflect", 0.0),
        ((5, 6),),
        {**each("padding", ((2, 1), (0, 0))), **each("mode", "circular"), **each("value", 1.0)},
        silent=("value",),
    ),
    "expand": Case(ops.Expand((3, 5, 4)), ((5, 4),), each("shape", (2, 5, 4))),
    "repeat": Case(ops.Repeat((2, 1)), ((5, 4),), each("repeats", (1, 3))),
    "resize": Case(
        RESIZE,
        ((4, 4, 3),),
        {
            "mode": [{"mode": "nearest-exact", "size": (9, 7)}, {"mode": "bilinear"}, {"mode": "bicubic"}],
            **each("size", (8, 8), (9, 16), (3, 2)),
            "align_corners": [{"mode": "bilinear", "align_corners": True}],
            # As many elements as without, and other ones: torch takes them by the scale that it was given.
            "scales": [{"scales": (3.1, 4.2)}, {"size": (9, 7), "scales": (2.4, 1.9)}],
        },
    ),
    "resize exactly": Case(
        replace(RESIZE, mode="nearest-exact"),
        ((4, 4, 3),),
        {"mode": [{"mode": "bilinear"}], **each("size", (9, 7)), **each("align_corners"), **each("scales", (3.2, 4.2))},
    ),
    "resize smoothly": Case(
        replace(RESIZE, mode="bilinear"),
        ((4, 4, 3),),
        {
            **each("mode", "nearest"),
            **each("size", (9, 7)),
            **each("align_corners", True),
            **each("scales", (3.1, 4.2)),
        },
    ),
    "resize a signal": Case(
        ops.Resize("nearest", (9,), None, (2.3,)),
        ((4, 3),),
        {
            **each("mode", "nearest-exact"),
            "size": [{"size": (11,), "scales": None}],
            "align_corners": [{"mode": "linear", "align_corners": True}],
            "scales": [{"size": (4,), "scales": (1.2,)}, {"size": (8,), "scales": (2.1,)}],
        },
    ),
    "recurrent": Case(
        ops.RNN((cell(1),), (None,), "tanh"),
        ((6, 4),),
        {
            **each("cells", (cell(1),), (cell(1), cell(1))),
            **each("state", (weight(1, 3),)),
            **each("nonlinearity", "relu"),
        },
    ),
    "lstm": Case(
        ops.LSTM((cell(4),), (None, None)),
        ((6, 4),),
        {**each("cells", (cell(4),), (cell(4), cell(4))), **each("state", (None, weight(1, 3)))},
    ),
    "gru": Case(
        ops.GRU((cell(3),), (None,)),
        ((6, 4),),
        {**each("cells", (cell(3),), (cell(3), cell(3))), **each("state", (weight(1, 3),))},
    ),
    "cell": Case(
        ops.RecurrentCell("rnn_tanh_cell", cell(1), (X, Y)),
        ((4,), (3,)),
        {
            **each("kind", "rnn_relu_cell"),
            **each("cell", cell(1)),
            **each("operands", (X, weight(3))),
        },
    ),
}

CELLS = {"lstm_cell": 4, "gru_cell": 3}
WEIGHTS_OF_CELLS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

REFUSED = {ops.FakeQuantize: "rounds to integers", ops.Site: "rounds to integers"}


def run(op: Op, case: Case) -> tuple[Graph, list[Tensor], list[np.ndarray]]:
    """A graph of one operation, random samples, and what the interpreter makes of them."""
    generator = torch.Generator().manual_seed(3)
    kind = torch.int64 if case.integers else torch.float32
    draw = (lambda shape: torch.randint(0, 5, shape, generator=generator)) if case.integers else (
        lambda shape: torch.randn(shape, generator=generator)
    )  # fmt: skip
    batch = [draw((3, *shape)) for shape in case.shapes]
    inputs = tuple(Value(f"x{number}", shape, kind) for number, shape in enumerate(case.shapes))
    count = {ops.LSTM: 3, ops.GRU: 2, ops.RNN: 2}.get(type(op), 2 if getattr(op, "kind", "") == "lstm_cell" else 1)
    outputs = tuple(Value(f"y{number}", (), torch.float32) for number in range(count))
    node = Node("y", op, inputs, outputs, "layer")
    found = interpret(Graph((node,), inputs, outputs, layout="channels_last"), *batch)
    outputs = tuple(Value(each.name, tuple(y.shape[1:]), y.dtype) for each, y in zip(outputs, found, strict=True))
    graph = Graph((replace(node, outputs=outputs),), inputs, outputs, layout="channels_last")
    return graph, batch, [y.numpy() for y in found]


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=BOUND * max(np.abs(other).max(), 1))
        for one, other in zip(found, wanted, strict=True)
    )


CHANGES = [
    pytest.param(case, field, change, id=f"{name}: {field} {number}")
    for name, case in CASES.items()
    for field, changes in case.changes.items()
    for number, change in enumerate(changes)
]


@pytest.mark.parametrize(("case", "field", "change"), CHANGES)
def test_an_option_is_followed_or_refused(case: Case, field: str, change: dict[str, Any]) -> None:
    _, _, before = run(case.op, case)
    graph, batch, wanted = run(replace(case.op, **change), case)
    assert same(wanted, before) == (field in case.silent), "the option itself"
    try:
        model = to_keras(graph)
    except UserError as error:
        assert str(error).startswith("can't be built in Keras: layer: ")  # noqa: PT017
        assert "pass over" not in str(error), "no rule may need to be told that"  # noqa: PT017
        return
    assert same(outputs_of(model, tuple(batch)), wanted)


@pytest.mark.parametrize("name", CASES)
def test_what_is_changed_is_built_as_it_is(name: str) -> None:
    graph, batch, wanted = run(CASES[name].op, CASES[name])
    assert same(outputs_of(to_keras(graph), tuple(batch)), wanted)


@pytest.mark.parametrize("given", ["both", "bias_ih", "bias_hh", "none"])
@pytest.mark.parametrize("kind", CELLS)
def test_options_of_cells_are_followed(kind: str, given: str) -> None:
    """PyTorch's layers have both biases or none; its functions may have one."""
    made = cell(CELLS[kind])
    missing = [name for name in ("bias_ih", "bias_hh") if given not in ("both", name)]
    made = replace(made, **dict.fromkeys(missing))
    case = Case(
        ops.RecurrentCell(kind, made, (X, Y, Input(2))[: 3 if kind == "lstm_cell" else 2]), ((4,), (3,), (3,)), {}
    )
    _, _, before = run(case.op, case)
    for name in WEIGHTS_OF_CELLS:
        if (held := getattr(made, name)) is None:
            continue
        op = replace(case.op, cell=replace(made, **{name: weight(*held.tensor.shape)}))
        graph, batch, wanted = run(op, case)
        assert not same(wanted, before)
        assert same(outputs_of(to_keras(graph), tuple(batch)), wanted)


def test_every_field_of_every_operation_is_in_the_table() -> None:
    kinds = {each for name in ops.__all__ if isinstance(each := getattr(ops, name), type) and issubclass(each, Op)}
    changed: dict[type[Op], set[str]] = {ops.Cell: set(WEIGHTS_OF_CELLS)}
    for case in CASES.values():
        changed.setdefault(type(case.op), set()).update(name.strip() for name in case.changes)
    # Of the first there are only its kinds; the others are parts of norms, which int8 alone knows.
    for kind in kinds - {ops.Recurrent, ops.RowMean, ops.UnitRow, *REFUSED}:
        assert changed.get(kind, set()) == {each.name for each in fields(kind)}, kind.__name__
    values = {(type(case.op), name) for case in CASES.values() for name, changes in case.changes.items() if changes}
    missing = {(kind, name) for kind, names in changed.items() for name in names if kind is not ops.Cell} - values
    assert missing == {(ops.DepthwiseConv, "groups")}, "without another value"  # one group a channel is its name


@pytest.mark.parametrize("kind", REFUSED)
def test_fake_quantisation_is_refused(kind: type[ops.FakeQuantize]) -> None:
    value, made = Value("x", (4,), torch.float32), Value("y", (4,), torch.float32)
    graph = Graph((Node("y", kind("target"), (value,), (made,), "layer"),), (value,), (made,), layout="channels_last")
    with pytest.raises(UserError, match=f"can't be built in Keras: layer: .*{REFUSED[kind]}"):
        to_keras(graph)


def test_the_momentum_of_batch_norm_is_what_stays() -> None:
    op = replace(CASES["batch norm"].op, momentum=0.3)
    model = to_keras(run(op, CASES["batch norm"])[0])
    (norm,) = (layer for layer in model.layers if type(layer).__name__ == "BatchNormalization")
    assert norm.momentum == pytest.approx(0.7)


# --- the mechanism itself ---


@dataclass(frozen=True, eq=False)
class Amplify(Op):
    """An operation whose rule is in the hands of a test."""

    factor: float
    offset: float = 0.0


@build.register
def _(op: Amplify, at: Any) -> Any:
    if op.factor == 1:
        irrelevant(op, "offset")
        return at.x
    y = at.op("multiply", at.x, op.factor)
    return at.op("add", y, op.offset) if op.factor > 2 else y


def amplifying(factor: float) -> Graph:
    value, made = Value("x", (4,), torch.float32), Value("y", (4,), torch.float32)
    node = Node("y", Amplify(factor, 1.0), (value,), (made,), "layer")
    return Graph((node,), (value,), (made,), layout="channels_last")


def test_a_rule_that_passes_over_an_option_is_refused() -> None:
    with pytest.raises(
        UserError, match="can't be built in Keras: layer: Amplify: its counterpart would pass over offset"
    ):
        to_keras(amplifying(2))
    x = torch.ones(2, 4)
    assert outputs_of(to_keras(amplifying(3)), x)[0].tolist() == [[4.0] * 4] * 2
    assert outputs_of(to_keras(amplifying(1)), x)[0].tolist() == [[1.0] * 4] * 2, "called irrelevant"


def test_a_watched_operation_is_the_operation_and_knows_what_was_read() -> None:
    op = ops.LSTM((cell(4),), (None, None))
    copy = watched(op)
    assert type(copy).__name__ == "LSTM"
    assert isinstance(copy, ops.Recurrent)
    assert set(unread(copy)) == {"cells", "state", "weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    assert copy.hidden == 3
    assert unread(copy) == ["state", "weight_ih", "bias_ih", "bias_hh"]
    assert copy.cells[0].weight_ih is op.cells[0].weight_ih
    assert not hasattr(op, "_read"), "the operation itself is left as it was"


# --- a layer that is called twice, each time otherwise ---


def left_and_right(x: Tensor, w: Tensor) -> Tensor:
    return w @ (x @ w)


def by_einsum(x: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("ij,bjk->bik", w[0], torch.einsum("bij,jk->bik", x[:, 0], w[0]))


@pytest.mark.parametrize("what", [left_and_right, by_einsum])
def test_a_weight_from_the_left_is_another_layer_than_from_the_right(what: Any) -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0)))

        def forward(self, x: Tensor) -> Tensor:
            return what(x, self.w)

    module = Forward(lambda inner, x: inner(x), Weighted())
    x = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    (found,) = outputs_of(to_keras(module, x[:1]), x)
    assert np.allclose(found, module(x).detach().numpy(), atol=1e-5)
