"""An integer graph as calls of CMSIS-NN, to count what Arm's own kernels take for the same model.

The sources come inside the wheel of BakeNN on PyPI (Apache-2.0), which is downloaded into a temporary folder. Its
CMSIS-NN is release 4.0.0, whose dense layer has one factor for all outputs: where a graph has one for each, the first
is taken for all, which is the same work with other bytes; `Calls.exact` says whether that happened.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcubench.codegen.program import Program, Step, program_of
from mcubench.codegen.text import array
from mcubench.quant.integer import IntegerGraph, kernels
from mcubench.quant.integer.kernels.common import activation_limits, factors

WHEEL = "bakenn==1.0.0"
_ROOT = "bakenn/backend/cmsis_nn/vendor/"


@dataclass(frozen=True)
class Calls:
    """A model as calls.

    Attributes:
        text: The C file.
        exact: Whether its bytes are the integer graph's.
    """

    text: str
    exact: bool


def fetch(folder: Path) -> Path:
    """Downloads the sources and returns their folder."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(words, check=True)
    (wheel,) = folder.glob("bakenn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(_ROOT):
                archive.extract(name, folder)
    # Headers of a C library, which is not there: nothing but copies is used of them.
    (folder / _ROOT / "math.h").write_text("")
    (folder / _ROOT / "string.h").write_text(
        "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\nvoid *memset(void *, int, size_t);\n"
    )
    return folder / _ROOT


def sources(root: Path) -> list[Path]:
    """The C files of CMSIS-NN."""
    return sorted(each for each in (root / "cmsis_nn" / "Source").rglob("*.c") if "bakenn" not in each.name)


def flags(root: Path) -> list[str]:
    """What its files need to be compiled."""
    return [
        *(f"-I{root}", f"-I{root / 'cmsis_nn' / 'Include'}", f"-I{root / 'cmsis_core' / 'Include'}"),
        *("-std=gnu11", "-w", "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY"),
    ]


def write(graph: IntegerGraph, name: str) -> Calls:
    """Writes a graph as calls; padding with zeros is the layers' own, as it is in ours."""
    writer = _Writer(program_of(graph, pooled=False), name)
    return Calls(writer.text(), writer.exact)


class _Writer:
    def __init__(self, program: Program, name: str) -> None:
        self.program, self.name = program, name
        self.exact = True
        self.constants: list[str] = []
        self.calls: list[str] = []
        self.places = {program.inputs[0]: "input", program.bases[program.outputs[0]]: "output"}

    def text(self) -> str:
        for number, step in enumerate(self.program.steps):
            target = self.places.setdefault(step.output, f"tensor_{number}")
            if target != "output":
                self.constants.append(f"static int8_t {target}[{step.output.size}] __attribute__((aligned(8)));\n")
            self._step(number, step, self.places[self.program.bases[step.x]], target)
        lines = [
            '#include "arm_nnfunctions.h"',
            *self.constants,
            "static int8_t buffer[65536] __attribute__((aligned(8)));",
        ]
        lines += [f"int {self.name}_run(void *arena, const int8_t *input, int8_t *output)", "{"]
        lines += ["    const cmsis_nn_context context = { buffer, sizeof buffer };", "    (void)arena;"]
        return "\n".join([*lines, *self.calls, "    return 0;", "}", ""])

    def _array(self, kind: str, number: int, ctype: str, values: np.ndarray) -> str:
        name = f"{kind}_{number}"
        self.constants.append(array(name, ctype, np.asarray(values)))
        return name

    def _step(self, number: int, step: Step, x: str, y: str) -> None:
        kernel = step.kernel
        low, high = activation_limits(step.output.grid, getattr(kernel, "activation", None))
        source, target = step.x.grid, step.output.grid
        dims = [_dims(step.x.shape), _dims(step.output.shape)]
        if isinstance(kernel, (kernels.AveragePool, kernels.MaxPool)):
            kind = "arm_avgpool_s8" if isinstance(kernel, kernels.AveragePool) else "arm_max_pool_s8"
            (top, _), (left, _) = kernel.padding
            pool = f"{{ {{ {kernel.stride[1]}, {kernel.stride[0]} }}, {{ {left}, {top} }}, {{ {low}, {high} }} }}"
            self._call(
                kind,
                ("cmsis_nn_pool_params", pool),
                ("cmsis_nn_dims", dims[0]),
                x,
                ("cmsis_nn_dims", f"{{ 1, {kernel.window[0]}, {kernel.window[1]}, 1 }}"),
                ("cmsis_nn_dims", dims[1]),
                y,
            )
            return
        assert isinstance(kernel, (kernels.FullyConnected, kernels.Convolve, kernels.DepthwiseConvolve)), step.kind
        dense = isinstance(kernel, kernels.FullyConnected)
        outputs = step.output.shape[-1]
        multipliers, exponents = (
            np.broadcast_to(each.numpy(), (outputs,)) for each in factors(kernel.filter, source, target, dense)
        )
        weights = self._array("weights", number, "int8_t", kernel.filter.codes.numpy())
        bias = np.zeros(outputs, np.int64) if kernel.bias is None else kernel.bias.codes.numpy()
        biases = self._array("biases", number, "int32_t", bias)
        bounds = f"{{ {low}, {high} }}"
        if dense:
            self.exact &= len(set(zip(multipliers.tolist(), exponents.tolist(), strict=True))) == 1
            taps = kernel.filter.codes.shape[1]
            self._call(
                "arm_fully_connected_s8",
                ("cmsis_nn_fc_params", f"{{ {-source.zero_point}, 0, {target.zero_point}, {bounds} }}"),
                ("cmsis_nn_per_tensor_quant_params", f"{{ {multipliers[0]}, {exponents[0]} }}"),
                ("cmsis_nn_dims", f"{{ 1, 1, 1, {taps} }}"),
                x,
                ("cmsis_nn_dims", f"{{ {taps}, 1, 1, {outputs} }}"),
                weights,
                ("cmsis_nn_dims", f"{{ 1, 1, 1, {outputs} }}"),
                biases,
                ("cmsis_nn_dims", f"{{ 1, 1, 1, {outputs} }}"),
                y,
            )
            return
        scales = (
            f"{{ (int32_t *){self._array('multipliers', number, 'int32_t', multipliers)}, "
            f"(int32_t *){self._array('shifts', number, 'int32_t', exponents)} }}"
        )
        (top, _), (left, _) = kernel.padding
        tiles = ", ".join(f"{{ {across}, {down} }}" for down, across in (kernel.stride, (top, left), kernel.dilation))
        multiple = f"{outputs // step.x.shape[3]}, " if isinstance(kernel, kernels.DepthwiseConvolve) else ""
        kind = "depthwise_conv" if multiple else "convolve"
        params = "cmsis_nn_dw_conv_params" if multiple else "cmsis_nn_conv_params"
        self._call(
            f"arm_{kind}_wrapper_s8",
            (params, f"{{ {-source.zero_point}, {target.zero_point}, {multiple}{tiles}, {bounds} }}"),
            ("cmsis_nn_per_channel_quant_params", scales),
            ("cmsis_nn_dims", dims[0]),
            x,
            ("cmsis_nn_dims", _dims(tuple(kernel.filter.codes.shape))),
            weights,
            ("cmsis_nn_dims", f"{{ 1, 1, 1, {outputs} }}"),
            biases,
            ("cmsis_nn_dims", dims[1]),
            y,
        )

    def _call(self, function: str, *arguments: tuple[str, str] | str) -> None:
        """A block with its parameters; the status must be success."""
        lines, words = ["    {"], ["&context"]
        for index, argument in enumerate(arguments):
            if isinstance(argument, str):
                words.append(argument)
            else:
                lines.append(f"        static const {argument[0]} p{index} = {argument[1]};")
                words.append(f"&p{index}")
        self.calls += [*lines, f"        if ({function}({', '.join(words)}) != 0) return -1;", "    }"]


def _dims(shape: Sequence[int]) -> str:
    return f"{{ {', '.join(map(str, shape))} }}"
