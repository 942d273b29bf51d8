"""Models in C on the host: many in one program, all warnings errors, seen by sanitizers where gcc is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mcubench.codegen import Project, generate
from mcubench.quant import IntegerGraph
from mcubench.quant.integer import predict

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wcast-align", "-pedantic", "-Werror"]
_SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
ZIG = [sys.executable, "-m", "ziglang", "cc"]


@dataclass(frozen=True)
class Case:
    """A model, and inputs for it.

    Attributes:
        name: What a failure is called.
        graph: The model.
        codes: int8, (N, ...).
        project: It in C.
    """

    name: str
    graph: IntegerGraph
    codes: NDArray[np.int8]
    project: Project

    @property
    def expected(self) -> NDArray[np.int8]:
        import torch

        found: NDArray[np.int8] = predict(self.graph, torch.from_numpy(self.codes))[0].numpy()
        return found


def case(name: str, graph: IntegerGraph, x: Tensor, dialect: str, number: int = 0) -> Case:
    """A model for some samples; several in one program have numbers of their own."""
    return Case(name, graph, graph.encode(x)[0].numpy(), generate(graph, f"m{number}", dialect))


def compiler() -> list[str]:
    """gcc with its sanitizers, or the compiler of the package ziglang."""
    return ["gcc", *_SANITIZERS] if shutil.which("gcc") else ZIG


def build(projects: Sequence[Project], folder: Path, command: Sequence[str] = (), optimise: str = "-O0") -> Path:
    """A program of models."""
    lines = ["#include <stdint.h>", "struct model { int (*run)(void *, const int8_t *, int8_t *); int32_t a, i, o; };"]
    rows = []
    for project in projects:
        (folder / project.header).write_text(project.files[project.header])
        (folder / project.source).write_text(project.files[project.source])
        name = project.name.upper()
        lines.append(f'#include "{project.header}"')
        rows.append(f"{{ {project.name}_run, {name}_ARENA_BYTES, {name}_INPUT_SIZE, {name}_OUTPUT_SIZE }},")
    lines += ["extern const struct model models[];", "const struct model models[] = {", *rows, "};"]
    (folder / "models.c").write_text("\n".join(lines) + "\n")
    sources = [str(Path(__file__).with_name("host.c")), "models.c", *(project.source for project in projects)]
    words = [*(command or compiler()), optimise, *WARNINGS, *sources, "-o", "program"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return folder / "program"


def run(program: Path, requests: Sequence[tuple[int, NDArray[np.int8]]]) -> bytes:
    """What a program answers: for each request the codes of all outputs."""
    words = b"".join(
        np.array([number, len(codes)], np.int32).tobytes() + np.ascontiguousarray(codes).tobytes()
        for number, codes in requests
    )
    done = subprocess.run([str(program)], input=words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    return done.stdout


def differing(
    cases: Sequence[Case], folder: Path, command: Sequence[str] = (), optimise: str = "-O0"
) -> dict[str, int]:
    """Bytes that are not the integer graph's, by case; those without one are left out."""
    program = build([each.project for each in cases], folder, command, optimise)
    answer = np.frombuffer(run(program, list(enumerate(each.codes for each in cases))), np.int8)
    found, start = {}, 0
    for each in cases:
        expected = each.expected
        part = answer[start : start + expected.size]
        start += expected.size
        if bad := int((part != expected.ravel()).sum()):
            found[each.name] = bad
    assert start == len(answer)
    return found
