"""Texts around a model in C: what resets it, classifies with it and tests it, and how its README shows it."""

from __future__ import annotations

__all__ = [
    "AT_ONCE",
    "CLASSIFY",
    "CMAKE_TEST",
    "FED_AT_ONCE",
    "FED_BY_STEPS",
    "RESET",
    "SELFTEST",
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
int8_t input[${upper}_INPUT_SIZE], output[${upper}_OUTPUT_SIZE];

${name}_run(arena, input, output); /* codes in, codes out; value = SCALE * (code - ZERO_POINT) */
"""

STEPS = """
static int32_t arena[(${upper}_ARENA_BYTES + 3) / 4 + 1], state[(${upper}_STATE_BYTES + 3) / 4];
int8_t input[${upper}_INPUT_SIZE], output[${upper}_OUTPUT_SIZE];

${name}_reset(state); /* a sequence begins; what is kept lies in `state` alone */
for (;;) /* one step each: codes in, codes of all steps so far out; value = SCALE * (code - ZERO_POINT) */
    ${name}_step(state, arena, input, output);
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
    int8_t *const codes = (int8_t *)arena + $codes;
    int8_t *const output = (int8_t *)arena + $output;
    int32_t best = 0, i;
    if (arena == NULL || raw == NULL)
        return -1;
    $encode(raw, codes);
    if ($run($lent, codes, output) != 0)
        return -1;
    for (i = 1; i < $classes; i++)
        if (output[i] > output[best])
            best = i;
    return (int)best;
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
static const int8_t test_inputs[$count * $input_size] = {
$inputs
};
static const int8_t test_outputs[$count * $output_size] = {
$outputs
};

int $selftest(void *arena)
{
    int8_t output[$output_size];
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
