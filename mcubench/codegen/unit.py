"""A C file in the making: the constants, the helpers that are used, and the functions, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen import text
from mcubench.codegen.program import Step
from mcubench.errors import UserError

__all__ = ["Emitter", "Emitters", "Function", "TreeForm", "Unit"]

TreeForm = Literal["nested", "stored"]  # trees as tests in code, or as splits in an array that a loop reads

_NEEDS = "/* needs: "


@dataclass(frozen=True)
class Function:
    """A function that computes a step.

    Attributes:
        body: Its statements. They read ``x``, or ``x0``, ``x1``, ... where a step has several inputs that are no
            constants, and write ``y``; ``scratch`` is their working memory.
        scratch: Bytes of it.
        state: Bytes that stay from call to call, at ``state``.
        begin: Statements that make it what it is before the first call, wherever it lies (``$state``).
        lead: The output may lie over the first input, if it begins at least so many bytes before it: what is written
            then never reaches what is still to be read. ``None``: they must not overlap.
    """

    body: str
    scratch: int = 0
    lead: int | None = None
    state: int = 0
    begin: str = ""


@dataclass
class Unit:
    """What has been written so far.

    Attributes:
        trees: How trees are to be written; ``None``: as suits their size.
        constants: Definitions of arrays.
        helpers: Texts of helpers by their names, each after those that it needs.
        functions: Definitions of functions, in order.
    """

    trees: TreeForm | None = None
    constants: list[str] = field(default_factory=list)
    helpers: dict[str, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    _arrays: dict[tuple[str, bytes], str] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)

    def array(self, ctype: str, numbers: NDArray[Any], hint: str) -> str:
        """The name of a constant array, which is written once, however many ask for it.

        Args:
            ctype: Type of the elements, such as ``int8_t``.
            numbers: Numbers that it can hold.
            hint: What its name begins with.
        """
        stored = np.ascontiguousarray(numbers).astype(_DTYPES[ctype])
        if not np.array_equal(stored, np.asarray(numbers)):
            raise ValueError(f"{hint}: {ctype} does not hold all of its numbers")
        key = ctype, stored.tobytes()
        if key not in self._arrays:
            self._arrays[key] = self.constant(text.array("$name", ctype, stored), hint)
        return self._arrays[key]

    def use(self, *names: str) -> None:
        """Has helpers written, and those that they need."""
        for name in names:
            if name in self.helpers:
                continue
            source = resources.files("mcubench.codegen").joinpath("helpers", f"{name}.c").read_text("utf-8")
            needed = source.removeprefix(_NEEDS).partition(" */\n")
            if source.startswith(_NEEDS):
                self.use(*needed[0].split(", "))
                source = needed[2]
            self.helpers[name] = source

    def constant(self, definition: str, hint: str) -> str:
        """The name of a constant that is written once, however many ask for the same one.

        Args:
            definition: Its text, with ``$name`` for its name.
            hint: What its name begins with.
        """
        return self._once(definition, hint, self.constants)

    def function(self, definition: str, hint: str) -> str:
        """The same for a function that steps share."""
        return self._once(definition, hint, self.functions)

    def _once(self, definition: str, hint: str, written: list[str]) -> str:
        if definition not in self._texts:
            self._texts[definition] = name = f"{hint}_{len(self._texts)}"
            written.append(definition.replace("$name", name))
        return self._texts[definition]


_DTYPES = {
    "int8_t": np.int8,
    "uint8_t": np.uint8,
    "int16_t": np.int16,
    "uint16_t": np.uint16,
    "int32_t": np.int32,
    "uint32_t": np.uint32,
    "int64_t": np.int64,
    "float": np.float32,
}

Emitter = Callable[[Step, Unit], Function]
Condition = Callable[[Step], bool]


class Emitters:
    """A table from kernels to what writes them in C; one that is missing is looked up in another table.

    Args:
        otherwise: That table.
        takes: Which steps this one may write at all.
    """

    def __init__(self, otherwise: Emitters | None = None, takes: Condition = lambda _: True) -> None:
        self._own: dict[str, list[tuple[Condition, Emitter]]] = {}
        self._otherwise, self._takes = otherwise, takes

    def register(self, *kinds: str, when: Condition = lambda _: True) -> Callable[[Emitter], Emitter]:
        """Enters a function for kernels of these names; of several, the first whose condition holds writes a step.

        Args:
            *kinds: Names of the kernels' classes.
            when: Which steps it can write.
        """

        def enter(emitter: Emitter) -> Emitter:
            for kind in kinds:
                self._own.setdefault(kind, []).append((when, emitter))
            return emitter

        return enter

    def emit(self, step: Step, unit: Unit) -> Function:
        """Writes a step.

        Raises:
            UserError: If nothing in the table can.
        """
        for when, emitter in self._own.get(step.kind, ()):
            if self._takes(step) and when(step):
                return emitter(step, unit)
        if self._otherwise is None:
            where = step.path or "(root)"
            raise UserError(f"{where}: no C is written for {step.kind}; the formats tflite, tflm and onnx take it")
        return self._otherwise.emit(step, unit)

    def kinds(self) -> Sequence[str]:
        """Names of the kernels that have an entry."""
        return sorted({*self._own, *(self._otherwise.kinds() if self._otherwise else ())})
