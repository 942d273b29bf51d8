"""HAPT's features on an emulated Cortex-M4, with the unit for floats and without: the bits of the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcubench.codegen.features import generate_features
from mcubench.target import CORES
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, Machine
from mcubench.target.toolchain import compile_for
from tests.codegen.feature_host import build, rows
from tests.features.recordings import recording


@pytest.mark.slow
@pytest.mark.parametrize("key", ["cortex-m4f", "cortex-m4"])
def test_a_window_has_the_bits_of_the_host(key: str, tmp_path: Path) -> None:
    """Of all features; state and scratch memory end where what can be written ends."""
    project = generate_features(name="f", accelerometer_unit=1.0, gyroscope_unit=1.0)
    samples = recording(130).astype(np.float32)
    (expected,) = rows(build([project], tmp_path), project, samples)
    elf = compile_for(CORES[key], [tmp_path / "f.c"], "f_push_f32", tmp_path / "f.elf", ["-Wl,-u,f_reset"])
    machine = Machine(CORES[key], read_image(elf))
    assert machine.image.written_bytes == 0
    state = machine.lend(project.state_bytes + project.scratch_bytes)
    machine.map_buffers(24, 4 * project.count)
    assert machine.call("f_reset", state) == 0
    for sample in samples:
        machine.write(INPUT, sample.tobytes())
        ready = machine.call("f_push_f32", state, state + project.state_bytes, INPUT, OUTPUT)
    assert ready == 1
    found = np.frombuffer(machine.read(OUTPUT, 4 * project.count), np.uint32)
    assert (found != expected.view(np.uint32)).sum() == 0
