"""The ``.tflite`` as C: an aligned array, and what a program for TFLite Micro has to know of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mcubench.quant.grid import Grid

__all__ = ["CModel", "identifier", "resolver_calls"]

_BYTES_A_LINE = 16
_ALIGNMENT = 16  # of flatbuffers, and of TFLite Micro's buffers

# The methods of MicroMutableOpResolver, where they are not the operator's name in camel case.
_METHODS = {
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "PADV2": "AddPadV2",
}


_RESET = [
    "/* The interpreter keeps the state of its LSTMs: call its Reset() before the first step of each sequence. */",
    "",
]


def resolver_calls(operators: Sequence[str]) -> list[str]:
    """What registers operators with ``MicroMutableOpResolver`` of TFLite Micro (micro_mutable_op_resolver.h)."""
    return [f"{_METHODS.get(name) or 'Add' + name.title().replace('_', '')}();" for name in operators]


def identifier(stem: str) -> str:
    """A file's name as the beginning of names in C."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return f"m_{name}" if not name or name[0].isdigit() else name


@dataclass(frozen=True)
class CModel:
    """A model as two C files.

    Attributes:
        name: What its names begin with.
        title: A line that says what it is.
        model: The ``.tflite``.
        operators: TFLite's names of the operators it needs.
        arena: The smallest in which TFLite Micro starts, in bytes; ``None`` where that was not measured.
        head: Bytes of activations and scratch buffers, as planned.
        inputs: Number of elements, and grid, of each input.
        outputs: The same of each output.
        class_names: In order of the outputs; ``None`` where they have none.
        keeps_state: Whether each call goes on from where the last one ended.
    """

    name: str
    title: str
    model: bytes
    operators: Sequence[str]
    arena: int | None
    head: int
    inputs: Sequence[tuple[int, Grid]]
    outputs: Sequence[tuple[int, Grid]]
    class_names: Sequence[str] | None
    keeps_state: bool = False

    def header(self) -> str:
        """The ``.h`` file."""
        upper = self.name.upper()
        lines = [
            _comment(self.title),
            f"#ifndef {upper}_H_",
            f"#define {upper}_H_",
            "",
            *self._resolver(),
            "",
            *self._arena(),
            "",
            *(_RESET if self.keeps_state else []),
            "/* value = SCALE * (code - ZERO_POINT) */",
        ]
        for what, (size, grid) in (*_numbered("INPUT", self.inputs), *_numbered("OUTPUT", self.outputs)):
            lines += [
                f"#define {upper}_{what}_SIZE {size}",
                f"#define {upper}_{what}_SCALE {grid.scale:.9e}f",
                f"#define {upper}_{what}_ZERO_POINT ({grid.zero_point})",
            ]
        lines += ["", f"#define {upper}_SIZE {len(self.model)}"]
        if self.class_names is not None:
            lines.append(f"#define {upper}_CLASSES {len(self.class_names)}")
        lines += ["", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
        lines.append(f"extern const unsigned char {self.name}_tflite[{upper}_SIZE];")
        if self.class_names is not None:
            lines.append(f"extern const char *const {self.name}_class_names[{upper}_CLASSES];")
        lines += ["", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {upper}_H_ */"]
        return "\n".join(lines) + "\n"

    def source(self, header: str) -> str:
        """The ``.c`` file, which is C11 and C++11.

        Args:
            header: The name of the ``.h`` file.
        """
        upper = self.name.upper()
        rows = (self.model[start : start + _BYTES_A_LINE] for start in range(0, len(self.model), _BYTES_A_LINE))
        lines = [
            _comment(self.title),
            f'#include "{header}"',
            "",
            "#ifndef __cplusplus",
            "#include <stdalign.h>",
            "#endif",
            "",
            f"alignas({_ALIGNMENT}) const unsigned char {self.name}_tflite[{upper}_SIZE] = {{",
            *("    " + " ".join(f"{byte}," for byte in row) for row in rows),
            "};",
        ]
        if self.class_names is not None:
            names = [f"    {_string(each)}," for each in self.class_names]
            lines += ["", f"const char *const {self.name}_class_names[{upper}_CLASSES] = {{", *names, "};"]
        return "\n".join(lines) + "\n"

    def _resolver(self) -> list[str]:
        calls = resolver_calls(self.operators)
        return [
            "/* The operators that it needs:",
            "",
            f"   tflite::MicroMutableOpResolver<{len(calls)}> resolver;",
            *(f"   resolver.{call}" for call in calls),
            "*/",
        ]

    def _arena(self) -> list[str]:
        upper = self.name.upper()
        lines = [
            "/* Activations and scratch buffers, as planned; TFLite Micro's own structures come on top. */",
            f"#define {upper}_ARENA_HEAD_BYTES {self.head}",
        ]
        if self.arena is None:
            return [*lines, "/* tflite-micro was not installed where this was written: the whole was not measured. */"]
        return [
            *lines,
            "/* The smallest arena in which TFLite Micro started it, with reference kernels on a 64-bit host. Pointers",
            "   are shorter on a microcontroller; optimised kernels may want scratch buffers. Align it to 16 bytes. */",
            f"#define {upper}_ARENA_BYTES {self.arena}",
        ]


def _numbered(what: str, tensors: Sequence[tuple[int, Grid]]) -> list[tuple[str, tuple[int, Grid]]]:
    """Names of tensors; with a number where there are several."""
    return [(f"{what}_{index}" if len(tensors) > 1 else what, each) for index, each in enumerate(tensors)]


def _comment(line: str) -> str:
    return f"/* {line.replace('*/', '* /')} */"


def _string(text: str) -> str:
    """A string literal; all but plain characters in octal, which ends after three digits."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'
