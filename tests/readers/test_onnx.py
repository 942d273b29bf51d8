"""``.onnx`` files as graphs: onnxruntime is the reference, with random weights and several samples at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from mcubench.cost.macs import count_macs  # noqa: E402
from mcubench.cost.profiling import profile_graph  # noqa: E402
from mcubench.graph import Graph, deploy, trace  # noqa: E402
from mcubench.readers.onnx import read_onnx, recurrent  # noqa: E402
from tests.graph.compare import distance, kinds, randomised, run  # noqa: E402
from tests.known_answers import OURS, KnownAnswer  # noqa: E402
from tests.readers.onnx_files import Weights, file, node  # noqa: E402


def reference(content: bytes, x: Tensor) -> list[Tensor]:
    options = onnxruntime.SessionOptions()
    # Its own passes compute int8 in another way.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(each) for each in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


def same(content: bytes, shape: Sequence[int], samples: int = 3, out: int = 0, bound: float = 1e-5) -> Graph:
    """Reads a file and compares it on several samples, as read and as deployed; `out` is the batch of the outputs."""
    graph = read_onnx(content)
    assert not graph.unknown(), [each.op for each in graph.unknown()]
    assert not graph.notes
    x = torch.randn(samples, *shape, generator=torch.Generator().manual_seed(0))
    wanted = reference(content, x)
    for form in (graph, deploy(graph)):
        assert distance(run(form, x, out_dim=out), wanted) <= bound
    return graph


IMAGE = (3, 9, 7)

# Operators with what onnx's own tests do not have: random weights, several samples, unusual attributes.
CASES: dict[str, tuple[list[Any], Weights, tuple[int, ...], int]] = {
    "same upper": ([node("Conv", "x w b", auto_pad="SAME_UPPER", strides=[2, 2])],
                   {"w": (4, 3, 4, 2), "b": (4,)}, IMAGE, 17),
    "same lower": ([node("Conv", "x w", auto_pad="SAME_LOWER")], {"w": (4, 3, 4, 2)}, IMAGE, 17),
    "uneven pads": ([node("Conv", "x w", pads=[0, 1, 2, 3], dilations=[2, 1])], {"w": (4, 3, 3, 3)}, IMAGE, 17),
    "groups": ([node("Conv", "x w", group=3, pads=[1, 1, 1, 1])], {"w": (6, 1, 3, 3)}, IMAGE, 17),
    "convolution of a sequence": ([node("Conv", "x w b", pads=[2, 0])], {"w": (4, 3, 5), "b": (4,)}, (3, 20), 17),
    "transposed, uneven": ([node("ConvTranspose", "x w b", strides=[2, 2], pads=[0, 1, 1, 0])],
                           {"w": (3, 4, 3, 3), "b": (4,)}, IMAGE, 17),
    "transposed, of a size": ([node("ConvTranspose", "x w", strides=[2, 2], output_shape=[18, 14])],
                              {"w": (3, 4, 3, 3)}, IMAGE, 17),
    "transposed, groups": ([node("ConvTranspose", "x w", group=3, output_padding=[1, 0], strides=[2, 1])],
                           {"w": (3, 2, 3, 3)}, IMAGE, 17),
    "means without pads": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[2, 2])],
                           {}, IMAGE, 17),
    "means with pads": ([node("AveragePool", "x", kernel_shape=[3, 2], pads=[1, 0, 0, 1], count_include_pad=1)],
                        {}, IMAGE, 17),
    "means, same": ([node("AveragePool", "x", kernel_shape=[2, 2], auto_pad="SAME_UPPER", strides=[2, 2])],
                    {}, IMAGE, 17),
    "maxima, same": ([node("MaxPool", "x", kernel_shape=[2, 2], auto_pad="SAME_UPPER", strides=[2, 2])],
                     {}, IMAGE, 17),
    "maxima over the end": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
                            {}, (3, 8, 8), 17),
    "gemm": ([node("Flatten", "x", "f"), node("Gemm", "f w b", alpha=0.5, beta=2.0)],
             {"w": (6, 4), "b": (1, 4)}, (2, 3), 17),
    "gemm, transposed": ([node("Flatten", "x", "f"), node("Gemm", "f w b", transB=1)],
                         {"w": (4, 6), "b": (4,)}, (2, 3), 17),
    "matrices": ([node("MatMul", "x w", "p"), node("Add", "p b")], {"w": (6, 4), "b": (4,)}, (5, 6), 17),
    "attention": ([node("MatMul", "x q", "a"), node("MatMul", "x k", "b"), node("Transpose", "b", "c", perm=[0, 2, 1]),
                   node("MatMul", "a c", "d"), node("Softmax", "d", "e"), node("MatMul", "e x")],
                  {"q": (6, 4), "k": (6, 4)}, (5, 6), 17),
    "softmax of several axes": ([node("Softmax", "x", axis=1)], {}, (3, 4), 11),
    "softmax before 13": ([node("LogSoftmax", "x", axis=-1)], {}, (3, 4), 9),
    "batch norm": ([node("BatchNormalization", "x w b m v", epsilon=0.01)],
                   {"w": (3,), "b": (3,), "m": (3,), "v": np.float32([1, 2, 3])}, IMAGE, 17),
    "instance norm": ([node("InstanceNormalization", "x w b")], {"w": (3,), "b": (3,)}, IMAGE, 17),
    "layer norm": ([node("LayerNormalization", "x w b", axis=-1)], {"w": (6,), "b": (6,)}, (5, 6), 17),
    "groups, a weight for each channel": ([node("GroupNormalization", "x w b", num_groups=2)],
                                          {"w": (6,), "b": (6,)}, (6, 4, 4), 21),
    "two names of a product": ([node("MatMul", "x w", "p"), node("Identity", "p", "q"), node("Add", "q b", "a"),
                                node("Mul", "a p")], {"w": (6, 4), "b": (4,)}, (5, 6), 17),
    "local response": ([node("LRN", "x", size=3, alpha=0.5, beta=0.6)], {}, (5, 4, 4), 17),
    "shape of the batch": ([node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n zero1", "u"),
                            node("Concat", "u rest", "t", axis=0), node("Reshape", "x t")],
                           {"zero": np.int64(0), "zero1": np.int64([0]), "rest": np.int64([-1, 3])}, (2, 3, 4), 17),
    "slices": ([node("Slice", "x from to axes steps")],
               {"from": np.int64([-1, 1]), "to": np.int64([-100, 100]), "axes": np.int64([2, 1]),
                "steps": np.int64([-2, 1])}, (3, 9), 17),
    "split": ([node("Split", "x sizes", "a b c", axis=2), node("Concat", "c a b", axis=-1)],
              {"sizes": np.int64([1, 3, 2])}, (3, 6), 17),
    "a constant beside each sample": ([node("Concat", "x w", axis=1)], {"w": (1, 2, 6)}, (3, 6), 17),
    "reflected": ([node("Pad", "x pads", mode="reflect")], {"pads": np.int64([0, 0, 1, 2, 0, 0, 0, 3])}, IMAGE, 17),
    "edges": ([node("Pad", "x pads", mode="edge")], {"pads": np.int64([0, 1, 0, 2, 0, 0, 4, 0])}, IMAGE, 17),
    "resized": ([node("Resize", "x - scales", mode="linear")], {"scales": np.float32([1, 1, 2, 1.5])}, (3, 4, 6), 17),
    "nearest": ([node("Resize", "x - - sizes", mode="nearest", coordinate_transformation_mode="asymmetric",
                      nearest_mode="floor")], {"sizes": np.int64([1, 3, 8, 9])}, (3, 4, 6), 17),
    "upsampled": ([node("Upsample", "x scales", mode="nearest")], {"scales": np.float32([1, 1, 2, 3])}, (3, 4, 6), 9),
    "slopes": ([node("PRelu", "x w")], {"w": (3, 1, 1)}, IMAGE, 17),
    "unusual slopes": ([node("PRelu", "x w")], {"w": (9, 7)}, IMAGE, 17),
    "hard sigmoid": ([node("HardSigmoid", "x", alpha=0.3, beta=0.4)], {}, IMAGE, 17),
    "bounds": ([node("Clip", "x low")], {"low": np.float32(-0.5)}, IMAGE, 17),
    "reduced": ([node("ReduceMean", "x", axes=[1, -1], keepdims=0)], {}, IMAGE, 17),
    "best": ([node("ArgMax", "x", "i", axis=1), node("Cast", "i", to=1)], {}, (5, 4), 17),
    "blocks": ([node("SpaceToDepth", "x", "s", blocksize=2), node("DepthToSpace", "s", blocksize=2, mode="CRD")],
               {}, (2, 4, 6), 17),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_onnxruntime_computes(name: str) -> None:
    nodes, weights, shape, opset = CASES[name]
    fixed = name in ("nearest", "a constant beside each sample")  # what stands in the file is for one sample
    same(file(nodes, weights, (1 if fixed else "N", *shape), opset), shape, samples=1 if fixed else 3)


def recurrent_file(kind: str, direction: str, biased: bool, state: bool, **attributes: Any) -> bytes:
    gates, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1
    shapes: Weights = {"w": (directions, gates * 5, 4), "r": (directions, gates * 5, 5)}
    inputs = ["t", "w", "r", "", "", "", ""]
    if biased:
        shapes["b"] = (directions, gates * 10)
        inputs[3] = "b"
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2])]
    if state:  # as exporters write it: of the number of samples
        shapes |= {
            "one": np.int64([1]),
            "h0": (directions, 1, 5),
            "left": np.int64([directions]),
            "five": np.int64([5]),
        }
        nodes += [node("Shape", "x", "s", end=1), node("Concat", "left s five", "size", axis=0),
                  node("Expand", "h0 size", "h")]  # fmt: skip
        inputs[5] = "h"
        if kind == "LSTM":
            inputs[6] = "h"
    while not inputs[-1]:
        inputs.pop()
    made = ["y", "h_n", "c_n"][: 3 if kind == "LSTM" else 2]
    layer = onnx.helper.make_node(kind, inputs, made, "layer", hidden_size=5, direction=direction, **attributes)
    return file([*nodes, layer], shapes, ("N", 7, 4), outputs=" ".join(made))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(kind: str, direction: str) -> None:
    options = {"linear_before_reset": 1} if kind == "GRU" else {}
    for biased, state in ((True, False), (False, True)):
        content = recurrent_file(kind, direction, biased, state, **options)
        graph = read_onnx(content)
        x = torch.randn(3, 7, 4)
        found, wanted = run(graph, x), reference(content, x)
        assert not graph.notes
        found = [found[0].movedim(0, 2), *(each.movedim(0, 1) for each in found[1:])]
        assert distance(found, wanted) <= 1e-5
        directions = 2 if direction == "bidirectional" else 1
        gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
        assert profile_graph(graph, kind).macs == 7 * directions * gates * 5 * (4 + 5)


def test_another_order_of_gates_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recurrent._GATES, "LSTM", (0, 1, 2, 3))
    with pytest.raises(AssertionError):
        test_recurrent_layers("LSTM", "forward")


def test_a_layer_whose_sequence_comes_first_is_one_sample() -> None:
    content = file([node("LSTM", "x w r", hidden_size=5)], {"w": (1, 20, 4), "r": (1, 20, 5)}, (7, 1, 4))
    graph = read_onnx(content)
    x = torch.randn(7, 1, 4)
    assert "for a single sample" in graph.notes[0]
    assert distance([each[0] for each in run(graph, x[None])], reference(content, x)) <= 1e-5
    assert profile_graph(graph, "LSTM").macs == 7 * 4 * 5 * (4 + 5)


ONE_OF_EACH = ("mlp-64-10", "cnn-9x7", "cnn-28x28-without-activation", "lenet-13x10", "cnn1d-2x9", "dscnn-8x8")


@pytest.mark.slow
@pytest.mark.parametrize("known", [each for each in OURS if each.name in ONE_OF_EACH], ids=lambda known: known.name)
def test_our_models_come_back(known: KnownAnswer) -> None:
    """Written by torch.onnx, read, and priced as the module is."""
    pytest.importorskip("onnxscript")
    from mcubench.export.float_onnx import to_float_onnx

    torch.manual_seed(0)
    module = randomised(known.make())
    graph = read_onnx(to_float_onnx(module, torch.zeros(1, *known.sample)).content)
    x = torch.randn(3, *known.sample)
    with torch.no_grad():
        wanted = [module(x)]
    assert distance(run(graph, x), wanted) <= 1e-5
    assert distance(run(deploy(graph), x), wanted) <= 1e-5
    report, traced = profile_graph(graph, known.name), profile_graph(trace(module, torch.zeros(1, *known.sample)), "")
    assert (report.macs, report.flash_bytes) == (known.macs, traced.flash_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("known", [each for each in OURS if each.name in ONE_OF_EACH], ids=lambda known: known.name)
def test_our_quantised_models_come_back(known: KnownAnswer) -> None:
    """What QuantizeLinear rounds is rounded in the graph as it is read, and not as it is deployed."""
    pytest.importorskip("onnxscript")
    from mcubench.export.qdq import to_onnx
    from mcubench.quant import quantize

    torch.manual_seed(0)
    module = randomised(known.make())
    deployed = deploy(trace(module, torch.zeros(1, *known.sample)))
    x = torch.randn(16, *known.sample)
    content = to_onnx(deployed, quantize(deployed, calibration=x))
    graph = read_onnx(content)
    (found,), (wanted,) = run(graph, x), reference(content, x)
    last: Any = [each.op for each in graph.nodes if "FakeQuantize" in kinds(Graph((each,), (), ()))][-1]
    steps = ((found - wanted) / last.grid[0]).round()
    assert float(steps.abs().max()) <= 1  # a sum that lies between two codes
    assert float((steps != 0).float().mean()) < 0.01
    assert profile_graph(graph, known.name).macs == known.macs


LIGHT = Path(onnx.__path__[0]) / "backend" / "test" / "data" / "light"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), [("squeezenet", "squeezenet1_1"), ("resnet50", "resnet50")])
def test_networks_of_the_zoo_cost_what_those_of_torchvision_do(name: str, model: str) -> None:
    """The onnx package has them with constants in place of weights."""
    from mcubench import mend_torchvision

    mend_torchvision()
    import torchvision

    graph = read_onnx((LIGHT / f"light_{name}.onnx").read_bytes())
    module = torchvision.models.get_model(model).eval()
    wanted = count_macs(trace(module, torch.zeros(1, 3, 224, 224))).total
    assert count_macs(graph).total == count_macs(deploy(graph)).total == wanted


def test_a_relu_that_the_codes_stand_for_stays() -> None:
    """Quantisers leave it out where the lowest code is zero."""
    content = file(
        [node("Conv", "x w", "c"), node("QuantizeLinear", "c scale zero", "q"),
         node("DequantizeLinear", "q scale zero")],
        {"w": (4, 3, 3, 3), "scale": np.float32(0.05), "zero": np.uint8(0)}, ("N", *IMAGE),
    )  # fmt: skip
    graph = read_onnx(content)
    assert kinds(graph) == ["Conv", "Activation", "FakeQuantize"]
    assert kinds(deploy(graph)) == ["Conv"]
    x = torch.randn(2, *IMAGE)
    assert float(run(deploy(graph), x)[0].min()) == 0
    assert distance(run(graph, x), reference(content, x)) <= 1e-5


def test_codes_of_weights_are_read_as_floats() -> None:
    content = file(
        [node("DequantizeLinear", "codes scales zeros", "w", axis=0), node("Conv", "x w")],
        {"codes": np.arange(-54, 54).reshape(4, 3, 3, 3).astype(np.int8), "scales": np.float32([1, 2, 3, 4]),
         "zeros": np.int8([0, 1, 0, 2])}, ("N", *IMAGE),
    )  # fmt: skip
    assert kinds(same(content, IMAGE)) == ["Conv"]


def test_weights_and_layers_are_called_what_the_file_calls_them() -> None:
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f first.weight", "p"), node("Add", "p first.bias", "a"),
             node("Relu", "a", "r"), node("MatMul", "r back", "y")]  # fmt: skip
    nodes.insert(0, node("Transpose", "first.weight", "back", perm=[1, 0]))
    graph = same(file(nodes, {"first.weight": (6, 4), "first.bias": (4,)}, ("N", 2, 3)), (2, 3))
    dense: list[Any] = [each for each in graph.nodes if type(each.op).__name__ == "Dense"]
    assert [each.path for each in dense] == ["Add_a", "MatMul_y"]
    assert [name for _, each in dense[0].op.weights() for name in each.sources] == ["first.weight", "first.bias"]
    assert dense[0].op.weight.stored is dense[1].op.weight.stored  # so it is priced once
    assert graph.parameters == {"first.weight": 24, "first.bias": 4}


def test_integers_that_onnx_has_no_operators_for_are_exact() -> None:
    """A convolution of codes of 8 bits, as compilers for microcontrollers write and read it."""
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, (1, *IMAGE))
    made = helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)
    tensors = [onnx.numpy_helper.from_array(weights, "w")]
    graph = helper.make_graph([node("Conv", "x w")], "graph", [value], [made], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 10)])
    x = torch.from_numpy(rng.integers(0, 256, (2, *IMAGE)).astype(np.uint8))
    wanted = nn.functional.conv2d(x.double(), torch.from_numpy(weights).double()).int()
    read = read_onnx(model.SerializeToString())
    assert torch.equal(run(read, x)[0], wanted)
    assert torch.equal(run(deploy(read), x)[0], wanted)


def test_tensors_whose_names_are_taken_get_others() -> None:
    """Those that are computed while the file is read are called after what makes them."""
    weights = {"w": (1, 20, 4), "r": (1, 20, 5), "b": (1, 40), "b.input": (5, 20)}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("LSTM", "t w r b", "s", hidden_size=5),
             node("MatMul", "s b.input")]  # fmt: skip
    content = file(nodes, weights, ("N", 7, 4))
    x = torch.randn(3, 7, 4)
    (wanted,) = reference(content, x)
    assert distance([run(read_onnx(content), x)[0].movedim(0, 2)], [wanted]) <= 1e-5


def test_a_product_that_has_two_names_is_counted_once() -> None:
    nodes, weights, shape, opset = CASES["two names of a product"]
    graph = read_onnx(file(nodes, weights, ("N", *shape), opset))
    assert profile_graph(graph, "product").macs == 5 * 6 * 4


MATCH = Path(__file__).parents[3] / "shared" / "models" / "match_kws.onnx"


@pytest.mark.skipif(not MATCH.is_file(), reason="the models of others are not there")
def test_a_file_of_others() -> None:
    """Keyword spotting in integers (eml-eda/match), whose operators onnxruntime takes only as floats.

    Counted by hand: 125 places of 64 channels, 64 x 40 in the first layer, four times 64 x 9 and 64 x 64; 64 x 12 in
    the last.
    """
    graph = read_onnx(MATCH.read_bytes())
    assert profile_graph(graph, "match_kws").macs == 125 * 64 * 40 + 4 * 125 * (64 * 9 + 64 * 64) + 64 * 12 == 2_656_768
    x = torch.randint(0, 256, (4, 1, 49, 10), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    wanted = reference(as_floats(MATCH.read_bytes()), x.float())
    for form in (graph, deploy(graph)):
        assert distance([each.float() for each in run(form, x)], wanted) <= 1e-5


def as_floats(content: bytes) -> bytes:
    """The same file with floats for integers, which are exact as long as they are below 2^24."""
    model = onnx.load_from_string(content)
    graph, kind = model.graph, onnx.TensorProto.FLOAT
    constants = [each.t for step in graph.node for each in step.attribute if each.name == "value"]
    for tensor in (*graph.initializer, *constants):
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for step in graph.node:
        for each in step.attribute:
            if each.name == "to":
                each.i = kind
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = kind
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    floats: bytes = model.SerializeToString()
    return floats
