"""Convolutions: at each position the codes in a window, as if of a dense layer."""

from __future__ import annotations

from mcubench.codegen.c99.outputs import manner, outputs_table
from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import Positions, lead, positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__ = ["window_table"]

_TABLE = """
static const struct window $name = {
    $height, $width, $channels, $taken, $rows, $columns, $row_step, $column_step, $outside
};
"""
_PLAIN = """
    int32_t row, column;
    for (row = 0; row < $down; row++)
        for (column = 0; column < $across; column++, y += $outputs) {
$groups
        }
"""
_GROUP = "            outputs_${bits}_$manner(&$table, $patch, y$behind);"
_PATCH = "patch_of(&$window, x$offset, $stride_down * row - $top, $stride_across * column - $left, (int8_t *)scratch)"
_TAP = "x + ($stride_down * row * $width + $stride_across * column) * $channels"
_POOLED = """
    int32_t *const largest = (int32_t *)scratch;
    int8_t *const patch = (int8_t *)(largest + $slots);
    int32_t row, column, part;
    for (row = 0; row < $down; row++)
        for (column = 0; column < $across; column++, y += $outputs) {
$groups
        }
"""
_POOLED_GROUP = """
            for (part = 0; part < $parts; part++)
                maxima_$bits(&$table, patch_of(&$window, x$offset,
                    $stride_down * ($pool_down * row + part / $pool_across) - $top,
                    $stride_across * ($pool_across * column + part % $pool_across) - $left, patch), largest, part == 0);
            codes_$manner(&$table, largest, y$behind);
"""


@EMITTERS.register("Convolve")
def convolution(step: Step, unit: Unit) -> Function:
    """Channels of each group by themselves."""
    codes, found = weights(step), positions(step)
    outputs, _, _, taken = codes.shape
    groups = step.x.shape[3] // taken
    each = outputs // groups
    taps = found.window[0] * found.window[1] * taken
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    how = manner(step)
    values: dict[str, object] = {**found.numbers, "outputs": outputs, "channels": step.x.shape[3]}
    values |= {"bits": bits, "manner": how}
    alone = found.joined and groups == 1 and step.pool is None
    if not alone:
        values["window"] = window_table(step, found, taken, unit)
        unit.use("patch")
    unit.use(*([f"outputs_{bits}_{how}"] if step.pool is None else [f"maxima_{bits}", f"codes_{how}"]))
    parts = []
    for group in range(groups):
        chosen = codes[each * group : each * (group + 1)].reshape(each, taps)
        values |= {
            "table": outputs_table(step, chosen, unit, each * group),
            "offset": f" + {taken * group}" if group else "",
            "behind": f" + {each * group}" if group else "",
        }
        patch = fill(_TAP if alone else _PATCH, **values).strip()
        parts.append(fill(_GROUP if step.pool is None else _POOLED_GROUP, **values, patch=patch))
    slots = 0 if step.pool is None else -(-each // 4) * 4  # of sums
    template = _PLAIN if step.pool is None else _POOLED
    body = fill(template, **values, groups="".join(parts).rstrip("\n"), slots=slots)
    scratch = 0 if alone else taps + 4 * slots
    uncopied = found.window[0] == 1 and found.step[1] == 1  # then the window may be read where it is
    return Function(body, scratch, lead(step, found, own=uncopied or groups > 1))


def window_table(step: Step, found: Positions, taken: int, unit: Unit) -> str:
    """The name of the table of a convolution's window, over so many of the channels."""
    values = {
        "height": found.size[0],
        "width": found.size[1],
        "channels": step.x.shape[3],
        "taken": taken,
        "rows": found.window[0],
        "columns": found.window[1],
        "row_step": found.step[0],
        "column_step": found.step[1],
        "outside": step.x.grid.zero_point,
    }
    return unit.constant(fill(_TABLE, name="$name", **values), "window_table")
