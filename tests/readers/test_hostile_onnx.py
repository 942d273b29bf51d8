"""``.onnx`` files that are not what they should be: one line that names what is wrong, soon, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")

from mcubench.errors import CorruptDataError, UserError  # noqa: E402
from mcubench.readers.onnx import read_onnx  # noqa: E402
from tests.graph.compare import run  # noqa: E402
from tests.readers.onnx_files import file, node  # noqa: E402


def hostile(*nodes: Any, shape: Sequence[Any] = (1, 4), opset: int = 17, **weights: Any) -> bytes:
    return file(nodes, weights, shape, opset)


def edited(change: Any) -> bytes:
    """A small file in which something is changed."""
    model = onnx.load_from_string(hostile(node("MatMul", "x w"), w=(4, 3)))
    change(model)
    content: bytes = model.SerializeToString()
    return content


def external(location: str, **entries: str) -> bytes:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)

    return edited(change)


LARGE = np.int64([10**6, 10**6])

HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no ONNX file"),
    "text": (b"This is a text, and no model.", "no ONNX file"),
    "another domain": (edited(lambda m: m.graph.node[0].__setattr__("domain", "com.microsoft")), "com.microsoft"),
    "an unknown operator": (edited(lambda m: m.graph.node[0].__setattr__("op_type", "Conf")), "no such operator"),
    "an operator that is not read": (hostile(node("Det", "x")), "Det 'Det_y' can't be read: the operator is not read"),
    "a misspelt attribute": (hostile(node("Softmax", "x", axes=1)), "attribute 'axes'"),
    "an attribute of another type": (hostile(node("Softmax", "x", axis=1.0)), "of another type"),
    "too many inputs": (hostile(node("Relu", "x x")), "has 2 inputs"),
    "a value from nowhere": (hostile(node("Add", "x other")), "'other', which nothing before it makes"),
    "made twice": (hostile(node("Relu", "x"), node("Abs", "x")), "which is there already"),
    "an operator set to come": (hostile(node("Relu", "x"), opset=999), "operator set 999"),
    "a tensor that says more than it has": (
        edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, 10**12)), "in place of 12,000,000,000,000"),
    "negative sizes": (edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, -4)), "has sizes"),
    "a type that is not read": (edited(lambda m: m.graph.initializer[0].__setattr__("data_type", 14)), "COMPLEX64"),
    "functions": (edited(lambda m: m.functions.add(name="f", domain="d")), "defines functions"),
    "sparse tensors": (edited(lambda m: m.graph.sparse_initializer.add()), "sparse"),
    "training": (edited(lambda m: m.training_info.add()), "training"),
    "a sequence": (
        edited(lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.__setattr__("elem_type", 1)),
        "no tensor with a shape"),
    "doubles": (edited(lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 11)), "DOUBLE"),
    "external data": (external("weights.bin"), "lies in another file"),
    "a constant of 10^12": (hostile(node("ConstantOfShape", "s", "c"), node("Add", "x c"), s=LARGE), "too much"),
    "expanded to 10^12": (
        hostile(node("Expand", "o s", "c"), node("Add", "x c"), s=LARGE, o=np.float32([1])), "too much"),
    "an input expanded": (hostile(node("Expand", "x s"), s=np.int64([10**6, 10**6, 1, 4])), "makes a tensor of"),
    "repeated": (hostile(node("Tile", "x s"), s=np.int64([1, 10**12])), "makes a tensor of"),
    "a range": (hostile(node("Range", "a b c", "r"), node("Add", "x r"), a=np.int64(0), b=np.int64(10**15),
                        c=np.int64(1)), "makes 1,000,000,000,000,000 numbers"),
    "doubled again and again": (
        hostile(node("Concat", "w w", "w0", axis=0),
                *(node("Concat", f"w{i} w{i}", f"w{i + 1}", axis=0) for i in range(50)),
                node("MatMul", "x w50"), w=(4, 4)), "too much"),
    "products of constants": (
        hostile(node("Expand", "o s", "w0"), *(node("MatMul", f"w{i} w{i}", f"w{i + 1}") for i in range(50)),
                node("MatMul", "x w50"), s=np.int64([4096, 4096]), o=np.float32([1])), "too much"),
    "no groups": (hostile(node("Conv", "x w", group=0), shape=(1, 3, 4, 4), w=(2, 3, 3, 3)), "in 0 groups"),
    "no strides": (hostile(node("Conv", "x w", strides=[0, 1]), shape=(1, 3, 4, 4), w=(2, 3, 3, 3)), "out of range"),
    "negative pads": (
        hostile(node("Conv", "x w", pads=[-1, 0, 0, 0]), shape=(1, 3, 4, 4), w=(2, 3, 3, 3)), "out of range"),
    "an empty kernel": (hostile(node("MaxPool", "x", kernel_shape=[0, 0]), shape=(1, 3, 4, 4)), "out of range"),
    "other channels": (hostile(node("Conv", "x w"), shape=(1, 5, 4, 4), w=(2, 3, 3, 3)), "Conv 'Conv_y' can't be read"),
    "other columns": (hostile(node("MatMul", "x w"), w=(5, 3)), "MatMul 'MatMul_y' can't be read"),
    "a step of zero": (hostile(node("Range", "a b c", "r"), node("Add", "x r"), a=np.int64(0), b=np.int64(4),
                               c=np.int64(0)), "no range"),
    "no block": (hostile(node("DepthToSpace", "x", blocksize=0), shape=(1, 4, 2, 2)), "blocksize"),
    "an axis that is not there": (hostile(node("Softmax", "x", axis=7)), "no axis 7"),
    "another size": (hostile(node("Reshape", "x s"), s=np.int64([3, 3])), "it makes"),
    "integers divided by zero": (hostile(node("Div", "a b", "c"), node("Cast", "c", "f", to=1), node("Add", "x f"),
                                         a=np.int64([1]), b=np.int64([0])), "can't be read"),
    "types that do not belong together": (
        hostile(node("Add", "x w"), w=np.int64([1, 2, 3, 4])), "float32 and torch.int64"),
    "control flow": (
        edited(lambda m: m.graph.node.add(op_type="If", input=["x"], output=["z"], name="choice")), "If 'choice'"),
    "computed indices": (hostile(node("Cast", "x", "i", to=7), node("Gather", "x i", axis=1)), "computed values"),
    "training batch norm": (
        hostile(node("BatchNormalization", "x w w w w", training_mode=1), w=(4,)), "as in training"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_can_not_be_read_is_named(name: str) -> None:
    content, words = HOSTILE[name]
    with pytest.raises(UserError) as error:
        read_onnx(content)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_external_data_are_read_below_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = np.arange(12, dtype=np.float32).tobytes()
    (folder / "weights.bin").write_bytes(b"1234" + weights)
    (tmp_path / "secret.bin").write_bytes(weights)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    graph = read_onnx(external("weights.bin", offset="4", length="48"), folder)
    x = torch.eye(4)
    assert torch.equal(run(graph, x)[0], torch.arange(12.0).reshape(4, 3))
    for place in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "C:\\secret.bin", "", "none.bin", "."):
        with pytest.raises(UserError, match="below the model's folder"):
            read_onnx(external(place), folder)
    for entries in ({"offset": "8"}, {"offset": "-4"}, {"length": "40"}, {"offset": "a"}):
        with pytest.raises(CorruptDataError):
            read_onnx(external("weights.bin", **entries), folder)


def test_altered_files_are_read_or_refused() -> None:
    """Bytes changed at random, and files cut off: a graph, or one line."""
    content = file(
        [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("Flatten", "r", "f"),
         node("Shape", "f", "s"), node("Reshape", "f s", "g"), node("Gemm", "g v", transB=1)],
        {"w": (2, 1, 3, 3), "b": (2,), "v": (3, 32)}, ("N", 1, 4, 4),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    read = 0
    for round_ in range(400):
        altered = bytearray(content)
        for place in rng.integers(0, len(content), 1 + round_ % 4):
            altered[place] = rng.integers(256)
        try:
            read_onnx(bytes(altered[: rng.integers(len(content))] if round_ % 5 == 0 else altered))
            read += 1
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most are not refused
    assert 20 < read < 380


def test_an_axis_that_varies_is_named() -> None:
    with pytest.raises(UserError, match=r"input 'x' has no fixed size along axis 2 \('time'\)"):
        read_onnx(file([node("Relu", "x")], {}, ("N", 3, "time")))


def test_truncated_files_are_corrupt() -> None:
    content = hostile(node("MatMul", "x w", "y"), w=(4, 3))
    for length in range(0, len(content), 7):
        with pytest.raises((CorruptDataError, UserError)):
            read_onnx(content[:length])
