"""A folder of C that builds: the model, a program that tests it, and what a firmware author has to know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen import text
from mcubench.codegen.arena import ALIGNMENT
from mcubench.codegen.encoding import Encoder, Encoders, encoders
from mcubench.codegen.program import Program, program_of
from mcubench.codegen.source import Layer, Source, write_source
from mcubench.codegen.unit import Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.ir import IntegerGraph, IntegerTensor

__all__ = ["ABI_VERSION", "Facts", "Layout", "Project", "generate"]

ABI_VERSION = 1

Layout = Literal["cmake", "arduino"]

# Files beside the model's own by layout, and their templates.
_FILES: dict[Layout, dict[str, str]] = {
    "cmake": {"main.c": "main.c", "CMakeLists.txt": "CMakeLists.txt", "README.md": "README.md"},
    "arduino": {
        "library.properties": "library.properties",
        "library.json": "library.json",
        "examples/selftest/selftest.ino": "selftest.ino",
        "README.md": "README.md",
    },
}
_SOURCES: dict[Layout, str] = {"cmake": "", "arduino": "src/"}


@dataclass(frozen=True)
class Facts:
    """What is known of a model beside its graph.

    Attributes:
        title: A line that says what it is.
        sample: ``sample`` of ``model.json``; without it there are no functions that take raw samples.
        class_names: In order of the outputs.
        vectors: Inputs in codes, int8, shape (N, *shape of the input without its batch), for the self-test.
        layout: Of the folder: with a ``CMakeLists.txt``, or as a library for Arduino and PlatformIO.
    """

    title: str = "a model"
    sample: Mapping[str, Any] | None = None
    class_names: Sequence[str] | None = None
    vectors: NDArray[np.int8] | None = None
    layout: Layout = "cmake"


@dataclass(frozen=True)
class Project:
    """The files of a model in C.

    Attributes:
        name: What its names begin with.
        files: Texts by file name; folders are separated by slashes.
        source: The file name of the ``.c``.
        header: That of the ``.h``.
        layers: The functions of layers, in order.
        arena: Bytes that the caller lends.
        dialect: What it is written for.
    """

    name: str
    files: Mapping[str, str] = field(repr=False)
    source: str
    header: str
    layers: tuple[Layer, ...]
    arena: int
    dialect: str


def generate(graph: IntegerGraph, name: str = "model", dialect: str = "c99", facts: Facts | None = None) -> Project:
    """Writes an integer graph in C.

    Args:
        graph: The model.
        name: What names in C and of files begin with.
        dialect: What it is written for: a key of `mcubench.codegen.DIALECTS`.
        facts: What else is known of it.

    Raises:
        UserError: If a kernel has no C; it names the layer.
    """
    facts, prefix = facts or Facts(), text.identifier(name)
    program = program_of(graph)
    source = write_source(program, dialect)
    return _Writer(graph, program, source, prefix, dialect, facts).project()


class _Writer:
    """The files of one model."""

    def __init__(
        self, graph: IntegerGraph, program: Program, source: Source, name: str, dialect: str, facts: Facts
    ) -> None:
        self.graph, self.program, self.source, self.facts = graph, program, source, facts
        self.name, self.upper, self.dialect = name, name.upper(), dialect
        self.unit = Unit()
        one = len(graph.inputs) == len(graph.outputs) == 1
        self.encoders: Encoders | None = None
        if facts.sample is not None and one:
            tensor = graph.inputs[0]
            self.encoders = encoders(facts.sample, tensor.shape, tensor.grid, name, self.unit)

    def project(self) -> Project:
        layout = self.facts.layout
        header, source = (f"{_SOURCES[layout]}{self.name}.{suffix}" for suffix in "hc")
        files = {header: self.header(), source: self.code()}
        for file, name in _FILES[layout].items():
            if self.facts.vectors is not None or name not in ("main.c", "selftest.ino"):
                template = resources.files("mcubench.codegen").joinpath("templates", name).read_text("utf-8")
                files[file] = text.fill(template, **self.values())
        return Project(self.name, files, source, header, self.source.layers, self.source.arena.size, self.dialect)

    def header(self) -> str:
        upper, arena = self.upper, self.source.arena.size
        lines = [
            text.comment(self.facts.title),
            f"#ifndef {upper}_H_",
            f"#define {upper}_H_",
            "",
            "#include <stdint.h>",
            "",
            f"#define {upper}_ABI_VERSION {ABI_VERSION}",
            *self._self_test_always(),
            "",
            "/* Memory that the caller lends while a function runs; it keeps nothing in between. */",
            f"#define {upper}_ARENA_BYTES {arena}",
            f"#define {upper}_ARENA_ALIGN {ALIGNMENT}",
            "",
            "/* value = SCALE * (code - ZERO_POINT); images and signals have their channels last. */",
            *self._tensors("INPUT", self.graph.inputs),
            *self._tensors("OUTPUT", self.graph.outputs),
            "",
            "/* sha256 of the text of all constants. */",
            f'#define {upper}_WEIGHTS_HASH "{hashlib.sha256(self.source.constants.encode()).hexdigest()}"',
        ]
        if self.facts.class_names is not None:
            lines.append(f"#define {upper}_CLASSES {len(self.facts.class_names)}")
        if self.classifies:
            lines += [
                "",
                "/* What classifying needs: codes of the input and the output as well. */",
                f"#define {upper}_CLASSIFY_ARENA_BYTES {self.classify_bytes}",
            ]
        lines += ["", "#ifdef __cplusplus", 'extern "C" {', "#endif", "", *self._prototypes(), ""]
        lines += ["#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {upper}_H_ */"]
        return "\n".join(lines) + "\n"

    def _self_test_always(self) -> list[str]:
        """A library is compiled apart from the sketch that includes it, so the sketch can't ask for the test."""
        if self.facts.layout != "arduino" or self.facts.vectors is None:
            return []
        return ["", "/* A linker leaves it out where nobody calls it. */", f"#define {self.upper}_SELFTEST"]

    def _tensors(self, kind: str, tensors: Sequence[IntegerTensor]) -> list[str]:
        lines = []
        for index, tensor in enumerate(tensors):
            name = f"{self.upper}_{kind}" if len(tensors) == 1 else f"{self.upper}_{kind}_{index}"
            lines += [
                f"#define {name}_SIZE {tensor.size}",
                f"#define {name}_SHAPE {{ {', '.join(map(str, tensor.shape))} }}",
                f"#define {name}_SCALE {text.hex_float(tensor.grid.scale, 'f')} /* {tensor.grid.scale:.9g} */",
                f"#define {name}_ZERO_POINT ({tensor.grid.zero_point})",
            ]
        return lines

    def _prototypes(self) -> list[str]:
        lines = [
            "/* Computes the codes of the outputs; 0, or -1 if a pointer is null or the arena is not aligned. */",
            f"{self._run_signature()};",
        ]
        if self.encoders is not None:
            for each in self.encoders.functions:
                lines += ["", f"/* Codes of a raw sample: {each.comment}; channels last. */"]
                lines.append(f"void {self.name}_encode_{each.suffix}({self._encode_parameters(each)});")
        if self.classifies:
            lines += ["", "/* The class of a raw sample, from 0; -1 as above. The arena is that for classifying. */"]
            lines.append(f"{self._classify_signature()};")
        if self.facts.class_names is not None:
            lines += ["", f"extern const char *const {self.name}_class_names[{self.upper}_CLASSES];"]
        if self.facts.vectors is not None:
            lines += ["", f"#ifdef {self.upper}_SELFTEST"]
            lines.append("/* Runs samples that it holds; 0, or the number of the first that differs, from 1. */")
            lines += [f"int {self.name}_selftest(void *arena);", "#endif"]
        return lines

    @property
    def classifies(self) -> bool:
        """Whether there is a function from a raw sample to its class."""
        return self.encoders is not None and self.graph.outputs[0].size == self.graph.outputs[0].shape[-1]

    @property
    def classify_bytes(self) -> int:
        sizes = (self.graph.inputs[0].size, self.graph.outputs[0].size)
        return self.source.arena.size + sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)

    def _run_signature(self) -> str:
        given = [f"const int8_t *{each}" for each in _numbered("input", self.graph.inputs)]
        given += [f"int8_t *{each}" for each in _numbered("output", self.graph.outputs)]
        return f"int {self.name}_run(void *arena, {', '.join(given)})"

    def _encode_parameters(self, encoder: Encoder) -> str:
        return f"const {encoder.ctype} *raw, {encoder.parameters}int8_t *codes"

    def _classify_signature(self) -> str:
        assert self.encoders is not None
        return f"int {self.name}_classify(void *arena, const {self.encoders.functions[0].ctype} *raw)"

    def code(self) -> str:
        parts = [
            text.comment(f"{self.facts.title}. Written by mcubench for {self.dialect}: do not edit."),
            f'#include "{self.name}.h"\n\n#include <stddef.h>\n',
            self.source.helpers,
            self.source.constants,
            self.source.functions,
            self._run(),
        ]
        if self.encoders is not None:
            parts += ["\n".join(self.unit.constants), self.encoders.text]
        if self.classifies:
            parts.append(self._classify())
        if self.facts.class_names is not None:
            names = ",\n".join(f"    {text.string(each)}" for each in self.facts.class_names)
            parts.append(f"const char *const {self.name}_class_names[{self.upper}_CLASSES] = {{\n{names}\n}};\n")
        if self.facts.vectors is not None:
            parts.append(self._selftest(self.facts.vectors))
        return "\n".join(each for each in parts if each)

    def _run(self) -> str:
        pointers = [*_numbered("input", self.graph.inputs), *_numbered("output", self.graph.outputs)]
        tests = [f"{each} == NULL" for each in pointers]
        bytes_ = []
        if self.source.arena.size:
            tests += ["arena == NULL", f"(uintptr_t)arena % {self.upper}_ARENA_ALIGN"]
            bytes_ = ["    int8_t *const bytes = (int8_t *)arena;"]
        else:
            bytes_ = ["    (void)arena;"]
        return "\n".join(
            [
                self._run_signature(),
                "{",
                *bytes_,
                f"    if ({' || '.join(tests)})",
                "        return -1;",
                self.source.run,
                "    return 0;",
                "}\n",
            ]
        )

    def _classify(self) -> str:
        assert self.encoders is not None
        first = self.encoders.functions[0]
        return text.fill(
            _CLASSIFY,
            signature=self._classify_signature(),
            name=self.name,
            encode=f"{self.name}_encode_{first.suffix}",
            run=f"{self.name}_run",
            upper=self.upper,
            codes=f"{self.upper}_ARENA_BYTES",
            output=self.source.arena.size + -(-self.graph.inputs[0].size // ALIGNMENT) * ALIGNMENT,
            classes=self.graph.outputs[0].size,
        )

    def _selftest(self, vectors: NDArray[np.int8]) -> str:
        import torch

        from mcubench.quant.integer.run import predict

        (expected,) = predict(self.graph, torch.from_numpy(vectors))
        return text.fill(
            _SELFTEST,
            upper=self.upper,
            name=self.name,
            count=len(vectors),
            inputs=text.integers(vectors, "int8_t"),
            outputs=text.integers(expected.numpy(), "int8_t"),
            input_size=self.graph.inputs[0].size,
            output_size=self.graph.outputs[0].size,
            selftest=f"{self.name}_selftest",
            run=f"{self.name}_run",
            macro=f"{self.upper}_SELFTEST",
        )

    def values(self) -> dict[str, object]:
        """What the templates of the other files ask for."""
        return {
            "title": self.facts.title,
            "name": self.name,
            "upper": self.upper,
            "dialect": self.dialect,
            "test": text.fill(_CMAKE_TEST, name=self.name) if self.facts.vectors is not None else "",
        }


def _numbered(kind: str, tensors: Sequence[object]) -> list[str]:
    """Names of the pointers to tensors; with a number where there are several."""
    return [kind if len(tensors) == 1 else f"{kind}_{index}" for index in range(len(tensors))]


_CMAKE_TEST = """
add_executable(${name}_selftest main.c)
target_compile_options(${name}_selftest PRIVATE -std=c99 -O2)
enable_testing()
add_test(NAME selftest COMMAND ${name}_selftest)
"""

_CLASSIFY = """
$signature
{
    int8_t *const codes = (int8_t *)arena + $codes;
    int8_t *const output = (int8_t *)arena + $output;
    int32_t best = 0, i;
    if (arena == NULL || raw == NULL)
        return -1;
    $encode(raw, codes);
    if ($run(arena, codes, output) != 0)
        return -1;
    for (i = 1; i < $classes; i++)
        if (output[i] > output[best])
            best = i;
    return (int)best;
}
"""

_SELFTEST = """
#ifdef $macro
static const int8_t test_inputs[$count * $input_size] = {
$inputs
};
static const int8_t test_outputs[$count * $output_size] = {
$outputs
};

int $selftest(void *arena)
{
    int8_t output[$output_size];
    int32_t sample, i;
    for (sample = 0; sample < $count; sample++) {
        if ($run(arena, test_inputs + $input_size * sample, output) != 0)
            return (int)sample + 1;
        for (i = 0; i < $output_size; i++)
            if (output[i] != test_outputs[$output_size * sample + i])
                return (int)sample + 1;
    }
    return 0;
}
#endif
"""
