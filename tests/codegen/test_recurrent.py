"""Recurrent layers in C of every dialect: 0 bytes that are not the integer graph's, and how many instructions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcubench.codegen import DIALECTS, Facts, generate
from mcubench.codegen.text import fill
from mcubench.graph import deploy, trace
from mcubench.quant import IntegerGraph, quantize
from mcubench.quant.integer import predict
from mcubench.target import CORES
from mcubench.target.measure import measure
from tests.codegen.host import WARNINGS, compiler
from tests.codegen.host import differing as on_host
from tests.codegen.recurrent_nets import Layer, random_layers
from tests.target.emulated import differing as on_core

KINDS = ["lstm", "gru"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_random_layers_on_the_host(kind: str, dialect: str, tmp_path: Path) -> None:
    cases = [layer.case(dialect, number) for number, layer in enumerate(random_layers(kind, 9))]
    assert on_host(cases, tmp_path) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["cortex-m4", "cortex-m0+", "rv32imc"])
def test_random_layers_on_a_core(kind: str, key: str, tmp_path: Path) -> None:
    core = CORES[key]
    cases = [layer.case(core.dialect, number) for number, layer in enumerate(random_layers(kind, 24))]
    assert on_core(cases, core, tmp_path, samples=2) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_vary(kind: str) -> None:
    """Layers whose codes were all alike would hide errors."""
    for layer in random_layers(kind, 24):
        assert len(np.unique(layer.case("c99").expected)) > 4, layer


def test_all_that_fits_is_assembly() -> None:
    """Sums of more taps than half words have room for are those of any core."""
    for kind in KINDS:
        for layer in (*random_layers(kind, 24), Layer(kind, 1, 480, 3)):
            assert "pair_run" in layer.case("armv7em").project.files["m0.c"], layer
        assert "pair_run" not in Layer(kind, 1, 1100, 3).case("armv7em").project.files["m0.c"]


# Instructions of a MAC, which the emulator counts exactly: what is reached, and 2 % more.
MOST = [
    ("cortex-m4", Layer("lstm", 8, 6, 32), 1.70),
    ("cortex-m4", Layer("lstm", 8, 28, 20), 1.51),
    ("cortex-m4", Layer("lstm", 8, 64, 64), 1.12),
    ("cortex-m4", Layer("lstm", 8, 64, 128), 1.04),
    ("cortex-m4", Layer("gru", 8, 6, 32), 1.84),
    ("cortex-m4", Layer("gru", 8, 64, 64), 1.19),
    ("cortex-m0+", Layer("lstm", 8, 6, 32), 7.6),
    ("cortex-m0+", Layer("lstm", 8, 64, 64), 4.6),
    ("cortex-m0+", Layer("gru", 8, 64, 64), 5.0),
]


@pytest.mark.parametrize(("key", "layer", "most"), MOST)
def test_instructions_of_a_mac(key: str, layer: Layer, most: float) -> None:
    """Nothing between layers is left out; `measure` also refuses loads that a core can't do."""
    core = CORES[key]
    case = layer.case(core.dialect)
    found = measure(case.project, core, case.codes, case.expected)
    assert found.different == 0
    assert found.instructions / layer.macs <= most


class Net(nn.Module):
    """Two layers, of which the last state is read, and a dense layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layers = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](3, 5, num_layers=2, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = self.layers(x)[1]
        out: Tensor = self.head((state[0] if isinstance(state, tuple) else state)[-1])
        return out


def net(kind: str) -> tuple[IntegerGraph, NDArray[np.int8], NDArray[np.int8]]:
    """It in integers, codes of some samples, and what they give."""
    torch.manual_seed(0)
    module, x = Net(kind).eval(), torch.randn(16, 9, 3)
    graph = quantize(deploy(trace(module, x[:1])), calibration=x)
    codes = graph.encode(x[:3])[0]
    return graph, codes.numpy(), predict(graph, codes)[0].numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["cortex-m4", "cortex-m0+", "rv32imc"])
def test_states_that_nobody_reads_are_not_stored(kind: str, key: str) -> None:
    """Of the last layer: its nine states would be 45 bytes, and those of the first are read."""
    graph, codes, expected = net(kind)
    project = generate(graph, dialect=CORES[key].dialect)
    assert "state after" not in project.files["model.c"]
    assert project.files["model.c"].count("gives the codes after the last") == 1
    found = measure(project, CORES[key], codes, expected)
    assert (found.different, found.samples) == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["cortex-m4", "cortex-m0+", "rv32imc"])
def test_a_step_at_a_time_on_a_core(kind: str, key: str) -> None:
    """After nine calls the bytes are those of the whole; the next sample is reset."""
    graph, codes, expected = net(kind)
    project = generate(graph, dialect=CORES[key].dialect, stream=True)
    assert (project.state, project.input_size) == (2 * 16, 3)
    found = measure(project, CORES[key], codes, expected)
    assert (found.different, found.state_bytes) == (0, 32)
    whole = measure(generate(graph, dialect=CORES[key].dialect), CORES[key], codes, expected)
    assert 9 * found.instructions > whole.instructions > 7 * found.instructions


def test_a_state_that_is_not_reset_is_seen(tmp_path: Path) -> None:
    """The self-test of a project that is fed step by step, with and without its reset."""
    graph, codes, _ = net("gru")
    project = generate(graph, facts=Facts(vectors=codes), stream=True)
    for name, text in project.files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "broken.c").write_text(project.files["model.c"].replace("        model_reset(state);\n", ""))
    (tmp_path / "again.c").write_text((tmp_path / "main.c").read_text().replace('"model.c"', '"broken.c"'))
    for source, passes in (("main.c", True), ("again.c", False)):
        warnings = WARNINGS if passes else []
        subprocess.run([*compiler(), *warnings, source, "-o", "test"], cwd=tmp_path, check=True)
        assert (subprocess.run([str(tmp_path / "test")], check=False).returncode == 0) is passes


def test_of_a_sequence_fed_by_steps_the_last_is_compared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(Sequence(), nn.Linear(5, 2)).eval(), torch.randn(16, 9, 3)
    graph = quantize(deploy(trace(module, x[:1])), calibration=x)
    codes = graph.encode(x[:3])[0]
    project = generate(graph, facts=Facts(vectors=codes.numpy()), stream=True)
    for name, text in project.files.items():
        (tmp_path / name).write_text(text)
    subprocess.run([*compiler(), *WARNINGS, "main.c", "-o", "test"], cwd=tmp_path, check=True)
    assert subprocess.run([str(tmp_path / "test")], check=False).returncode == 0
    found = measure(project, CORES["cortex-m4"], codes.numpy(), predict(graph, codes)[0].numpy())
    assert (found.different, found.outputs.shape) == (0, (3, 2))


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(3, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        sequence: Tensor = self.layer(x)[0]
        return sequence


def test_null_pointers_and_odd_places_are_refused(tmp_path: Path) -> None:
    project = generate(net("lstm")[0], stream=True)
    for name in ("model.c", "model.h"):
        (tmp_path / name).write_text(project.files[name])
    (tmp_path / "null.c").write_text(_NULL)
    subprocess.run([*compiler(), "null.c", "-o", "null"], cwd=tmp_path, check=True)
    assert subprocess.run([str(tmp_path / "null")], check=False).returncode == 0


_NULL = """
#include "model.c"
static int32_t arena[MODEL_ARENA_BYTES / 4 + 1], state[MODEL_STATE_BYTES / 4];
int main(void)
{
    int8_t x[MODEL_INPUT_SIZE] = {0}, y[MODEL_OUTPUT_SIZE];
    if (model_reset(state) || model_step(state, arena, x, y))
        return 1;
    if (model_reset(NULL) != -1 || model_reset((char *)state + 1) != -1)
        return 2;
    if (model_step(NULL, arena, x, y) != -1 || model_step(state, NULL, x, y) != -1)
        return 3;
    return model_step((char *)state + 1, arena, x, y) != -1 || model_step(state, arena, NULL, y) != -1;
}
"""

_IN_PARTS = """
#include "m0.c"
#include <stdio.h>
static int32_t state[$state / 4 + 1], scratch[M0_ARENA_BYTES / 4 + 1];
static int8_t x[M0_INPUT_SIZE], y[M0_OUTPUT_SIZE];
int main(void)
{
    int done = 0, part;
    if (fread(x, sizeof x, 1, stdin) != 1)
        return 1;
    state_begun((int16_t *)(void *)state, $units, $zero_point);
    for (part = 1; done < $steps; done += part, part++) {
        const int32_t now = part < $steps - done ? part : $steps - done;
        int i;
        for (i = 0; i < (int)(sizeof scratch / 4); i++)
            scratch[i] = 0x5A5A5A5A;
        $call(x + done * $inputs, y + done * $units, now, state$scratch);
    }
    return fwrite(y, sizeof y, 1, stdout) != 1;
}
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_state_is_all_that_goes_on(kind: str, dialect: str, tmp_path: Path) -> None:
    """Steps in parts, between which everything but the state is overwritten, are the steps of one call."""
    layer = Layer(kind, 10, 5, 9)
    case = layer.case(dialect, samples=1)
    for name in (case.project.header, case.project.source):
        (tmp_path / name).write_text(case.project.files[name])
    (call,) = re.findall(rf"APART void ({kind}_steps_\d+)\(", case.project.files[case.project.source])
    program = fill(
        _IN_PARTS,
        state=3 * layer.units,
        units=layer.units,
        inputs=layer.inputs,
        steps=layer.steps,
        zero_point=case.graph.outputs[0].grid.zero_point,
        call=call,
        scratch=", scratch" if dialect == "armv7em" else "",
    )
    (tmp_path / "parts.c").write_text(program)
    subprocess.run([*compiler(), "parts.c", "-o", "parts"], cwd=tmp_path, check=True)
    done = subprocess.run([str(tmp_path / "parts")], input=case.codes.tobytes(), capture_output=True, check=True)
    assert np.array_equal(np.frombuffer(done.stdout, np.int8), case.expected.ravel())
