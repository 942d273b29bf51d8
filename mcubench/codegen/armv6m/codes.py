"""What is done with four sums: added to others, or compared, rescaled and stored as codes."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.codegen.armv6m.assembly import Assembly
from mcubench.codegen.armv6m.factors import Factors
from mcubench.codegen.text import fill

__all__ = ["END", "Rule", "Y", "codes", "decoded", "more", "one_code", "stored"]

Y, DISTANCE, END = 4, 8, 12  # where the stack holds them

_TWIN = """
        {
            int32_t i;
            for (i = 0; i < 4; i += $pooled)
                y[i / $pooled * count] = rectified_code(
                    largest_of(sums + i, $pooled), w, $split, $shift, $zero_point, $steps);
            y++, w += 3;
        }
"""


@dataclass(frozen=True)
class Rule:
    """How sums become codes of which none is below that of 0.

    Attributes:
        pooled: Sums of which the largest counts: 1, 2 or 4.
        split: See `Factors`.
        shift: See `Factors`.
        saturates: See `Factors`.
        zero_point: Code of 0.
        steps: The largest code, from there.
    """

    pooled: int
    split: int
    shift: int
    saturates: bool
    zero_point: int
    steps: int

    @classmethod
    def of(cls, factors: Factors, pooled: int) -> Rule:
        """That of a layer."""
        zero_point = factors.rescaling.zero_point
        return cls(pooled, factors.split, factors.shift, factors.saturates, zero_point, factors.steps)

    @property
    def twin(self) -> str:
        """Statements of C."""
        return fill(_TWIN, **vars(self))


def decoded(into: Assembly, wide: bool) -> None:
    """The four sums in r4 to r7, with what is added at each position."""
    into.do("ldmia r0!, {r4-r7}")
    if not wide:
        into.do("add r4, r10", "add r5, r11", "add r6, r12", "add r7, lr")
        return
    into.do("add r4, r8", "add r5, r9", "add r6, r10", "add r7, r11")
    into.do("mov r2, r9", "lsls r2, r2, #16", "subs r4, r4, r2")
    into.do("mov r2, r11", "lsls r2, r2, #16", "subs r6, r6, r2")


def more(into: Assembly, place: int) -> None:
    """Adds what was summed before, from where the stack says; that moves on, unless sums are stored there again."""
    into.do(f"ldr r2, [sp, #{place}]")
    for number, register in enumerate(("r4", "r5", "r6", "r7")):
        into.do(f"ldr r3, [r2, #{4 * number}]", f"adds {register}, {register}, r3")
    if place != Y:
        into.do("adds r2, #16", f"str r2, [sp, #{place}]")


def stored(into: Assembly) -> None:
    """Stores the sums; r5 is then the next y."""
    into.do(f"ldr r2, [sp, #{Y}]", "stmia r2!, {r4-r7}", f"str r2, [sp, #{Y}]", "mov r5, r2")


def codes(into: Assembly, rule: Rule) -> None:
    """Codes of the sums, at y and so far apart as the stack says; r5 is then the next y."""
    {4: _one_of_four, 2: _two_of_four, 1: _four}[rule.pooled](into, rule)


def _larger(into: Assembly, first: str, second: str) -> None:
    past = into.label()
    into.do(f"cmp {first}, {second}", into.to("bge", past), f"mov {first}, {second}")
    into.place(past)


def _one_of_four(into: Assembly, rule: Rule) -> None:
    for other in ("r5", "r6", "r7"):
        _larger(into, "r4", other)
    into.do("ldmia r1!, {r2, r3, r5}", "uxth r6, r3", "lsrs r3, r3, #16", why="bias, high and low, start")
    into.do("adds r4, r4, r2")
    one_code(into, rule, "r4", "r7", ("r3", "r6", "r5"))
    into.do(f"ldr r5, [sp, #{Y}]", "strb r4, [r5]", "adds r5, #1", f"str r5, [sp, #{Y}]")


def _two_of_four(into: Assembly, rule: Rule) -> None:
    _larger(into, "r4", "r5")
    _larger(into, "r6", "r7")
    into.do("ldmia r1!, {r2, r3, r5}", "uxth r7, r3", "lsrs r3, r3, #16", why="bias, high and low, start")
    for register in ("r4", "r6"):
        into.do(f"adds {register}, {register}, r2")
        one_code(into, rule, register, "r0", ("r3", "r7", "r5"))
    into.do(f"ldr r5, [sp, #{Y}]", f"ldr r7, [sp, #{DISTANCE}]", "strb r4, [r5]", "strb r6, [r5, r7]")
    into.do("adds r5, #1", f"str r5, [sp, #{Y}]")


def _four(into: Assembly, rule: Rule) -> None:
    into.do("ldmia r1!, {r0, r2, r3}", "mov r8, r1", why="bias, high and low, start")
    registers = ("r4", "r5", "r6", "r7")
    into.do(*(f"adds {each}, {each}, r0" for each in registers))
    into.do("lsrs r1, r2, #16", "uxth r2, r2")
    for register in registers:
        into.do(f"cmp {register}, #0")
        one_code(into, rule, register, "r0", ("r1", "r2", "r3"))
    into.do(f"ldr r0, [sp, #{Y}]", f"ldr r2, [sp, #{DISTANCE}]", "adds r3, r2, r2")
    into.do("strb r4, [r0]", "strb r5, [r0, r2]", "strb r6, [r0, r3]", "adds r3, r3, r2", "strb r7, [r0, r3]")
    into.do("adds r0, #1", f"str r0, [sp, #{Y}]", "mov r5, r0", "mov r1, r8")


def one_code(into: Assembly, rule: Rule, value: str, other: str, factors: tuple[str, str, str]) -> None:
    """The code of a sum, whose sign the flags have.

    Args:
        into: Where it is written.
        rule: How.
        value: The register of the sum, then of the code.
        other: A register that is free.
        factors: Those of high, low and start.
    """
    high, low, start = factors
    last, none, done = into.label(), into.label(), into.label()
    into.do(into.to("ble", none))
    if rule.saturates:
        into.do(f"lsrs {other}, {value}, #{32 - rule.split}", into.to("bne", last))
    into.do(f"mov {other}, {value}", f"muls {other}, {low}, {other}", f"lsrs {other}, {other}, #{rule.split}")
    into.do(f"muls {value}, {high}, {value}", f"adds {value}, {value}, {other}", f"adds {value}, {value}, {start}")
    into.do(f"lsrs {value}, {value}, #{rule.shift}", f"cmp {value}, #{rule.steps}", into.to("bls", done))
    into.place(last)
    into.do(f"movs {value}, #{rule.steps}", into.to("b", done))
    into.place(none)
    into.do(f"movs {value}, #0")
    into.place(done)
    if rule.zero_point:
        into.do(f"{'adds' if rule.zero_point > 0 else 'subs'} {value}, #{abs(rule.zero_point)}")
