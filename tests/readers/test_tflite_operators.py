"""Operators that mcubench reads and does not write: TFLite Micro's bytes, and in float LiteRT's values."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mcubench.errors import UserError
from mcubench.export.interpreters import run_litert, run_tflm
from mcubench.graph import deploy, interpret
from mcubench.quant.integer import predict
from mcubench.quant.integer.kernels.common import same_padding
from mcubench.readers.tflite import Tflite, read_tflite
from tests.readers.tflite_builder import Builder

SHAPE = (1, 6, 5, 4)

# What an operator makes of an input of SHAPE: adds it to a builder and returns its outputs.
Make = Callable[[Builder, int, type[np.generic], float | None], list[int]]


def like(builder: Builder, shape: tuple[int, ...], kind: type[np.generic], scale: float | None) -> int:
    return builder.tensor(shape, kind, scale, 0)


def plain(name: str, shape: tuple[int, ...], *numbers: tuple[int, ...], options: str = "", **fields: object) -> Make:
    """One operator with constants of int32 behind its input."""

    def make(builder: Builder, x: int, kind: type[np.generic], scale: float | None) -> list[int]:
        out = like(builder, shape, kind, scale)
        builder.operator(name, [x, *(builder.numbers(*each) for each in numbers)], [out], options, **fields)
        return [out]

    return make


def parts(
    name: str, shapes: list[tuple[int, ...]], *numbers: tuple[int, ...], first: bool, options: str, **fields: object
) -> Make:
    """One operator with several outputs; `first`: its constants stand before its input."""

    def make(builder: Builder, x: int, kind: type[np.generic], scale: float | None) -> list[int]:
        outs = [like(builder, shape, kind, scale) for shape in shapes]
        constants = [builder.numbers(*each) for each in numbers]
        builder.operator(name, [*constants, x] if first else [x, *constants], outs, options, **fields)
        return outs

    return make


def packed(builder: Builder, x: int, kind: type[np.generic], scale: float | None) -> list[int]:
    out = like(builder, (1, 6, 2, 5, 4), kind, scale)
    builder.operator("PACK", [x, x], [out], "PackOptions", axis=2, valuesCount=2)
    return [out]


def pooled(name: str, activation: int, padding: int, window: int, stride: int) -> Make:
    sizes = [-(-size // stride) if padding == 0 else (size - window) // stride + 1 for size in SHAPE[1:3]]
    fields = {
        "padding": padding, "strideH": stride, "strideW": stride, "filterHeight": window, "filterWidth": window,
        "fusedActivationFunction": activation,
    }  # fmt: skip
    return plain(name, (1, *sizes, 4), options="Pool2DOptions", **fields)


def into_depth(builder: Builder, x: int, kind: type[np.generic], scale: float | None) -> list[int]:
    wide, out = like(builder, (1, 6, 10, 2), kind, scale), like(builder, (1, 3, 5, 8), kind, scale)
    builder.operator("RESHAPE", [x, builder.numbers(1, 6, 10, 2)], [wide], "ReshapeOptions")
    builder.operator("SPACE_TO_DEPTH", [wide], [out], "SpaceToDepthOptions", blockSize=2)
    return [out]


def flattened_by_shape(builder: Builder, x: int, kind: type[np.generic], scale: float | None) -> list[int]:
    """As Keras' Flatten of a batch of unknown size is converted: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""
    shape, count = builder.tensor((4,), np.int32), builder.tensor((), np.int32)
    target, out = builder.tensor((2,), np.int32), like(builder, (1, 120), kind, scale)
    builder.operator("SHAPE", [x], [shape], "ShapeOptions", outType=2)
    ends = [builder.numbers(each) for each in (0, 1, 1)]
    builder.operator("STRIDED_SLICE", [shape, *ends], [count], "StridedSliceOptions", shrinkAxisMask=1)
    rest = builder.tensor((), np.int32, data=np.array(120))
    builder.operator("PACK", [count, rest], [target], "PackOptions", axis=0, valuesCount=2)
    builder.operator("RESHAPE", [x, target], [out], "ReshapeOptions")
    return [out]


def products(turned: str, shape: tuple[int, ...]) -> Make:
    """Of the input and itself."""

    def make(builder: Builder, x: int, kind: type[np.generic], scale: float | None) -> list[int]:
        out = like(builder, shape, kind, scale)
        builder.operator("BATCH_MATMUL", [x, x], [out], "BatchMatMulOptions", **{turned: True})
        return [out]

    return make


MOVES: dict[str, Make] = {
    "slices along two axes": plain(
        "STRIDED_SLICE", (1, 2, 2, 4), (0, 1, 0, 0), (1, 5, 5, 4), (1, 2, 3, 1), options="StridedSliceOptions"
    ),
    "slice with masks": plain(
        "STRIDED_SLICE", (1, 3, 5, 4), (0, 3, 0, 0), (0, 0, 0, 0), (1, 1, 1, 1),
        options="StridedSliceOptions", beginMask=13, endMask=15,
    ),
    "a row, whose axis goes": plain(
        "STRIDED_SLICE", (1, 5, 4), (0, -2, 0, 0), (0, 0, 0, 0), (1, 1, 1, 1),
        options="StridedSliceOptions", beginMask=13, endMask=13, shrinkAxisMask=2,
    ),
    "plain slice": plain("SLICE", (1, 2, 5, 3), (0, 1, 0, 1), (1, 2, -1, 3), options="SliceOptions"),
    "split": parts("SPLIT", [(1, 6, 5, 2)] * 2, (3,), first=True, options="SplitOptions", numSplits=2),
    "uneven split": parts(
        "SPLIT_V", [(1, 1, 5, 4), (1, 5, 5, 4)], (1, 5), (1,), first=False, options="SplitVOptions", numSplits=2
    ),
    "unpacked": parts("UNPACK", [(1, 5, 4)] * 6, first=False, options="UnpackOptions", axis=1, num=6),
    "packed": packed,
    "squeezed": plain("RESHAPE", (1, 30, 4), (1, 30, 4), options="ReshapeOptions"),
    "one axis more": plain("EXPAND_DIMS", (1, 1, 6, 5, 4), (1,), options="ExpandDimsOptions"),
    "transposed": plain("TRANSPOSE", (1, 4, 6, 5), (0, 3, 1, 2), options="TransposeOptions"),
    "flattened by its shape": flattened_by_shape,
    "max-pool + relu": pooled("MAX_POOL_2D", 1, 1, 2, 2),
    "average + relu6": pooled("AVERAGE_POOL_2D", 3, 1, 2, 1),
    "max-pool, same": pooled("MAX_POOL_2D", 0, 0, 2, 2),
    "average, same, stride 2": pooled("AVERAGE_POOL_2D", 0, 0, 3, 2),
    "nearest": plain("RESIZE_NEAREST_NEIGHBOR", (1, 12, 7, 4), (12, 7), options="ResizeNearestNeighborOptions"),
    "nearest, centres of pixels": plain(
        "RESIZE_NEAREST_NEIGHBOR", (1, 9, 3, 4), (9, 3), options="ResizeNearestNeighborOptions", halfPixelCenters=True
    ),
}  # fmt: skip

# What changes the grid, or has one of its own.
SUMS: dict[str, Make] = {
    "mean": plain("MEAN", (1, 4), (1, 2), options="ReducerOptions"),
    "mean, kept": plain("MEAN", (1, 1, 1, 4), (2, 1), options="ReducerOptions", keepDims=True),
    "mean over channels": plain("MEAN", (1, 6, 5), (-1,), options="ReducerOptions"),
    "sum": plain("SUM", (1, 5, 4), (1,), options="ReducerOptions"),
    "rows times rows": products("adjY", (1, 6, 5, 5)),
    "columns times columns": products("adjX", (1, 6, 4, 4)),
}
# float only
FLOATS: dict[str, Make] = {
    "largest": plain("REDUCE_MAX", (1, 5, 4), (1,), options="ReducerOptions"),
    "depth to space": plain("DEPTH_TO_SPACE", (1, 12, 10, 1), options="DepthToSpaceOptions", blockSize=2),
    "space to depth": into_depth,
    "exponential": plain("EXP", SHAPE, options="ExpOptions"),
    "gelu": plain("GELU", SHAPE, options="GeluOptions", approximate=True),
    "softmax with beta": plain("SOFTMAX", SHAPE, options="SoftmaxOptions", beta=0.5),
    "leaky relu": plain("LEAKY_RELU", SHAPE, options="LeakyReluOptions", alpha=0.2),
    "square": plain("SQUARE", SHAPE, options="SquareOptions"),
    "rows of length 1": plain("L2_NORMALIZATION", SHAPE, options="L2NormOptions"),
}


def in_int8(make: Make, target: float = 0.05) -> bytes:
    builder = Builder()
    x = builder.tensor(SHAPE, np.int8, 0.05, 0)
    return builder.file([x], make(builder, x, np.int8, target))


def in_float(make: Make) -> bytes:
    builder = Builder()
    x = builder.tensor(SHAPE, np.float32)
    return builder.file([x], make(builder, x, np.float32, None))


def drawn(samples: int = 20, seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, (samples, *SHAPE[1:])).astype(np.int8)


def off(found: Tflite, file: bytes, codes: NDArray[np.int8]) -> int:
    """Bytes that differ from TFLite Micro's."""
    assert found.integer is not None, found.not_integer
    ours = predict(found.integer, torch.from_numpy(codes))
    theirs = run_tflm(file, codes)
    assert [each.shape for each in theirs] == [tuple(each.shape) for each in ours]
    return sum(int((one.numpy() != other).sum()) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", {**MOVES, **SUMS})
def test_in_int8_computes_tflite_micros_bytes(name: str) -> None:
    file = in_int8({**MOVES, **SUMS}[name], 0.031 if name in SUMS else 0.05)
    assert off(read_tflite(file), file, drawn()) == 0


@pytest.mark.parametrize("name", {**MOVES, **SUMS, **FLOATS})
def test_in_float_computes_what_litert_computes(name: str) -> None:
    file = in_float({**MOVES, **SUMS, **FLOATS}[name])
    x = np.random.default_rng(0).standard_normal((3, *SHAPE[1:])).astype(np.float32)
    graph = read_tflite(file).graph
    assert not graph.unknown()
    assert not graph.notes
    wanted = run_litert(file, x)
    for form in (graph, deploy(graph)):
        for found, other in zip(interpret(form, torch.from_numpy(x)), wanted, strict=True):
            assert found.shape == other.shape
            assert np.abs(found.numpy() - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("shape", [(), (4,), (5, 1), (1, 1, 1, 4)])
@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
def test_constants_without_a_batch_meet_every_sample(name: str, shape: tuple[int, ...]) -> None:
    """As TensorFlow's converter writes what is left of a batch norm (C,), and of 1 - x ()."""
    builder, options = Builder(), f"{name.title()}Options"
    data = np.random.default_rng(0).integers(-128, 128, shape)
    x, other = builder.tensor(SHAPE, np.int8, 0.05, 3), builder.tensor(shape, np.int8, 0.02, -7, np.asarray(data))
    y = builder.tensor(SHAPE, np.int8, 0.06, 1)
    builder.operator(name, [x, other], [y], options)
    file = builder.file([x], [y])
    for samples in (1, 4, 5):
        assert off(read_tflite(file), file, drawn(samples)) == 0


def widened(kind: type[np.generic], through: bool) -> bytes:
    """A dense layer whose weights stand in fewer bits, and are widened before it or read as they are."""
    builder, codes = Builder(), np.random.default_rng(0).integers(-9, 10, (3, 4))
    x, y = builder.tensor((1, 4), np.float32), builder.tensor((1, 3), np.float32)
    weights = builder.tensor((3, 4), kind, None if kind is np.float16 else 0.1, 0, codes)
    if through:
        wide = builder.tensor((3, 4), np.float32)
        builder.operator("DEQUANTIZE", [weights], [wide], "DequantizeOptions")
        weights = wide
    builder.operator("FULLY_CONNECTED", [x, weights, -1], [y], "FullyConnectedOptions")
    return builder.file([x], [y])


@pytest.mark.parametrize("kind", [np.float16, np.int8])
def test_weights_that_are_widened(kind: type[np.generic]) -> None:
    file, x = widened(kind, True), np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    found = read_tflite(file)
    assert found.widths.weight == 8 * np.dtype(kind).itemsize
    (wanted,) = run_litert(file, x)
    (y,) = interpret(deploy(found.graph), torch.from_numpy(x))
    assert np.abs(y.numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_weights_of_int8_beside_floats_are_refused() -> None:
    """LiteRT rounds the input of such a layer, anew for each; no fixed graph does that."""
    with pytest.raises(UserError, match="is INT8 beside floats"):
        read_tflite(widened(np.int8, False))


@pytest.mark.parametrize("given", [np.float32, np.uint8])
@pytest.mark.parametrize("supplied", [np.float32, np.uint8])
def test_ends_that_are_no_int8_are_left_to_the_application(supplied: type[np.generic], given: type[np.generic]) -> None:
    builder = Builder()
    first = builder.tensor(SHAPE, supplied, *((0.05, 128) if supplied is np.uint8 else ()))
    x, y = (builder.tensor(SHAPE, np.int8, scale) for scale in (0.05, 0.1))
    last = builder.tensor(SHAPE, given, *((0.1, 128) if given is np.uint8 else ()))
    builder.operator("QUANTIZE", [first], [x], "QuantizeOptions")
    builder.operator("ABS", [x], [y], "AbsOptions")
    name, options = ("QUANTIZE", "QuantizeOptions") if given is np.uint8 else ("DEQUANTIZE", "DequantizeOptions")
    builder.operator(name, [y], [last], options)
    file = builder.file([first], [last])
    found = read_tflite(file)
    assert found.integer is not None, found.not_integer
    assert (found.supplied, found.given) == tuple((np.dtype(each).name.upper(),) for each in (supplied, given))
    assert len(found.integer.notes) == 2
    codes = torch.from_numpy(drawn())
    (ours,) = predict(found.integer, codes)
    values = found.integer.inputs[0].grid.values(codes).numpy()
    unsigned = (codes.short() + 128).numpy().astype(np.uint8)
    (theirs,) = run_tflm(file, values if supplied is np.float32 else unsigned)
    wanted = found.integer.decode(ours)[0] if given is np.float32 else ours.short() + 128
    assert np.array_equal(wanted.numpy(), theirs)


def test_same_padding_is_litert_s_for_a_convolution_with_stride() -> None:
    builder, generator = Builder(), np.random.default_rng(0)
    x = builder.tensor(SHAPE, np.float32)
    weight = builder.tensor((3, 3, 2, 4), np.float32, data=generator.standard_normal((3, 3, 2, 4)))
    bias = builder.tensor((3,), np.float32, data=generator.standard_normal(3))
    out = builder.tensor((1, 3, 3, 3), np.float32)
    fields = {"padding": 0, "strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
    builder.operator("CONV_2D", [x, weight, bias], [out], "Conv2DOptions", fusedActivationFunction=1, **fields)
    file = builder.file([x], [out])
    assert same_padding((6, 5), (3, 2), (2, 2)) == ((0, 1), (0, 1))
    data = generator.standard_normal((4, *SHAPE[1:])).astype(np.float32)
    graph = deploy(read_tflite(file).graph)
    found, wanted = interpret(graph, torch.from_numpy(data))[0].numpy(), run_litert(file, data)[0]
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    (node,) = graph.nodes
    assert node.op.label == "Conv 3x2 /2 + relu"
    assert node.path == "layer3"


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "an operator": (lambda: in_float(plain("SIGN", SHAPE)), "SIGN at layer1 can't be read: there is no rule for it"),
    "codes of another grid": (
        lambda: in_int8(plain("RESHAPE", (1, 120), (1, 120), options="ReshapeOptions"), 0.1),
        "TFLite Micro would take codes for what they are not",
    ),
    "a reduction of the batch": (
        lambda: in_int8(plain("SUM", (6, 5, 4), (0,), options="ReducerOptions")),
        "it makes|over axes",
    ),
    "beta": (lambda: in_int8(plain("SOFTMAX", SHAPE, options="SoftmaxOptions", beta=0.5), 1 / 256), "its beta is 0.5"),
    "a product of another shape": (
        lambda: in_int8(products("adjY", (1, 6, 4, 5))), r"it makes \[1, 6, 5, 5\], and the file says \[1, 6, 4, 5\]"
    ),
    "rows of length 1 on a grid of their own": (
        lambda: in_int8(plain("L2_NORMALIZATION", SHAPE, options="L2NormOptions")), "with scale 0.0078125 and zero"
    ),
    "a sigmoid on a grid of its own": (
        lambda: in_int8(plain("LOGISTIC", SHAPE)), "computes it with scale 0.00390625 and zero point -128"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_right_is_named(name: str) -> None:
    make, reason = REFUSED[name]
    try:
        found = read_tflite(make())
    except UserError as error:
        said = str(error)
    else:
        said = found.not_integer
    assert re.search(reason, said), said
