"""A folder of C that builds: the model, a program that tests it, and what a firmware author has to know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen import around, text
from mcubench.codegen.arena import ALIGNMENT
from mcubench.codegen.encoding import Encoder, Encoders, encoders
from mcubench.codegen.program import program_of
from mcubench.codegen.source import Layer, Source, write_source
from mcubench.codegen.unit import Unit
from mcubench.errors import UserError

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
        input_size: Codes that a call takes.
        output_size: Codes that it gives.
        state: Bytes that the caller keeps, of a model that is fed step by step; ``None`` for any other.
    """

    name: str
    files: Mapping[str, str] = field(repr=False)
    source: str
    header: str
    layers: tuple[Layer, ...]
    arena: int
    dialect: str
    input_size: int
    output_size: int
    state: int | None = None

    @property
    def entry(self) -> str:
        """The function that computes."""
        return f"{self.name}_{'run' if self.state is None else 'step'}"


def generate(
    graph: IntegerGraph,
    name: str = "model",
    dialect: str = "c99",
    facts: Facts | None = None,
    *,
    stream: bool = False,
) -> Project:
    """Writes an integer graph in C.

    Args:
        graph: The model.
        name: What names in C and of files begin with.
        dialect: What it is written for: a key of `mcubench.codegen.DIALECTS`.
        facts: What else is known of it.
        stream: Whether it is fed step by step: a function computes one step from the state that its caller keeps, and
            another one resets that state.

    Raises:
        UserError: If a kernel has no C, or can't be fed step by step; it names the layer.
    """
    from mcubench.quant.integer.streaming import streamed

    facts, prefix = facts or Facts(), text.identifier(name)
    called = streamed(graph) if stream else graph
    source = write_source(program_of(called, kept=stream), dialect)
    return _Writer(graph, called, source, prefix, dialect, facts, stream).project()


class _Writer:
    """The files of one model, and of the graph that a call computes: the whole, or one step of it."""

    def __init__(
        self,
        whole: IntegerGraph,
        graph: IntegerGraph,
        source: Source,
        name: str,
        dialect: str,
        facts: Facts,
        stream: bool,
    ) -> None:
        self.whole, self.graph, self.source, self.facts, self.stream = whole, graph, source, facts, stream
        self.entry = f"{name}_{'step' if stream else 'run'}"
        self.lent = "void *state, void *arena" if stream else "void *arena"
        self.name, self.upper, self.dialect = name, name.upper(), dialect
        self.unit = Unit()
        one = len(graph.inputs) == len(graph.outputs) == 1
        if facts.vectors is not None and not one:
            raise UserError("a self-test is written for a model with one input and one output")
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
        state = self.source.state if self.stream else None
        return Project(
            name=self.name,
            files=files,
            source=source,
            header=header,
            layers=self.source.layers,
            arena=self.source.arena.size,
            dialect=self.dialect,
            input_size=sum(each.size for each in self.graph.inputs),
            output_size=sum(each.size for each in self.graph.outputs),
            state=state,
        )

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
            *self._state(),
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

    def _state(self) -> list[str]:
        if not self.stream:
            return []
        return [
            "/* Memory that the caller keeps from step to step, aligned likewise; reset it before each sequence. */",
            f"#define {self.upper}_STATE_BYTES {self.source.state}",
            "",
        ]

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
        what = "the codes of the outputs after one step more" if self.stream else "the codes of the outputs"
        lines = [
            f"/* Computes {what}; 0, or -1 if a pointer is null or memory is not aligned. */",
            f"{self._run_signature()};",
        ]
        if self.stream:
            lines += ["", "/* Begins a sequence: 0, or -1 as above. */", f"{self._reset_signature()};"]
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
        return f"int {self.entry}({self.lent}, {', '.join(given)})"

    def _reset_signature(self) -> str:
        return f"int {self.name}_reset(void *state)"

    def _encode_parameters(self, encoder: Encoder) -> str:
        return f"const {encoder.ctype} *raw, {encoder.parameters}int8_t *codes"

    def _classify_signature(self) -> str:
        assert self.encoders is not None
        return f"int {self.name}_classify({self.lent}, const {self.encoders.functions[0].ctype} *raw)"

    def code(self) -> str:
        parts = [
            text.comment(f"{self.facts.title}. Written by mcubench for {self.dialect}: do not edit."),
            f'#include "{self.name}.h"\n\n#include <stddef.h>\n',
            self.source.helpers,
            self.source.constants,
            self.source.functions,
            self._reset() if self.stream else "",
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
        for memory, name in (("state", "kept"), ("arena", "bytes")) if self.stream else (("arena", "bytes"),):
            if memory == "state" or self.source.arena.size:
                tests += self._tests(memory)
                bytes_.append(f"    int8_t *const {name} = (int8_t *){memory};")
            else:
                bytes_.append(f"    (void){memory};")
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

    def _tests(self, memory: str) -> list[str]:
        return [f"{memory} == NULL", f"(uintptr_t){memory} % {self.upper}_ARENA_ALIGN"]

    def _reset(self) -> str:
        return text.fill(
            around.RESET,
            signature=self._reset_signature(),
            tests=" || ".join(self._tests("state")),
            begin=self.source.reset.rstrip("\n"),
        )

    def _classify(self) -> str:
        assert self.encoders is not None
        first = self.encoders.functions[0]
        return text.fill(
            around.CLASSIFY,
            signature=self._classify_signature(),
            name=self.name,
            encode=f"{self.name}_encode_{first.suffix}",
            run=self.entry,
            lent="state, arena" if self.stream else "arena",
            upper=self.upper,
            codes=f"{self.upper}_ARENA_BYTES",
            output=self.source.arena.size + -(-self.graph.inputs[0].size // ALIGNMENT) * ALIGNMENT,
            classes=self.graph.outputs[0].size,
        )

    def _selftest(self, vectors: NDArray[np.int8]) -> str:
        import torch

        from mcubench.quant.integer.run import predict

        size = self.graph.outputs[0].size
        (found,) = predict(self.whole, torch.from_numpy(vectors))
        expected = found.reshape(len(found), -1)[:, -size:]  # of a sequence fed by steps, what the last one gives
        sizes = {"input_size": self.whole.inputs[0].size, "step_size": self.graph.inputs[0].size}
        fed = text.fill(
            around.FED_BY_STEPS if self.stream else around.FED_AT_ONCE,
            run=self.entry,
            reset=f"{self.name}_reset",
            **sizes,
        )
        return text.fill(
            around.SELFTEST,
            count=len(vectors),
            inputs=text.integers(vectors, "int8_t"),
            outputs=text.integers(expected.numpy(), "int8_t"),
            output_size=size,
            selftest=f"{self.name}_selftest",
            macro=f"{self.upper}_SELFTEST",
            counters=f"state[{self.source.state // ALIGNMENT}], sample" if self.stream else "sample",
            fed=fed.rstrip("\n"),
            **sizes,
        )

    def values(self) -> dict[str, object]:
        """What the templates of the other files ask for."""
        return {
            "title": self.facts.title,
            "name": self.name,
            "upper": self.upper,
            "dialect": self.dialect,
            "usage": text.fill(
                around.STEPS if self.stream else around.AT_ONCE, name=self.name, upper=self.upper
            ).strip(),
            "test": text.fill(around.CMAKE_TEST, name=self.name) if self.facts.vectors is not None else "",
        }


def _numbered(kind: str, tensors: Sequence[object]) -> list[str]:
    """Names of the pointers to tensors; with a number where there are several."""
    return [kind if len(tensors) == 1 else f"{kind}_{index}" for index in range(len(tensors))]
