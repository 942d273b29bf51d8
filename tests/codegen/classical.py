"""Classical models in C on the host: each a program that reads inputs and writes outputs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mcubench.codegen import Project, TreeForm, generate
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import predict
from tests.codegen.host import WARNINGS, compiler

_MAIN = """
#include <stdio.h>
#include "{header}"
static int32_t arena[{upper}_ARENA_BYTES / 4 + 1];
static {input} input[{upper}_INPUT_SIZE];
static {output} output[{upper}_OUTPUT_SIZE];
int main(void)
{{
    while (fread(input, sizeof input, 1, stdin) == 1) {{
        if ({name}_run(arena, input, output) != 0)
            return 1;
        fwrite(output, sizeof output, 1, stdout);
    }}
    return 0;
}}
"""


def encoded(graph: IntegerGraph, x: NDArray[Any]) -> NDArray[Any]:
    """What the input holds for samples (N, features)."""
    found: NDArray[Any] = graph.encode(torch.from_numpy(np.require(x, np.float32, ["C", "W"])))[0].numpy()
    return found


def computed(graph: IntegerGraph, codes: NDArray[Any]) -> NDArray[Any]:
    """What the graph makes of them."""
    found: NDArray[Any] = predict(graph, torch.from_numpy(codes))[0].numpy()
    return found


def build(
    graph: IntegerGraph,
    folder: Path,
    project: Project | None = None,
    command: Sequence[str] = (),
    optimise: str = "-O1",
    trees: TreeForm | None = None,
) -> Path:
    """The program of a model."""
    project = project or generate(graph, "m", trees=trees)
    for name in (project.header, project.source):
        (folder / name).write_text(project.files[name])
    kinds = {"input": graph.inputs[0].ctype, "output": graph.outputs[0].ctype}
    (folder / "main.c").write_text(_MAIN.format(header=project.header, name="m", upper="M", **kinds))
    words = [*(command or compiler()), optimise, *WARNINGS, "main.c", project.source, "-o", "program"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return folder / "program"


def answers(program: Path, graph: IntegerGraph, codes: NDArray[Any]) -> NDArray[Any]:
    """What a program makes of inputs, of the output's type, (N, ...)."""
    done = subprocess.run([str(program)], input=codes.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    kind = torch.zeros(0, dtype=graph.outputs[0].dtype).numpy().dtype
    return np.frombuffer(done.stdout, kind).reshape(len(codes), -1)
