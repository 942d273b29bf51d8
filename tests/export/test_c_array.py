"""C: the system's compilers are the witness; the reference is the ``.tflite`` itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcubench.export.c_array import CModel, identifier, resolver_calls
from mcubench.export.interpreters import recorded_arena, smallest_arena
from mcubench.export.tflite import to_tflite
from mcubench.graph import trace
from mcubench.models import MLP
from mcubench.quant import Grid, quantize

MODEL = bytes(range(256)) * 3 + b"odd"
NAMES = ["up", 'say "no"', "a\\b", "Gänge", "what??!", "3"]

PROGRAM = r"""
#include <stdio.h>
#include <stdint.h>
#include "model.h"
int main(void) {
  if ((uintptr_t)model_tflite % 16 != 0) return 1;
  if (MODEL_INPUT_SCALE != 0.1f || MODEL_INPUT_ZERO_POINT != -128 || MODEL_OUTPUT_ZERO_POINT != 3) return 2;
  if (MODEL_INPUT_SIZE != 784 || MODEL_OUTPUT_SIZE != 6 || MODEL_ARENA_BYTES != 33104) return 3;
  fwrite(model_tflite, 1, MODEL_SIZE, stdout);
  for (int i = 0; i < MODEL_CLASSES; i++) puts(model_class_names[i]);
  return 0;
}
"""


def written(folder: Path, arena: int | None = 33104) -> CModel:
    made = CModel(
        name="model",
        title="a net */ of ours",
        model=MODEL,
        operators=["CONV_2D", "FULLY_CONNECTED"],
        arena=arena,
        head=31360,
        inputs=[(784, Grid(0.1, -128))],
        outputs=[(6, Grid(1.0, 3))],
        class_names=NAMES,
    )
    (folder / "model.h").write_text(made.header())
    (folder / "model.c").write_text(made.source("model.h"))
    return made


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("cc", ["-std=c11"]), ("c++", ["-std=c++11", "-x", "c++"]), ("c++", ["-std=c++20", "-x", "c++"])],
)
def test_compiled_bytes_are_those_of_the_file(tmp_path: Path, compiler: str, flags: list[str]) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"this machine has no {compiler}")
    written(tmp_path)
    (tmp_path / "main.c").write_text(PROGRAM)
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    command = [compiler, *strict, *flags, "main.c", "model.c", "-o", "run"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    done = subprocess.run([tmp_path / "run"], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stdout == MODEL + b"".join(name.encode() + b"\n" for name in NAMES)


def test_the_resolver_gets_every_operator(tmp_path: Path) -> None:
    header = written(tmp_path).header()
    assert "tflite::MicroMutableOpResolver<2> resolver;" in header
    assert "resolver.AddConv2D();" in header
    assert "resolver.AddFullyConnected();" in header


def test_names_of_methods_are_those_of_tflite_micro() -> None:
    """The names in micro_mutable_op_resolver.h, of all operators that the writer knows."""
    methods = {
        **{"FULLY_CONNECTED": "AddFullyConnected", "CONV_2D": "AddConv2D", "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D"},
        **{"TRANSPOSE_CONV": "AddTransposeConv", "MAX_POOL_2D": "AddMaxPool2D", "AVERAGE_POOL_2D": "AddAveragePool2D"},
        **{"ADD": "AddAdd", "SUB": "AddSub", "MUL": "AddMul", "CONCATENATION": "AddConcatenation", "PAD": "AddPad"},
        **{"PADV2": "AddPadV2", "RESHAPE": "AddReshape", "TRANSPOSE": "AddTranspose", "QUANTIZE": "AddQuantize"},
        **{"STRIDED_SLICE": "AddStridedSlice", "RELU": "AddRelu", "RELU6": "AddRelu6", "LEAKY_RELU": "AddLeakyRelu"},
        **{"LOGISTIC": "AddLogistic", "TANH": "AddTanh", "HARD_SWISH": "AddHardSwish"},
    }
    assert resolver_calls(list(methods)) == [f"{name}();" for name in methods.values()]


def test_without_tflite_micro_there_is_no_size_of_the_arena(tmp_path: Path) -> None:
    header = written(tmp_path, arena=None).header()
    assert "MODEL_ARENA_BYTES" not in header
    assert "#define MODEL_ARENA_HEAD_BYTES 31360" in header


@pytest.mark.parametrize(
    ("stem", "name"),
    [("model", "model"), ("my-net.v2", "my_net_v2"), ("4bit", "m_4bit"), ("größe", "gr__e"), ("", "m_")],
)
def test_names_are_identifiers(stem: str, name: str) -> None:
    assert identifier(stem) == name


def test_the_arena_is_just_enough(tmp_path: Path) -> None:
    """TFLite Micro itself says so, in processes of its own."""
    pytest.importorskip("tflite_micro")
    pytest.importorskip("ai_edge_litert")
    torch.manual_seed(0)
    for size, more in ((28, False), (8, True)):  # where activations are few, starting takes more than running
        net, x = MLP((1, size, size), 10), torch.randn(16, 1, size, size)
        content = to_tflite(quantize(trace(net, x[:1]), calibration=x))
        (tmp_path / "model.tflite").write_bytes(content)
        smallest = smallest_arena(content)
        assert (smallest > -(-recorded_arena(content).total // 16) * 16) == more
        start = (
            "import sys; from tflite_micro.python.tflite_micro import runtime; "
            "runtime.Interpreter.from_bytes(open('model.tflite', 'rb').read(), arena_size=int(sys.argv[1]))"
        )
        for arena, starts in ((smallest, True), (smallest - 16, False)):
            done = subprocess.run(
                [sys.executable, "-c", start, str(arena)], cwd=tmp_path, capture_output=True, check=False, timeout=120
            )
            assert (done.returncode == 0) == starts
