"""Float ONNX: torch is the reference, onnxruntime and onnx's checker are the witnesses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcubench.errors import UserError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from mcubench.export.float_onnx import FloatOnnx, to_float_onnx  # noqa: E402
from mcubench.export.opsets import LOWEST, check_opset, in_opset  # noqa: E402


class Recurrent(nn.Module):
    """The last step of a recurrent layer."""

    def __init__(self, layer: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.layer = layer(4, 5, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0][:, -1]  # type: ignore[no-any-return]


class Named(nn.Module):
    """Two inputs by name, two outputs in a dict, one of them integer."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.conv = nn.Linear(3, 4), nn.Conv1d(2, 4, 3)

    def forward(self, vector: Tensor, *, signal: Tensor) -> dict[str, Tensor]:
        y = self.dense(vector) + self.conv(signal).mean(-1)
        return {"scores": y, "best": y.argmax(1)}


class SumOfBatch(nn.Module):
    """It knows how many samples there are when it is made."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 5)


CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "GRU": (lambda: Recurrent(nn.GRU), (7, 4)),
    "LSTM": (lambda: Recurrent(nn.LSTM, bidirectional=True, num_layers=2), (7, 4)),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
        ),
        (1, 6, 6),
    ),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4)),
}


@functools.cache
def module_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = CASES[name][0]().eval()
    return module


@functools.cache
def written(name: str, opset: int = 18, batch: int | None = None) -> FloatOnnx:
    return to_float_onnx(module_of(name), torch.zeros(1, *CASES[name][1]), opset=opset, batch=batch)


def agrees(name: str, file: FloatOnnx, count: int) -> None:
    x = torch.randn(count, *CASES[name][1], generator=torch.Generator().manual_seed(1))
    (found,) = onnxruntime.InferenceSession(file.content).run(None, {"input": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, module_of(name)(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_agrees_for_any_number_of_samples(name: str) -> None:
    file = written(name)
    onnx.checker.check_model(onnx.load_from_string(file.content), full_check=True)
    assert file.inputs == (((None, *CASES[name][1]), torch.float32),)
    for count in (1, 2, 5):
        agrees(name, file, count)


@pytest.mark.parametrize(("name", "opset", "batch"), [("GRU", 13, None), ("LSTM", 14, 1), ("convolution", 13, 3)])
def test_older_opsets(name: str, opset: int, batch: int | None) -> None:
    """onnx's checker knows what each opset has; older files also have the older format."""
    file = written(name, opset, batch)
    model = onnx.load_from_string(file.content)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", opset)]
    assert model.ir_version == 7  # of onnx 1.8 to 1.9, whose opsets are 13 and 14
    onnx.checker.check_model(model, full_check=True)
    (shape,) = (each.shape for each in onnxruntime.InferenceSession(file.content).get_inputs())
    assert shape[0] == (batch or "batch")
    agrees(name, file, batch or 4)


def test_newer_opsets() -> None:
    file = written("convolution", 22)
    assert [each.version for each in onnx.load_from_string(file.content).opset_import] == [22]
    agrees("convolution", file, 2)


def test_what_an_opset_does_not_have_is_named() -> None:
    """onnx's list of operators: LayerNormalization-17."""
    message = "can't be written in opset 13: its operator LayerNormalization is there from opset 17 on"
    with pytest.raises(UserError, match=message):
        written("attention", 13)


def test_opsets_that_nobody_knows_are_refused() -> None:
    newest = onnx.defs.onnx_opset_version()
    for opset in (LOWEST - 1, newest + 1, -1):
        with pytest.raises(UserError, match=f"--opset must be 13 to {newest}"):
            check_opset(opset)
    check_opset(LOWEST)
    check_opset(newest)


def test_inputs_by_name_and_several_outputs() -> None:
    torch.manual_seed(0)
    module = Named().eval()
    file = to_float_onnx(module, {"vector": torch.zeros(1, 3), "signal": torch.zeros(1, 2, 9)})
    assert [shape for shape, _ in file.inputs] == [(None, 3), (None, 2, 9)]
    assert file.outputs == (((None, 4), torch.float32), ((None,), torch.int64))
    vector, signal = torch.randn(6, 3), torch.randn(6, 2, 9)
    session = onnxruntime.InferenceSession(file.content)
    scores, best = session.run(None, {"input_0": vector.numpy(), "input_1": signal.numpy()})
    with torch.no_grad():
        wanted = module(vector, signal=signal)
    np.testing.assert_allclose(scores, wanted["scores"].numpy(), rtol=1e-4, atol=1e-5)
    assert best.tolist() == wanted["best"].tolist()
    described = file.described()
    assert [each["name"] for each in described["inputs"]] == ["input_0", "input_1"]
    assert [each["dtype"] for each in described["outputs"]] == ["float32", "int64"]


def test_a_module_for_a_fixed_number_of_samples_says_so() -> None:
    with pytest.raises(UserError, match="try --batch 1"):
        to_float_onnx(SumOfBatch(), torch.zeros(1, 5))
    assert to_float_onnx(SumOfBatch(), torch.zeros(1, 5), batch=2).outputs == (((2, 5), torch.float32),)


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
    module.train()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    to_float_onnx(module, torch.zeros(1, 3))
    assert module.training
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())


def test_no_place_on_this_machine_is_in_the_file() -> None:
    """torch.onnx notes for each operator the lines of source that it comes from."""
    assert b".py" not in written("convolution").content


def test_reductions_and_shapes_get_their_older_form() -> None:
    """Against onnxruntime on the newer form: axes were an attribute, and a shape was whole."""
    helper, kinds = onnx.helper, onnx.TensorProto
    axes = helper.make_tensor("axes", kinds.INT64, [1], [-1])
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Shape", ["x"], ["size"], start=1),
    ]
    value = helper.make_tensor_value_info
    outputs = [value("mean", kinds.FLOAT, [2, 3]), value("size", kinds.INT64, [2])]
    graph = helper.make_graph(nodes, "g", [value("x", kinds.FLOAT, [2, 3, 4])], outputs, [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    x = {"x": np.arange(24, dtype=np.float32).reshape(2, 3, 4)}
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, x)
    in_opset(model, 13)
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, x)
    assert [each.tolist() for each in after] == [each.tolist() for each in before]
    assert [node.op_type for node in model.graph.node] == ["ReduceMean", "Shape", "Slice"]
