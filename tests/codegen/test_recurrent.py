"""Recurrent layers in C of every dialect: 0 bytes that are not the integer graph's, and how many instructions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcubench.codegen import DIALECTS
from mcubench.codegen.text import fill
from mcubench.target import CORES
from mcubench.target.measure import measure
from tests.codegen.host import compiler
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
