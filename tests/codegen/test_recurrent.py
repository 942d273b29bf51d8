"""Recurrent layers in C of every dialect: 0 bytes that are not the integer graph's, and how many instructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcubench.codegen import DIALECTS
from mcubench.target import CORES
from mcubench.target.measure import measure
from tests.codegen.host import differing as on_host
from tests.codegen.recurrent_nets import Layer, random_layers
from tests.target.emulated import differing as on_core

KINDS = ["lstm"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_random_layers_on_the_host(kind: str, dialect: str, tmp_path: Path) -> None:
    cases = [layer.case(dialect, number) for number, layer in enumerate(random_layers(kind, 24))]
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
    """Sums of more taps than half words have room for are those of any core, and so are weights of -128."""
    for layer in (*random_layers("lstm", 24), Layer("lstm", 1, 480, 3)):
        assert "pair_run" in layer.case("armv7em").project.files["m0.c"], layer
    wide = Layer("lstm", 1, 1100, 3).case("armv7em")
    assert "pair_run" not in wide.project.files["m0.c"]


# Instructions of a MAC, which the emulator counts exactly: what is reached, and 2 % more.
MOST = [
    ("cortex-m4", Layer("lstm", 8, 6, 32), 1.70),
    ("cortex-m4", Layer("lstm", 8, 28, 20), 1.51),
    ("cortex-m4", Layer("lstm", 8, 16, 64), 1.26),
    ("cortex-m4", Layer("lstm", 8, 64, 64), 1.12),
    ("cortex-m4", Layer("lstm", 8, 64, 128), 1.04),
]


@pytest.mark.parametrize(("key", "layer", "most"), MOST)
def test_instructions_of_a_mac(key: str, layer: Layer, most: float) -> None:
    """Nothing between layers is left out; `measure` also refuses loads that a core can't do."""
    core = CORES[key]
    case = layer.case(core.dialect)
    found = measure(case.project, core, case.codes, case.expected)
    assert found.different == 0
    assert found.instructions / layer.macs <= most
