"""A folder of C that builds: the model, a program that tests it, and what a firmware author has to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen import around, text
from mcubench.codegen.arena import ALIGNMENT
from mcubench.codegen.interface import ABI_VERSION, Facts, Interface, Layout, numbered
from mcubench.codegen.program import program_of
from mcubench.codegen.sensor import sensor_files, sensor_sources
from mcubench.codegen.source import Layer, Source, write_source
from mcubench.codegen.unit import TreeForm

if TYPE_CHECKING:
    from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["ABI_VERSION", "Facts", "Layout", "Project", "generate"]

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
_MEANING = "codes in, codes out; value = SCALE * (code - ZERO_POINT)"
_SOURCES: dict[Layout, str] = {"cmake": "", "arduino": "src/"}


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
    trees: TreeForm | None = None,
) -> Project:
    """Writes an integer graph in C.

    Args:
        graph: The model.
        name: What names in C and of files begin with.
        dialect: What it is written for: a key of `mcubench.codegen.DIALECTS`.
        facts: What else is known of it.
        stream: Whether it is fed step by step: a function computes one step from the state that its caller keeps, and
            another one resets that state.
        trees: Trees as tests in code (``nested``), or as an array and a loop (``stored``); ``None``: as suits their
            size.

    Raises:
        UserError: If a kernel has no C, or can't be fed step by step; it names the layer.
    """
    from mcubench.quant.integer.streaming import streamed

    facts, prefix = facts or Facts(), text.identifier(name)
    called = streamed(graph) if stream else graph
    source = write_source(program_of(called, kept=stream), dialect, trees)
    return _Writer(graph, called, source, prefix, dialect, facts, stream).project()


class _Writer(Interface):
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
        super().__init__(graph, source, name, facts, stream)
        self.whole, self.dialect = whole, dialect

    def project(self) -> Project:
        layout = self.facts.layout
        header, source = (f"{_SOURCES[layout]}{self.name}.{suffix}" for suffix in "hc")
        files = {header: self.header(), source: self.code()}
        for file, name in _FILES[layout].items():
            if self.facts.vectors is not None or name not in ("main.c", "selftest.ino"):
                template = resources.files("mcubench.codegen").joinpath("templates", name).read_text("utf-8")
                files[file] = text.fill(template, **self.values())
        if self.senses is not None:
            joined = sensor_files(self.name, self.senses)
            files |= {f"{_SOURCES[layout]}{file}": content for file, content in joined.items()}
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

    def code(self) -> str:
        classify = self._classify() if self.classifies else ""  # which may add a constant
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
        parts.append(classify)
        if self.facts.class_names is not None:
            names = ",\n".join(f"    {text.string(each)}" for each in self.facts.class_names)
            parts.append(f"const char *const {self.name}_class_names[{self.upper}_CLASSES] = {{\n{names}\n}};\n")
        if self.facts.vectors is not None:
            parts.append(self._selftest(self.facts.vectors))
        return "\n".join(each for each in parts if each)

    def _run(self) -> str:
        pointers = [*numbered("input", self.graph.inputs), *numbered("output", self.graph.outputs)]
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
            input_type=self.graph.inputs[0].ctype,
            output_type=self.graph.outputs[0].ctype,
            output=self.source.arena.size + -(-self.graph.inputs[0].bytes // ALIGNMENT) * ALIGNMENT,
            decided=self._decided().rstrip("\n"),
        )

    def _decided(self) -> str:
        """Statements that make the index of the class of the outputs, and return the class."""
        tensor, decision = self.graph.outputs[0], self.graph.decision
        zero = "0" if tensor.real else str(tensor.grid.zero_point)
        test = {"positive": f"output[0] > {zero}", "not_negative": f"output[0] >= {zero}", "class": "output[0]"}
        found = around.LARGEST if decision == "largest" else f"    best = {test[decision]};\n"
        best = "(int)best"
        if self.graph.labels is not None:
            best = f"(int){self.unit.array('int16_t', np.array(self.graph.labels), 'labels')}[best]"
        return text.fill(found, classes=tensor.size) + f"    return {best};\n"

    def _selftest(self, vectors: NDArray[Any]) -> str:
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
            inputs=text.numbers(vectors, self.graph.inputs[0].ctype),
            outputs=text.numbers(expected.numpy(), self.graph.outputs[0].ctype),
            input_type=self.graph.inputs[0].ctype,
            output_type=self.graph.outputs[0].ctype,
            output_size=size,
            selftest=f"{self.name}_selftest",
            macro=f"{self.upper}_SELFTEST",
            counters=f"state[{self.source.state // ALIGNMENT}], sample" if self.stream else "sample",
            fed=fed.rstrip("\n"),
            **sizes,
        )

    def _joined(self) -> list[str]:
        return [] if self.senses is None else sensor_sources(self.name, self.senses)

    def values(self) -> dict[str, object]:
        """What the templates of the other files ask for."""
        return {
            "title": self.facts.title,
            "name": self.name,
            "upper": self.upper,
            "dialect": self.dialect,
            "usage": text.fill(
                around.STEPS if self.stream else around.AT_ONCE,
                name=self.name,
                upper=self.upper,
                input_type=self.graph.inputs[0].ctype,
                output_type=self.graph.outputs[0].ctype,
                meaning="numbers in, numbers out" if self.graph.inputs[0].real else _MEANING,
            ).strip(),
            "sources": "".join(f" {each}" for each in self._joined()),
            "sensed": text.fill(around.SENSED, name=self.name, upper=self.upper) if self.senses else "",
            "test": text.fill(around.CMAKE_TEST, name=self.name) if self.facts.vectors is not None else "",
        }
