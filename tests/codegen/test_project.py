"""The files around a model: a header for C and C++, macros that are the graph's, and what its steps are made of."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from mcubench import codegen
from mcubench.codegen import Facts, generate
from mcubench.codegen.program import program_of
from mcubench.quant import quantize
from mcubench.quant.integer import plan_arena
from tests.codegen.nets import graphs
from tests.graph.compare import Forward
from tests.quant.witness import quantized, seeded

SEPARABLE = "separable, 8 bits"


def macros(header: str) -> dict[str, str]:
    found = re.findall(r"^#define (\w+) (.+?)(?: /\*.*\*/)?$", header, re.MULTILINE)
    return dict(found)


def test_the_header_says_what_the_graph_is() -> None:
    graph, _ = graphs()[SEPARABLE]
    project = generate(graph, "net")
    found = macros(project.files["net.h"])
    x, y = graph.inputs[0], graph.outputs[0]
    assert found["NET_INPUT_SHAPE"] == f"{{ {', '.join(map(str, x.shape))} }}"
    assert float.fromhex(found["NET_INPUT_SCALE"].rstrip("f")) == x.grid.scale
    assert float.fromhex(found["NET_OUTPUT_SCALE"].rstrip("f")) == y.grid.scale
    assert found["NET_INPUT_ZERO_POINT"] == f"({x.grid.zero_point})"
    assert (int(found["NET_OUTPUT_SIZE"]), int(found["NET_ARENA_BYTES"])) == (y.size, project.arena)


def test_model_and_header_are_cplusplus_too(tmp_path: Path) -> None:
    graph, x = graphs()[SEPARABLE]
    vectors = graph.encode(x)[0][:3].numpy()
    project = generate(graph, "net", facts=Facts(vectors=vectors, class_names=["a"] * 10))
    for name, text in project.files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "user.cpp").write_text(
        '#include "net.h"\nstatic int32_t arena[NET_ARENA_BYTES / 4];\nint main() { return net_selftest(arena); }\n'
    )
    # For a target without a C++ library, which the compiler would build first.
    words = [sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi", "-mcpu=cortex_m4"]
    words += ["-xc++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-DNET_SELFTEST", "-c"]
    for source in ("user.cpp", "net.c"):
        done = subprocess.run([*words, source], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_padding_pooling_and_reshapes_are_no_steps() -> None:
    graph, _ = graphs()["convolution, stride 2 of 6 padded by 1, 8 bits"]
    assert [step.kind for step in program_of(graph).steps] == ["Convolve"]
    graph, _ = graphs()["pooled 2 x 2, 8 bits"]
    (step,) = program_of(graph).steps
    assert (step.kind, step.pool is not None) == ("Convolve", True)
    assert [step.kind for step in program_of(graph, pooled=False).steps] == ["Convolve", "MaxPool"]
    graph, _ = graphs()["mean over positions, 8 bits"]
    assert [step.kind for step in program_of(graph).steps] == ["Convolve", "AveragePool"]


def test_what_others_read_is_not_joined() -> None:
    """A convolution that is pooled and also added to something keeps its output."""
    net = Forward(
        lambda conv, x: torch.nn.functional.max_pool2d(y := conv(x), 2) + y[:, :, ::2, ::2], torch.nn.Conv2d(4, 4, 1)
    )
    graph = quantized(net, seeded(8, 4, 6, 6))
    kinds = [step.kind for step in program_of(graph).steps]
    assert kinds.count("MaxPool") == 1
    assert kinds.count("Convolve") == 1


@pytest.mark.parametrize("name", [SEPARABLE, "pooled 2 x 2, 8 bits", "more taps than one sum holds, 8 bits"])
def test_the_arena_is_never_larger_than_tflite_micros(name: str) -> None:
    graph, _ = graphs()[name]
    assert generate(graph).arena <= plan_arena(graph).peak


def test_several_inputs_and_outputs() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 3), torch.nn.Linear(5, 3)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.a(x) + self.b(y), self.b(y)

    from mcubench.graph import deploy, trace

    inputs = seeded(16, 4), seeded(16, 5)
    graph = quantize(deploy(trace(Two().eval(), tuple(each[:1] for each in inputs))), calibration=inputs)
    project = generate(graph, "two")
    header = project.files["two.h"]
    parameters = "const int8_t *input_0, const int8_t *input_1, int8_t *output_0, int8_t *output_1"
    assert f"int two_run(void *arena, {parameters});" in header
    assert "main.c" not in project.files
    assert np.prod(graph.inputs[1].shape) == int(macros(header)["TWO_INPUT_1_SIZE"])


def test_every_output_is_written() -> None:
    """An input that is given back, and what is given twice, have a place in the memory of the caller each time."""

    def given(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = x.flip(1)
        return x, y, y, y.flatten(1)

    graph = quantized(Forward(given), seeded(8, 3, 5))
    program = program_of(graph)
    assert len({program.bases[each] for each in program.outputs}) == 4
    assert {step.output for step in program.steps} == set(program.outputs)


def test_helpers_can_stand_in_one_file() -> None:
    """Those of all dialects: none has the name of another."""
    texts = {path.name: path.read_text() for path in sorted((Path(codegen.__file__).parent / "helpers").glob("*.c"))}
    names = [
        (name, file)
        for file, text in texts.items()
        for name in set(re.findall(r"^(?:INLINE|APART)[\w *]*?(\w+)\(", text, re.MULTILINE))
        | set(re.findall(r"^struct (\w+) \{", text, re.MULTILINE))
        | set(re.findall(r"^#define (\w+)", text, re.MULTILINE))
    ]
    assert len(names) > 50
    assert [name for name, count in Counter(name for name, _ in names).items() if count > 1] == []


def test_names_from_a_file() -> None:
    graph, _ = graphs()["dense, 8 bits"]
    project = generate(graph, "2 nets-v1")
    assert (project.name, project.source) == ("m_2_nets_v1", "m_2_nets_v1.c")
    assert "int m_2_nets_v1_run(" in project.files["m_2_nets_v1.h"]
