"""Runs a model in C on a core, sample by sample, and holds every byte against the integer graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcubench.target.alignment import faults
from mcubench.target.cores import Core
from mcubench.target.counting import Disassembler
from mcubench.target.cycles import Range
from mcubench.target.image import read_image
from mcubench.target.machine import INPUT, OUTPUT, EmulationError, Machine
from mcubench.target.toolchain import compile_for

if TYPE_CHECKING:
    from mcubench.codegen import Project

__all__ = ["LayerCount", "OnCore", "measure"]

_COUNTED = 3  # samples whose instructions are counted, at most
_REST = "(between layers)"

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class LayerCount:
    """What one layer takes, with all that it calls.

    Attributes:
        path: Path of the module; that of what is between them is in brackets.
        kind: Name of the kernel.
        instructions: Mean over the samples that were counted.
        cycles: At least and at most, likewise; ``None`` where the core's maker publishes none.
    """

    path: str
    kind: str
    instructions: float
    cycles: tuple[float, float] | None


@dataclass(frozen=True)
class OnCore:
    """A model on a core.

    Attributes:
        core: Which one.
        dialect: Which C.
        samples: How many were run.
        different: Numbers among their outputs that are not those of the integer graph.
        outputs: What they hold, shape (samples, outputs): codes, sums or float32.
        counted: How many of them were counted.
        layers: By layer.
        code_bytes: Flash that instructions take.
        constant_bytes: Flash that constants take.
        arena_bytes: RAM that the caller lends.
        state_bytes: RAM that the caller keeps, of a model that is fed step by step; figures are then those of a step.
        stack_bytes: RAM on the stack, the most of the samples that were counted.
    """

    core: Core
    dialect: str
    samples: int
    different: int
    outputs: NDArray[Any]
    counted: int
    layers: tuple[LayerCount, ...]
    code_bytes: int
    constant_bytes: int
    arena_bytes: int
    stack_bytes: int
    state_bytes: int | None = None

    @property
    def instructions(self) -> float:
        """Of one inference."""
        return sum(layer.instructions for layer in self.layers)

    @property
    def cycles(self) -> tuple[float, float] | None:
        """Of one inference, at least and at most."""
        found = [layer.cycles for layer in self.layers]
        if any(each is None for each in found):
            return None
        return sum(each[0] for each in found if each), sum(each[1] for each in found if each)


def measure(
    project: Project,
    core: Core,
    inputs: NDArray[Any],
    expected: NDArray[Any],
    progress: Progress = iter,
    flags: Sequence[str] = (),
) -> OnCore:
    """Compiles a model for a core and runs samples on it.

    Args:
        project: The model in C, with one input and one output; one that is fed step by step gets those of each sample.
        core: The core.
        inputs: What inputs hold, shape (N, ...): codes, int8 or int16, or float32.
        expected: What the integer graph makes of them, shape (N, ...), of the output's type.
        progress: Wraps the loop over samples.
        flags: More for the compiler.

    Raises:
        CompileError: If the compiler refuses the C.
        EmulationError: If the code reaches beyond its memory, is not aligned, or fails.
        UserError: If a package is missing.
    """
    inputs = inputs.reshape(len(inputs), -1)
    expected = expected.reshape(len(expected), -1)[:, -project.output_size :]  # of steps the last
    with tempfile.TemporaryDirectory() as folder:
        for name in (project.header, project.source):
            (Path(folder) / Path(name).name).write_text(project.files[name], "utf-8")
        entry, stem = project.entry, Path(folder) / Path(project.source).name
        kept = [] if project.state is None else [f"-Wl,-u,{project.name}_reset"]  # which nothing else calls
        elf = compile_for(core, [stem], entry, Path(folder) / "model.elf", [*flags, *kept])
        image = read_image(elf)
    if image.written_bytes:
        raise EmulationError(f"{core.name}: the model has {image.written_bytes} bytes of globals that can be written")
    machine = Machine(core, image)
    behind = -(-(project.state or 0) // 8) * 8
    state = machine.lend(behind + project.arena)
    memory = [state + behind] if project.state is None else [state, state + behind]
    steps = inputs.reshape(len(inputs), -1, project.input_size)
    width = expected.dtype.itemsize
    machine.map_buffers(project.input_size * inputs.dtype.itemsize, expected.shape[1] * width)
    outputs = np.empty_like(expected)

    def call(function: str, *arguments: int) -> None:
        if machine.call(function, *arguments) != 0:
            raise EmulationError(f"{core.name}: {function} failed")

    def run(index: int) -> None:
        if project.state is not None:
            call(f"{project.name}_reset", state)
        for step in steps[index]:
            machine.write(INPUT, step.tobytes())
            call(entry, *memory, INPUT, OUTPUT)
        outputs[index] = np.frombuffer(machine.read(OUTPUT, expected.shape[1] * width), expected.dtype)

    for index in progress(range(len(inputs))):
        run(index)
    counted = min(_COUNTED, len(inputs))
    with machine.stack_painted() as used:
        for index in range(counted):
            run(index)
        stack = used()
    layers = _counted(machine, project, run, counted, counted * steps.shape[1])
    return OnCore(
        core=core,
        dialect=project.dialect,
        samples=len(inputs),
        different=int((outputs != expected).sum()),
        outputs=outputs,
        counted=counted,
        layers=layers,
        code_bytes=image.code_bytes,
        constant_bytes=image.constant_bytes,
        arena_bytes=project.arena,
        stack_bytes=stack,
        state_bytes=project.state,
    )


def _counted(
    machine: Machine, project: Project, run: Callable[[int], None], samples: int, calls: int
) -> tuple[LayerCount, ...]:
    """Instructions and cycles by layer, mean of the calls that the first samples take."""
    disassembler = Disassembler(machine)
    names = {layer.name: layer for layer in project.layers}
    starts = machine.addresses([*names, project.entry])
    with machine.traced(starts) as trace:
        for index in range(samples):
            run(index)
    if unaligned := faults(machine, disassembler, trace, lambda: run(0)):
        raise EmulationError(f"{machine.core.name} would fault: {'; '.join(unaligned)}")
    instructions, cycles = disassembler.instructions(trace), disassembler.cycles(trace, machine.core)
    found = [
        LayerCount(layer.path, layer.kind, instructions[name] / calls, _mean(cycles, name, calls))
        for name, layer in names.items()
    ]
    rest = project.entry
    return (*found, LayerCount(_REST, "", instructions[rest] / calls, _mean(cycles, rest, calls)))


def _mean(cycles: dict[str, Range] | None, layer: str, samples: int) -> tuple[float, float] | None:
    if cycles is None:
        return None
    low, high = cycles.get(layer, (0, 0))
    return low / samples, high / samples
