"""What a model in C shows its caller: names, sizes, and functions with what they take."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from mcubench.codegen import text
from mcubench.codegen.arena import ALIGNMENT
from mcubench.codegen.encoding import Encoder, Encoders, encoders
from mcubench.codegen.source import Source
from mcubench.codegen.unit import Unit
from mcubench.errors import UserError

if TYPE_CHECKING:
    from mcubench.codegen.features import FeatureProject
    from mcubench.quant.integer.ir import IntegerGraph, IntegerTensor

__all__ = ["ABI_VERSION", "Facts", "Interface", "Layout", "numbered"]

ABI_VERSION = 1

Layout = Literal["cmake", "arduino"]


@dataclass(frozen=True)
class Facts:
    """What is known of a model beside its graph.

    Attributes:
        title: A line that says what it is.
        sample: ``sample`` of ``model.json``; without it there are no functions that take raw samples.
        class_names: In order of the outputs.
        vectors: Inputs for the self-test, codes or float32, shape (N, *shape of the input without its batch).
        features: What computes the rows of features that it classifies, from a sensor's samples.
        layout: Of the folder: with a ``CMakeLists.txt``, or as a library for Arduino and PlatformIO.
    """

    title: str = "a model"
    sample: Mapping[str, Any] | None = None
    class_names: Sequence[str] | None = None
    vectors: NDArray[Any] | None = None
    features: FeatureProject | None = None
    layout: Layout = "cmake"


class Interface:
    """The names of a model, and its header.

    Args:
        graph: What a call computes: the whole model, or one step of it.
        source: It in C.
        name: What names begin with.
        facts: What else is known of it.
        stream: Whether it is fed step by step.

    Raises:
        UserError: If there are vectors for a self-test, and several inputs or outputs.
    """

    def __init__(self, graph: IntegerGraph, source: Source, name: str, facts: Facts, stream: bool) -> None:
        self.graph, self.source, self.facts, self.stream = graph, source, facts, stream
        self.entry = f"{name}_{'step' if stream else 'run'}"
        self.lent = "void *state, void *arena" if stream else "void *arena"
        self.name, self.upper = name, name.upper()
        self.unit = Unit()
        one = len(graph.inputs) == len(graph.outputs) == 1
        if facts.vectors is not None and not one:
            raise UserError("a self-test is written for a model with one input and one output")
        self.encoders: Encoders | None = None
        if facts.sample is not None and one:
            tensor = graph.inputs[0]
            self.encoders = encoders(facts.sample, tensor, name, self.unit)

    def header(self) -> str:
        """The text of the header."""
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
            ]
            if not tensor.real:
                lines += [
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
            order = "channels last" if self.graph.input_axes_moved[0] else "in the order of the input"
            for each in self.encoders.functions:
                lines += ["", f"/* What the input holds for a raw sample: {each.comment}; {order}. */"]
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
    def senses(self) -> FeatureProject | None:
        """What computes its inputs, if there is a function from a sensor's samples to a class."""
        return self.facts.features if self.classifies and not self.stream else None

    @property
    def classify_bytes(self) -> int:
        """What is lent to a function from a raw sample to its class."""
        sizes = (self.graph.inputs[0].bytes, self.graph.outputs[0].bytes)
        return self.source.arena.size + sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)

    def _run_signature(self) -> str:
        inputs, outputs = self.graph.inputs, self.graph.outputs
        given = [f"const {each.ctype} *{name}" for each, name in zip(inputs, numbered("input", inputs), strict=True)]
        given += [f"{each.ctype} *{name}" for each, name in zip(outputs, numbered("output", outputs), strict=True)]
        return f"int {self.entry}({self.lent}, {', '.join(given)})"

    def _reset_signature(self) -> str:
        return f"int {self.name}_reset(void *state)"

    def _encode_parameters(self, encoder: Encoder) -> str:
        return f"const {encoder.ctype} *raw, {encoder.parameters}{self.graph.inputs[0].ctype} *codes"

    def _classify_signature(self) -> str:
        assert self.encoders is not None
        return f"int {self.name}_classify({self.lent}, const {self.encoders.functions[0].ctype} *raw)"


def numbered(kind: str, tensors: Sequence[object]) -> list[str]:
    """Names of the pointers to tensors; with a number where there are several."""
    return [kind if len(tensors) == 1 else f"{kind}_{index}" for index in range(len(tensors))]
