"""Raw samples become the codes that the data module and the grid make of them, every one of them."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mcubench.codegen import Facts, Project, generate
from mcubench.datamodules.scaling import MinMax, Standardised
from mcubench.quant import IntegerGraph
from tests.codegen.host import WARNINGS, ZIG
from tests.quant.witness import quantized


def library(project: Project, folder: Path) -> ctypes.CDLL:
    for name in (project.header, project.source):
        (folder / name).write_text(project.files[name])
    words = [*ZIG, "-O2", "-shared", *WARNINGS, project.source, "-o", "model.so"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "model.so"))


def graph_for(samples: NDArray[np.float32]) -> IntegerGraph:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(samples[0].size, 3))
    return quantized(module, torch.from_numpy(samples))


def encoded(found: ctypes.CDLL, name: str, raw: NDArray[Any], size: int, *more: Any) -> NDArray[np.int8]:
    codes = np.empty((len(raw), size), np.int8)
    for one, into in zip(raw, codes, strict=True):
        one = np.ascontiguousarray(one)  # noqa: PLW2901
        getattr(found, name)(one.ctypes.data_as(ctypes.c_void_p), *more, into.ctypes.data_as(ctypes.c_void_p))
    return codes


def test_all_bytes(tmp_path: Path) -> None:
    raw = np.arange(256, dtype=np.uint8).reshape(16, 1, 4, 4)
    scaling = Standardised.fit(raw)
    graph = graph_for(scaling(raw))
    sample = {"scaling": {"kind": "standardise", **scaling.describe()}, "dtype": "uint8"}
    found = library(generate(graph, facts=Facts(sample=sample)), tmp_path)
    expected = graph.encode(torch.from_numpy(scaling(raw)))[0].reshape(16, -1).numpy()
    assert np.array_equal(encoded(found, "model_encode_u8", raw, 16), expected)


def test_floats_and_int16_of_several_channels(tmp_path: Path) -> None:
    """100,000 values; some exactly between two codes, where the even one is taken, and beyond both ends."""
    generator = np.random.default_rng(0)
    raw = (generator.normal(size=(2000, 6, 10)) * 8).astype(np.float32)
    scaling = Standardised.fit(raw)
    module = nn.Sequential(nn.Conv1d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    graph = quantized(module, torch.from_numpy(scaling(raw)[:100] / 2))
    sample = {"scaling": {"kind": "standardise", **scaling.describe()}, "dtype": "float32"}
    found = library(generate(graph, facts=Facts(sample=sample)), tmp_path)
    expected = graph.encode(torch.from_numpy(scaling(raw)))[0].reshape(2000, -1).numpy()
    assert {-128, 127} <= set(expected.ravel().tolist())
    last = raw.transpose(0, 2, 1)  # as a sensor gives them: all channels of a moment side by side
    assert np.array_equal(encoded(found, "model_encode_f32", last, 60), expected)
    small = (last * 100).astype(np.int16)
    unit = np.float32(0.01)
    in_units = (small.astype(np.float32) * unit).transpose(0, 2, 1)
    expected = graph.encode(torch.from_numpy(scaling(in_units)))[0].reshape(2000, -1).numpy()
    assert np.array_equal(encoded(found, "model_encode_i16", small, 60, ctypes.c_float(unit)), expected)


def test_halves_go_to_the_even_code(tmp_path: Path) -> None:
    values = torch.tensor([[-1.0, 1.0, 0.0, 0.5]])
    graph = graph_for(values.numpy())
    grid = graph.inputs[0].grid
    halves = ((torch.arange(-100, 100) + 0.5).double() * grid.scale).float().reshape(50, 4)
    found = library(generate(graph, facts=Facts(sample={"scaling": {"kind": "none"}, "dtype": "float32"})), tmp_path)
    expected = graph.encode(halves)[0].numpy()
    assert np.array_equal(encoded(found, "model_encode_f32", halves.numpy(), 4), expected)


def test_ranges_of_features(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(500, 7)) * [1e-6, 1, 10, 100, 1, 1, 1]
    features[:, 5] = 2.5  # a feature that never changes
    scaling = MinMax.fit(features, range(7), "training")
    raw = features.astype(np.float32)
    inputs = scaling(raw.astype(np.float64))
    graph = graph_for(inputs)
    sample = {"scaling": {"kind": "range", **scaling.describe()}, "dtype": "float32"}
    found = library(generate(graph, facts=Facts(sample=sample)), tmp_path)
    expected = graph.encode(torch.from_numpy(inputs))[0].numpy()
    assert np.array_equal(encoded(found, "model_encode_f32", raw, 7), expected)


def test_classes_of_raw_samples(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4)).astype(np.uint8)
    scaling = Standardised.fit(raw)
    graph = graph_for(scaling(raw))
    sample = {"scaling": {"kind": "standardise", **scaling.describe()}, "dtype": "uint8"}
    project = generate(graph, facts=Facts(sample=sample, class_names=["a", "b", 'c "quoted" \\ ?']))
    found = library(project, tmp_path)
    from mcubench.quant.integer import predict

    outputs = predict(graph, *graph.encode(torch.from_numpy(scaling(raw))))[0].numpy()
    arena = (ctypes.c_int32 * 64)()
    pointers = (ctypes.c_char_p * 3).in_dll(found, "model_class_names")
    assert [each.decode() for each in pointers] == ["a", "b", 'c "quoted" \\ ?']
    classes = [found.model_classify(arena, one.ctypes.data_as(ctypes.c_void_p)) for one in raw]
    assert classes == outputs.argmax(1).tolist()


@pytest.mark.parametrize("kind", ["unknown", "range"])
def test_what_is_not_known_has_no_function(kind: str) -> None:
    """Another number of constants than channels is not guessed at."""
    graph = graph_for(np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    sample = {"scaling": {"kind": kind, "minimum": [0, 0], "maximum": [1, 1]}, "dtype": None}
    header = generate(graph, facts=Facts(sample=sample)).files["model.h"]
    assert "encode" not in header
    assert "classify" not in header
