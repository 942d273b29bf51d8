"""The C of a program: a function for each step, and one that runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcubench.codegen import armv6m, armv7em, c99, classical  # noqa: F401 - which enters what it writes
from mcubench.codegen.arena import Arena, plan
from mcubench.codegen.operands import parameters
from mcubench.codegen.program import Program, Step
from mcubench.codegen.text import comment, fill, identifier
from mcubench.codegen.unit import Emitters, Function, TreeForm, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.ir import Operand

__all__ = ["DIALECTS", "Layer", "Source", "write_source"]

DIALECTS: dict[str, Emitters] = {
    "c99": c99.EMITTERS,
    "armv7em": armv7em.EMITTERS,
    "armv6m": armv6m.EMITTERS,
}


@dataclass(frozen=True)
class Layer:
    """A function of the program.

    Attributes:
        name: Its name in C.
        path: Path of the module that it computes.
        kind: Name of the kernel.
    """

    name: str
    path: str
    kind: str


@dataclass(frozen=True)
class Source:
    """What a program is in C.

    Attributes:
        constants: Definitions of arrays.
        helpers: Functions that layers share.
        functions: Those, and one for each layer.
        run: The statements that call them.
        layers: The functions of layers, in order.
        arena: The plan of the memory that the caller lends.
        state: Bytes that the caller keeps from call to call.
        reset: The statements that begin a sequence.
    """

    constants: str
    helpers: str
    functions: str
    run: str
    layers: tuple[Layer, ...]
    arena: Arena
    state: int
    reset: str


def write_source(program: Program, dialect: str, trees: TreeForm | None = None) -> Source:
    """Writes a program in C.

    Args:
        program: The program.
        dialect: A key of `DIALECTS`.
        trees: How trees are written; ``None``: as suits their size.

    Raises:
        UserError: If a kernel has no C.
    """
    unit, layers, functions = Unit(trees), [], []
    unit.use("compiler")
    texts = []
    for number, step in enumerate(program.steps):
        function = DIALECTS[dialect].emit(step, unit)
        layer = Layer(f"layer_{number}_{identifier(step.path or 'root')}", step.path, step.kind)
        layers.append(layer)
        functions.append(function)
        texts.append(_definition(layer, step, function))
    arena = plan(program, functions)
    states = [sum(function.state for function in functions[:number]) for number in range(len(functions) + 1)]
    calls = _calls(program, layers, functions, arena, states)
    return Source(
        constants="\n".join(unit.constants),
        helpers="\n".join(unit.helpers.values()),
        functions="\n".join([*unit.functions, *texts]),
        run="\n".join(calls),
        layers=tuple(layers),
        arena=arena,
        state=states[-1],
        reset="".join(
            fill(function.begin, state=f"(kept + {start})")
            for function, start in zip(functions, states, strict=False)
            if function.begin
        ),
    )


def _definition(layer: Layer, step: Step, function: Function) -> str:
    given = [f"const int8_t *{name}" for name in parameters(step)]
    given += ["int8_t *y", *(["int32_t *scratch"] if function.scratch else [])]
    given += ["int32_t *state"] if function.state else []
    read = ", ".join("x".join(map(str, each.shape[1:])) for each in step.inputs)
    title = comment(f"{layer.path or '(root)'}: {layer.kind}, {read} -> {'x'.join(map(str, step.output.shape[1:]))}")
    return f"{title}\nAPART void {layer.name}({', '.join(given)})\n{{\n{function.body.rstrip()}\n}}\n"


def _calls(
    program: Program, layers: list[Layer], functions: list[Function], arena: Arena, states: list[int]
) -> list[str]:
    places: dict[Operand, str] = {program.bases[each]: name for each, name in _outside(program).items()}
    places |= {tensor: f"bytes + {offset}" for tensor, offset in arena.offsets.items()}
    calls = []
    for kind, tensors in (("const ", program.inputs), ("", program.outputs)):
        places.update({each: f"({kind}int8_t *){places[each]}" for each in tensors if each.ctype != "int8_t"})
    for number, (step, layer, function) in enumerate(zip(program.steps, layers, functions, strict=True)):
        read = [places[program.bases[each]] for each in step.inputs if each in program.bases]
        working = [f"(int32_t *)(void *)(bytes + {arena.scratch[number]})"] if function.scratch else []
        working += [f"(int32_t *)(void *)(kept + {states[number]})"] if function.state else []
        calls.append(f"    {layer.name}({', '.join([*read, places[step.output], *working])});")
    return calls


def _outside(program: Program) -> dict[Operand, str]:
    """What the caller calls tensors."""
    found: dict[Operand, str] = {}
    for kind, tensors in (("input", program.inputs), ("output", program.outputs)):
        for index, tensor in enumerate(tensors):
            found[tensor] = kind if len(tensors) == 1 else f"{kind}_{index}"
    return found
