"""What recurrent layers share, whatever C is written for them: gates as rows of dense layers, tables, the state.

All gates of a layer are one dense layer of the input and one of the hidden state. A unit's gates follow each other, so
that all of a unit is computed at once: nothing but the state is kept from unit to unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcubench.codegen.layers import Integers, Rescaling
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.grid import Grid
    from mcubench.quant.integer.ir import Bias, Filter
    from mcubench.quant.integer.kernels.recurrent import RecurrentKernel

__all__ = ["Product", "codes_of_units", "lines", "lines_array", "manner", "over_time", "products"]

_STEPS = """
/* Goes on from a state, 16 bits and then a code of each unit, for some steps. */
APART void $name(const int8_t *x, int8_t *y, int32_t steps, int32_t *state$own)
{
    int16_t *const kept = (int16_t *)(void *)state;
    int8_t *const hidden = (int8_t *)(kept + $units);
    const int8_t *h = hidden;
$first    for (; steps > 0; steps--, x += $inputs, h = y, y += $units) {
$body
    }
    codes_kept(h, hidden, $units);
}
"""
# States take turns in two places, of which one is that of the last.
_LAST = """
/* Goes on from a state, 16 bits and then a code of each unit, for some steps, and gives the codes after the last. */
APART void $name(const int8_t *x, int8_t *last, int32_t steps, int32_t *state$own)
{
    int16_t *const kept = (int16_t *)(void *)state;
    int8_t *const hidden = (int8_t *)(kept + $units), *y = last;
    const int8_t *h = hidden;
$first    for (; steps > 0; steps--, x += $inputs, h = y, y = y == last ? hidden : last) {
$body
    }
    codes_kept(h, h == last ? hidden : last, $units);
}
"""
_BEGUN = "    state_begun((int16_t *)(void *)$state, $units, $zero_point);\n"
_CALL = "    $steps(x, y, $count, $state$behind);\n"


@dataclass(frozen=True)
class Product:
    """What all gates of a layer make of one vector.

    Attributes:
        codes: Weights, shape (units * gates, taps), the gates of a unit one after the other.
        starts: What sums start with: biases, and what the zero point makes, shape (units * gates,).
        factors: How sums are brought to 16 bits, of each gate.
        bits: Of a weight, in whatever gate.
    """

    codes: Integers
    starts: Integers
    factors: Rescaling
    bits: int

    @property
    def gates(self) -> int:
        """Of a unit."""
        return len(self.factors.multipliers)

    @property
    def taps(self) -> int:
        """Length of the vector."""
        return int(self.codes.shape[1])

    def filled(self, units: int) -> Product:
        """The same with units of zeros, so that their number is a multiple."""
        more = -len(self.codes) % (units * self.gates)
        return Product(np.pad(self.codes, ((0, more), (0, 0))), np.pad(self.starts, (0, more)), self.factors, self.bits)


def products(step: Step) -> tuple[Product, Product]:
    """Of the input, and of the hidden state."""
    kernel: RecurrentKernel = step.kernel  # type: ignore[assignment]
    gates = kernel.gates
    given = _product([each.input for each in gates], [each.bias for each in gates], step.x.grid)
    return given, _product([each.recurrent for each in gates], [each.recurrent_bias for each in gates], kernel.state)


def _product(filters: list[Filter], biases: list[Bias | None], source: Grid) -> Product:
    from mcubench.quant.integer.kernels.common import factors
    from mcubench.quant.integer.kernels.recurrent import GATE

    codes = np.stack([each.codes.numpy().astype(np.int64) for each in filters], 1)  # (units, gates, taps)
    own = [0 * codes[:, 0, 0] if each is None else each.codes.numpy().astype(np.int64) for each in biases]
    starts = np.stack(own, 1) - source.zero_point * codes.sum(2)
    found = [factors(each, source, GATE) for each in filters]
    multipliers, exponents = (np.concatenate([each.numpy() for each in part]) for part in zip(*found, strict=True))
    rescaling = Rescaling(multipliers, exponents, 0, -(2**15), 2**15 - 1)
    return Product(codes.reshape(-1, codes.shape[2]), starts.ravel(), rescaling, max(each.bits for each in filters))


def lines() -> Integers:
    """Sigmoid less a half, of both signs, from -256 to 255 steps of 1/24: where a line starts, and how far it goes up.

    A word is a signed value in its upper half and the difference to the next in the lower one. The last line of each
    side is flat, for all that lies beyond. uint32, shape (512,).
    """
    from mcubench.quant.integer.sigmoid_16 import SIGMOID_16

    values = SIGMOID_16.numpy().astype(np.int64) - 2**15
    ups = np.append(np.diff(values), 0)
    starts = np.concatenate([-values[-1:], -values[:0:-1], values])
    found: Integers = (starts << 16 | np.concatenate([[0], ups[-2::-1], ups])) & 0xFFFFFFFF
    return found


def lines_array(unit: Unit) -> str:
    """The middle of the array of `lines`, which all layers share."""
    return f"{unit.array('uint32_t', lines(), 'lines')} + 256"


def manner(step: Step, unit: Unit, table: str) -> str:
    """How gates make a state, as an initialiser of the struct that is called as the kernel, given its `lines`."""
    kernel: RecurrentKernel = step.kernel  # type: ignore[assignment]
    unit.use(step.kind.lower())
    numbers = [table, *_numbers(kernel), kernel.state.zero_point]
    return f"{{ {', '.join(map(str, numbers))} }}"


def _numbers(kernel: RecurrentKernel) -> tuple[int, ...]:
    from mcubench.quant.integer.kernels import Gru, Lstm

    if isinstance(kernel, Lstm):
        down = 1 - kernel.candidate_factor[1]  # the cell's scale is a power of 2
        return down, *kernel.output_factor, kernel.shift, kernel.limit
    assert isinstance(kernel, Gru)
    return kernel.shown_factor


def codes_of_units(step: Step, each: int, table: str) -> str:
    """Statements that make the codes of some units, of which the last may be none, from their gates in 16 bits."""
    kernel: RecurrentKernel = step.kernel  # type: ignore[assignment]
    gates, lines = len(kernel.gates), []
    for index in range(each):
        place, row = (f"unit + {index}", f" + {gates * index}") if index else ("unit", "")
        code = f"{step.kind.lower()}_code(&{table}, given{row}, recalled{row}, kept + {place})"
        perhaps = index and kernel.units % each
        lines += [f"if ({place} < {kernel.units})"] if perhaps else []
        lines += [f"{'    ' if perhaps else ''}y[{place}] = {code};"]
    return "\n".join(lines)


def over_time(step: Step, unit: Unit, body: str, scratch: int, first: str = "") -> Function:
    """A layer that begins with a state of zeros, or with the one that its caller keeps, and goes on for all its steps.

    A state of its own lies in front of its working memory, which is overwritten in each step.

    Args:
        step: The layer.
        unit: Where it is written.
        body: Statements of one step: they read codes at ``x`` and ``h``, write ``y``, and change ``kept``, 16 bits of
            each unit; ``scratch`` is their own.
        scratch: Bytes of that.
        first: Declarations before the first step.
    """
    kernel: RecurrentKernel = step.kernel  # type: ignore[assignment]
    count, units = step.x.shape[-2], kernel.units
    unit.use("state")
    words = -(-3 * units // 4)
    steps = fill(
        _LAST if step.last else _STEPS,
        name="$name",
        units=units,
        inputs=step.x.shape[-1],
        own=", int32_t *scratch" if scratch else "",
        first=first,
        body=body.strip("\n"),
    )
    values = {
        "steps": unit.function(steps, f"{step.kind.lower()}_steps"),
        "units": units,
        "zero_point": kernel.state.zero_point,
        "count": count,
    }
    if step.kept:
        call = fill(_CALL, **values, state="state", behind=", scratch" if scratch else "")
        return Function(call, scratch, state=4 * words, begin=fill(_BEGUN, **values, state="$state"))
    call = fill(_CALL, **values, state="scratch", behind=f", scratch + {words}" if scratch else "")
    return Function(fill(_BEGUN, **values, state="scratch") + call, scratch=4 * words + scratch)
