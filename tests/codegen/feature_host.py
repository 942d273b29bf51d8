"""Features in C on the host: many in one program."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.features import FeatureProject
from mcubench.features import STEP, WINDOW
from tests.codegen.host import WARNINGS, ZIG

__all__ = ["COMPILER", "build", "rows", "windows"]

COMPILER = ["gcc"] if shutil.which("gcc") else ZIG


def build(
    projects: Sequence[FeatureProject], folder: Path, command: Sequence[str] = COMPILER, optimise: str = "-O1"
) -> Path:
    """A program of features, all warnings errors."""
    includes, lines = ["#include <stdint.h>"], []
    for project in projects:
        for name, text in project.files.items():
            (folder / name).write_text(text)
        name, upper = project.name, project.name.upper()
        includes.append(f'#include "{project.header}"')
        sizes = ", ".join(f"{upper}_{size}" for size in ("STATE_BYTES", "SCRATCH_BYTES", "COUNT"))
        lines.append(f"    {{ {name}_reset, {name}_push, {name}_push_f32, {sizes} }},")
    struct = "struct features { int (*r)(void *), (*p)(void *, void *, const int16_t *, float *); "
    struct += "int (*f)(void *, void *, const float *, float *); int32_t a, b, c; };"
    table = [struct, "extern const struct features all_features[];", "const struct features all_features[] = {"]
    (folder / "all.c").write_text("\n".join([*includes, *table, *lines, "};"]) + "\n")
    sources = [str(Path(__file__).with_name("feature_host.c")), "all.c", *(project.source for project in projects)]
    words = [*command, optimise, *WARNINGS, *sources, "-o", "program"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return folder / "program"


def rows(
    program: Path, project: FeatureProject, samples: NDArray[np.float32 | np.int16], number: int = 0, before: int = 0
) -> NDArray[np.float32]:
    """The rows of a recording, shape (windows, features).

    Args:
        program: What `build` made.
        project: What is run.
        samples: int16 or float32, shape (T, 6).
        number: Where it stands among the program's.
        before: Zeros before the samples: filters stay at zero, and windows begin as many samples earlier.
    """
    request = np.array([number, samples.dtype == np.int16, len(samples), before], np.int32)
    words = request.tobytes() + np.ascontiguousarray(samples).tobytes()
    done = subprocess.run([str(program)], input=words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    return np.frombuffer(done.stdout, np.float32).reshape(-1, project.count)


def windows(
    program: Path, project: FeatureProject, samples: NDArray[np.float32], starts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The rows of windows that begin anywhere in a recording, of the first of a program's features.

    A stream has windows at multiples of 64 samples; zeros before the recording move them.
    """
    found = np.empty((len(starts), project.count), np.float32)
    for phase in np.unique(starts % STEP).tolist():
        here, before = starts % STEP == phase, -phase % STEP
        made = rows(program, project, samples[: starts[here].max() + WINDOW + 2], before=before)
        found[here] = made[(starts[here] + before) // STEP]
    return found
