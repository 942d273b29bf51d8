"""Texts around a model in C: what resets it, classifies with it and tests it, and how its README shows it."""

from __future__ import annotations

__all__ = [
    "AT_ONCE",
    "CLASSIFY",
    "CMAKE_TEST",
    "FED_AT_ONCE",
    "FED_BY_STEPS",
    "LARGEST",
    "RESET",
    "SELFTEST",
    "SENSED",
    "STEPS",
]

CMAKE_TEST = """
add_executable(${name}_selftest main.c)
target_compile_options(${name}_selftest PRIVATE -std=c99 -O2)
enable_testing()
add_test(NAME selftest COMMAND ${name}_selftest)
"""

AT_ONCE = """
static int32_t arena[(${upper}_ARENA_BYTES + 3) / 4 + 1];
${input_type} input[${upper}_INPUT_SIZE];
${output_type} output[${upper}_OUTPUT_SIZE];

${name}_run(arena, input, output); /* ${meaning} */
"""

STEPS = """
static int32_t arena[(${upper}_ARENA_BYTES + 3) / 4 + 1], state[(${upper}_STATE_BYTES + 3) / 4];
int8_t input[${upper}_INPUT_SIZE], output[${upper}_OUTPUT_SIZE];

${name}_reset(state); /* a sequence begins; what is kept lies in `state` alone */
for (;;) /* one step each: codes in, codes of all steps so far out; value = SCALE * (code - ZERO_POINT) */
    ${name}_step(state, arena, input, output);
"""

SENSED = """

From the sensor, its samples go through features into the model:

```c
#include "${name}_sensor.h"

static int32_t state[${upper}_SENSOR_STATE_BYTES / 4], memory[${upper}_SENSOR_MEMORY_BYTES / 4 + 1];
int found;

${name}_sensor_reset(state);
for (;;) /* 50 times a second: int16_t sample[6], acceleration and angular velocity */
    if (${name}_sensor_push(state, memory, sample, &found) == 1)
        act(found); /* the class of a window, every 64 samples */
```
"""

RESET = """
$signature
{
    int8_t *const kept = (int8_t *)state;
    if ($tests)
        return -1;
$begin
    return 0;
}
"""

CLASSIFY = """
$signature
{
    $input_type *const codes = ($input_type *)(void *)((int8_t *)arena + $codes);
    $output_type *const output = ($output_type *)(void *)((int8_t *)arena + $output);
    int32_t best = 0;
    if (arena == NULL || raw == NULL)
        return -1;
    $encode(raw, codes);
    if ($run($lent, codes, output) != 0)
        return -1;
$decided
}
"""

LARGEST = """
    {
        int32_t i;
        for (i = 1; i < $classes; i++)
            if (output[i] > output[best])
                best = i;
    }
"""

FED_AT_ONCE = """
        if ($run(arena, test_inputs + $input_size * sample, output) != 0)
            return (int)sample + 1;
"""

FED_BY_STEPS = """
        $reset(state);
        for (i = 0; i < $input_size; i += $step_size)
            if ($run(state, arena, test_inputs + $input_size * sample + i, output) != 0)
                return (int)sample + 1;
"""

SELFTEST = """
#ifdef $macro
static const $input_type test_inputs[$count * $input_size] = {
$inputs
};
static const $output_type test_outputs[$count * $output_size] = {
$outputs
};

int $selftest(void *arena)
{
    $output_type output[$output_size];
    int32_t $counters, i;
    for (sample = 0; sample < $count; sample++) {
$fed
        for (i = 0; i < $output_size; i++)
            if (output[i] != test_outputs[$output_size * sample + i])
                return (int)sample + 1;
    }
    return 0;
}
#endif
"""
